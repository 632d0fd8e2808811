import type { Usage } from '../../domain/usage.ts'
import { CUT_SHORT } from '../answers.ts'
import type { Asker, StreamDecoder, StreamEncoder } from '../codec.ts'
import { objectOf } from '../loose-json.ts'
import type { JsonObject, NeutralEvent, OpenBlock, ReasoningBlock, Stop } from '../neutral.ts'
import { readEvents } from '../sse.ts'
import type { ToolNames } from '../tool-names.ts'
import { ChunkDecoder, candidate, clientWriter, headFor, usageFor } from './answers.ts'
import type { Asked } from './decode-request.ts'
import { renderForeignError } from './foreign-errors.ts'
import { markForClient } from './signatures.ts'

/** What a stream of Google's says. */
export class GeminiDecoder implements StreamDecoder {
  readonly #chunks: ChunkDecoder

  constructor(names: ToolNames) {
    this.#chunks = new ChunkDecoder(names)
  }

  push(events: Buffer): NeutralEvent[] {
    const said: NeutralEvent[] = []
    for (const { data } of readEvents(events.toString('utf8'))) {
      if (this.#chunks.over) break
      const chunk = objectOf(data)
      if (chunk) this.#chunks.read(chunk, said)
    }
    return said
  }

  /** Without a finish reason an answer is not whole, though the connection ended well. */
  end(): NeutralEvent[] {
    const said: NeutralEvent[] = []
    if (!this.#chunks.over) this.#chunks.fail(CUT_SHORT, said)
    return said
  }
}

/** Writes a stream as Google does: text as it comes, calls whole, and the totals with the last chunk. */
export class GeminiEncoder implements StreamEncoder {
  readonly #asked: Asked
  readonly #writer = clientWriter()
  /** What stands around the parts of every chunk. */
  readonly #around: readonly [before: string, after: string]
  readonly #head: JsonObject
  #open: OpenBlock | null = null
  #input = ''

  constructor(asker: Asker) {
    this.#asked = asker.asked as Asked
    this.#head = headFor(asker)
    const after = JSON.stringify(this.#head).slice(1)
    this.#around = ['data: {"candidates":[{"content":{"parts":[', `],"role":"model"},"index":0}],${after}\n\n`]
  }

  push(event: NeutralEvent): string {
    switch (event.type) {
      case 'start':
        return ''
      case 'open':
        return this.#begin(event.block)
      case 'delta':
        return this.#delta(event.text)
      case 'signature': {
        const redacted = this.#open?.kind === 'reasoning' && this.#open.redacted
        const block: ReasoningBlock = { kind: 'reasoning', text: '', signature: event.signature, redacted }
        return this.#chunk(this.#writer.sign(markForClient(block)))
      }
      case 'close': {
        const open = this.#open
        this.#open = null
        return open?.kind === 'tool_call' ? this.#chunk([this.#writer.call({ ...open, input: this.#input })]) : ''
      }
      case 'finish':
        return this.#finish(event.stop, event.usage)
      case 'error':
        return renderForeignError(event.error)
    }
  }

  #begin(block: OpenBlock): string {
    this.#open = block
    this.#input = ''
    return block.kind === 'media' ? this.#chunk(this.#writer.parts(block)) : ''
  }

  #delta(text: string): string {
    switch (this.#open?.kind) {
      case 'tool_call':
        this.#input += text
        return ''
      case 'reasoning':
        return this.#asked.hidesThoughts ? '' : this.#chunk(this.#writer.thought(text))
      default:
        return this.#chunk([this.#writer.text(text)])
    }
  }

  #chunk(parts: JsonObject[]): string {
    const [before, after] = this.#around
    return parts.map((part) => before + JSON.stringify(part) + after).join('')
  }

  #finish(stop: Stop, usage: Usage): string {
    const last = { ...candidate(this.#writer.flush(), stop), usageMetadata: usageFor(usage), ...this.#head }
    return `data: ${JSON.stringify(last)}\n\n`
  }
}

import { NO_USAGE, type Usage } from '../../domain/usage.ts'
import { CUT_SHORT, mediaNote } from '../answers.ts'
import type { Asker, StreamDecoder, StreamEncoder } from '../codec.ts'
import { asObject, objectOf, textOf } from '../loose-json.ts'
import type { JsonObject, NeutralEvent, OpenBlock } from '../neutral.ts'
import { errorOf, foreignError } from '../openai/foreign-errors.ts'
import { readEvents } from '../sse.ts'
import { writtenInputOf } from '../tool-inputs.ts'
import type { ToolNames } from '../tool-names.ts'
import { callFor, finishReason, head, madeUpId, stopOf, usageFor } from './answers.ts'
import type { Asked } from './decode-request.ts'
import { readUsage } from './usage.ts'

const DONE = '[DONE]'

/** A call as far as it has come. */
interface Call {
  id: string
  name: string
  /** What has not been passed on. */
  input: string
  isCustom: boolean
}

/**
 * What a stream of chunks says. The first call streams as it comes; pieces of further calls may come in between, and so these wait for the end. A
 * call is passed on once its name is known.
 */
export class ChatDecoder implements StreamDecoder {
  readonly #names: ToolNames
  readonly #usage: Usage = { ...NO_USAGE }
  readonly #calls = new Map<number, Call>()
  #id = ''
  #started = false
  #open: OpenBlock | null = null
  /** Whose call is open. */
  #openIndex = -1
  /** Words that came behind a call. */
  #later = ''
  #finishReason: string | null = null
  #over = false

  constructor(names: ToolNames) {
    this.#names = names
  }

  push(events: Buffer): NeutralEvent[] {
    const said: NeutralEvent[] = []
    for (const event of readEvents(events.toString('utf8'))) {
      if (this.#over) break
      if (event.data === DONE) this.#finish(said)
      else {
        const chunk = objectOf(event.data)
        if (chunk) this.#readChunk(chunk, said)
      }
    }
    return said
  }

  end(): NeutralEvent[] {
    const said: NeutralEvent[] = []
    if (this.#over) return said
    if (this.#finishReason !== null) this.#finish(said)
    else this.#fail(said)
    return said
  }

  #readChunk(chunk: JsonObject, said: NeutralEvent[]): void {
    if (asObject(chunk.error)) {
      said.push({ type: 'error', error: errorOf(chunk) })
      this.#over = true
      return
    }
    const choice = Array.isArray(chunk.choices) ? asObject(chunk.choices[0]) : null
    if (!choice && !chunk.usage) return
    this.#start(chunk, said)
    const delta = asObject(choice?.delta)
    if (delta) this.#readDelta(delta, said)
    if (typeof choice?.finish_reason === 'string') this.#finishReason = choice.finish_reason
    readUsage(this.#usage, chunk.usage)
    if (asObject(chunk.usage) && this.#finishReason !== null) this.#finish(said)
  }

  #start(chunk: JsonObject, said: NeutralEvent[]): void {
    if (this.#started) return
    this.#started = true
    this.#id = textOf(chunk.id)
    said.push({ type: 'start', id: this.#id, model: textOf(chunk.model), usage: null })
  }

  #readDelta(delta: JsonObject, said: NeutralEvent[]): void {
    const thoughts = textOf(delta.reasoning_content) || textOf(delta.reasoning)
    if (thoughts !== '' && this.#calls.size === 0) this.#say({ kind: 'reasoning', redacted: false }, thoughts, said)
    const words = textOf(delta.content) || textOf(delta.refusal)
    if (words !== '' && this.#calls.size === 0) this.#say({ kind: 'text' }, words, said)
    else this.#later += words
    if (!Array.isArray(delta.tool_calls)) return
    for (const piece of delta.tool_calls) this.#readCall(asObject(piece), said)
  }

  #say(block: OpenBlock, text: string, said: NeutralEvent[]): void {
    if (this.#open?.kind !== block.kind) {
      this.#close(said)
      this.#open = block
      said.push({ type: 'open', block })
    }
    said.push({ type: 'delta', text })
  }

  #readCall(piece: JsonObject | null, said: NeutralEvent[]): void {
    if (!piece) return
    const index = typeof piece.index === 'number' ? piece.index : this.#calls.size
    const call = this.#calls.get(index) ?? { id: '', name: '', input: '', isCustom: false }
    this.#calls.set(index, call)
    const custom = asObject(piece.custom)
    const fn = asObject(piece.function) ?? custom
    call.isCustom ||= custom !== null
    call.id ||= textOf(piece.id)
    call.name ||= textOf(fn?.name)
    call.input += textOf(fn?.arguments) || textOf(fn?.input)
    if (this.#openIndex < 0 && call.name !== '') this.#openCall(index, call, said)
    else if (this.#openIndex === index) this.#passInput(call, said)
  }

  #openCall(index: number, call: Call, said: NeutralEvent[]): void {
    this.#close(said)
    const id = call.id || madeUpId(this.#id, index)
    const block = { kind: 'tool_call' as const, id, ...this.#names.called(call.name) }
    this.#open = block
    this.#openIndex = index
    said.push({ type: 'open', block })
    this.#passInput(call, said)
  }

  /** Arguments as they come; the free text of a custom tool, which travels inside of them, when they are whole. */
  #passInput(call: Call, said: NeutralEvent[]): void {
    if (this.#open?.kind !== 'tool_call' || this.#open.tool === 'custom' || call.input === '') return
    said.push({ type: 'delta', text: call.input })
    call.input = ''
  }

  #close(said: NeutralEvent[]): void {
    const open = this.#open
    if (!open) return
    const call = this.#calls.get(this.#openIndex)
    if (open.kind === 'tool_call' && open.tool === 'custom' && call) {
      said.push({ type: 'delta', text: call.isCustom ? call.input : writtenInputOf(call.input, 'custom') })
    }
    this.#open = null
    said.push({ type: 'close' })
  }

  #finish(said: NeutralEvent[]): void {
    if (!this.#started) {
      this.#fail(said)
      return
    }
    const first = this.#openIndex
    this.#close(said)
    for (const [index, call] of [...this.#calls].sort(([a], [b]) => a - b)) {
      if (index === first) continue
      this.#openCall(index, call, said)
      this.#close(said)
    }
    if (this.#later !== '') {
      this.#say({ kind: 'text' }, this.#later, said)
      this.#close(said)
    }
    this.#over = true
    said.push({ type: 'finish', stop: stopOf(this.#finishReason ?? '', this.#calls.size > 0), usage: this.#usage })
  }

  #fail(said: NeutralEvent[]): void {
    this.#over = true
    said.push({ type: 'error', error: CUT_SHORT })
  }
}

/** Writes a stream of chunks; the usage goes out only to those who asked for it. */
export class ChatEncoder implements StreamEncoder {
  readonly #includeUsage: boolean
  readonly #head: JsonObject
  /** What stands before the delta of every chunk. */
  readonly #beforeDelta: string
  #started = false
  #calls = -1
  #open: OpenBlock | null = null

  constructor(asker: Asker) {
    this.#includeUsage = (asker.asked as Asked | null)?.includeUsage ?? false
    this.#head = head(asker, 'chat.completion.chunk')
    this.#beforeDelta = `data: ${JSON.stringify(this.#head).slice(0, -1)},"choices":[{"index":0,"delta":`
  }

  push(event: NeutralEvent): string {
    switch (event.type) {
      case 'start':
        return this.#start()
      case 'open':
        this.#open = event.block
        return this.#start() + this.#begin(event.block)
      case 'delta':
        return this.#delta(event.text)
      case 'signature':
        return ''
      case 'close':
        this.#open = null
        return ''
      case 'finish': {
        const usage = this.#includeUsage ? data({ ...this.#head, choices: [], usage: usageFor(event.usage) }) : ''
        return `${this.#start()}${this.#chunk({}, finishReason(event.stop))}${usage}data: ${DONE}\n\n`
      }
      case 'error':
        return data({ error: foreignError(event.error) })
    }
  }

  #start(): string {
    if (this.#started) return ''
    this.#started = true
    return this.#chunk({ role: 'assistant', content: '', refusal: null })
  }

  #begin(block: OpenBlock): string {
    switch (block.kind) {
      case 'tool_call':
        this.#calls++
        return this.#chunk({ tool_calls: [{ index: this.#calls, ...callFor(block, '') }] })
      case 'media':
        return this.#chunk({ content: mediaNote(block) })
      default:
        return ''
    }
  }

  #delta(text: string): string {
    const open = this.#open
    switch (open?.kind) {
      case 'text':
        return this.#chunk({ content: text })
      case 'reasoning':
        return this.#chunk({ reasoning_content: text })
      case 'tool_call': {
        const piece = open.tool === 'custom' ? { custom: { input: text } } : { function: { arguments: text } }
        return this.#chunk({ tool_calls: [{ index: this.#calls, ...piece }] })
      }
      default:
        return ''
    }
  }

  #chunk(delta: JsonObject, finishReason: string | null = null): string {
    const end = `,"logprobs":null,"finish_reason":${finishReason && `"${finishReason}"`}}]`
    return `${this.#beforeDelta}${JSON.stringify(delta)}${end}${this.#includeUsage ? ',"usage":null' : ''}}\n\n`
  }
}

function data(value: JsonObject): string {
  return `data: ${JSON.stringify(value)}\n\n`
}

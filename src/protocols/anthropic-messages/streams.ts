import { NO_USAGE, type Usage } from '../../domain/usage.ts'
import { CUT_SHORT, mediaNote, UNREADABLE } from '../answers.ts'
import type { Asker, StreamDecoder, StreamEncoder } from '../codec.ts'
import { wrappedSignature } from '../foreign-signature.ts'
import { objectOf, textOf } from '../loose-json.ts'
import type { JsonObject, NeutralEvent, OpenBlock, Signature, Stop } from '../neutral.ts'
import { readEvents } from '../sse.ts'
import { writtenInputOf } from '../tool-inputs.ts'
import type { ToolNames } from '../tool-names.ts'
import { callFor, callHead, errorOf, head, signed, stopFor, stopOf, usageFor, usageOf } from './answers.ts'
import { renderErrorEvent } from './errors.ts'
import { mergeUsage, type ReportedUsage } from './usage.ts'

/** What a stream of Anthropic's says. Blocks of tools that the vendor runs itself are passed over. */
export class MessagesDecoder implements StreamDecoder {
  readonly #names: ToolNames
  readonly #usage: Usage = { ...NO_USAGE }
  #started = false
  #open: OpenBlock | null = null
  /** The input of a custom tool so far: it travels inside of an object, and so is known when that is whole. */
  #wrapped = ''
  #stop: Stop = { reason: 'end', sequence: null }
  #over = false

  constructor(names: ToolNames) {
    this.#names = names
  }

  push(events: Buffer): NeutralEvent[] {
    const said: NeutralEvent[] = []
    for (const event of readEvents(events.toString('utf8'))) {
      if (this.#over) break
      const data = objectOf(event.data)
      if (data) this.#read(event.name === 'message' ? textOf(data.type) : event.name, data, said)
    }
    return said
  }

  end(): NeutralEvent[] {
    if (this.#over) return []
    this.#over = true
    return [{ type: 'error', error: CUT_SHORT }]
  }

  #read(type: string, data: JsonObject, said: NeutralEvent[]): void {
    switch (type) {
      case 'message_start':
        this.#start(data.message as JsonObject | null, said)
        return
      case 'content_block_start':
        this.#close(said)
        this.#begin(data.content_block as JsonObject | null, said)
        return
      case 'content_block_delta':
        if (this.#open) this.#readDelta(data.delta as JsonObject | null, said)
        return
      case 'content_block_stop':
        this.#close(said)
        return
      case 'message_delta':
        if (data.delta) this.#stop = stopOf(data.delta as JsonObject)
        mergeUsage(this.#usage, data.usage as ReportedUsage | null)
        return
      case 'message_stop':
        this.#start(null, said)
        this.#close(said)
        said.push({ type: 'finish', stop: this.#stop, usage: this.#usage })
        this.#over = true
        return
      case 'error':
        said.push({ type: 'error', error: data.error ? errorOf(data) : UNREADABLE })
        this.#over = true
        return
      default: // ping, and whatever is invented next
    }
  }

  #start(message: JsonObject | null, said: NeutralEvent[]): void {
    if (this.#started) return
    this.#started = true
    Object.assign(this.#usage, usageOf(message?.usage))
    const usage = message?.usage ? { ...this.#usage } : null
    said.push({ type: 'start', id: textOf(message?.id), model: textOf(message?.model), usage })
  }

  #begin(block: JsonObject | null, said: NeutralEvent[]): void {
    const open = openBlock(block, this.#names)
    if (!open) return
    this.#start(null, said)
    this.#open = open
    this.#wrapped = ''
    said.push({ type: 'open', block: open })
    const first = textOf(block?.text) || textOf(block?.thinking)
    if (first !== '') said.push({ type: 'delta', text: first })
    const signature = signed(block?.data ?? block?.signature)
    if (open.kind === 'reasoning' && signature) said.push({ type: 'signature', signature })
  }

  #readDelta(delta: JsonObject | null, said: NeutralEvent[]): void {
    const { partial_json: json, text, thinking, signature } = delta ?? {}
    const open = this.#open
    if (open?.kind === 'tool_call') {
      if (open.tool === 'custom') this.#wrapped += textOf(json)
      else if (textOf(json) !== '') said.push({ type: 'delta', text: textOf(json) })
    } else if (open?.kind === 'text') {
      if (textOf(text) !== '') said.push({ type: 'delta', text: textOf(text) })
    } else if (open?.kind === 'reasoning') {
      if (textOf(thinking) !== '') said.push({ type: 'delta', text: textOf(thinking) })
      const mark = signed(signature)
      if (mark) said.push({ type: 'signature', signature: mark })
    }
  }

  #close(said: NeutralEvent[]): void {
    const open = this.#open
    if (!open) return
    this.#open = null
    if (open.kind === 'tool_call' && open.tool === 'custom') {
      said.push({ type: 'delta', text: writtenInputOf(this.#wrapped, 'custom') })
    }
    said.push({ type: 'close' })
  }
}

function openBlock(block: JsonObject | null, names: ToolNames): OpenBlock | null {
  switch (block?.type) {
    case 'text':
      return { kind: 'text' }
    case 'thinking':
      return { kind: 'reasoning', redacted: false }
    case 'redacted_thinking':
      return { kind: 'reasoning', redacted: true }
    case 'tool_use':
      return callHead(block, names)
    default:
      return null
  }
}

/** Writes a stream as Anthropic does: one block after the other, each with its number. */
export class MessagesEncoder implements StreamEncoder {
  readonly #asker: Asker
  #started = false
  #index = -1
  /** A delta of the open block up to its text. */
  #beforeText = ''
  /** A block whose words are hidden is written in one piece, once its signature is known. */
  #hidden = false
  #signature: Signature | null = null

  constructor(asker: Asker) {
    this.#asker = asker
  }

  push(event: NeutralEvent): string {
    switch (event.type) {
      case 'start':
        return this.#start(event.usage ?? NO_USAGE)
      case 'open':
        return this.#start(NO_USAGE) + this.#begin(event.block)
      case 'delta':
        return this.#hidden ? '' : `${this.#beforeText}${JSON.stringify(event.text)}}}\n\n`
      case 'signature':
        this.#signature = event.signature
        return ''
      case 'close':
        return this.#end()
      case 'finish':
        return (
          this.#start(event.usage) +
          line('message_delta', {
            delta: { ...stopFor(event.stop), stop_details: null, container: null },
            usage: usageFor(event.usage),
          }) +
          line('message_stop', {})
        )
      case 'error':
        return renderErrorEvent(event.error)
    }
  }

  #start(usage: Usage): string {
    if (this.#started) return ''
    this.#started = true
    return line('message_start', { message: { ...head(this.#asker), usage: usageFor(usage) } })
  }

  #begin(block: OpenBlock): string {
    this.#index++
    this.#signature = null
    this.#hidden = false
    switch (block.kind) {
      case 'text':
        this.#startDeltas('text_delta', 'text')
        return this.#blockStart({ type: 'text', text: '', citations: null })
      case 'reasoning':
        this.#hidden = block.redacted
        this.#startDeltas('thinking_delta', 'thinking')
        return block.redacted ? '' : this.#blockStart({ type: 'thinking', thinking: '', signature: '' })
      case 'tool_call':
        this.#startDeltas('input_json_delta', 'partial_json')
        return this.#blockStart({ ...callFor(block.id, block.name), input: {} })
      case 'media':
        return this.#blockStart({ type: 'text', text: mediaNote(block), citations: null })
    }
  }

  #startDeltas(type: string, key: string): void {
    const event = 'content_block_delta'
    this.#beforeText = `event: ${event}\ndata: {"type":"${event}","index":${this.#index},"delta":{"type":"${type}","${key}":`
  }

  #end(): string {
    const value = this.#signature ? wrappedSignature(this.#signature, 'anthropic') : ''
    const stop = line('content_block_stop', { index: this.#index })
    if (this.#hidden) return this.#blockStart({ type: 'redacted_thinking', data: value }) + stop
    if (value === '') return stop
    const delta = { type: 'signature_delta', signature: value }
    return line('content_block_delta', { index: this.#index, delta }) + stop
  }

  #blockStart(content_block: JsonObject): string {
    return line('content_block_start', { index: this.#index, content_block })
  }
}

function line(type: string, data: JsonObject): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
}

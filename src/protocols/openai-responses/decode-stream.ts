import { CUT_SHORT } from '../answers.ts'
import type { StreamDecoder } from '../codec.ts'
import { unwrappedSignature } from '../foreign-signature.ts'
import { asObject, objectOf, textOf } from '../loose-json.ts'
import type { AssistantBlock, JsonObject, NeutralError, NeutralEvent, OpenBlock, Signature } from '../neutral.ts'
import { errorOf } from '../openai/foreign-errors.ts'
import { readEvents } from '../sse.ts'
import type { ToolNames } from '../tool-names.ts'
import { blocksOf, callHead, isRefusal, listOf, stopOf, thoughtsIn, usageIn } from './answers.ts'

/** Parts of an answer that may be under way at a time. Real ones have one or two. */
const PARTS_MAX = 1000

/** A block of the answer, from its first word on; while an earlier one is open its words wait. */
interface Part {
  kind: 'text' | 'reasoning' | 'call'
  /** Which output item it belongs to, and which content of a message it is. */
  item: unknown
  content: unknown
  /** Null until the tool that is called is known. */
  block: OpenBlock | null
  /** Words came. */
  said: boolean
  waiting: string
  signature: Signature | null
  state: 'waiting' | 'open' | 'closed'
  /** Nothing more comes. */
  ended: boolean
  /** The paragraph of a summary that came last. */
  paragraph: unknown
}

/** Events that say nothing which others do not say; they are not even parsed. */
const SAYING_NOTHING: ReadonlySet<string> = new Set([
  'response.in_progress',
  'response.queued',
  'response.content_part.added',
  'response.content_part.done',
  'response.reasoning_summary_part.added',
  'response.reasoning_summary_part.done',
  'response.reasoning_summary_text.done',
  'response.reasoning_text.done',
  'response.output_text.annotation.added',
])

/** Reads a stream of OpenAI's. */
export class ResponsesStreamDecoder implements StreamDecoder {
  readonly #names: ToolNames
  #started = false
  #over = false
  #called = false
  #refused = false
  /** In the order in which they are to come; only the first one is open. */
  readonly #parts: Part[] = []
  /** Items of which something has been said. */
  readonly #items = new Set<unknown>()
  #read: NeutralEvent[] = []

  constructor(names: ToolNames) {
    this.#names = names
  }

  push(events: Buffer): NeutralEvent[] {
    this.#read = []
    for (const { name, data } of readEvents(events.toString('utf8'))) {
      if (this.#over) break
      if (SAYING_NOTHING.has(name)) continue
      const fields = objectOf(data)
      if (fields) this.#readEvent(name === 'message' ? textOf(fields.type) : name, fields)
      else if (name === 'error') this.#fail({ kind: 'internal', message: data || 'an error without words' })
    }
    return this.#read
  }

  end(): NeutralEvent[] {
    this.#read = []
    if (!this.#over) this.#fail(CUT_SHORT)
    return this.#read
  }

  #readEvent(type: string, data: JsonObject): void {
    switch (type) {
      case 'response.output_text.delta':
        this.#readDelta('text', data)
        break
      case 'response.refusal.delta':
        this.#refused = true
        this.#readDelta('text', data)
        break
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        this.#readThought(data)
        break
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        this.#readDelta('call', data)
        break
      case 'response.output_text.done':
      case 'response.refusal.done':
        this.#endPart('text', data, textOf(data.text ?? data.refusal))
        break
      case 'response.function_call_arguments.done':
      case 'response.custom_tool_call_input.done':
        this.#endPart('call', data, textOf(data.arguments ?? data.input))
        break
      case 'response.created':
        this.#start(data.response)
        break
      case 'response.output_item.added':
        this.#addItem(keyOf(data), asObject(data.item) ?? {})
        break
      case 'response.output_item.done':
        this.#endItem(keyOf(data), asObject(data.item) ?? {})
        break
      case 'response.completed':
      case 'response.incomplete':
        this.#finish(asObject(data.response) ?? {})
        break
      case 'response.failed':
        this.#fail(errorOf(asObject(data.response)))
        break
      case 'error':
        this.#fail(errorOf(data))
        break
      default: // of tools that the vendor runs, and whatever is invented next
    }
  }

  #start(response: unknown): void {
    if (this.#started) return
    this.#started = true
    const named = asObject(response)
    this.#read.push({ type: 'start', id: textOf(named?.id), model: textOf(named?.model), usage: null })
  }

  // ---- parts ----

  #readDelta(kind: Part['kind'], data: JsonObject): void {
    const delta = textOf(data.delta)
    if (delta !== '') this.#say(this.#partOf(kind, keyOf(data), data.content_index) ?? this.#add(kind, data), delta)
  }

  #readThought(data: JsonObject): void {
    const delta = textOf(data.delta)
    if (delta === '') return
    const part = this.#partOf('reasoning', keyOf(data), undefined) ?? this.#add('reasoning', data)
    const paragraph = data.summary_index ?? 'thought'
    // Thoughts themselves beside a summary would be said twice.
    if (part.said && (paragraph === 'thought') !== (part.paragraph === 'thought')) return
    const isNext = part.said && part.paragraph !== paragraph
    part.paragraph = paragraph
    this.#say(part, isNext ? `\n\n${delta}` : delta)
  }

  #partOf(kind: Part['kind'], item: unknown, content: unknown): Part | undefined {
    const isIt = (part: Part) =>
      part.kind === kind && part.item === item && (kind !== 'text' || part.content === content) && !part.ended
    const [first] = this.#parts
    return first && isIt(first) ? first : this.#parts.find(isIt)
  }

  #add(kind: Part['kind'], data: JsonObject, block: OpenBlock | null = openBlock(kind)): Part {
    const part: Part = {
      kind,
      item: keyOf(data),
      content: data.content_index,
      block,
      said: false,
      waiting: '',
      signature: null,
      state: 'waiting',
      ended: false,
      paragraph: null,
    }
    if (this.#parts.length === PARTS_MAX)
      this.#fail({ kind: 'internal', message: 'the upstream says too much at once' })
    else this.#parts.push(part)
    return part
  }

  #say(part: Part, text: string): void {
    part.said = true
    if (part.state === 'open') this.#read.push({ type: 'delta', text })
    else {
      part.waiting += text
      this.#advance()
    }
  }

  #endPart(kind: Part['kind'], data: JsonObject, whole: string): void {
    const part = this.#partOf(kind, keyOf(data), data.content_index)
    if (!part) return
    if (!part.said && whole !== '') this.#say(part, whole)
    part.ended = part.block !== null
    this.#advance()
  }

  /** Opens and closes what has its turn. */
  #advance(): void {
    for (let part = this.#parts[0]; part && !this.#over; part = this.#parts[0]) {
      if (part.state === 'waiting' && part.block && (part.said || part.signature || part.kind === 'call'))
        this.#open(part)
      if (part.state === 'open' && part.waiting !== '') {
        this.#read.push({ type: 'delta', text: part.waiting })
        part.waiting = ''
      }
      if (!part.ended) return
      if (part.state === 'open') {
        if (part.signature) this.#read.push({ type: 'signature', signature: part.signature })
        this.#read.push({ type: 'close' })
      }
      part.state = 'closed'
      this.#parts.shift()
    }
  }

  #open(part: Part): void {
    this.#start(null)
    this.#items.add(part.item)
    part.state = 'open'
    if (part.kind === 'call') this.#called = true
    this.#read.push({ type: 'open', block: part.block as OpenBlock })
  }

  // ---- items ----

  #addItem(key: unknown, item: JsonObject): void {
    if (item.type !== 'function_call' && item.type !== 'custom_tool_call') return
    if (this.#partOf('call', key, undefined)) return
    this.#items.add(key)
    this.#add('call', { output_index: key }, callHead(item, this.#names))
    this.#advance()
  }

  /** A whole item: what of it has not been said yet. */
  #endItem(key: unknown, item: JsonObject): void {
    if (isRefusal(item)) this.#refused = true
    const own = this.#parts.filter((part) => part.item === key)
    if (own.length === 0) {
      if (!this.#items.has(key)) for (const block of blocksOf(item, this.#names)) this.#sayBlock(key, block)
      return
    }
    for (const part of own) {
      if (part.kind === 'call') {
        part.block ??= callHead(item, this.#names)
        if (!part.said) this.#whole(part, textOf(item.arguments ?? item.input))
      } else if (part.kind === 'reasoning') {
        const encrypted = textOf(item.encrypted_content)
        if (encrypted !== '') part.signature = unwrappedSignature(encrypted, 'openai')
        if (!part.said) this.#whole(part, thoughtsIn(item).join('\n\n'))
      }
      part.ended = true
    }
    this.#advance()
  }

  #whole(part: Part, text: string): void {
    part.said = text !== ''
    part.waiting = text
  }

  /** A block that came in one piece. */
  #sayBlock(key: unknown, block: AssistantBlock): void {
    const kind = block.kind === 'tool_call' ? 'call' : block.kind === 'reasoning' ? 'reasoning' : 'text'
    const part = this.#add(kind, { output_index: key }, opened(block))
    this.#whole(part, block.kind === 'tool_call' ? block.input : block.kind === 'media' ? '' : block.text)
    if (block.kind === 'reasoning') part.signature = block.signature
    if (block.kind === 'media') part.said = true
    part.ended = true
    this.#advance()
  }

  // ---- ends ----

  #finish(response: JsonObject): void {
    this.#start(response)
    for (const part of this.#parts) part.ended = true
    this.#advance()
    if (this.#over) return
    const output = listOf(response.output)
    for (const [index, item] of output.entries()) if (!this.#knows(index, item)) this.#endItem(index, item)
    if (output.some(isRefusal)) this.#refused = true
    if (this.#over) return
    this.#over = true
    const stop = stopOf(response, { called: this.#called, refused: this.#refused })
    this.#read.push({ type: 'finish', stop, usage: usageIn(response) })
  }

  /** Something of this item of the whole output has been said; events that name no item speak of any. */
  #knows(index: number, item: JsonObject): boolean {
    return [index, item.id ?? null, null].some((key) => this.#items.has(key))
  }

  #fail(error: NeutralError): void {
    if (this.#over) return
    this.#over = true
    this.#read.push({ type: 'error', error })
  }
}

/** What names the item that an event is about. */
function keyOf(data: JsonObject): unknown {
  return data.output_index ?? data.item_id ?? asObject(data.item)?.id ?? null
}

function openBlock(kind: Part['kind']): OpenBlock | null {
  if (kind === 'text') return { kind: 'text' }
  return kind === 'reasoning' ? { kind: 'reasoning', redacted: false } : null
}

function opened(block: AssistantBlock): OpenBlock {
  switch (block.kind) {
    case 'text':
      return { kind: 'text' }
    case 'reasoning':
      return { kind: 'reasoning', redacted: block.redacted }
    case 'tool_call': {
      const { input: _, ...head } = block
      return head
    }
    case 'media':
      return block
  }
}

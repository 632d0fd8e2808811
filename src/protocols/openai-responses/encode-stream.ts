import type { Usage } from '../../domain/usage.ts'
import { opened } from '../answers.ts'
import type { Asker, StreamEncoder } from '../codec.ts'
import type { AssistantBlock, NeutralError, NeutralEvent, OpenBlock, Stop } from '../neutral.ts'
import { foreignError } from '../openai/foreign-errors.ts'
import type { Asked } from './decode-request.ts'
import { failedEventOf } from './errors.ts'
import { isOwnItem, itemOf, newItemId, openItemOf, ResponseWriter, statusOf, textPart } from './items.ts'

/** The block under way. */
interface Open {
  block: AssistantBlock
  id: string
  /** Of the events that each of its words is told by; null for a call that comes in one piece. */
  delta: DeltaForm | null
}

/** A delta's event before and behind its words. */
interface DeltaForm {
  type: string
  head: string
  tail: string
}

/** Writes a stream as OpenAI does. */
export class ResponsesStreamEncoder implements StreamEncoder {
  readonly #asker: Asker
  readonly #response: ResponseWriter
  /** Whole items, as JSON texts. */
  readonly #items: string[] = []
  #open: Open | null = null
  #sequence = 0
  #started = false
  #written = ''

  constructor(asker: Asker) {
    this.#asker = asker
    this.#response = new ResponseWriter(asker)
  }

  push(event: NeutralEvent): string {
    this.#written = ''
    switch (event.type) {
      case 'start':
        this.#start()
        break
      case 'open':
        this.#openBlock(event.block)
        break
      case 'delta':
        this.#delta(event.text)
        break
      case 'signature':
        if (this.#open?.block.kind === 'reasoning') this.#open.block.signature = event.signature
        break
      case 'close':
        this.#close()
        break
      case 'finish':
        this.#finish(event.stop, event.usage)
        break
      case 'error':
        this.#error(event.error)
    }
    return this.#written
  }

  #start(): void {
    if (this.#started) return
    this.#started = true
    const response = this.#response.write({ status: 'in_progress' }, [], null)
    this.#write('response.created', `"response":${response}`)
    this.#write('response.in_progress', `"response":${response}`)
  }

  #openBlock(begun: OpenBlock): void {
    this.#start()
    const id = newItemId(begun, this.#asker)
    if (begun.kind === 'media') {
      const item = itemOf(begun, id, this.#asker)
      this.#write('response.output_item.added', `${this.#place},"item":${item}`)
      this.#endItem(item)
      return
    }
    const block = opened(begun)
    this.#open = { block, id, delta: this.#deltaForm(block, id) }
    if (!this.#open.delta) return // it is told when it is whole
    this.#write('response.output_item.added', `${this.#place},"item":${openItemOf(block, id, this.#asker)}`)
    if (block.kind === 'text')
      this.#write('response.content_part.added', `${this.#contentOf(id)},"part":${textPart('')}`)
  }

  #deltaForm(block: AssistantBlock, id: string): DeltaForm | null {
    switch (block.kind) {
      case 'text':
        return { type: 'response.output_text.delta', head: `${this.#contentOf(id)},"delta":`, tail: ',"logprobs":[]' }
      case 'reasoning':
        return { type: 'response.reasoning_summary_text.delta', head: `${this.#summaryOf(id)},"delta":`, tail: '' }
      case 'tool_call': {
        if (isOwnItem(block, (this.#asker.asked as Asked).ownItems)) return null
        const type = block.tool === 'custom' ? 'custom_tool_call_input' : 'function_call_arguments'
        return { type: `response.${type}.delta`, head: `${this.#itemOf(id)},"delta":`, tail: '' }
      }
      case 'media':
        return null
    }
  }

  #delta(text: string): void {
    const open = this.#open
    if (!open || open.block.kind === 'media' || text === '') return
    const { block, delta } = open
    if (block.kind === 'tool_call') block.input += text
    else {
      if (block.kind === 'reasoning' && block.text === '') {
        this.#write('response.reasoning_summary_part.added', `${this.#summaryOf(open.id)},"part":${summaryPart('')}`)
      }
      block.text += text
    }
    if (delta) this.#write(delta.type, delta.head + JSON.stringify(text) + delta.tail)
  }

  #close(): void {
    const open = this.#open
    if (!open) return
    this.#open = null
    const { block, id, delta } = open
    const item = itemOf(block, id, this.#asker)
    if (block.kind === 'text') {
      const text = JSON.stringify(block.text)
      this.#write('response.output_text.done', `${this.#contentOf(id)},"text":${text},"logprobs":[]`)
      this.#write('response.content_part.done', `${this.#contentOf(id)},"part":${textPart(block.text)}`)
    } else if (block.kind === 'reasoning' && block.text !== '') {
      const text = JSON.stringify(block.text)
      this.#write('response.reasoning_summary_text.done', `${this.#summaryOf(id)},"text":${text}`)
      this.#write('response.reasoning_summary_part.done', `${this.#summaryOf(id)},"part":${summaryPart(block.text)}`)
    } else if (block.kind === 'tool_call') {
      if (!delta) this.#write('response.output_item.added', `${this.#place},"item":${item}`)
      else {
        const [type, field] =
          block.tool === 'custom' ? ['custom_tool_call_input', 'input'] : ['function_call_arguments', 'arguments']
        const name = block.tool === 'custom' ? '' : `,"name":${JSON.stringify(block.name)}`
        this.#write(`response.${type}.done`, `${this.#itemOf(id)}${name},"${field}":${JSON.stringify(block.input)}`)
      }
    }
    this.#endItem(item)
  }

  #endItem(item: string): void {
    this.#write('response.output_item.done', `${this.#place},"item":${item}`)
    this.#items.push(item)
  }

  #finish(stop: Stop, usage: Usage): void {
    this.#start()
    const status = statusOf(stop)
    this.#write(`response.${status.status}`, `"response":${this.#response.write(status, this.#items, usage)}`)
  }

  #error(neutral: NeutralError): void {
    const { code, error } = failedEventOf(foreignError(neutral))
    const failed = { status: 'failed', error: { code, message: error.message } } as const
    const response = this.#response.write(failed, this.#items, null)
    this.#write('response.failed', `"response":${response},"error":${JSON.stringify(error)}`, 'error')
  }

  /** Where the item under way, or the next one, stands in the output. */
  get #place(): string {
    return `"output_index":${this.#items.length}`
  }

  #itemOf(id: string): string {
    return `"item_id":"${id}",${this.#place}`
  }

  #contentOf(id: string): string {
    return `${this.#itemOf(id)},"content_index":0`
  }

  #summaryOf(id: string): string {
    return `${this.#itemOf(id)},"summary_index":0`
  }

  /** One event; `fields` as JSON without braces. */
  #write(type: string, fields: string, name = type): void {
    this.#written += `event: ${name}\ndata: {"type":"${type}","sequence_number":${this.#sequence++},${fields}}\n\n`
  }
}

function summaryPart(text: string): string {
  return JSON.stringify({ type: 'summary_text', text })
}

import type { AssistantBlock, MediaBlock, NeutralAnswer, NeutralError, NeutralEvent, OpenBlock } from './neutral.ts'

/** A whole answer as the stream that it could have been. */
export function eventsOf({ id, model, content, stop, usage }: NeutralAnswer): NeutralEvent[] {
  return [{ type: 'start', id, model, usage }, ...content.flatMap(blockEvents), { type: 'finish', stop, usage }]
}

/** An answer, or a piece of one, that makes no sense. */
export const UNREADABLE: NeutralError = { kind: 'internal', message: 'the upstream’s answer could not be read' }
/** A stream without its end. */
export const CUT_SHORT: NeutralError = {
  kind: 'internal',
  message: 'the upstream ended its answer before it was complete',
}

/** What is said in place of what a model draws or says aloud, in a format that has no place for it. */
export function mediaNote({ mediaType, source }: MediaBlock): string {
  if (source.kind === 'url') return source.url
  return `[The model answered with ${mediaType ?? 'a file'}, which this API cannot carry.]`
}

function blockEvents(block: AssistantBlock): NeutralEvent[] {
  switch (block.kind) {
    case 'text':
      return [{ type: 'open', block: { kind: 'text' } }, { type: 'delta', text: block.text }, { type: 'close' }]
    case 'reasoning': {
      const { text, signature, redacted } = block
      const events: NeutralEvent[] = [{ type: 'open', block: { kind: 'reasoning', redacted } }]
      if (text !== '') events.push({ type: 'delta', text })
      if (signature) events.push({ type: 'signature', signature })
      return [...events, { type: 'close' }]
    }
    case 'tool_call': {
      const { input, ...head } = block
      return [{ type: 'open', block: head }, { type: 'delta', text: input }, { type: 'close' }]
    }
    case 'media':
      return [{ type: 'open', block }, { type: 'close' }]
  }
}

/** The whole blocks of some events. */
export function blocksOf(events: readonly NeutralEvent[]): AssistantBlock[] {
  const gatherer = new AnswerGatherer()
  for (const event of events) gatherer.push(event)
  return gatherer.content
}

/** Gathers a stream into the answer that it is. */
export class AnswerGatherer {
  readonly #head = { id: '', model: '' }
  readonly #content: AssistantBlock[] = []
  #open: AssistantBlock | null = null
  #answer: NeutralAnswer | null = null

  /** Those blocks that are whole. */
  get content(): AssistantBlock[] {
    return this.#content
  }

  /** Null until the stream has finished. */
  get answer(): NeutralAnswer | null {
    return this.#answer
  }

  push(event: NeutralEvent): void {
    switch (event.type) {
      case 'start':
        this.#head.id = event.id
        this.#head.model = event.model
        return
      case 'open':
        this.#open = opened(event.block)
        return
      case 'delta':
        if (this.#open?.kind === 'tool_call') this.#open.input += event.text
        else if (this.#open?.kind === 'text' || this.#open?.kind === 'reasoning') this.#open.text += event.text
        return
      case 'signature':
        if (this.#open?.kind === 'reasoning') this.#open.signature = event.signature
        return
      case 'close': {
        const block = this.#open
        this.#open = null
        if (block && !(block.kind === 'text' && block.text === '')) this.#content.push(block)
        return
      }
      case 'finish':
        this.#answer = { ...this.#head, content: this.#content, stop: event.stop, usage: event.usage }
        return
      case 'error': // there is no whole answer then
    }
  }
}

/** A block that nothing has come of yet. */
export function opened(block: Exclude<OpenBlock, MediaBlock>): Exclude<AssistantBlock, MediaBlock>
export function opened(block: OpenBlock): AssistantBlock
export function opened(block: OpenBlock): AssistantBlock {
  switch (block.kind) {
    case 'text':
      return { kind: 'text', text: '' }
    case 'reasoning':
      return { kind: 'reasoning', text: '', signature: null, redacted: block.redacted }
    case 'tool_call':
      return { ...block, input: '' }
    case 'media':
      return block
  }
}

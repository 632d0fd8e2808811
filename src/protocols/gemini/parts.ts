import { textOf } from '../loose-json.ts'
import type { AssistantBlock, JsonObject, MediaBlock, NeutralEvent, ToolCallBlock } from '../neutral.ts'
import { argumentsOf } from '../tool-inputs.ts'
import type { Part } from './chunk.ts'
import type { Mark } from './signatures.ts'

/** How the parts of one side are read: their signatures, and which tool a call means. */
export interface PartMeaning {
  markOf(signature: string): Mark | null
  callOf(call: NonNullable<Part['functionCall']>): ToolCallBlock
}

/**
 * Reads what a model says, part by part, as blocks. Texts that follow each other are one text. A signature stands on the first
 * part behind the thoughts that it is of; where there were none (to be seen), it is a block of its own.
 */
export class PartReader {
  readonly #meaning: PartMeaning
  #open: 'text' | 'reasoning' | null = null
  /** A call was among the parts. */
  called = false
  /** Anything was. */
  spoke = false

  constructor(meaning: PartMeaning) {
    this.#meaning = meaning
  }

  read(part: Part, said: NeutralEvent[]): void {
    const text = textOf(part.text)
    const mark = part.thoughtSignature === undefined ? null : this.#meaning.markOf(textOf(part.thoughtSignature))
    if (part.thought === true) {
      this.#say('reasoning', text, said)
      if (mark) this.#sign(mark, said)
      return
    }
    if (mark) this.#sign(mark, said)
    if (part.functionCall) {
      const { input, ...head } = this.#meaning.callOf(part.functionCall)
      this.close(said)
      said.push({ type: 'open', block: head }, { type: 'delta', text: input }, { type: 'close' })
      this.called = this.spoke = true
      return
    }
    const media = mediaOf(part)
    if (media) {
      this.close(said)
      said.push({ type: 'open', block: media }, { type: 'close' })
      this.spoke = true
    } else this.#say('text', text || codeOf(part), said)
  }

  close(said: NeutralEvent[]): void {
    if (this.#open) said.push({ type: 'close' })
    this.#open = null
  }

  #say(kind: 'text' | 'reasoning', text: string, said: NeutralEvent[]): void {
    if (text === '') return
    if (this.#open !== kind) {
      this.close(said)
      said.push({ type: 'open', block: kind === 'text' ? { kind } : { kind, redacted: false } })
      this.#open = kind
      this.spoke = true
    }
    said.push({ type: 'delta', text })
  }

  #sign({ signature, redacted }: Mark, said: NeutralEvent[]): void {
    if (this.#open !== 'reasoning' || redacted) {
      this.close(said)
      said.push({ type: 'open', block: { kind: 'reasoning', redacted } })
      this.spoke = true
    }
    said.push({ type: 'signature', signature }, { type: 'close' })
    this.#open = null
  }
}

/** An image, a document or a sound; null if the part is none. */
export function mediaOf({ inlineData, fileData }: Pick<Part, 'inlineData' | 'fileData'>): MediaBlock | null {
  const head = { kind: 'media' as const, name: null, detail: null }
  if (inlineData) {
    const source = { kind: 'base64' as const, data: textOf(inlineData.data) }
    return { ...head, mediaType: textOf(inlineData.mimeType) || null, source }
  }
  if (!fileData) return null
  const source = { kind: 'url' as const, url: textOf(fileData.fileUri) }
  return { ...head, mediaType: textOf(fileData.mimeType) || null, source }
}

/** Code that the vendor runs itself, and what came of it, as it would be written down. */
export function codeOf({ executableCode, codeExecutionResult }: Part): string {
  if (executableCode)
    return `\n\`\`\`${textOf(executableCode.language).toLowerCase()}\n${textOf(executableCode.code)}\n\`\`\`\n`
  return codeExecutionResult ? `\n\`\`\`\n${textOf(codeExecutionResult.output)}\n\`\`\`\n` : ''
}

/** How the parts of one side are written. */
export interface PartStyle {
  /** Null: the thoughts have no signature that the other side could read. */
  markFor(block: AssistantBlock & { kind: 'reasoning' }): string | null
  /** Claude's thoughts carry their signatures themselves; Gemini's stand on the part that follows. */
  signsThoughts: boolean
  nameOf(call: Pick<ToolCallBlock, 'namespace' | 'name'>): string
}

/** Writes what a model says as parts. A signature waits for the part that it belongs on, or for `flush`. */
export class PartWriter {
  readonly #style: PartStyle
  #mark: string | null = null

  constructor(style: PartStyle) {
    this.#style = style
  }

  parts(block: AssistantBlock): JsonObject[] {
    switch (block.kind) {
      case 'text':
        return [this.text(block.text)]
      case 'reasoning': {
        const mark = this.#style.markFor(block)
        if (this.#style.signsThoughts)
          return [{ text: block.text, thought: true, ...(mark && { thoughtSignature: mark }) }]
        return [...this.thought(block.text), ...this.sign(mark)]
      }
      case 'tool_call':
        return [this.call(block)]
      case 'media':
        return [this.#signed(mediaPart(block))]
    }
  }

  text(text: string): JsonObject {
    return this.#signed({ text })
  }

  thought(text: string): JsonObject[] {
    const before = this.flush()
    return text === '' ? before : [...before, { text, thought: true }]
  }

  sign(mark: string | null): JsonObject[] {
    const before = this.flush()
    this.#mark = mark
    return before
  }

  call({ id, tool, input, ...name }: ToolCallBlock): JsonObject {
    return this.#signed({ functionCall: { id, name: this.#style.nameOf(name), args: argumentsOf(input, tool) } })
  }

  flush(): JsonObject[] {
    return this.#mark === null ? [] : [this.text('')]
  }

  #signed(part: JsonObject): JsonObject {
    if (this.#mark === null) return part
    const signed = { ...part, thoughtSignature: this.#mark }
    this.#mark = null
    return signed
  }
}

export function mediaPart({ mediaType, source }: MediaBlock): JsonObject {
  const type = mediaType === null ? {} : { mimeType: mediaType === 'image/jpg' ? 'image/jpeg' : mediaType }
  return source.kind === 'base64'
    ? { inlineData: { ...type, data: source.data } }
    : { fileData: { ...type, fileUri: source.url } }
}

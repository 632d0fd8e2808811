import { blocksOf } from '../answers.ts'
import { badField, type Fields } from '../fields.ts'
import { textOf } from '../loose-json.ts'
import type {
  MediaBlock,
  NeutralEvent,
  TextBlock,
  ToolCallBlock,
  ToolResultBlock,
  Turn,
  UserBlock,
} from '../neutral.ts'
import type { Part } from './chunk.ts'
import { codeOf, mediaOf, PartReader } from './parts.ts'
import { markOfClient } from './signatures.ts'

/** What a part may hold; one of them at a time. */
const KINDS = [
  'text',
  'functionCall',
  'functionResponse',
  'inlineData',
  'fileData',
  'executableCode',
  'codeExecutionResult',
] as const
/** Files that were put there first can be read by Google's models only. */
const STORED_AT_GOOGLE = /^(?:gs:|https:\/\/generativelanguage\.googleapis\.com\/)/

/** A call that waits for its result. */
interface OpenCall {
  id: string
  name: string
}

/**
 * Reads the contents of a conversation in order. Calls and results have ids only since lately: what has none gets one by its place,
 * and a result without one belongs to the first call of its name that has none yet.
 */
export class ContentReader {
  readonly #dropped: Set<string>
  #open: OpenCall[] = []
  #results = 0

  constructor(dropped: Set<string>) {
    this.#dropped = dropped
  }

  /** SDKs keep every piece of a stream as a content of its own: those of the model that follow each other are one turn. */
  turns(contents: readonly Fields[]): Turn[] {
    const turns: Turn[] = []
    let spoken: Fields[] = []
    const endSpeech = () => {
      if (spoken.length > 0) turns.push({ role: 'assistant', content: this.#modelBlocks(spoken) })
      spoken = []
    }
    for (const content of contents) {
      const role = content.text('role') ?? 'user'
      const parts = content.objects('parts')
      this.#noteLeft(content)
      if (role === 'model') spoken.push(...parts)
      else if (role === 'user' || role === 'function') {
        endSpeech()
        turns.push({ role: 'user', content: parts.flatMap((part) => this.#userBlocks(part)) })
      } else throw badField(content.where('role'), 'must be user or model')
    }
    endSpeech()
    return turns.filter(({ content }) => content.length > 0)
  }

  /** Of the operator's words. */
  texts(content: Fields): string[] {
    content.raw('role')
    const texts = content.objects('parts').map((part) => {
      const text = this.#only(part, ['text']).text('text') ?? ''
      this.#noteLeft(part)
      return text
    })
    this.#noteLeft(content)
    return texts.filter((text) => text !== '')
  }

  #userBlocks(part: Fields): UserBlock[] {
    const result = this.#only(part, KINDS).object('functionResponse')
    if (result) {
      this.#noteLeft(part)
      return [this.#result(result)]
    }
    if (part.has('functionCall')) throw badField(part.where('functionCall'), 'must be in a content of the model')
    return this.#shown(part)
  }

  /** What users and tools can show. */
  #shown(part: Fields): (TextBlock | MediaBlock)[] {
    const media = mediaOf(this.#checkedMedia(part))
    const code = { executableCode: part.raw('executableCode'), codeExecutionResult: part.raw('codeExecutionResult') }
    const text = part.text('text') || codeOf(code as Part)
    for (const name of ['thought', 'thoughtSignature']) part.raw(name)
    this.#noteLeft(part)
    if (media) return [media]
    return text === '' ? [] : [{ kind: 'text', text }]
  }

  /** Checked, and as it will be read. */
  #checkedMedia(part: Fields): Pick<Part, 'inlineData' | 'fileData'> {
    const inline = part.object('inlineData')
    const file = part.object('fileData')
    const data = inline?.requiredText('data')
    const uri = file?.requiredText('fileUri')
    if (uri !== undefined && STORED_AT_GOOGLE.test(uri)) {
      throw badField(`${part.path}.fileData.fileUri`, 'is a file that only Gemini’s models can read')
    }
    const type = (inline ?? file)?.text('mimeType') ?? null
    for (const fields of [inline, file]) if (fields) this.#noteLeft(fields)
    return {
      ...(inline && { inlineData: { data, mimeType: type } }),
      ...(file && { fileData: { fileUri: uri, mimeType: type } }),
    }
  }

  #result(result: Fields): ToolResultBlock {
    const name = result.text('name') ?? ''
    const callId = this.#claim(result.text('id'), name)
    const { text, isError } = outputOf(result.json('response') ?? {})
    const media = result.objects('parts').flatMap((part) => this.#shown(this.#only(part, ['inlineData', 'fileData'])))
    this.#noteLeft(result)
    const content: ToolResultBlock['content'] = text === '' ? media : [{ kind: 'text', text }, ...media]
    return { kind: 'tool_result', callId, content, isError }
  }

  /** The id of the call that a result belongs to; it is no longer open then. */
  #claim(id: string | null, name: string): string {
    const byId = id === null ? -1 : this.#open.findIndex((call) => call.id === id)
    const at = byId >= 0 ? byId : this.#open.findIndex((call) => call.name === name)
    const [call] = at >= 0 ? this.#open.splice(at, 1) : []
    return call?.id ?? id ?? `result_${++this.#results}`
  }

  #modelBlocks(parts: Fields[]) {
    const said: NeutralEvent[] = []
    const reader = new PartReader({ markOf: markOfClient, callOf: (call) => this.#call(call) })
    for (const part of parts) {
      this.#only(part, KINDS)
      if (part.has('functionResponse'))
        throw badField(part.where('functionResponse'), 'must be in a content of the user')
      reader.read(this.#modelPart(part), said)
      this.#noteLeft(part)
    }
    reader.close(said)
    return blocksOf(said)
  }

  /** Checked, and as it will be read. */
  #modelPart(part: Fields): Part {
    const call = part.object('functionCall')
    return {
      ...this.#checkedMedia(part),
      text: part.text('text'),
      thought: part.boolean('thought'),
      thoughtSignature: part.text('thoughtSignature') ?? undefined,
      ...(call && { functionCall: this.#checkedCall(call, part) }),
      executableCode: part.raw('executableCode') as Part['executableCode'] & object,
      codeExecutionResult: part.raw('codeExecutionResult') as Part['codeExecutionResult'] & object,
    }
  }

  #checkedCall(call: Fields, part: Fields): NonNullable<Part['functionCall']> {
    const checked = {
      id: call.text('id') ?? `call_${part.path.replaceAll(/\D+/g, '_').slice(1)}`,
      name: call.requiredText('name'),
      args: call.json('args'),
    }
    this.#noteLeft(call)
    return checked
  }

  #call({ id, name, args }: NonNullable<Part['functionCall']>): ToolCallBlock {
    const call = { id: textOf(id), name: textOf(name) }
    this.#open.push(call)
    return { kind: 'tool_call', ...call, namespace: null, tool: 'function', input: JSON.stringify(args ?? {}) }
  }

  /** Throws if the part holds two things at once. */
  #only(part: Fields, kinds: readonly string[]): Fields {
    const held = KINDS.filter((name) => part.has(name))
    if (held.length > 1) throw badField(part.path, `has ${held.join(' and ')} at once`)
    const [kind] = held
    if (kind !== undefined && !kinds.includes(kind)) throw badField(part.where(kind), 'is not known here')
    return part
  }

  /** By their names alone, as there may be hundreds. */
  #noteLeft(fields: Fields): void {
    for (const name of fields.left()) this.#dropped.add(name.slice(name.lastIndexOf('.') + 1))
  }
}

/** What a result says: Google's clients have `output` and `error`; whatever else is there is the result itself. */
function outputOf(response: Record<string, unknown>): { text: string; isError: boolean } {
  const [[name, value] = ['', null], ...others] = Object.entries(response)
  const isError = name === 'error' && others.length === 0
  if (others.length === 0 && (isError || name === 'output' || name === 'result')) {
    return { text: typeof value === 'string' ? value : JSON.stringify(value), isError }
  }
  return { text: name === '' && others.length === 0 ? '' : JSON.stringify(response), isError: false }
}

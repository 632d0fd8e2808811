import { createHash } from 'node:crypto'
import { badField } from '../fields.ts'
import type {
  AssistantBlock,
  JsonObject,
  MediaBlock,
  NeutralRequest,
  ReasoningBlock,
  SignatureVendor,
  TextBlock,
  ToolCallBlock,
  ToolResultBlock,
  UserBlock,
} from '../neutral.ts'
import type { Dropped } from '../openai/dropped.ts'
import { isImage, urlOf } from '../openai/media.ts'
import type { ToolNames } from '../tool-names.ts'
import { pairedTurns } from '../turns.ts'
import { wireName } from './encode-tools.ts'

/** Longer ids of calls are refused. */
const CALL_ID_CHARACTERS_MAX = 64

/** The conversation as items. Throws `invalid_request` for what no item can say. */
export function encodeInput(
  request: NeutralRequest,
  vendor: SignatureVendor,
  names: ToolNames,
  dropped: Dropped,
): JsonObject[] {
  const input = new InputWriter(vendor, names, dropped)
  input.writeSystem(request.system)
  for (const turn of pairedTurns(request.turns)) {
    if (turn.role === 'system') input.writeSystem(turn.content.map(({ text }) => text))
    else if (turn.role === 'user') input.writeUser(turn.content)
    else input.writeAssistant(turn.content)
  }
  return input.items
}

class InputWriter {
  readonly items: JsonObject[] = []
  readonly #vendor: SignatureVendor
  readonly #names: ToolNames
  readonly #dropped: Dropped
  /** Calls of custom tools, whose results are of a type of their own. */
  readonly #customCalls = new Set<string>()

  constructor(vendor: SignatureVendor, names: ToolNames, dropped: Dropped) {
    this.#vendor = vendor
    this.#names = names
    this.#dropped = dropped
  }

  writeSystem(texts: readonly string[]): void {
    this.#message('developer', texts.map(inputText))
  }

  writeUser(content: readonly UserBlock[]): void {
    let parts: JsonObject[] = []
    for (const block of content) {
      if (block.kind === 'tool_result') {
        this.#message('user', parts)
        parts = []
        this.#result(block)
      } else parts.push(inputPart(block))
    }
    this.#message('user', parts)
  }

  writeAssistant(content: readonly AssistantBlock[]): void {
    let parts: JsonObject[] = []
    for (const block of content) {
      if (block.kind === 'text') {
        parts.push({ type: 'output_text', text: block.text })
        continue
      }
      this.#message('assistant', parts)
      parts = []
      if (block.kind === 'reasoning') this.#reasoning(block)
      else if (block.kind === 'tool_call') this.#call(block)
      else this.#message('user', [inputPart(block)]) // an assistant's message has no place for it
    }
    this.#message('assistant', parts)
  }

  #message(role: 'developer' | 'user' | 'assistant', content: JsonObject[]): void {
    if (content.length > 0) this.items.push({ type: 'message', role, content })
  }

  #reasoning({ text, signature }: ReasoningBlock): void {
    if (signature?.vendor !== 'openai' || this.#vendor !== 'openai') {
      this.#dropped.add('reasoning')
      return
    }
    const summary = text === '' ? [] : [{ type: 'summary_text', text }]
    this.items.push({ type: 'reasoning', summary, encrypted_content: signature.value })
  }

  #call({ id, namespace, name, tool, input }: ToolCallBlock): void {
    const head = {
      call_id: wireCallId(id),
      name: wireName(this.#names, namespace, name),
      ...(namespace !== null && { namespace }),
    }
    if (tool === 'custom') {
      this.#customCalls.add(id)
      this.items.push({ type: 'custom_tool_call', ...head, input })
    } else this.items.push({ type: 'function_call', ...head, arguments: input || '{}' })
  }

  #result({ callId, content, isError }: ToolResultBlock): void {
    this.items.push({
      type: this.#customCalls.has(callId) ? 'custom_tool_call_output' : 'function_call_output',
      call_id: wireCallId(callId),
      output: outputOf(isError ? failed(content) : content),
    })
  }
}

/** What a tool that failed has to say: there is no other place to say that it did. */
function failed(content: ToolResultBlock['content']): ToolResultBlock['content'] {
  const [first, ...rest] = content
  if (first?.kind === 'text') return [{ kind: 'text', text: `Error: ${first.text}` }, ...rest]
  return [{ kind: 'text', text: 'Error:' }, ...content]
}

/** A text where a text is all there is. */
function outputOf(content: readonly (TextBlock | MediaBlock)[]): string | JsonObject[] {
  const [only] = content
  if (!only) return ''
  return content.length === 1 && only.kind === 'text' ? only.text : content.map(inputPart)
}

function inputText(text: string): JsonObject {
  return { type: 'input_text', text }
}

function inputPart(block: TextBlock | MediaBlock): JsonObject {
  if (block.kind === 'text') return inputText(block.text)
  const { mediaType, source, name, detail } = block
  if (mediaType?.startsWith('audio/') || mediaType?.startsWith('video/')) {
    throw badField('input', `${mediaType} cannot be sent to OpenAI's Responses`)
  }
  if (isImage(block)) return { type: 'input_image', image_url: urlOf(block), detail: detail ?? 'auto' }
  if (source.kind === 'url') return { type: 'input_file', file_url: source.url, ...(name && { filename: name }) }
  return { type: 'input_file', file_data: urlOf(block), filename: name ?? fileName(mediaType) }
}

/** Bytes have to have a name. */
function fileName(mediaType: string | null): string {
  return mediaType === 'application/pdf' ? 'document.pdf' : 'document.txt'
}

/** The same for a call and its result. */
function wireCallId(id: string): string {
  if (id.length <= CALL_ID_CHARACTERS_MAX) return id
  return `call_${createHash('sha256').update(id).digest('hex').slice(0, 32)}`
}

import type { Usage } from '../../domain/usage.ts'
import { mediaNote } from '../answers.ts'
import type { Asker } from '../codec.ts'
import { wrappedSignature } from '../foreign-signature.ts'
import type { AssistantBlock, JsonObject, MediaBlock, ReasoningBlock, Stop, ToolCallBlock } from '../neutral.ts'
import type { Asked } from './decode-request.ts'
import { LOCAL_SHELL, TOOL_SEARCH } from './decode-tools.ts'

// What an answer is made of, as JSON text: each item is written once and then repeated as it is.

const ID_PREFIXES = {
  text: 'msg_',
  reasoning: 'rs_',
  function: 'fc_',
  custom: 'ctc_',
  media: 'ig_',
} as const

/** An identifier with the prefix that clients know the item's type by. */
export function newItemId(block: { kind: AssistantBlock['kind']; tool?: ToolCallBlock['tool'] }, asker: Asker): string {
  return asker.newId(ID_PREFIXES[block.kind === 'tool_call' ? (block.tool ?? 'function') : block.kind])
}

/** A whole item. */
export function itemOf(block: AssistantBlock, id: string, { asked }: Asker): string {
  switch (block.kind) {
    case 'text':
      return messageItem(id, block.text)
    case 'reasoning':
      return JSON.stringify(reasoningItem(id, block))
    case 'tool_call':
      return JSON.stringify(callItem(id, block, 'completed', (asked as Asked).ownItems))
    case 'media':
      return isGenerated(block) ? JSON.stringify(imageItem(id, block)) : messageItem(id, mediaNote(block))
  }
}

/** An item as it begins, without its words. */
export function openItemOf(block: Exclude<AssistantBlock, MediaBlock>, id: string, { asked }: Asker): string {
  switch (block.kind) {
    case 'text':
      return JSON.stringify({ id, type: 'message', status: 'in_progress', role: 'assistant', content: [] })
    case 'reasoning':
      return JSON.stringify({ id, type: 'reasoning', summary: [] })
    case 'tool_call':
      return JSON.stringify(callItem(id, block, 'in_progress', (asked as Asked).ownItems))
  }
}

/** The part of a message that holds its text. */
export function textPart(text: string): string {
  return JSON.stringify({ type: 'output_text', text, annotations: [], logprobs: [] })
}

function messageItem(id: string, text: string): string {
  return `{"id":"${id}","type":"message","status":"completed","role":"assistant","content":[${textPart(text)}]}`
}

function reasoningItem(id: string, { text, signature, redacted }: ReasoningBlock): JsonObject {
  return {
    id,
    type: 'reasoning',
    summary: text === '' ? [] : [{ type: 'summary_text', text }],
    ...(signature && { encrypted_content: wrappedSignature(signature, 'openai', redacted) }),
  }
}

function callItem(id: string, call: ToolCallBlock, status: string, ownItems: Asked['ownItems']): JsonObject {
  const { id: call_id, namespace, name, tool, input } = call
  if (isOwnItem(call, ownItems)) {
    const given = parsedInput(input)
    if (given && name === LOCAL_SHELL) {
      return { id, type: 'local_shell_call', status, call_id, action: { env: {}, ...given, type: 'exec' } }
    }
    if (given && name === TOOL_SEARCH) {
      return { id, type: 'tool_search_call', status, call_id, execution: 'client', arguments: given }
    }
  }
  const head = { call_id, name, ...(namespace !== null && { namespace }) }
  return tool === 'custom'
    ? { id, type: 'custom_tool_call', status, ...head, input }
    : { id, type: 'function_call', status, ...head, arguments: input }
}

/** True for the call of a tool that has items of its own: it comes in one piece. */
export function isOwnItem(call: Pick<ToolCallBlock, 'namespace' | 'name'>, ownItems: Asked['ownItems']): boolean {
  return call.namespace === null && ownItems.has(call.name)
}

/** Null if it is no object, because the model was cut off. */
function parsedInput(input: string): object | null {
  try {
    const value: unknown = JSON.parse(input || '{}')
    return value !== null && typeof value === 'object' ? value : null
  } catch {
    return null
  }
}

function isGenerated({ mediaType, source }: MediaBlock): boolean {
  return source.kind === 'base64' && (mediaType?.startsWith('image/') ?? false)
}

function imageItem(id: string, { mediaType, source }: MediaBlock): JsonObject {
  const result = source.kind === 'base64' ? source.data : null
  return { id, type: 'image_generation_call', status: 'completed', output_format: mediaType?.slice(6), result }
}

export type ResponseStatus =
  | { status: 'in_progress' | 'completed' }
  | { status: 'incomplete'; incomplete_details: { reason: 'max_output_tokens' | 'content_filter' } }
  | { status: 'failed'; error: { code: string; message: string } }

/** The status that an answer ends in. */
export function statusOf({ reason }: Stop): ResponseStatus {
  const incomplete = (why: 'max_output_tokens' | 'content_filter') =>
    ({ status: 'incomplete', incomplete_details: { reason: why } }) as const
  if (reason === 'max_tokens' || reason === 'context_full') return incomplete('max_output_tokens')
  return reason === 'refusal' ? incomplete('content_filter') : { status: 'completed' }
}

/** Writes the response around its items. */
export class ResponseWriter {
  readonly #head: string
  readonly #settings: string

  constructor(asker: Asker) {
    const { echo } = asker.asked as Asked
    const createdAt = Math.floor(asker.nowMs / 1000)
    const head = { id: asker.newId('resp_'), object: 'response', created_at: createdAt, model: asker.model }
    this.#head = JSON.stringify(head).slice(0, -1)
    this.#settings = JSON.stringify({ ...DEFAULTS, ...echo }).slice(1)
  }

  /** `items` as JSON texts. */
  write(status: ResponseStatus, items: readonly string[], usage: Usage | null): string {
    const state = JSON.stringify({ error: null, incomplete_details: null, ...status }).slice(1, -1)
    const used = usage ? `${JSON.stringify(usageOf(usage))}${toolUsage(usage)}` : 'null'
    return `${this.#head},${state},"output":[${items.join(',')}],"usage":${used},${this.#settings}`
  }
}

/** What SDKs' types say is always there. */
const DEFAULTS: JsonObject = {
  background: false,
  instructions: null,
  max_output_tokens: null,
  metadata: {},
  parallel_tool_calls: true,
  previous_response_id: null,
  reasoning: { effort: null, summary: null },
  store: false,
  temperature: null,
  text: { format: { type: 'text' } },
  tool_choice: 'auto',
  tools: [],
  top_p: null,
  truncation: 'disabled',
}

function usageOf(usage: Usage): JsonObject {
  const written = usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
  const input = usage.inputTokens + usage.cacheReadTokens + written
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: usage.cacheReadTokens, cache_write_tokens: written },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: input + usage.outputTokens, // Codex refuses a usage without it
  }
}

function toolUsage({ webSearchRequests }: Usage): string {
  return webSearchRequests === 0 ? '' : `,"tool_usage":{"web_search":{"num_requests":${webSearchRequests}}}`
}

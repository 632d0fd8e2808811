import { NO_USAGE, type Usage } from '../../domain/usage.ts'
import { mediaNote, UNREADABLE } from '../answers.ts'
import type { Asker } from '../codec.ts'
import { unwrappedSignature, wrappedSignature } from '../foreign-signature.ts'
import { objectOf, textOf } from '../loose-json.ts'
import type {
  AssistantBlock,
  JsonObject,
  NeutralAnswer,
  NeutralError,
  ReasoningBlock,
  Signature,
  Stop,
} from '../neutral.ts'
import { argumentsOf, inputOf } from '../tool-inputs.ts'
import type { ToolNames } from '../tool-names.ts'
import { mergeUsage, type ReportedUsage } from './usage.ts'

const STOPS: Record<string, Stop['reason']> = {
  end_turn: 'end',
  max_tokens: 'max_tokens',
  model_context_window_exceeded: 'context_full',
  stop_sequence: 'stop_sequence',
  tool_use: 'tool_use',
  pause_turn: 'pause',
  refusal: 'refusal',
}
const STOP_REASONS = Object.fromEntries(Object.entries(STOPS).map(([wire, neutral]) => [neutral, wire])) as Record<
  Stop['reason'],
  string
>

/** What a model said in one body; what the vendor's own tools did is left out, the text tells it. */
export function decodeMessagesAnswer(body: Buffer, names: ToolNames): NeutralAnswer | NeutralError {
  const answer = objectOf(body.toString('utf8'))
  if (answer?.type !== 'message' || !Array.isArray(answer.content)) return answer ? errorOf(answer) : UNREADABLE
  return {
    id: textOf(answer.id),
    model: textOf(answer.model),
    content: answer.content.flatMap((block) => blockOf(block, names)),
    stop: stopOf(answer),
    usage: usageOf(answer.usage),
  }
}

export function usageOf(reported: unknown): Usage {
  const usage = { ...NO_USAGE }
  if (reported !== null && typeof reported === 'object') mergeUsage(usage, reported as ReportedUsage)
  return usage
}

/** Of an answer, or of the delta in which a stream says it. */
export function stopOf({ stop_reason, stop_sequence }: JsonObject): Stop {
  return { reason: STOPS[textOf(stop_reason)] ?? 'end', sequence: textOf(stop_sequence) || null }
}

function blockOf(value: unknown, names: ToolNames): AssistantBlock[] {
  const block = value as JsonObject | null
  switch (block?.type) {
    case 'text': {
      const text = textOf(block.text)
      return text === '' ? [] : [{ kind: 'text', text }]
    }
    case 'thinking':
      return [{ kind: 'reasoning', text: textOf(block.thinking), signature: signed(block.signature), redacted: false }]
    case 'redacted_thinking':
      return [{ kind: 'reasoning', text: '', signature: signed(block.data), redacted: true }]
    case 'tool_use': {
      const head = callHead(block, names)
      return [{ ...head, input: inputOf(block.input, head.tool) }]
    }
    default:
      return []
  }
}

export function signed(value: unknown): Signature | null {
  return textOf(value) === '' ? null : unwrappedSignature(textOf(value), 'anthropic')
}

/** Whose call a `tool_use` block is. */
export function callHead(block: JsonObject, names: ToolNames) {
  return { kind: 'tool_call' as const, id: textOf(block.id), ...names.called(textOf(block.name)) }
}

// ---- for clients ----

export function encodeMessagesAnswer({ content, stop, usage }: NeutralAnswer, asker: Asker): Buffer {
  return Buffer.from(
    JSON.stringify({ ...head(asker), content: content.map(blockFor), ...stopFor(stop), usage: usageFor(usage) }),
  )
}

/** An answer without its content, its end and its usage. With all the keys that newer clients take for granted. */
export function head(asker: Asker): JsonObject {
  return {
    id: asker.newId('msg_'),
    type: 'message',
    role: 'assistant',
    model: asker.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    container: null,
    diagnostics: null,
  }
}

export function stopFor({ reason, sequence }: Stop): JsonObject {
  return { stop_reason: STOP_REASONS[reason], stop_sequence: sequence }
}

export function usageFor(usage: Usage): JsonObject {
  return {
    input_tokens: usage.inputTokens,
    cache_creation_input_tokens: usage.cacheWrite5mTokens + usage.cacheWrite1hTokens,
    cache_read_input_tokens: usage.cacheReadTokens,
    cache_creation: {
      ephemeral_5m_input_tokens: usage.cacheWrite5mTokens,
      ephemeral_1h_input_tokens: usage.cacheWrite1hTokens,
    },
    output_tokens: usage.outputTokens,
    output_tokens_details: { thinking_tokens: usage.reasoningTokens },
    server_tool_use: usage.webSearchRequests > 0 ? { web_search_requests: usage.webSearchRequests } : null,
    service_tier: null,
    inference_geo: null,
    speed: null,
  }
}

function blockFor(block: AssistantBlock): JsonObject {
  switch (block.kind) {
    case 'text':
      return { type: 'text', text: block.text, citations: null }
    case 'reasoning':
      return reasoningFor(block)
    case 'tool_call':
      return { ...callFor(block.id, block.name), input: argumentsOf(block.input, 'function') }
    case 'media':
      return { type: 'text', text: mediaNote(block), citations: null }
  }
}

export function reasoningFor({ text, signature, redacted }: ReasoningBlock): JsonObject {
  const value = signature ? wrappedSignature(signature, 'anthropic') : ''
  return redacted ? { type: 'redacted_thinking', data: value } : { type: 'thinking', thinking: text, signature: value }
}

export function callFor(id: string, name: string): JsonObject {
  return { type: 'tool_use', id, name, caller: { type: 'direct' } }
}

// ---- errors ----

const KINDS: Record<string, NeutralError['kind']> = {
  invalid_request_error: 'bad_request',
  authentication_error: 'forbidden',
  permission_error: 'forbidden',
  billing_error: 'funds',
  not_found_error: 'not_found',
  request_too_large: 'too_large',
  rate_limit_error: 'rate_limit',
  overloaded_error: 'overloaded',
}

/** What an error body or event says. */
export function errorOf(body: JsonObject): NeutralError {
  const error = body.error as JsonObject | null | undefined
  const message = textOf(error?.message)
  if (message === '') return UNREADABLE
  if (/prompt is too long/i.test(message)) return { kind: 'too_long', message }
  return { kind: KINDS[textOf(error?.type)] ?? 'internal', message }
}

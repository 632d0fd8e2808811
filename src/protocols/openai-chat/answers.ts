import { NO_USAGE, type Usage } from '../../domain/usage.ts'
import { mediaNote } from '../answers.ts'
import type { Asker } from '../codec.ts'
import { asObject, objectOf, textOf } from '../loose-json.ts'
import type { AssistantBlock, JsonObject, NeutralAnswer, NeutralError, Stop } from '../neutral.ts'
import { errorOf } from '../openai/foreign-errors.ts'
import { writtenInputOf } from '../tool-inputs.ts'
import type { ToolNames } from '../tool-names.ts'
import { readUsage } from './usage.ts'

const STOPS: Record<string, Stop['reason']> = {
  stop: 'end',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  function_call: 'tool_use',
  content_filter: 'refusal',
}

const FINISH_REASONS: Record<Stop['reason'], string> = {
  end: 'stop',
  stop_sequence: 'stop',
  pause: 'stop',
  max_tokens: 'length',
  context_full: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

export function decodeChatAnswer(body: Buffer, names: ToolNames): NeutralAnswer | NeutralError {
  const answer = objectOf(body.toString('utf8'))
  const choice = Array.isArray(answer?.choices) ? asObject(answer.choices[0]) : null
  const message = asObject(choice?.message)
  if (!answer || !message) return errorOf(answer)
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls.map(asObject) : []
  const content: AssistantBlock[] = [
    ...reasoningIn(message),
    ...[message.content, message.refusal].flatMap((text): AssistantBlock[] =>
      textOf(text) === '' ? [] : [{ kind: 'text', text: textOf(text) }],
    ),
    ...calls.flatMap((call, index) => (call ? [callOf(call, index, textOf(answer.id), names)] : [])),
  ]
  const usage = { ...NO_USAGE }
  readUsage(usage, answer.usage)
  const stop = stopOf(textOf(choice?.finish_reason), calls.length > 0)
  return { id: textOf(answer.id), model: textOf(answer.model), content, stop, usage }
}

function reasoningIn(message: JsonObject): AssistantBlock[] {
  const text = textOf(message.reasoning_content) || textOf(message.reasoning)
  return text === '' ? [] : [{ kind: 'reasoning', text, signature: null, redacted: false }]
}

function callOf(call: JsonObject, index: number, answerId: string, names: ToolNames): AssistantBlock {
  const fn = asObject(call.function)
  const custom = asObject(call.custom)
  const id = textOf(call.id) || madeUpId(answerId, index)
  const called = names.called(textOf((fn ?? custom)?.name))
  // Some vendors know tools of free text themselves.
  const input = fn ? writtenInputOf(textOf(fn.arguments), called.tool) : textOf(custom?.input)
  return { kind: 'tool_call', id, ...called, input }
}

/** Some vendors give their calls no ids: the same call gets the same one each time. */
export function madeUpId(answerId: string, index: number): string {
  return `call_${answerId}_${index}`
}

/** That a call is there counts more than what the vendor calls the end. */
export function stopOf(finishReason: string, hasCalls: boolean): Stop {
  const reason = STOPS[finishReason] ?? 'end'
  return { reason: hasCalls && reason === 'end' ? 'tool_use' : reason, sequence: null }
}

// ---- for clients ----

export function encodeChatAnswer({ content, stop, usage }: NeutralAnswer, asker: Asker): Buffer {
  const texts = content.flatMap((block) =>
    block.kind === 'text' ? [block.text] : block.kind === 'media' ? [mediaNote(block)] : [],
  )
  const thoughts = content.flatMap((block) => (block.kind === 'reasoning' && block.text !== '' ? [block.text] : []))
  const calls = content.flatMap((block) => (block.kind === 'tool_call' ? [callFor(block, block.input)] : []))
  const message = {
    role: 'assistant',
    content: texts.length > 0 ? texts.join('') : null,
    refusal: null,
    ...(thoughts.length > 0 && { reasoning_content: thoughts.join('\n') }),
    ...(calls.length > 0 && { tool_calls: calls }),
  }
  const choice = { index: 0, message, logprobs: null, finish_reason: finishReason(stop) }
  return Buffer.from(JSON.stringify({ ...head(asker, 'chat.completion'), choices: [choice], usage: usageFor(usage) }))
}

export function head(asker: Asker, object: string): JsonObject {
  const created = Math.floor(asker.nowMs / 1000)
  return {
    id: asker.newId('chatcmpl-'),
    object,
    created,
    model: asker.model,
    service_tier: null,
    system_fingerprint: null,
  }
}

export function callFor(
  { id, name, tool }: { id: string; name: string; tool: 'function' | 'custom' },
  input: string,
): JsonObject {
  return tool === 'custom'
    ? { id, type: 'custom', custom: { name, input } }
    : { id, type: 'function', function: { name, arguments: input } }
}

export function finishReason({ reason }: Stop): string {
  return FINISH_REASONS[reason]
}

export function usageFor(usage: Usage): JsonObject {
  const written = usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
  const prompt = usage.inputTokens + usage.cacheReadTokens + written
  return {
    prompt_tokens: prompt,
    completion_tokens: usage.outputTokens,
    total_tokens: prompt + usage.outputTokens,
    prompt_tokens_details: { cached_tokens: usage.cacheReadTokens, cache_write_tokens: written, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens, audio_tokens: 0 },
  }
}

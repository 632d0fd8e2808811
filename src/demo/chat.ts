import type { FakeMessage, FakeUsage } from './messages.ts'

/** Builds answers in OpenAI's Chat Completions format, in the chunks and the order in which the real service sends them. */

/** The whole stream, one string per event; the last but one tells the usage if it was asked for. */
export function chatEvents(message: FakeMessage, id: string, includeUsage: boolean): string[] {
  const { text, toolUse } = message
  const shared = { ...head(message, id), object: 'chat.completion.chunk', ...(includeUsage && { usage: null }) }
  const chunk = (delta: object, finish_reason: string | null = null) =>
    data({ ...shared, choices: [{ index: 0, delta, logprobs: null, finish_reason }] })
  const events = [chunk({ role: 'assistant', content: toolUse && text.length === 0 ? null : '', refusal: null })]
  for (const content of text) events.push(chunk({ content }))
  if (toolUse) {
    const { id: callId, name, input } = toolUse
    const call = { index: 0, id: callId, type: 'function', function: { name, arguments: '' } }
    events.push(chunk({ tool_calls: [call] }))
    events.push(chunk({ tool_calls: [{ index: 0, function: { arguments: JSON.stringify(input) } }] }))
  }
  events.push(chunk({}, finishReason(message)))
  if (includeUsage) events.push(data({ ...shared, choices: [], usage: usageOf(message.usage) }))
  return [...events, 'data: [DONE]\n\n']
}

/** The same message as one JSON body. */
export function chatBody(message: FakeMessage, id: string): string {
  const { text, toolUse } = message
  const calls = toolUse && [
    {
      id: toolUse.id,
      type: 'function',
      function: { name: toolUse.name, arguments: JSON.stringify(toolUse.input) },
    },
  ]
  const content = text.length > 0 ? text.join('') : null
  const answer = { role: 'assistant', content, refusal: null, ...(calls && { tool_calls: calls }) }
  return JSON.stringify({
    ...head(message, id),
    object: 'chat.completion',
    choices: [{ index: 0, message: answer, logprobs: null, finish_reason: finishReason(message) }],
    usage: usageOf(message.usage),
  })
}

/** Of both formats of OpenAI's. */
export function openaiErrorBody(
  type: string,
  message: string,
  param: string | null = null,
  code: string | null = null,
): string {
  return JSON.stringify({ error: { message, type, param, code } })
}

export function data(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`
}

function head({ model }: FakeMessage, id: string) {
  return { id: `chatcmpl-${id}`, created: 1795000000, model, service_tier: 'default', system_fingerprint: null }
}

function finishReason({ stopReason, toolUse }: FakeMessage): string {
  if (stopReason === 'max_tokens') return 'length'
  return toolUse ? 'tool_calls' : 'stop'
}

/** Cached and written tokens stand inside of the prompt. */
function usageOf({ input, output, cacheRead = 0, cacheWrite5m = 0, thinking = 0 }: FakeUsage) {
  const prompt_tokens = input + cacheRead + cacheWrite5m
  return {
    prompt_tokens,
    completion_tokens: output,
    total_tokens: prompt_tokens + output,
    prompt_tokens_details: { cached_tokens: cacheRead, cache_write_tokens: cacheWrite5m, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: thinking, audio_tokens: 0 },
  }
}

import type { JsonBody } from './formats.ts'
import { event, type FakeMessage, type FakeUsage } from './messages.ts'

/** Builds answers in OpenAI's Responses format, in the events and the order in which the real service sends them. */

/** The whole stream, one string per event; of what was asked it says again what it has to. */
export function responsesEvents(message: FakeMessage, id: string, asked?: JsonBody): string[] {
  let sequence = 0
  const events: string[] = []
  const say = (type: string, data: object) => events.push(event(type, { sequence_number: sequence++, ...data }))
  const begun = unfinished(message, id, asked, 'in_progress')
  say('response.created', { response: begun })
  say('response.in_progress', { response: begun })
  for (const [output_index, item] of itemsOf(message, id).entries()) {
    if (item.type === 'message') {
      const place = { item_id: item.id, output_index, content_index: 0 }
      const part = { type: 'output_text', annotations: [], logprobs: [] }
      say('response.output_item.added', { output_index, item: { ...item, status: 'in_progress', content: [] } })
      say('response.content_part.added', { ...place, part: { ...part, text: '' } })
      for (const delta of message.text) say('response.output_text.delta', { ...place, delta, logprobs: [] })
      const text = message.text.join('')
      say('response.output_text.done', { ...place, text, logprobs: [] })
      say('response.content_part.done', { ...place, part: { ...part, text } })
    } else {
      const place = { item_id: item.id, output_index }
      const [key, kind] = item.type === 'function_call' ? FUNCTION_INPUT : CUSTOM_INPUT
      const input = item.type === 'function_call' ? item.arguments : item.input
      say('response.output_item.added', { output_index, item: { ...item, status: 'in_progress', [key]: '' } })
      say(`response.${kind}.delta`, { ...place, delta: input })
      say(`response.${kind}.done`, { ...place, [key]: input })
    }
    say('response.output_item.done', { output_index, item })
  }
  const response = whole(message, id, asked)
  say(response.status === 'completed' ? 'response.completed' : 'response.incomplete', { response })
  return events
}

/** The same message as one JSON body; one that is made in the background has only been queued. */
export function responsesBody(message: FakeMessage, id: string, asked?: JsonBody): string {
  const inBackground = asked?.background === true
  return JSON.stringify(inBackground ? unfinished(message, id, asked, 'queued') : whole(message, id, asked))
}

/** A response of which nothing is there yet, or ever will be. */
export function unfinished(message: FakeMessage, id: string, asked: JsonBody, status: string) {
  return { ...head(message, id, asked), status, output: [], usage: null }
}

/** Where what a tool is called with stands, in a call and in the names of events. */
const FUNCTION_INPUT = ['arguments', 'function_call_arguments'] as const
const CUSTOM_INPUT = ['input', 'custom_tool_call_input'] as const

type Item =
  | { type: 'message'; id: string; role: string; status: string; content: object[] }
  | { type: 'function_call'; id: string; call_id: string; name: string; arguments: string; status: string }
  | { type: 'custom_tool_call'; id: string; call_id: string; name: string; input: string; status: string }

function itemsOf({ text, toolUse }: FakeMessage, id: string): Item[] {
  const items: Item[] = []
  if (text.length > 0) {
    const content = [{ type: 'output_text', text: text.join(''), annotations: [], logprobs: [] }]
    items.push({ type: 'message', id: `msg_${id}`, role: 'assistant', status: 'completed', content })
  }
  if (toolUse) {
    const { id: call_id, name, input } = toolUse
    const call = { call_id, name, status: 'completed' }
    // A custom tool is called with a text as it is.
    if (typeof input === 'string') items.push({ type: 'custom_tool_call', id: `ctc_${id}`, ...call, input })
    else items.push({ type: 'function_call', id: `fc_${id}`, ...call, arguments: JSON.stringify(input) })
  }
  return items
}

function head({ model }: FakeMessage, id: string, asked: JsonBody) {
  const { store, previous_response_id = null, background, metadata } = asked ?? {}
  return {
    ...{ id: `resp_${id}`, object: 'response', created_at: 1795000000, model, error: null, incomplete_details: null },
    ...{ store: store !== false, previous_response_id, background: background === true, metadata: metadata ?? {} },
  }
}

/** A response that is finished. */
export function whole(message: FakeMessage, id: string, asked: JsonBody) {
  const output = itemsOf(message, id)
  const answer = { ...head(message, id, asked), output, usage: usageOf(message.usage) }
  if (message.stopReason !== 'max_tokens') return { ...answer, status: 'completed' }
  return { ...answer, status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }
}

/** Cached and written tokens stand inside of the input. */
function usageOf({ input, output, cacheRead = 0, cacheWrite5m = 0, thinking = 0 }: FakeUsage) {
  const input_tokens = input + cacheRead + cacheWrite5m
  return {
    input_tokens,
    input_tokens_details: { cached_tokens: cacheRead, cache_write_tokens: cacheWrite5m },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: thinking },
    total_tokens: input_tokens + output,
  }
}

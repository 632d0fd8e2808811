/** Builds answers in Anthropic's Messages format, in the events and the order in which the real service sends them. */

export interface FakeMessage {
  model: string
  /** Pieces of text, one delta each. */
  text: string[]
  /** A tool that the answer calls after its text. */
  toolUse?: { id: string; name: string; input: unknown } | undefined
  usage: FakeUsage
  stopReason?: string | undefined
}

export interface FakeUsage {
  input: number
  output: number
  cacheRead?: number | undefined
  cacheWrite5m?: number | undefined
  cacheWrite1h?: number | undefined
  thinking?: number | undefined
}

/** The whole stream, one string per event. */
export function messageEvents(message: FakeMessage, id: string): string[] {
  const { text, toolUse } = message
  const events = [
    event('message_start', {
      message: {
        ...head(message, id),
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { ...inputUsage(message.usage), output_tokens: 1 },
      },
    }),
  ]
  let index = 0
  if (text.length > 0) {
    events.push(event('content_block_start', { index, content_block: { type: 'text', text: '' } }))
    events.push(event('ping', {}))
    for (const piece of text)
      events.push(event('content_block_delta', { index, delta: { type: 'text_delta', text: piece } }))
    events.push(event('content_block_stop', { index }))
    index++
  }
  if (toolUse) {
    const { id: toolId, name, input } = toolUse
    const partial = { index, delta: { type: 'input_json_delta', partial_json: JSON.stringify(input) } }
    events.push(
      event('content_block_start', { index, content_block: { type: 'tool_use', id: toolId, name, input: {} } }),
    )
    events.push(event('content_block_delta', partial))
    events.push(event('content_block_stop', { index }))
  }
  events.push(
    event('message_delta', {
      delta: { stop_reason: stopReasonOf(message), stop_sequence: null },
      usage: outputUsage(message.usage),
    }),
  )
  events.push(event('message_stop', {}))
  return events
}

/** The same message as one JSON body. */
export function messageBody(message: FakeMessage, id: string): string {
  const content: unknown[] = message.text.length > 0 ? [{ type: 'text', text: message.text.join('') }] : []
  if (message.toolUse) content.push({ type: 'tool_use', ...message.toolUse })
  return JSON.stringify({
    ...head(message, id),
    content,
    stop_reason: stopReasonOf(message),
    stop_sequence: null,
    usage: { ...inputUsage(message.usage), ...outputUsage(message.usage) },
  })
}

export function errorBody(type: string, message: string): string {
  return JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_fake' })
}

export function event(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify({ type: name, ...data })}\n\n`
}

function head(message: FakeMessage, id: string) {
  return { id, type: 'message', role: 'assistant', model: message.model }
}

function stopReasonOf(message: FakeMessage): string {
  return message.stopReason ?? (message.toolUse ? 'tool_use' : 'end_turn')
}

function inputUsage({ input, cacheRead = 0, cacheWrite5m = 0, cacheWrite1h = 0 }: FakeUsage) {
  return {
    input_tokens: input,
    cache_creation_input_tokens: cacheWrite5m + cacheWrite1h,
    cache_read_input_tokens: cacheRead,
    cache_creation: { ephemeral_5m_input_tokens: cacheWrite5m, ephemeral_1h_input_tokens: cacheWrite1h },
    service_tier: 'standard',
  }
}

function outputUsage({ output, thinking }: FakeUsage) {
  return {
    output_tokens: output,
    ...(thinking !== undefined && { output_tokens_details: { thinking_tokens: thinking } }),
  }
}

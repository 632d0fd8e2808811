import type { AnswerSample } from '../../contract/protocol.ts'

/** Answers of OpenAI's Responses API, as the real service sends them and as others have been seen to bend them. */

/** Numbers the events of a stream as they are made. */
function numbered() {
  let number = 0
  return (type: string, data: object) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: number++, ...data })}\n\n`
}

const event = numbered()

const RESPONSE = {
  id: 'resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b',
  object: 'response',
  created_at: 1741476542,
  status: 'in_progress',
  error: null,
  incomplete_details: null,
  instructions: 'You are "helpful".',
  model: 'gpt-5.5-2026-04-23',
  output: [] as object[],
  parallel_tool_calls: true,
  tools: [{ type: 'function', name: 'f', parameters: { type: 'object', properties: { delta: {}, type: {} } } }],
  usage: null as object | null,
}
const USAGE = {
  input_tokens: 37,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 11,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 48,
}

const response = (changes: object = {}) => ({ response: { ...RESPONSE, ...changes } })
const START = event('response.created', response()) + event('response.in_progress', response())
const text = (delta: string) =>
  event('response.output_text.delta', {
    item_id: 'msg_1',
    output_index: 0,
    content_index: 0,
    delta,
    logprobs: [],
    obfuscation: 'Ab"'.slice(0, 2),
  })
const MESSAGE = { id: 'msg_1', type: 'message', status: 'completed', role: 'assistant', content: [] as object[] }

/** A message of these pieces. */
const said = (...pieces: string[]) => {
  const whole = { type: 'output_text', text: pieces.join(''), annotations: [] }
  const at = { item_id: 'msg_1', output_index: 0, content_index: 0 }
  return (
    event('response.output_item.added', { output_index: 0, item: { ...MESSAGE, status: 'in_progress' } }) +
    event('response.content_part.added', { ...at, part: { type: 'output_text', text: '', annotations: [] } }) +
    pieces.map(text).join('') +
    event('response.output_text.done', { ...at, text: whole.text }) +
    event('response.content_part.done', { ...at, part: whole }) +
    event('response.output_item.done', { output_index: 0, item: { ...MESSAGE, content: [whole] } })
  )
}
const completed = (usage: object | null = USAGE, changes: object = {}) =>
  event('response.completed', response({ status: 'completed', usage, ...changes }))

/** Bytes of texts as they are written. */
const written = (...texts: string[]) => texts.reduce((sum, one) => sum + Buffer.byteLength(JSON.stringify(one)) - 2, 0)

const COMPLETE = {
  reportedModel: 'gpt-5.5-2026-04-23',
  stopReason: 'completed',
  contentSeen: true,
  ended: 'complete',
} as const
const CUT = { ...COMPLETE, stopReason: null, ended: null } as const
const COUNTED = { inputTokens: 37, outputTokens: 11 }

interface Given {
  usage?: AnswerSample['usage']
  reading?: AnswerSample['reading']
  error?: string
  tornBytes?: number
}

/** A stream: what goes out at once, and what is held from the terminal event on. */
function stream(name: string, ready: string, held: string, given: Given = {}): AnswerSample {
  const { usage = COUNTED, reading = COMPLETE, error, tornBytes } = given
  return {
    name,
    streams: true,
    bytes: Buffer.from(ready + held),
    usage,
    reading,
    ...(error !== undefined && { error }),
    ...(tornBytes !== undefined && { tornBytes }),
    terminalAt: held === '' ? null : Buffer.byteLength(ready),
  }
}

const HELLO = START + said('In', ' a', ' peaceful "grove"', ' beneath \\', '\\"')
const HELLO_BYTES = written('In', ' a', ' peaceful "grove"', ' beneath \\', '\\"')
const TOLD = { reading: { ...COMPLETE, textBytes: HELLO_BYTES } }
const DONE = completed()

const TOOLS =
  START +
  event('response.output_item.added', { output_index: 0, item: { type: 'reasoning', id: 'rs_1', summary: [] } }) +
  event('response.reasoning_summary_part.added', { item_id: 'rs_1', output_index: 0, summary_index: 0, part: {} }) +
  event('response.reasoning_summary_text.delta', {
    item_id: 'rs_1',
    output_index: 0,
    summary_index: 0,
    delta: '**Hm**',
  }) +
  event('response.output_item.done', {
    output_index: 0,
    item: { type: 'reasoning', id: 'rs_1', encrypted_content: 'gAA' },
  }) +
  event('response.output_item.added', { output_index: 1, item: { type: 'function_call', id: 'fc_1', name: 'f' } }) +
  event('response.function_call_arguments.delta', { item_id: 'fc_1', output_index: 1, delta: '{"cmd":"ec' }) +
  event('response.function_call_arguments.delta', { item_id: 'fc_1', output_index: 1, delta: 'ho"}' }) +
  event('response.function_call_arguments.done', { item_id: 'fc_1', output_index: 1, arguments: '{"cmd":"echo"}' }) +
  event('response.output_item.added', {
    output_index: 2,
    item: { type: 'custom_tool_call', id: 'ctc_1', name: 'exec' },
  }) +
  event('response.custom_tool_call_input.delta', { item_id: 'ctc_1', output_index: 2, delta: 'const x = "é"' })

const SEARCH = { type: 'web_search_call', id: 'ws_1', status: 'completed', action: { type: 'search', query: 'x' } }

const FAILED = event('response.failed', response({ status: 'failed', error: { code: 'server_error', message: 'Oh' } }))
const RATE_LIMITED = event('error', { code: 'rate_limit_exceeded', message: 'Slow down', param: null })
const dataOf = (events: string) => events.slice(events.indexOf('data: ') + 6, -2)

const crlf = (events: string) => events.replaceAll('\n', '\r\n')
const cr = (events: string) => events.replaceAll('\n', '\r')
const withoutSpaces = (events: string) => events.replaceAll(/^(event|data): /gm, '$1:')
const dataOnly = (events: string) => events.replaceAll(/^event: .*\n/gm, '')

const DETAILED = {
  ...USAGE,
  input_tokens: 12_037,
  input_tokens_details: {
    cached_tokens: 10_000,
    cache_write_tokens: 1500,
    cache_write_tokens_details: { ttl_30m_tokens: 1000, ttl_12h_tokens: 500 },
  },
  output_tokens: 911,
  output_tokens_details: { reasoning_tokens: 640 },
}
/** 12,037 − 10,000 − 1,500 = 537. */
const DETAILS = {
  inputTokens: 537,
  cacheReadTokens: 10_000,
  cacheWrite5mTokens: 1000,
  cacheWrite1hTokens: 500,
  outputTokens: 911,
  reasoningTokens: 640,
}

export const streams: AnswerSample[] = [
  stream('text', HELLO, DONE, TOLD),
  stream('reasoning, a function call and a custom tool', TOOLS, DONE, {
    reading: { ...COMPLETE, textBytes: written('**Hm**', '{"cmd":"ec', 'ho"}', 'const x = "é"') },
  }),
  stream(
    'comments and unknown events',
    `: hi\n\n${HELLO}event: codex.rate_limits\ndata: {"a":1}\n\n: x\n\n`,
    DONE,
    TOLD,
  ),
  stream('fields that nobody needs', `id: 7\nretry: 100\n${HELLO.replaceAll('\n\n', '\nid: 8\n\n')}`, DONE, TOLD),
  stream('CRLF line ends', crlf(HELLO), crlf(DONE), TOLD),
  stream('CR line ends', cr(HELLO), cr(DONE), TOLD),
  stream('line ends that change within an event', HELLO.replaceAll('}\n\n', '}\r\n\r\n'), DONE, TOLD),
  stream('no space behind the colons', withoutSpaces(HELLO), withoutSpaces(DONE), TOLD),
  stream('data without event names', dataOnly(HELLO), dataOnly(DONE), TOLD),
  stream('a byte order mark', `\uFEFF${HELLO}`, DONE, TOLD),
  stream(
    'the delta first in its event',
    `${START}event: response.output_text.delta\ndata: {"delta":"abc","type":"response.output_text.delta"}\n\n`,
    DONE,
    {
      reading: { ...COMPLETE, textBytes: 3 },
    },
  ),
  stream('a delta that is no text', START + event('response.audio.delta', { delta: { a: '"' } }), DONE, {
    reading: { ...COMPLETE, textBytes: 0 },
  }),
  stream(
    'deltas that are not JSON',
    `${START + said('a')}event: response.output_text.delta\ndata: "delta":"abc\n\nevent: response.x.delta\ndata\n\n`,
    DONE,
    {
      reading: { ...COMPLETE, textBytes: 1 },
    },
  ),
  stream(
    'data over several lines',
    START +
      said('a') +
      'event: response.output_text.delta\ndata: {"delta":\ndata: "bc"}\n\nevent: response.output_text.delta\ndata: {"type":"x",\ndata: "delta":"d"}\n\n',
    DONE,
    { reading: { ...COMPLETE, textBytes: 4 } },
  ),
  stream(
    'text that speaks of events',
    START + said('event: response.completed\ndata: {"delta":"x"}\n\n', '"delta":"'),
    DONE,
    {
      reading: { ...COMPLETE, textBytes: written('event: response.completed\ndata: {"delta":"x"}\n\n', '"delta":"') },
    },
  ),
  stream('only the item that Codex needs', START + event('response.output_item.done', { item: MESSAGE }), DONE, {
    reading: { ...COMPLETE, textBytes: 0 },
  }),
  stream('nothing but its end', '', DONE, { reading: { ...COMPLETE, textBytes: 0 } }),
  stream('details of every kind of token', HELLO, completed(DETAILED), { usage: DETAILS }),
  stream('more cached than there was', HELLO, completed({ ...USAGE, input_tokens_details: { cached_tokens: 50 } }), {
    usage: { inputTokens: 0, cacheReadTokens: 50, outputTokens: 11 },
  }),
  stream('no usage', HELLO, completed(null), { usage: {} }),
  stream(
    'usage of the wrong types',
    HELLO,
    completed({ input_tokens: '37', output_tokens: 1.5, input_tokens_details: 7 }),
    { usage: {} },
  ),
  stream('searches that were counted', HELLO, completed(USAGE, { tool_usage: { web_search: { num_requests: 3 } } }), {
    usage: { ...COUNTED, webSearchRequests: 3 },
  }),
  stream('searches that stand in the output', HELLO, completed(USAGE, { output: [SEARCH, MESSAGE, SEARCH] }), {
    usage: { ...COUNTED, webSearchRequests: 2 },
  }),
  stream(
    'an answer that was cut at its limit',
    HELLO,
    event(
      'response.incomplete',
      response({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, usage: USAGE }),
    ),
    { reading: { ...COMPLETE, stopReason: 'max_output_tokens' } },
  ),
  stream('a failed response', START + said('a'), FAILED, {
    usage: {},
    reading: { ...COMPLETE, stopReason: 'failed', ended: 'error' },
    error: dataOf(FAILED),
  }),
  stream('an error in the middle', START + said('a'), RATE_LIMITED, {
    usage: {},
    reading: { ...CUT, ended: 'error' },
    error: dataOf(RATE_LIMITED),
  }),
  stream('an error first of all', '', RATE_LIMITED, {
    usage: {},
    reading: { contentSeen: false, ended: 'error', reportedModel: null },
    error: dataOf(RATE_LIMITED),
  }),
  stream('an error behind the preamble', START, RATE_LIMITED, {
    usage: {},
    reading: { contentSeen: false, ended: 'error' },
    error: dataOf(RATE_LIMITED),
  }),
  stream('something behind the terminal event', HELLO, `${DONE}data: [DONE]\n\n${text('more')}: bye`, TOLD),
  stream('an end as Chat has it before the terminal event', `${HELLO}data: [DONE]\n\n`, DONE, TOLD),
  stream('a terminal event without its blank line', HELLO, DONE.slice(0, -1), TOLD),
  stream('a terminal event without any line end', HELLO, DONE.slice(0, -2), TOLD),
  stream('a torn terminal event', HELLO + DONE.slice(0, -5), '', {
    usage: {},
    reading: CUT,
    tornBytes: DONE.length - 5,
  }),
  stream('a torn delta', START + said('a') + text('bcd').slice(0, -7), '', {
    usage: {},
    reading: { ...CUT, textBytes: 1 },
    tornBytes: text('bcd').length - 7,
  }),
  stream('an end without a terminal event', HELLO, '', { usage: {}, reading: CUT }),
]

const BODY = {
  ...RESPONSE,
  status: 'completed',
  output: [{ ...MESSAGE, content: [{ type: 'output_text', text: 'Hi "there" {"usage":{"input_tokens":1}}' }] }],
  usage: DETAILED,
}
const body = (
  name: string,
  answer: object | string,
  usage: AnswerSample['usage'],
  reading: AnswerSample['reading'],
  error?: string,
): AnswerSample => ({
  name,
  streams: false,
  bytes: Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer)),
  usage,
  reading,
  ...(error !== undefined && { error }),
})

export const bodies: AnswerSample[] = [
  body('a response', BODY, DETAILS, COMPLETE),
  body('a response on many lines', JSON.stringify(BODY, null, 2), DETAILS, COMPLETE),
  body('a response without usage', { ...BODY, usage: undefined }, {}, COMPLETE),
  body(
    'a response that was filtered',
    { ...BODY, status: 'incomplete', incomplete_details: { reason: 'content_filter' } },
    DETAILS,
    { ...COMPLETE, stopReason: 'content_filter' },
  ),
  body(
    'a response that failed',
    { ...BODY, status: 'failed', error: { code: 'server_error', message: 'x' }, usage: null },
    {},
    { ended: 'error' },
    '{"error":{"code":"server_error","message":"x"}}',
  ),
  body(
    'an error inside a 200',
    { error: { message: 'x', type: 'y' } },
    {},
    { ended: 'error' },
    '{"error":{"message":"x","type":"y"}}',
  ),
  body('a compaction', { id: 'resp_1', object: 'response.compaction', output: [], usage: USAGE }, COUNTED, {
    ended: 'complete',
    reportedModel: null,
  }),
  body('a response that is cut off', JSON.stringify(BODY).slice(0, -1), {}, { ended: null }),
  body('a page of something else', '<html><body>502 Bad Gateway</body></html>', {}, { ended: null }),
]

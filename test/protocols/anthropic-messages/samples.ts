import type { AnswerSample } from '../../contract/protocol.ts'

/** Answers of Anthropic's Messages API, as the real service sends them and as others have been seen to bend them. */

const event = (name: string, data: object) => `event: ${name}\ndata: ${JSON.stringify({ type: name, ...data })}\n\n`

const MESSAGE = { id: 'msg_01', type: 'message', role: 'assistant', model: 'claude-opus-5-5', content: [] }
const INPUT = { input_tokens: 25, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 1 }

const start = (usage: object | null = INPUT) =>
  event('message_start', { message: { ...MESSAGE, stop_reason: null, stop_sequence: null, usage } })
const blockStart = (index: number, content_block: object) => event('content_block_start', { index, content_block })
const delta = (index: number, delta: object) => event('content_block_delta', { index, delta })
const text = (index: number, text: string) => delta(index, { type: 'text_delta', text })
const blockStop = (index: number) => event('content_block_stop', { index })
const messageDelta = (usage: object | undefined, stop_reason = 'end_turn') =>
  event('message_delta', { delta: { stop_reason, stop_sequence: null }, usage })
const PING = event('ping', {})
const STOP = event('message_stop', {})

/** Bytes of texts as they are written. */
const written = (...texts: string[]) =>
  texts.reduce((sum, text) => sum + Buffer.byteLength(JSON.stringify(text)) - 2, 0)

/** Text in one block. */
const said = (...pieces: string[]) =>
  blockStart(0, { type: 'text', text: '' }) + pieces.map((piece) => text(0, piece)).join('') + blockStop(0)

const COMPLETE = {
  reportedModel: 'claude-opus-5-5',
  stopReason: 'end_turn',
  contentSeen: true,
  ended: 'complete',
} as const
const CUT = { ...COMPLETE, stopReason: null, ended: null } as const

interface Given {
  usage?: AnswerSample['usage']
  reading?: AnswerSample['reading']
  error?: string
  /** Behind the last byte that may go out before the charge; absent = the last event is the terminal one. */
  end?: string
  tornBytes?: number
  modelWritten?: string
}

/** A stream: what goes out at once, and what is held from the terminal event on. */
function stream(name: string, ready: string, held: string, given: Given = {}): AnswerSample {
  const { usage = { inputTokens: 25, outputTokens: 15 }, reading = COMPLETE, error, tornBytes, modelWritten } = given
  return {
    name,
    streams: true,
    bytes: Buffer.from(ready + held),
    usage,
    reading,
    ...(error !== undefined && { error }),
    ...(tornBytes !== undefined && { tornBytes }),
    ...(modelWritten !== undefined && { modelWritten }),
    terminalAt: held === '' ? null : Buffer.byteLength(ready),
  }
}

const HELLO = start() + said('Hello', ' world', '!') + messageDelta({ output_tokens: 15 })
const OVERLOADED = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' }, request_id: 'req_1' }
const ERROR = event('error', OVERLOADED)

const THINKING =
  start() +
  blockStart(0, { type: 'thinking', thinking: '', signature: '' }) +
  delta(0, { type: 'thinking_delta', thinking: 'Let me see…' }) +
  delta(0, { type: 'thinking_delta', thinking: ' "quoted" \n' }) +
  delta(0, { type: 'signature_delta', signature: 'EqQBCgIYAhIM'.repeat(20) }) +
  blockStop(0) +
  blockStart(1, { type: 'text', text: '' }) +
  text(1, 'Done') +
  blockStop(1) +
  messageDelta({ output_tokens: 40, output_tokens_details: { thinking_tokens: 12 } })

const TOOL =
  start() +
  said('I run it.') +
  blockStart(1, { type: 'tool_use', id: 'toolu_01', name: 'Bash', input: {} }) +
  delta(1, { type: 'input_json_delta', partial_json: '' }) +
  delta(1, { type: 'input_json_delta', partial_json: '{"command": "ec' }) +
  delta(1, { type: 'input_json_delta', partial_json: 'ho \\"hi\\""}' }) +
  blockStop(1) +
  blockStart(2, { type: 'tool_use', id: 'toolu_02', name: 'List', input: {} }) +
  delta(2, { type: 'input_json_delta', partial_json: '' }) +
  blockStop(2) +
  messageDelta({ output_tokens: 15 }, 'tool_use')

const SERVER_TOOL =
  start({ ...INPUT, server_tool_use: { web_search_requests: 0 } }) +
  blockStart(0, { type: 'server_tool_use', id: 'srvtoolu_01', name: 'web_search', input: {} }) +
  delta(0, { type: 'input_json_delta', partial_json: '{"query":"weather"}' }) +
  blockStop(0) +
  blockStart(1, {
    type: 'web_search_tool_result',
    tool_use_id: 'srvtoolu_01',
    content: [{ type: 'web_search_result', title: 'Weather', url: 'https://example.com', encrypted_content: 'Ev==' }],
  }) +
  blockStop(1) +
  blockStart(2, { type: 'text', text: '', citations: [] }) +
  delta(2, { type: 'citations_delta', citation: { type: 'web_search_result_location', cited_text: 'sunny' } }) +
  text(2, 'It is sunny.') +
  delta(2, { type: 'citations_delta', citation: { type: 'web_search_result_location', cited_text: 'warm' } }) +
  blockStop(2) +
  messageDelta({ input_tokens: 10_682, output_tokens: 510, server_tool_use: { web_search_requests: 2 } })

const EMOJI = ['Grüße ', '👩‍👩‍👧‍👦', ' 日本語', ' \u0000\\"\n', '𝄞']
const CACHE = {
  input_tokens: 4,
  cache_creation_input_tokens: 300,
  cache_read_input_tokens: 5000,
  cache_creation: { ephemeral_5m_input_tokens: 100, ephemeral_1h_input_tokens: 200 },
  output_tokens: 1,
}
const CACHED = {
  inputTokens: 4,
  cacheReadTokens: 5000,
  cacheWrite5mTokens: 100,
  cacheWrite1hTokens: 200,
  outputTokens: 15,
}

const crlf = (text: string) => text.replaceAll('\n', '\r\n')
const cr = (text: string) => text.replaceAll('\n', '\r')
const withoutSpaces = (text: string) => text.replaceAll(/^(event|data): /gm, '$1:')
const dataOnly = (text: string) => text.replaceAll(/^event: .*\n/gm, '')
/** Anthropic pads events with blanks, so that their lengths say less about their text. */
const padded = (text: string) =>
  text.replaceAll('}\n\n', `}\n\n`).replaceAll(/\}\n\n/g, (_, at) => `${' '.repeat(at % 13)}}\n\n`)

const THOUGHT = {
  usage: { inputTokens: 25, outputTokens: 40, reasoningTokens: 12 },
  reading: { ...COMPLETE, textBytes: written('Let me see…', ' "quoted" \n', 'Done') },
}

export const streams: AnswerSample[] = [
  stream('text', HELLO, STOP, { reading: { ...COMPLETE, textBytes: written('Hello', ' world', '!') } }),
  stream('thinking with its signature', THINKING, STOP, THOUGHT),
  stream('tool use', TOOL, STOP, {
    reading: {
      ...COMPLETE,
      stopReason: 'tool_use',
      textBytes: written('I run it.', '{"command": "ec', 'ho \\"hi\\""}'),
    },
  }),
  stream('server tools and citations', SERVER_TOOL, STOP, {
    usage: { inputTokens: 10_682, outputTokens: 510, webSearchRequests: 2 },
    reading: { ...COMPLETE, textBytes: written('{"query":"weather"}', 'It is sunny.') },
  }),
  stream(
    'pings, comments and unknown events',
    start() +
      PING +
      ': hello\n\n' +
      event('weather', { sunny: true }) +
      said('a') +
      ':\n' +
      PING +
      messageDelta({ output_tokens: 15 }),
    `: bye\n${STOP}`,
  ),
  stream('fields that nobody needs', `id: 7\nretry: 100\n${HELLO.replaceAll('\n\n', '\nid: 8\n\n')}`, STOP),
  stream('CRLF line ends', crlf(THINKING), crlf(STOP), THOUGHT),
  stream('CR line ends', cr(THINKING), cr(STOP), THOUGHT),
  stream(
    'CRLF comments between LF events',
    `: x\r\n\r\n${THINKING.replaceAll('\n\nevent: content', '\n\n: x\r\n\r\nevent: content')}`,
    `: x\r\n${STOP}`,
    THOUGHT,
  ),
  stream('line ends that change within an event', THINKING.replaceAll('}\n\n', '}\r\n\r\n'), STOP, THOUGHT),
  stream('more blank lines than needed', `\n\n${THINKING.replaceAll('\n\n', '\n\n\n')}`, STOP, THOUGHT),
  stream('no space behind the colons', withoutSpaces(THINKING), withoutSpaces(STOP), THOUGHT),
  stream('padded events', padded(THINKING), padded(STOP), THOUGHT),
  stream('a byte order mark', `\uFEFF${HELLO}`, STOP),
  stream('text beyond ASCII', start() + said(...EMOJI) + messageDelta({ output_tokens: 15 }), STOP, {
    reading: { ...COMPLETE, textBytes: written(...EMOJI) },
  }),
  stream('data without event names', dataOnly(THINKING), dataOnly(STOP), THOUGHT),
  stream(
    'data over several lines',
    start() +
      said('a') +
      'event: message_delta\ndata: {"type":"message_delta",\ndata: "delta":{"stop_reason":"end_turn"},\ndata: "usage":{"output_tokens":15}}\n\n',
    STOP,
  ),
  stream(
    'a start over several lines',
    crlf(`: x\n${start()}`).replace('"model":', '"model":\r\ndata: ') + said('a') + messageDelta({ output_tokens: 15 }),
    STOP,
  ),
  stream('a model in escapes', HELLO.replace('claude-opus', 'claude\\u002dopus'), STOP, {
    modelWritten: '"claude\\u002dopus-5-5"',
  }),
  stream(
    'the name of its model in other places as well',
    PING.replace('}', ',"model":"claude-opus-5-5"}') +
      HELLO.replace('"role"', '"of":{"model":"claude-opus-5-5"},"role"').replace(
        'Hello',
        '\\"model\\":\\"claude-opus-5-5\\"',
      ),
    STOP,
    { modelWritten: '"role":"assistant","model":"claude-opus-5-5"' },
  ),
  stream(
    'data that is not JSON',
    `${HELLO}event: content_block_delta\ndata: oops\n\ndata: [DONE]\n\nevent: weather\ndata\n\n`,
    STOP,
  ),
  stream('an event with a name and nothing else', `${HELLO}event: content_block_delta\n\n`, STOP),
  stream('no message_delta', start() + said('a'), STOP, {
    usage: { inputTokens: 25, outputTokens: 1 },
    reading: { ...COMPLETE, stopReason: null },
  }),
  stream('no usage anywhere', start(null) + said('a') + messageDelta(undefined), STOP, { usage: {} }),
  stream(
    'usage of the wrong types',
    start({ input_tokens: '25', output_tokens: null, cache_creation: 7 }) +
      messageDelta({ input_tokens: -1, output_tokens: 1.5, cache_read_input_tokens: 1e300 }),
    STOP,
    { usage: {} },
  ),
  stream('an error in the middle', start() + said('a'), ERROR, {
    usage: { inputTokens: 25, outputTokens: 1 },
    reading: { ...CUT, ended: 'error' },
    error: JSON.stringify({ ...OVERLOADED }),
  }),
  stream('an error first of all', '', ERROR, {
    usage: {},
    reading: { contentSeen: false, ended: 'error', reportedModel: null },
    error: JSON.stringify({ ...OVERLOADED }),
  }),
  stream('an error that is not JSON', start() + PING, 'event: error\ndata: upstream connect error\n\n', {
    usage: { inputTokens: 25, outputTokens: 1 },
    reading: { contentSeen: false, ended: 'error' },
    error: 'upstream connect error',
  }),
  stream('something behind the terminal event', HELLO, `${STOP}data: [DONE]\n\n${text(0, 'more')}: bye`),
  stream('a terminal event without its blank line', HELLO, STOP.slice(0, -1)),
  stream('a terminal event without any line end', HELLO, STOP.slice(0, -2)),
  stream('a torn terminal event', HELLO + STOP.slice(0, -5), '', {
    reading: { ...COMPLETE, ended: null },
    tornBytes: STOP.length - 5,
  }),
  stream('a torn error event', HELLO + ERROR.slice(0, -9), '', {
    reading: { ...COMPLETE, ended: null },
    tornBytes: ERROR.length - 9,
  }),
  stream('a torn delta', start() + said('a') + text(1, 'bcd').slice(0, -7), '', {
    usage: { inputTokens: 25, outputTokens: 1 },
    reading: CUT,
    tornBytes: text(1, 'bcd').length - 7,
  }),
  stream('an end without a terminal event', HELLO, '', { reading: { ...COMPLETE, ended: null } }),
  stream('cache writes of both lifetimes', start(CACHE) + said('a') + messageDelta({ output_tokens: 15 }), STOP, {
    usage: CACHED,
  }),
  stream(
    'input and cache counts told again at the end',
    start(CACHE) + said('a') + messageDelta({ ...CACHE, cache_creation: undefined, output_tokens: 15 }),
    STOP,
    { usage: CACHED },
  ),
  stream(
    'a split of cache writes without their sum',
    start({ ...CACHE, cache_creation_input_tokens: undefined }) + messageDelta({ output_tokens: 15 }),
    STOP,
    { usage: CACHED },
  ),
  stream(
    'cache writes that the split does not explain',
    start({ ...CACHE, cache_creation_input_tokens: 350 }) + messageDelta({ output_tokens: 15 }),
    STOP,
    { usage: { ...CACHED, cacheWrite5mTokens: 150 } },
  ),
  stream(
    'cache writes without a split',
    start({ ...CACHE, cache_creation: null }) + messageDelta({ output_tokens: 15 }),
    STOP,
    { usage: { ...CACHED, cacheWrite5mTokens: 300, cacheWrite1hTokens: 0 } },
  ),
  stream(
    'cache writes that grow',
    start(CACHE) + messageDelta({ cache_creation_input_tokens: 450, output_tokens: 15 }),
    STOP,
    { usage: { ...CACHED, cacheWrite5mTokens: 250 } },
  ),
  stream(
    'counts that a later report takes back',
    start(CACHE) +
      messageDelta({ input_tokens: 3, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 15 }),
    STOP,
    { usage: { inputTokens: 3, outputTokens: 15 } },
  ),
]

const BODY = {
  ...MESSAGE,
  content: [{ type: 'text', text: 'Hello "world" 👋 {"usage":{"input_tokens":1}}' }],
  stop_reason: 'end_turn',
  usage: { ...CACHE, output_tokens: 15, output_tokens_details: { thinking_tokens: 3 } },
}
const body = (
  name: string,
  text: string,
  usage: AnswerSample['usage'],
  reading: AnswerSample['reading'],
  error?: string,
): AnswerSample => ({
  name,
  streams: false,
  bytes: Buffer.from(text),
  usage,
  reading,
  ...(error !== undefined && { error }),
})

export const bodies: AnswerSample[] = [
  body('a message', JSON.stringify(BODY), { ...CACHED, reasoningTokens: 3 }, COMPLETE),
  body('a message on many lines', JSON.stringify(BODY, null, 2), { ...CACHED, reasoningTokens: 3 }, COMPLETE),
  {
    ...body(
      'a message about models',
      JSON.stringify({ of: MESSAGE, ...BODY }),
      { ...CACHED, reasoningTokens: 3 },
      COMPLETE,
    ),
    modelWritten: '"content":[]},"id":"msg_01","type":"message","role":"assistant","model":"claude-opus-5-5"',
  },
  body('a message without usage', JSON.stringify({ ...BODY, usage: undefined }), {}, COMPLETE),
  body(
    'an error inside a 200',
    JSON.stringify(OVERLOADED),
    {},
    { ended: 'error' },
    JSON.stringify({ type: 'error', error: OVERLOADED.error }),
  ),
  body('a message that is cut off', JSON.stringify(BODY).slice(0, -1), {}, { ended: null }),
  body('a page of something else', '<html><body>502 Bad Gateway</body></html>', {}, { ended: null }),
]

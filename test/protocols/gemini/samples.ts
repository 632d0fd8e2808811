import type { AnswerSample } from '../../contract/protocol.ts'

/** Answers of Google's Gemini API, as the service sends them and as others have been seen to bend them. */

const MODEL = 'gemini-3.8-flash'

interface ChunkParts {
  parts?: object[]
  finishReason?: string
  usage?: object | null
  more?: object
}

const USED = { promptTokenCount: 50, candidatesTokenCount: 12, totalTokenCount: 62 }

export const chunk = ({ parts, finishReason, usage = USED, more }: ChunkParts) => ({
  candidates: [
    { ...(parts && { content: { parts, role: 'model' } }), ...(finishReason && { finishReason }), index: 0 },
  ],
  ...(usage && { usageMetadata: usage }),
  modelVersion: MODEL,
  responseId: 'rsp-1',
  ...more,
})
const data = (value: object) => `data: ${JSON.stringify(value)}\n\n`
const event = (parts: ChunkParts) => data(chunk(parts))
const said = (...texts: string[]) => texts.map((text) => event({ parts: [{ text }] })).join('')
const STOP = event({ parts: [{ text: '' }], finishReason: 'STOP' })

const COMPLETE = { reportedModel: MODEL, stopReason: 'STOP', contentSeen: true, ended: 'complete' } as const
const PLAIN = { inputTokens: 50, outputTokens: 12 }

interface Given {
  usage?: AnswerSample['usage']
  reading?: AnswerSample['reading']
  error?: string
  tornBytes?: number
}

/** A stream: what goes out at once, and what is held from the terminal event on. */
function stream(name: string, ready: string, held: string, given: Given = {}): AnswerSample {
  const { usage = PLAIN, reading = COMPLETE, error, tornBytes } = given
  return {
    ...{ name, streams: true, bytes: Buffer.from(ready + held), usage, reading },
    ...(error !== undefined && { error }),
    ...(tornBytes !== undefined && { tornBytes }),
    terminalAt: held === '' ? null : Buffer.byteLength(ready),
  }
}

const bytesOf = (...texts: string[]) => Buffer.byteLength(texts.join(''))
const EMOJI = ['Grüße ', '👩‍👩‍👧‍👦', ' 日本語', ' \u0000\\"\n', '𝄞']
const OVERLOADED = { error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } }

/** Gemini 3 with everything that is counted: 50 of the prompt, 40 of them cached, 7 thoughts, 30 fetched by a tool. */
const ALL = {
  promptTokenCount: 50,
  cachedContentTokenCount: 40,
  candidatesTokenCount: 12,
  thoughtsTokenCount: 7,
  toolUsePromptTokenCount: 30,
  totalTokenCount: 99,
  promptTokensDetails: [{ modality: 'TEXT', tokenCount: 50 }],
  cacheTokensDetails: [{ modality: 'TEXT', tokenCount: 40 }],
  trafficType: 'ON_DEMAND',
}
const ALL_COUNTED = { inputTokens: 10 + 30, cacheReadTokens: 40, outputTokens: 12 + 7, reasoningTokens: 7 }
const NOTHING_YET = { promptTokenCount: 0, candidatesTokenCount: 0, totalTokenCount: 0 }

const CALL = {
  functionCall: { id: 'fc-1', name: 'run_shell_command', args: { command: 'echo "hi"' } },
  thoughtSignature: 'c2ln',
}
const THINKING = event({ parts: [{ text: 'Let me see…', thought: true }] })

const crlf = (text: string) => text.replaceAll('\n', '\r\n')

export const streams: AnswerSample[] = [
  stream('text', said('Hello', ' world'), STOP, { reading: { ...COMPLETE, textBytes: 11 } }),
  stream('thoughts and a call', THINKING + event({ parts: [CALL] }), STOP, {
    reading: { ...COMPLETE, textBytes: bytesOf('Let me see…', '{"command":"echo \\"hi\\""}') },
  }),
  stream('everything in one event', '', event({ parts: [{ text: 'all' }], finishReason: 'STOP', usage: ALL }), {
    usage: ALL_COUNTED,
    reading: { ...COMPLETE, textBytes: 3 },
  }),
  stream(
    'totals that grow: the last count',
    said('a') + event({ parts: [{ text: 'b' }], usage: ALL }),
    event({
      finishReason: 'MAX_TOKENS',
      usage: { ...ALL, candidatesTokenCount: 20 },
    }),
    { usage: { ...ALL_COUNTED, outputTokens: 27 }, reading: { ...COMPLETE, stopReason: 'MAX_TOKENS' } },
  ),
  stream(
    'zeros where nothing is known',
    event({ parts: [{ text: 'a' }], usage: ALL }),
    event({
      finishReason: 'STOP',
      usage: NOTHING_YET,
    }),
    { usage: ALL_COUNTED },
  ),
  stream(
    'no usage at the end',
    event({ parts: [{ text: 'a' }], usage: ALL }),
    event({ finishReason: 'STOP', usage: null }),
    {
      usage: ALL_COUNTED,
    },
  ),
  stream(
    'no usage anywhere',
    event({ parts: [{ text: 'a' }], usage: null }),
    event({ finishReason: 'STOP', usage: null }),
    {
      usage: {},
    },
  ),
  stream(
    'usage of the wrong types',
    event({ parts: [{ text: 'a' }], usage: { promptTokenCount: '50', candidatesTokenCount: -1 } }),
    event({
      finishReason: 'STOP',
      usage: { promptTokenCount: 1.5, thoughtsTokenCount: 1e300, cachedContentTokenCount: null },
    }),
    { usage: {} },
  ),
  stream(
    'more cached than asked',
    '',
    event({ finishReason: 'STOP', usage: { promptTokenCount: 5, cachedContentTokenCount: 9 } }),
    {
      usage: { cacheReadTokens: 9 },
    },
  ),
  stream(
    'what was searched',
    said('a'),
    data({
      ...chunk({}),
      candidates: [{ finishReason: 'STOP', groundingMetadata: { webSearchQueries: ['weather', 'weather berlin'] } }],
    }),
    { usage: { ...PLAIN, webSearchRequests: 2 } },
  ),
  stream(
    'a prompt that is blocked',
    '',
    data({ promptFeedback: { blockReason: 'SAFETY' }, usageMetadata: { promptTokenCount: 8 } }),
    {
      usage: { inputTokens: 8 },
      reading: { stopReason: 'SAFETY', contentSeen: true, ended: 'complete' },
    },
  ),
  stream('usage before content', data({ usageMetadata: USED, modelVersion: MODEL }), '', {
    reading: { contentSeen: false, ended: null },
  }),
  stream(
    'two candidates, of which one ends first',
    said('a') +
      data({ candidates: [{ index: 1, content: { parts: [{ text: 'b' }] } }] }) +
      data({ candidates: [{ index: 0, finishReason: 'STOP' }] }),
    data({ candidates: [{ index: 1, finishReason: 'STOP' }] }),
  ),
  stream('chunks behind the last', said('a'), `${STOP + data({ usageMetadata: ALL })}data: [DONE]\n\n: bye`),
  stream('CRLF line ends', crlf(said('a', 'b')), crlf(STOP)),
  stream('CR line ends', said('a', 'b').replaceAll('\n', '\r'), STOP.replaceAll('\n', '\r')),
  stream('no space behind the colons', said('a').replaceAll('data: ', 'data:'), STOP.replaceAll('data: ', 'data:')),
  stream(
    'data on many lines',
    `${JSON.stringify(chunk({ parts: [{ text: 'a' }] }), null, 2).replaceAll(/^/gm, 'data: ')}\n\n`,
    STOP,
  ),
  stream(
    'comments, blank lines and unknown events',
    `: hello\n\n\n\n${said('a')}event: novelty\ndata: {"a":1}\n\ndata: 7\n\n`,
    STOP,
  ),
  stream('text beyond ASCII', said(...EMOJI), STOP, { reading: { ...COMPLETE, textBytes: bytesOf(...EMOJI) } }),
  stream('data that is not JSON', `${said('a')}data: oops\n\ndata: [DONE]\n\n`, STOP),
  stream('an error in the middle', said('a'), data(OVERLOADED), {
    reading: { ...COMPLETE, stopReason: null, ended: 'error' },
    error: JSON.stringify(OVERLOADED),
  }),
  stream('an error first of all', '', data(OVERLOADED), {
    usage: {},
    reading: { contentSeen: false, ended: 'error', reportedModel: null },
    error: JSON.stringify(OVERLOADED),
  }),
  stream('an end without a finish reason', said('a', 'b'), '', {
    reading: { ...COMPLETE, stopReason: null, ended: null },
  }),
  stream(
    'a finish reason that is none',
    event({ parts: [{ text: 'a' }], finishReason: 'FINISH_REASON_UNSPECIFIED' }),
    STOP,
  ),
  stream('a last event without its blank line', said('a'), STOP.slice(0, -2)),
  stream('a torn last event', said('a') + STOP.slice(0, -9), '', {
    reading: { ...COMPLETE, stopReason: null, ended: null },
    tornBytes: STOP.length - 9,
  }),
]

const body = (name: string, text: string, given: Given = {}): AnswerSample => ({
  ...{
    name,
    streams: false,
    bytes: Buffer.from(text),
    usage: given.usage ?? PLAIN,
    reading: given.reading ?? COMPLETE,
  },
  ...(given.error !== undefined && { error: given.error }),
})

const ANSWER = chunk({ parts: [{ text: 'Hello 👋 {"usageMetadata":{}}' }], finishReason: 'STOP', usage: ALL })
const ARRAY = [
  chunk({ parts: [{ text: 'Hel' }] }),
  chunk({ parts: [{ text: 'lo' }], finishReason: 'STOP', usage: ALL }),
]
const NONE = { usage: {}, reading: { ended: null } } as const

export const bodies: AnswerSample[] = [
  body('an answer', JSON.stringify(ANSWER), { usage: ALL_COUNTED }),
  body('an answer on many lines', JSON.stringify(ANSWER, null, 2), { usage: ALL_COUNTED }),
  body('a stream as one array', JSON.stringify(ARRAY, null, 2), { usage: ALL_COUNTED }),
  body('an array that is cut off', JSON.stringify(ARRAY).slice(0, -1), NONE),
  body('an answer that is cut off', JSON.stringify(ANSWER).slice(0, -1), NONE),
  body('a count', '{"totalTokens":31}', { usage: {}, reading: { ended: 'complete', reportedModel: null } }),
  body('an embedding', '{"embedding":{"values":[0.1,0.2]}}', { usage: {}, reading: { ended: 'complete' } }),
  body('an error inside a 200', JSON.stringify(OVERLOADED), {
    usage: {},
    reading: { ended: 'error' },
    error: JSON.stringify(OVERLOADED),
  }),
  body('an error in an array', JSON.stringify([chunk({ parts: [{ text: 'a' }] }), OVERLOADED], null, 1), {
    reading: { ended: 'error' },
    error: JSON.stringify(OVERLOADED),
  }),
  body('a page of something else', '<html><body>502 Bad Gateway</body></html>', NONE),
]

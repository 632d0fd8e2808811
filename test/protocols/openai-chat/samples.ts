import { chatBody, chatEvents } from '../../../src/demo/chat.ts'
import type { FakeMessage } from '../../../src/demo/messages.ts'
import type { AnswerSample } from '../../contract/protocol.ts'

/** Answers of Chat Completions, as OpenAI sends them and as compatible vendors have been seen to bend them. */

const MODEL = 'gpt-5.5-2026-04-23'
const HEAD = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1741569952, model: MODEL }
const USAGE = {
  prompt_tokens: 120,
  completion_tokens: 30,
  total_tokens: 150,
  prompt_tokens_details: { cached_tokens: 64, cache_write_tokens: 16, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 12, audio_tokens: 0 },
}
/** 120 less 64 read from the cache and 16 written to it. */
const COUNTED = { inputTokens: 40, cacheReadTokens: 64, cacheWrite5mTokens: 16, outputTokens: 30, reasoningTokens: 12 }

const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const chunk = (delta: object, finish_reason: string | null = null, more: object = {}) =>
  data({ ...HEAD, choices: [{ index: 0, delta, logprobs: null, finish_reason }], usage: null, ...more })

const ROLE = chunk({ role: 'assistant', content: '', refusal: null })
const HELLO = ROLE + ['Hello', ' wörld 😀', ' "quoted" \n\n'].map((content) => chunk({ content })).join('')
const STOP = chunk({}, 'stop')
const TOLD = data({ ...HEAD, choices: [], usage: USAGE })
const DONE = 'data: [DONE]\n\n'
const written = (...texts: string[]) => texts.reduce((sum, one) => sum + Buffer.byteLength(JSON.stringify(one)) - 2, 0)
const COMPLETE = { reportedModel: MODEL, stopReason: 'stop', contentSeen: true, ended: 'complete' } as const
const CUT = { ...COMPLETE, stopReason: null, ended: null } as const
const TEXT_BYTES = written('Hello', ' wörld 😀', ' "quoted" \n\n')

/** A stream whose terminal event is where `end` begins. */
function stream(name: string, before: string, end: string, sample: Partial<AnswerSample> = {}): AnswerSample {
  const bytes = Buffer.from(before + end)
  const terminalAt = end === '' ? null : Buffer.byteLength(before)
  return { name, bytes, streams: true, usage: COUNTED, reading: COMPLETE, terminalAt, ...sample }
}

const CALLS =
  ROLE +
  chunk({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'look', arguments: '' } }] }) +
  chunk({ tool_calls: [{ index: 0, function: { arguments: '{"at":' } }] }) +
  chunk({ tool_calls: [{ index: 0, function: { arguments: '1}' } }] })

export const streams: AnswerSample[] = [
  stream('text', HELLO + STOP, TOLD + DONE, { reading: { ...COMPLETE, textBytes: TEXT_BYTES } }),
  stream('a call', CALLS + chunk({}, 'tool_calls'), TOLD + DONE, {
    reading: { ...COMPLETE, stopReason: 'tool_calls', textBytes: written('{"at":', '1}') },
  }),
  stream('without usage', HELLO + STOP, DONE, { usage: {} }),
  stream('usage with the end', HELLO, chunk({}, 'stop', { usage: USAGE }) + DONE),
  stream(
    'usage all the time',
    HELLO.replaceAll('"usage":null', `"usage":${JSON.stringify(USAGE)}`),
    chunk({}, 'stop', { usage: USAGE }) + DONE,
  ),
  stream('neither usage nor [DONE]', HELLO + STOP, '', { usage: {} }),
  stream(
    'thoughts of another vendor',
    ROLE + chunk({ reasoning_content: 'Hm' }) + chunk({ content: 'Yes' }) + STOP,
    TOLD,
    {
      reading: { ...COMPLETE, textBytes: written('Hm', 'Yes') },
    },
  ),
  stream('a refusal', ROLE + chunk({ refusal: 'No.' }) + STOP, TOLD + DONE),
  stream('comments and no spaces', `: hi\n\n${HELLO.replaceAll('data: ', 'data:')}${STOP}`, TOLD + DONE),
  stream('CRLF', (HELLO + STOP).replaceAll('\n', '\r\n'), (TOLD + DONE).replaceAll('\n', '\r\n')),
  stream('cut in the middle', HELLO, '', { usage: {}, reading: CUT }),
  stream('torn', HELLO, '', {
    bytes: Buffer.from(`${HELLO}${STOP.slice(0, 40)}`),
    tornBytes: 40,
    usage: {},
    reading: CUT,
  }),
  stream('an error in the middle', HELLO, data({ error: { message: 'busy', type: 'server_error', code: null } }), {
    usage: {},
    reading: { ...CUT, ended: 'error' },
    error: JSON.stringify({ error: { message: 'busy', type: 'server_error', code: null } }),
  }),
  stream('words that look like the end', ROLE + chunk({ content: '"finish_reason":"stop" "usage":{ [DONE]' }), DONE, {
    usage: {},
    reading: { ...CUT, ended: 'complete' },
  }),
]

const MESSAGE: FakeMessage = {
  model: MODEL,
  text: ['Hello'],
  usage: { input: 40, output: 30, cacheRead: 64, cacheWrite5m: 16, thinking: 12 },
}

export const bodies: AnswerSample[] = [
  { name: 'a body', bytes: Buffer.from(chatBody(MESSAGE, '1')), streams: false, usage: COUNTED, reading: COMPLETE },
  {
    name: 'an error inside a 200',
    bytes: Buffer.from('{"error":{"message":"busy","type":"server_error"}}'),
    streams: false,
    usage: {},
    reading: { ended: 'error' },
    error: '{"error":{"message":"busy","type":"server_error"}}',
  },
  {
    name: 'something else',
    bytes: Buffer.from('{"object":"list"}'),
    streams: false,
    usage: {},
    reading: { ended: null },
  },
  {
    name: 'the scripted upstream’s stream',
    bytes: Buffer.from(chatEvents(MESSAGE, '1', true).join('')),
    streams: true,
    usage: COUNTED,
    reading: COMPLETE,
  },
]

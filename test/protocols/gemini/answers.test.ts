import t from 'tap'
import { NO_USAGE } from '../../../src/domain/usage.ts'
import type { Asker } from '../../../src/protocols/codec.ts'
import { decodeGeminiAnswer, encodeGeminiAnswer } from '../../../src/protocols/gemini/answers.ts'
import { decodeGeminiError, encodeGeminiError } from '../../../src/protocols/gemini/foreign-errors.ts'
import { GeminiDecoder, GeminiEncoder } from '../../../src/protocols/gemini/streams.ts'
import type { NeutralAnswer, NeutralEvent, Tool } from '../../../src/protocols/neutral.ts'
import { COMMON_NAMES, ToolNames } from '../../../src/protocols/tool-names.ts'
import { chunk } from './samples.ts'

const NO_NAMES = new ToolNames([], COMMON_NAMES)
const decode = (value: unknown, names = NO_NAMES) => decodeGeminiAnswer(Buffer.from(JSON.stringify(value)), names)
const finished = (finishReason: string, ...parts: object[]) => decode(chunk({ parts, finishReason }))

t.test('why an answer ended', async (t) => {
  const reasons: [string, string][] = [
    ['STOP', 'end'],
    ['MAX_TOKENS', 'max_tokens'],
    ['SAFETY', 'refusal'],
    ['RECITATION', 'refusal'],
    ['PROHIBITED_CONTENT', 'refusal'],
    ['IMAGE_SAFETY', 'refusal'],
    ['CONTINUATION', 'pause'],
    ['OTHER', 'end'],
    ['MALFORMED_FUNCTION_CALL', 'end'],
  ]
  for (const [wire, reason] of reasons) t.match(finished(wire, { text: 'a' }), { stop: { reason } }, wire)
  t.match(finished('STOP', { functionCall: { name: 'f' } }), { stop: { reason: 'tool_use' } })
  t.match(
    finished('MALFORMED_FUNCTION_CALL'),
    { kind: 'internal', message: /MALFORMED_FUNCTION_CALL/ },
    'nothing was said',
  )
  t.match(decode({ promptFeedback: { blockReason: 'SAFETY' }, usageMetadata: { promptTokenCount: 8 } }), {
    content: [],
    stop: { reason: 'refusal' },
    usage: { inputTokens: 8 },
  })
  t.match(decode(chunk({ parts: [{ text: 'a' }] })), { stop: { reason: 'end' } }, 'whole, but says no reason')
})

t.test('calls are of the tools that were offered, each with an id that no other call has', async (t) => {
  const tools: Tool[] = [
    { kind: 'custom', namespace: null, name: 'exec', description: null, format: null },
    {
      ...{ kind: 'function', namespace: 'ns', name: 'f', description: null, strict: null, deferred: false },
      parameters: {},
    },
  ]
  const parts = [
    { functionCall: { name: 'exec', args: { input: 'ls' } } },
    { functionCall: { name: 'ns__f', args: { a: 1 } } },
    { functionCall: { name: 'ns__f', args: { a: 1 } } },
    { functionCall: { id: 'own', name: 'made_up' } },
  ]
  const answer = decode(chunk({ parts, finishReason: 'STOP' }), new ToolNames(tools, COMMON_NAMES)) as NeutralAnswer
  t.match(answer.content, [
    { name: 'exec', tool: 'custom', input: 'ls' },
    { namespace: 'ns', name: 'f', tool: 'function', input: '{"a":1}' },
    { namespace: 'ns', name: 'f' },
    { namespace: null, name: 'made_up', input: '{}', id: 'own' },
  ])
  const ids = answer.content.map((block) => 'id' in block && block.id)
  t.equal(new Set(ids).size, 4)
  t.match(ids[0], /^[a-zA-Z0-9_-]{1,64}$/)
  const again = decode(chunk({ parts, finishReason: 'STOP' }), new ToolNames(tools, COMMON_NAMES)) as NeutralAnswer
  t.same(again, answer)
  const next = decode({ ...chunk({ parts, finishReason: 'STOP' }), responseId: 'rsp-2' }) as NeutralAnswer
  t.notOk(ids.includes((next.content[0] as { id: string }).id), 'nor has a call of the next answer')
})

t.test('Claude at Antigravity signs its thoughts itself', async (t) => {
  const parts = [{ text: 'hm', thought: true }, { text: '', thought: true, thoughtSignature: 'RXFR' }, { text: 'a' }]
  t.match(decode({ ...chunk({ parts, finishReason: 'STOP' }), modelVersion: 'claude-opus-5-5' }), {
    content: [
      { kind: 'reasoning', text: 'hm', signature: { vendor: 'antigravity', value: 'RXFR' } },
      { kind: 'text', text: 'a' },
    ],
  })
})

t.test('what is no answer is an error, as a value', async (t) => {
  for (const body of [null, [], {}, 7, { candidates: 7 }, [chunk({}), 7]]) t.match(decode(body), { kind: 'internal' })
  t.match(
    decode([
      chunk({ parts: [{ text: 'a' }] }),
      { error: { code: 429, message: 'slow', status: 'RESOURCE_EXHAUSTED' } },
    ]),
    {
      kind: 'rate_limit',
      message: 'slow',
    },
  )
})

const asker = (asked = { isArray: false, hidesThoughts: false }): Asker => {
  let ids = 0
  return { model: 'asked', asked, nowMs: 0, newId: (prefix) => `${prefix}${++ids}` }
}
const SIGNED = {
  kind: 'reasoning',
  text: 'hm',
  signature: { vendor: 'anthropic', value: 'EqQB' },
  redacted: false,
} as const
const CALL = {
  kind: 'tool_call',
  id: 'toolu_1',
  namespace: null,
  name: 'f',
  tool: 'function',
  input: '{"a":1}',
} as const
const ANSWER: NeutralAnswer = {
  ...{ id: 'msg_1', model: 'claude-opus-5-5', content: [SIGNED, CALL], stop: { reason: 'tool_use', sequence: null } },
  usage: {
    ...NO_USAGE,
    inputTokens: 5,
    cacheReadTokens: 40,
    cacheWrite5mTokens: 3,
    cacheWrite1hTokens: 2,
    outputTokens: 19,
    reasoningTokens: 7,
  },
}
const MARK = Buffer.from('subgate.anthropic.EqQB').toString('base64')

t.test(
  'an answer for Gemini’s clients has its signature where Gemini CLI keeps it, and the totals as Google counts',
  async (t) => {
    const expected = {
      candidates: [
        {
          content: {
            parts: [
              { text: 'hm', thought: true },
              { functionCall: { id: 'toolu_1', name: 'f', args: { a: 1 } }, thoughtSignature: MARK },
            ],
            role: 'model',
          },
          finishReason: 'STOP',
          index: 0,
        },
      ],
      usageMetadata: {
        promptTokenCount: 50,
        cachedContentTokenCount: 40,
        candidatesTokenCount: 12,
        thoughtsTokenCount: 7,
        totalTokenCount: 69,
      },
      modelVersion: 'asked',
      responseId: 'rsp_1',
    }
    t.same(JSON.parse(encodeGeminiAnswer(ANSWER, asker()).toString()), expected)
    t.same(JSON.parse(encodeGeminiAnswer(ANSWER, asker({ isArray: true, hidesThoughts: false })).toString()), [
      expected,
    ])
    const hidden = JSON.parse(encodeGeminiAnswer(ANSWER, asker({ isArray: false, hidesThoughts: true })).toString())
    t.match(hidden.candidates[0].content.parts, [{ functionCall: {}, thoughtSignature: MARK }])
  },
)

t.test('a stream for Gemini’s clients: text as it comes, calls whole, the end with the totals', async (t) => {
  const encoder = new GeminiEncoder(asker())
  const events: NeutralEvent[] = [
    { type: 'start', id: 'msg_1', model: 'x', usage: null },
    { type: 'open', block: { kind: 'text' } },
    { type: 'delta', text: 'Hel' },
    { type: 'delta', text: 'lo' },
    { type: 'close' },
    { type: 'open', block: { kind: 'tool_call', id: '1', namespace: null, name: 'f', tool: 'function' } },
    { type: 'delta', text: '{"a"' },
    { type: 'delta', text: ':1}' },
    { type: 'close' },
    { type: 'finish', stop: { reason: 'tool_use', sequence: null }, usage: ANSWER.usage },
  ]
  const written = events.map((event) => encoder.push(event))
  t.same(
    written.map((text) => (text === '' ? null : JSON.parse(text.replace(/^data: /, '')).candidates[0].content.parts)),
    [
      null,
      null,
      [{ text: 'Hel' }],
      [{ text: 'lo' }],
      null,
      null,
      null,
      null,
      [{ functionCall: { id: '1', name: 'f', args: { a: 1 } } }],
      [{ text: '' }],
    ],
  )
  t.match(
    written.at(-1),
    /"finishReason":"STOP".*"totalTokenCount":69.*"modelVersion":"asked","responseId":"rsp_1"}\n\n$/,
  )
})

t.test('a stream that ends without a finish reason is broken, and what follows one is nothing', async (t) => {
  const event = (parts: Parameters<typeof chunk>[0]) => Buffer.from(`data: ${JSON.stringify(chunk(parts))}\n\n`)
  const cut = new GeminiDecoder(NO_NAMES)
  cut.push(event({ parts: [{ text: 'a' }] }))
  t.match(cut.end(), [{ type: 'error', error: { kind: 'internal' } }])
  const whole = new GeminiDecoder(NO_NAMES)
  t.match(whole.push(event({ parts: [{ text: 'a' }], finishReason: 'STOP' })).at(-1), { type: 'finish' })
  t.same([whole.push(event({ parts: [{ text: 'b' }], finishReason: 'STOP' })), whole.end()], [[], []])
})

t.test('what an upstream’s error means', async (t) => {
  const kind = (status: number, error: unknown, wrap = (value: object): unknown => value) =>
    decodeGeminiError(status, Buffer.from(JSON.stringify(wrap({ error }))))
  const quota = { code: 429, message: 'Quota exceeded.', status: 'RESOURCE_EXHAUSTED' }
  t.same(kind(429, quota), { kind: 'rate_limit', message: 'Quota exceeded.' })
  t.same(
    kind(429, quota, (value) => [value]),
    { kind: 'rate_limit', message: 'Quota exceeded.' },
  )
  t.match(kind(404, { message: 'models/x is not found' }), { kind: 'not_found' })
  t.match(kind(503, { message: 'busy', status: 'UNAVAILABLE' }), { kind: 'overloaded' })
  const tooLong = 'The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).'
  t.same(kind(400, { message: tooLong, status: 'INVALID_ARGUMENT' }), { kind: 'too_long', message: tooLong })
  const claude = {
    type: 'error',
    error: { type: 'invalid_request_error', message: 'prompt is too long: 2 tokens > 1 maximum' },
  }
  t.same(kind(400, { message: JSON.stringify(claude), status: 'INVALID_ARGUMENT' }), {
    kind: 'too_long',
    message: 'prompt is too long: 2 tokens > 1 maximum',
  })
  t.match(kind(500, 'oops'), { kind: 'internal' })
})

t.test('what others’ errors are to Gemini’s clients', async (t) => {
  const rendered = (kind: 'rate_limit' | 'funds' | 'too_long') => {
    const { status, body } = encodeGeminiError(500, { kind, message: 'why' }, 'call_1')
    return [status, JSON.parse(body.toString()).error]
  }
  t.same(rendered('rate_limit'), [429, { code: 429, message: 'why', status: 'RESOURCE_EXHAUSTED' }])
  t.same(rendered('funds'), [403, { code: 403, message: 'why', status: 'PERMISSION_DENIED' }])
  t.same(rendered('too_long'), [400, { code: 400, message: 'why', status: 'INVALID_ARGUMENT' }])
})

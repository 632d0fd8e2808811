import t from 'tap'
import type { Account, Credentials } from '../../../src/domain/account.ts'
import { antigravity } from '../../../src/providers/antigravity/index.ts'
import { VERSION } from '../../../src/version.ts'

const LOGIN: Credentials = { kind: 'oauth', accessToken: 'ya29.x', accountId: 'a-project', expiresAtMs: null }
const ACCOUNT = { baseUrl: antigravity.defaultBaseUrl, headers: {} } as unknown as Account
const NOW_MS = Date.UTC(2026, 10, 27)

function sent(model: string, request: object, callId?: string) {
  const forwarded = { headers: {}, query: '', model, stream: true, ...(callId !== undefined && { callId }) }
  const made = antigravity.request('messages', forwarded, ACCOUNT, LOGIN, Buffer.from(JSON.stringify(request)))
  return { ...made, envelope: JSON.parse(String(made.body)) }
}
const inner = (model: string, request: object) => sent(model, request).envelope.request
const CLAUDE = 'claude-opus-5-5'
const GEMINI = 'gemini-3.1-pro-high'
const HI = { role: 'user', parts: [{ text: 'hi' }] }

t.test('the envelope says who calls, for which project, and which call it is', async (t) => {
  const { envelope, headers, path } = sent(GEMINI, { contents: [HI] }, 'call_1')
  t.match(envelope, { project: 'a-project', requestId: 'agent-call_1', requestType: 'agent', model: GEMINI })
  t.equal(envelope.userAgent, `subgate/${VERSION}`)
  t.equal(headers[headers.indexOf('user-agent') + 1], `subgate/${VERSION}`)
  t.equal(path, ':streamGenerateContent?alt=sse')
})

t.test('a conversation has one number, on every turn', async (t) => {
  const session = (...contents: object[]) => inner(GEMINI, { contents }).sessionId
  t.match(session(HI), /^-\d{1,19}$/)
  t.equal(session(HI), session(HI, { role: 'model', parts: [{ text: 'ho' }] }, { parts: [{ text: 'more' }] }))
  t.not(session(HI), session({ parts: [{ text: 'ho' }] }))
})

t.test('what the service refuses is left out', async (t) => {
  const request = {
    contents: [HI],
    safetySettings: [{}],
    generation_config: { max_output_tokens: 100_000, temperature: 1, thinkingConfig: { thinkingBudget: 90_000 } },
  }
  t.same(inner(GEMINI, request).generationConfig, { temperature: 1, thinkingConfig: { thinkingBudget: 90_000 } })
  t.same(inner(CLAUDE, request).generationConfig, {
    ...{ maxOutputTokens: 64_000, temperature: 1 },
    thinkingConfig: { thinkingBudget: 63_999 },
  })
  t.notOk('safetySettings' in inner(CLAUDE, request))
})

t.test('Claude gets its tools in Google’s dialect, and is held to them', async (t) => {
  const schema = {
    $schema: 'x',
    type: 'object',
    properties: { at: { type: ['integer', 'null'] } },
    additionalProperties: false,
  }
  const tools = [{ functionDeclarations: [{ name: 'look', parametersJsonSchema: schema }, { name: 'now' }] }]
  t.match(inner(CLAUDE, { contents: [HI], tools }), {
    tools: [
      {
        functionDeclarations: [
          {
            name: 'look',
            parameters: { type: 'OBJECT', properties: { at: { type: 'INTEGER', nullable: true } } },
            parametersJsonSchema: undefined,
          },
          { name: 'now', parameters: { type: 'OBJECT', properties: { unused: { type: 'STRING' } } } },
        ],
      },
    ],
    toolConfig: { functionCallingConfig: { mode: 'VALIDATED' } },
  })
  const forced = { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['look'] } }
  t.same(inner(CLAUDE, { contents: [HI], tools, toolConfig: forced }).toolConfig, forced)
  t.same(inner(GEMINI, { contents: [HI], tools }).tools, tools, 'Gemini reads JSON Schema')
})

t.test('Claude gets no thoughts that it has not signed', async (t) => {
  const call = { functionCall: { name: 'look', args: {} } }
  const parts = [
    { text: 'hm', thought: true },
    { text: 'mine', thought: true, thoughtSignature: 'RXFR' },
    { ...call, thoughtSignature: 'skip_thought_signature_validator' },
  ]
  const contents = [HI, { role: 'model', parts }, { role: 'model', parts: [parts[0]] }]
  t.same(inner(CLAUDE, { contents }).contents, [HI, { role: 'model', parts: [parts[1], call] }])
  t.same(inner(GEMINI, { contents }).contents, contents)
})

t.test('Claude signs its thoughts by itself here, and Gemini as everywhere', async (t) => {
  t.same(
    [CLAUDE, GEMINI].map((model) => antigravity.signedBy(model)),
    ['antigravity', 'gemini'],
  )
})

t.test('a body that is no JSON after all is the upstream’s to refuse', async (t) => {
  const forwarded = { headers: {}, query: '', model: CLAUDE }
  const { body } = antigravity.request('messages', forwarded, ACCOUNT, LOGIN, Buffer.from('{"contents":[oops]}'))
  t.match(String(body), /"request":{"contents":\[oops\]}}$/)
})

t.test('a model list tells also how much is left of each model', async (t) => {
  const models = {
    'gemini-3.1-pro-high': { quotaInfo: { remainingFraction: 0.75, resetTime: '2026-11-28T00:00:00Z' } },
    'claude-opus-5-5': { quotaInfo: { remainingFraction: 0, resetTime: '2026-11-28T00:00:00Z' } },
    silent: { quotaInfo: { resetTime: '2026-11-28T00:00:00Z' } },
    untold: { quotaInfo: { remainingFraction: 0.5 } },
    odd: { quotaInfo: { remainingFraction: 7, resetTime: '2026-11-28T00:00:00Z' } },
    never: { quotaInfo: { remainingFraction: 0.5, resetTime: '2036-11-28T00:00:00Z' } },
    none: null,
  }
  const windows = antigravity.readListedWindows?.(Buffer.from(JSON.stringify({ models })), NOW_MS)
  const window = { resetAtMs: Date.UTC(2026, 10, 28), lengthMs: null, source: 'models', sampledAtMs: NOW_MS }
  t.same(windows, [
    { ...window, name: 'gemini_3_1_pro_high', models: ['gemini-3.1-pro-high'], used: 0.25 },
    { ...window, name: 'claude_opus_5_5', models: ['claude-opus-5-5'], used: 1 },
  ])
  for (const body of ['', '[]', '{"models":7}', '{"models":[1]}']) {
    t.same(antigravity.readListedWindows?.(Buffer.from(body), NOW_MS), [], body)
  }
})

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { isGatewayError } from '../../../src/domain/errors.ts'
import { parseGemini } from '../../../src/protocols/gemini/parse.ts'
import type { Headers } from '../../../src/protocols/protocol.ts'

interface RecordedRequest {
  url: string
  headers: Record<string, string>
  body: Record<string, unknown>
}

/** What Gemini CLI 0.61.0 and the Google GenAI SDK 3.1.0 sent in November 2026; long texts are cut. */
const recorded = JSON.parse(
  readFileSync(new URL('../../fixtures/gemini-requests.json', import.meta.url), 'utf8'),
) as Record<'tool' | 'sessions' | 'sdk', RecordedRequest[]>

const PATH = '/v1beta/models/gemini-3.8-flash:generateContent'
const BODY = { contents: [{ role: 'user', parts: [{ text: 'hi' }] }] }

const parse = (body: unknown, path = PATH, headers: Headers = {}) =>
  parseGemini(headers, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), path)

function refusal(body: unknown, path?: string): string | null {
  try {
    parse(body, path)
    return null
  } catch (error) {
    if (isGatewayError(error, 'invalid_request')) return error.message
    throw error
  }
}

t.test('the model and the kind of answer are read from real requests', async (t) => {
  const facts = Object.values(recorded)
    .flat()
    .map(({ url, body }) => {
      const { requestedModel, stream } = parse(body, url)
      return `${requestedModel} ${stream}`
    })
  t.same([...new Set(facts)], ['gemini-3.5-flash-lite false', 'gemini-3.8-flash true', 'gemini-3.8-flash false'])
})

t.test('every form of path that Google has is understood', async (t) => {
  const cases: [string, string, boolean][] = [
    ['/v1/models/gemini-3.8-flash:streamGenerateContent?alt=sse', 'gemini-3.8-flash', true],
    ['/v1beta/models/a:streamGenerateContent?key=k&alt=sse', 'a', true],
    ['/v1alpha/models/a:streamGenerateContent', 'a', false],
    ['/v1beta/models/a:streamGenerateContent?alt=json', 'a', false],
    ['/v1beta/models/a:generateContent?alt=sse', 'a', false],
    ['/v1beta/models/a:countTokens', 'a', false],
    ['/v1beta/models/a%2Fb:generateContent', 'a/b', false],
    ['/v1beta/models/a:b:generateContent', 'a:b', false],
    ['/antigravity/v1beta/models/claude-opus-5-5:streamGenerateContent?alt=sse', 'claude-opus-5-5', true],
    ['/v1beta1/publishers/google/models/a:generateContent', 'a', false],
    ['/v1/projects/p/locations/l/publishers/google/models/a:streamGenerateContent?alt=sse', 'a', true],
    ['/v1beta/models/a:countTokens?access_token=/v1/models/b:streamGenerateContent?alt=sse', 'a', false],
  ]
  for (const [path, model, stream] of cases) {
    const facts = parse(BODY, path)
    t.same([facts.requestedModel, facts.stream], [model, stream], path)
  }
  for (const path of [
    '/v1beta/models/a',
    '/v1beta/models/:generateContent',
    '/models/a:generateContent',
    '/v1/messages',
    '',
  ]) {
    t.match(refusal(BODY, path), 'the path must end in models/{model}:{method}', path)
  }
  t.match(refusal(BODY, `/v1/models/${'m'.repeat(257)}:generateContent`), 'a text of 1 to 256 characters')
  t.match(refusal(BODY, '/v1/models/%ff:generateContent'), 'a text of 1 to 256 characters')
})

t.test('how much output is asked for may be written in either spelling', async (t) => {
  const asked = (body: object) => parse({ ...BODY, ...body }).maxOutputTokens
  t.equal(asked({ generationConfig: { maxOutputTokens: 7 } }), 7)
  t.equal(asked({ generation_config: { max_output_tokens: 7 } }), 7)
  const none = [
    {},
    { generationConfig: null },
    { generationConfig: { maxOutputTokens: '7' } },
    { generationConfig: { maxOutputTokens: -1 } },
  ]
  t.same(none.map(asked), [null, null, null, null])
})

t.test('a body that is no JSON object is refused, and so is a key that is there twice', async (t) => {
  t.match(refusal(''), 'the request body must be a JSON object')
  t.match(refusal('[]'), 'the request body must be a JSON object')
  t.match(refusal('{"contents":[],"contents":[]}'), "the request body has the key 'contents' twice")
})

t.test('a conversation is known by what a client is told to send, else by its first words', async (t) => {
  const identity = (body: object, headers: Headers = {}) => parse({ ...BODY, ...body }, PATH, headers).conversation()
  t.same(identity({}, { 'x-session-affinity': 'mine' }), { name: 'mine', source: 'x-session-affinity' })
  for (const name of ['', 'a\nb', 'x'.repeat(513)]) {
    t.match(identity({}, { 'x-session-affinity': name }), { source: 'first words' })
  }
  const system = { parts: [{ text: 'Be brief.' }] }
  const first = BODY.contents[0] as object
  const later = [first, { role: 'model', parts: [{ text: 'ho' }] }, { parts: [{ text: 'more' }] }]
  const same = [
    { systemInstruction: system },
    { system_instruction: system },
    { systemInstruction: { ...system, role: 'user' }, tools: [{}] },
    { systemInstruction: system, contents: later },
    { systemInstruction: system, contents: [{ parts: [{ text: 'hi' }] }] },
    { systemInstruction: system, contents: [null, 7, ...later] },
  ].map((body) => identity(body)?.name)
  t.equal(new Set(same).size, 1)
  const others = [
    {},
    { systemInstruction: { parts: [{ text: 'Be long.' }] } },
    { systemInstruction: system, contents: [{ parts: [{ text: 'ho' }] }] },
  ]
  t.equal(new Set([same[0], ...others.map((body) => identity(body)?.name)]).size, 4)
  t.same(
    [{ contents: [] }, { contents: 'hi' }, { contents: [{ role: 'model', parts: [] }] }].map((body) => identity(body)),
    [null, null, null],
  )
})

t.test(
  'Gemini CLI’s conversations stay themselves over their turns, and apart from those of other installations',
  async (t) => {
    const streams = (requests: RecordedRequest[]) => requests.filter(({ url }) => url.includes('stream'))
    const names = (requests: RecordedRequest[]) =>
      new Set(requests.map(({ body, headers, url }) => parse(body, url, headers).conversation()?.name))
    t.ok(streams(recorded.tool).length >= 2)
    t.equal(names(streams(recorded.tool)).size, 1)
    const [request] = recorded.tool as [RecordedRequest]
    const elsewhere = { ...request, headers: { ...request.headers, 'x-gemini-api-privileged-user-id': 'another' } }
    t.equal(names([request, elsewhere]).size, 2)
    const inPlanMode = { ...request, body: { ...request.body, systemInstruction: { parts: [{ text: 'Plan.' }] } } }
    t.equal(names([request, inPlanMode]).size, 1)
  },
)

t.test('no body and no path makes it throw anything but a refusal', async () => {
  const key = fc.constantFrom('contents', 'systemInstruction', 'system_instruction', 'generationConfig', '__proto__')
  const bodies = fc.dictionary(key, fc.jsonValue()).map((body) => JSON.stringify(body))
  const paths = fc.oneof(
    fc.constant(PATH),
    fc.string().map((text) => `/v1beta/models/${text}`),
    fc.webPath(),
  )
  fc.assert(
    fc.property(fc.oneof(bodies, fc.string()), paths, (body, path) => {
      if (refusal(body, path) !== null) return true
      const conversation = parse(body, path).conversation()
      return conversation === null || conversation.name.length > 0
    }),
    { numRuns: 2000 },
  )
})

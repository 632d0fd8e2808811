import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import type { SessionSource } from '../../../src/domain/call.ts'
import { isGatewayError } from '../../../src/domain/errors.ts'
import { parseMessages } from '../../../src/protocols/anthropic-messages/parse.ts'
import type { Headers } from '../../../src/protocols/protocol.ts'

interface RecordedRequest {
  url: string
  headers: Record<string, string>
  body: Record<string, unknown>
}

/** What Claude Code 2.1.330 and the Anthropic SDK 1.12.0 sent in November 2026; long texts are cut. */
const recorded = JSON.parse(
  readFileSync(new URL('../../fixtures/claude-requests.json', import.meta.url), 'utf8'),
) as Record<'resume' | 'tool' | 'older' | 'sdk' | 'count', RecordedRequest[]>

const BODY = { model: 'claude-opus-5-5', max_tokens: 100, messages: [{ role: 'user', content: 'hi' }] }

const parse = (body: unknown, headers: Headers = {}) =>
  parseMessages(headers, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))

function refusal(body: unknown): string | null {
  try {
    parse(body)
    return null
  } catch (error) {
    if (isGatewayError(error, 'invalid_request')) return error.message
    throw error
  }
}

t.test('what routing needs is read from real requests', async (t) => {
  const all = Object.values(recorded).flat()
  t.same(
    all.map(({ body }) => {
      const { requestedModel, stream, maxOutputTokens } = parse(body)
      return { model: requestedModel, stream: stream || undefined, max_tokens: maxOutputTokens ?? undefined }
    }),
    all.map(({ body: { model, stream, max_tokens } }) => ({ model, stream, max_tokens })),
  )
})

t.test('routing keys are found wherever they stand and however they are written', async (t) => {
  const filler = JSON.stringify({ system: '{"model":"no"}', tools: [{ model: 'no', stream: false }] }).slice(1, -1)
  const forms = [
    `{"model":"m","stream":true,"max_tokens":7,${filler}}`,
    `{${filler},"max_tokens":7,"stream":true,"model":"m"}`,
    `{ "mod\\u0065l" : "m" ,${filler},\n"\\u0073tream":true,"max_tokens" :7}`,
    `{"model":"\\u006d","stream":true,"max_tokens":7,${filler}}`,
  ]
  t.same(
    forms.map((form) => {
      const { requestedModel, stream, maxOutputTokens } = parse(form)
      return [requestedModel, stream, maxOutputTokens]
    }),
    forms.map(() => ['m', true, 7]),
  )
})

t.test('what no upstream could answer is refused with the field that is wrong', async (t) => {
  const cases: [unknown, string][] = [
    ['', 'the request body must be a JSON object'],
    ['[]', 'the request body must be a JSON object'],
    ['{"model":"a"', 'the request body is not valid JSON: a comma or a closing brace is missing'],
    ['{"model":"a","model":"b"}', "the request body has the key 'model' twice"],
    ['{"model":"a","mod\\u0065l":"b"}', "the request body has the key 'model' twice"],
    ['{"model":"a","stream":true,"stream":false}', "the request body has the key 'stream' twice"],
    [{ ...BODY, model: undefined }, 'model: must be a text of 1 to 256 characters'],
    [{ ...BODY, model: '' }, 'model: must be a text of 1 to 256 characters'],
    [{ ...BODY, model: 7 }, 'model: must be a text of 1 to 256 characters'],
    [{ ...BODY, model: ['a'] }, 'model: must be a text of 1 to 256 characters'],
    [{ ...BODY, model: 'm'.repeat(257) }, 'model: must be a text of 1 to 256 characters'],
    ['{"model":m}', 'model: must be a text of 1 to 256 characters'],
    [{ ...BODY, stream: 'true' }, 'stream: must be true or false'],
    [{ ...BODY, stream: 1 }, 'stream: must be true or false'],
    ['{"model":"a","stream":tru}', 'stream: must be true or false'],
  ]
  t.same(
    cases.map(([body]) => refusal(body)),
    cases.map(([, message]) => message),
  )
})

t.test('a number of tokens is one or is not known', async (t) => {
  const written = ['7', '0', '1e3', '1.5', '-1', '1e999', '1e300', '"7"', 'null', '[]', 'NaN']
  t.same(
    written.map((max) => parse(`{"model":"m","max_tokens":${max}}`).maxOutputTokens),
    [7, 0, 1000, null, null, null, null, null, null, null, null],
  )
  t.equal(parse({ ...BODY, stream: null }).stream, false)
})

t.test('the first signal of a session counts, and a broken one gives way to the next', async (t) => {
  const session = '11111111-2222-4333-8444-555555555555'
  const older = `user_${'a'.repeat(64)}_account__session_${session}`
  const json = JSON.stringify({ device_id: 'd', account_uuid: '', session_id: session })
  const withUser = (user_id: unknown) => ({ ...BODY, metadata: { user_id } })
  const all = { 'x-claude-code-session-id': 'from-header', 'x-session-affinity': 'from-affinity' }
  const hashed = /^[\w-]{43}$/
  const cases: [string, Record<string, unknown>, Headers, string | RegExp, SessionSource][] = [
    ['the header of Claude Code', withUser(json), all, 'from-header', 'x-claude-code-session-id'],
    ['a header of others comes after it', withUser(json), { 'x-session-affinity': 'x' }, session, 'metadata.user_id'],
    ['the header of others', BODY, { ...all, 'x-claude-code-session-id': '' }, 'from-affinity', 'x-session-affinity'],
    ['a header too long', withUser(json), { 'x-claude-code-session-id': 'x'.repeat(513) }, session, 'metadata.user_id'],
    ['a header with control characters', withUser(json), { 'x-session-affinity': 'a\tb' }, session, 'metadata.user_id'],
    ['user_id in JSON', withUser(json), {}, session, 'metadata.user_id'],
    ['user_id in its older form', withUser(older), {}, session, 'metadata.user_id'],
    ['a user_id of somebody else', withUser('user-4711'), {}, hashed, 'first words'],
    ['JSON that is none', withUser('{"session_id":'), {}, hashed, 'first words'],
    ['JSON without a session', withUser('{"device_id":"d"}'), {}, hashed, 'first words'],
    ['an empty user_id', withUser(''), {}, hashed, 'first words'],
    ['a user_id of another type', withUser({ session_id: session }), {}, hashed, 'first words'],
    ['metadata of another type', { ...BODY, metadata: 'x' }, {}, hashed, 'first words'],
    ['no metadata', { ...BODY, metadata: null }, {}, hashed, 'first words'],
  ]
  for (const [title, body, headers, name, source] of cases) {
    t.match(parse(body, headers).conversation(), { name, source }, title)
  }
})

t.test('a conversation keeps its identity over its turns', async (t) => {
  const identities = (requests: RecordedRequest[], strip: (request: RecordedRequest) => [unknown, Headers]) =>
    new Set(requests.map((request) => parse(...strip(request)).conversation()?.name))
  const asSent = ({ body, headers }: RecordedRequest): [unknown, Headers] => [body, headers]
  const byBody = ({ body }: RecordedRequest): [unknown, Headers] => [body, {}]
  const byWords = ({ body }: RecordedRequest): [unknown, Headers] => [{ ...body, metadata: undefined }, {}]
  for (const name of ['resume', 'tool'] as const) {
    const session = recorded[name][0]?.headers['x-claude-code-session-id'] as string
    t.ok(recorded[name].length >= 2)
    t.same([...identities(recorded[name], asSent)], [session], `${name}: by header`)
    t.same([...identities(recorded[name], byBody)], [session], `${name}: by metadata`)
    t.equal(identities(recorded[name], byWords).size, 1, `${name}: by its first words`)
  }
  t.equal(identities([...recorded.resume, ...recorded.tool], byWords).size, 2, 'two conversations are two')
})

t.test('first words are system and first user text, without what changes from turn to turn', async (t) => {
  const attribution = (version: string) => ({
    type: 'text',
    text: `x-anthropic-billing-header: cc_version=${version};`,
  })
  const identity = (body: object) => parse({ ...BODY, ...body }).conversation()?.name
  const base = { system: [{ type: 'text', text: 'Be brief.' }], messages: [{ role: 'user', content: 'hi' }] }
  const same = [
    { ...base, system: [attribution('1'), ...base.system] },
    { ...base, system: [attribution('2'), { ...base.system[0], cache_control: { type: 'ephemeral' } }] },
    { ...base, system: 'Be brief.' },
    { ...base, tools: [{ name: 'Bash' }], model: 'another' },
    { ...base, messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }] },
    { ...base, messages: [{ role: 'system', content: 'x' }, ...base.messages, { role: 'user', content: 'more' }] },
    { ...base, messages: [null, 7, ...base.messages] },
  ]
  t.same([...new Set(same.map(identity))], [identity(base)])
  const others = [
    { ...base, system: 'Be long.' },
    { ...base, messages: [{ role: 'user', content: 'ho' }] },
    { ...base, system: ['Be brief.', 'hi'], messages: [{ role: 'user', content: '' }] },
  ]
  t.notOk(others.map(identity).includes(identity(base)))
  const none = [{ messages: [] }, { messages: 'hi' }, { messages: [{ role: 'assistant', content: 'x' }] }]
  t.same(none.map(identity), [undefined, undefined, undefined])
})

t.test('no body makes it throw anything but a refusal', async () => {
  const key = fc.constantFrom('model', 'stream', 'metadata', 'messages', 'system', 'max_tokens', '__proto__')
  const bodies = fc.dictionary(key, fc.jsonValue()).map((body) => JSON.stringify({ model: 'm', ...body }))
  const damaged = fc.tuple(bodies, fc.nat(), fc.nat()).map(([body, from, to]) => {
    const [a, b] = [from % body.length, to % body.length].sort((a, b) => a - b) as [number, number]
    return body.slice(0, a) + body.slice(b)
  })
  fc.assert(
    fc.property(fc.oneof(bodies, damaged, fc.string()), (body) => {
      if (refusal(body) !== null) return true
      const conversation = parse(body).conversation()
      return conversation === null || conversation.name.length > 0
    }),
    { numRuns: 2000 },
  )
})

import t from 'tap'
import { until } from '../support/client.ts'
import { brokenStream, ClientSite, ENDLESS, NO_TOKENS } from '../support/clients.ts'
import { keepSecret } from '../support/secrets.ts'
import { anthropicSdk } from './install.ts'

// The first run fetches the SDK.
t.setTimeout(300_000)

// The package is not there when types are checked, so what it exports is untyped here.
const { default: Anthropic } = await import(await anthropicSdk())

const MODEL = 'claude-sonnet-5-5'
const asked = { model: MODEL, max_tokens: 1024, messages: [{ role: 'user', content: 'say hi to the gateway' }] }
const TEXT = ['What you said: ', 'hi ', 'there']

const site = await ClientSite.start(t, {
  env: { SUBGATE_SERVER_MAX_REQUEST_BODY_SIZE: '1MiB', SUBGATE_GATEWAY_LINE_EXTRA: '0' },
})
const { served, upstream, wire } = site

function clientOf(options: object = {}, url = wire.url) {
  return new Anthropic({ baseURL: url, apiKey: served.key, authToken: null, ...options })
}
const client = clientOf()
/** One that takes the first answer that it gets. */
const impatient = clientOf({ maxRetries: 0 })

async function issueKey(...flags: string[]) {
  const { key } = await served.operator.ask<{ key: string }>('key', 'issue', served.user, ...flags)
  return clientOf({ apiKey: keepSecret(key) })
}

t.beforeEach(() => void site.take())

type Events = AsyncIterable<{ type: string }>

/** Reads a raw stream to its end. Returns the types of its events. */
async function eventTypes(stream: Events): Promise<string[]> {
  const types: string[] = []
  for await (const { type } of stream) types.push(type)
  return types
}

/** What an API call fails with. */
async function failureOf(call: PromiseLike<unknown>) {
  try {
    await call
  } catch (error) {
    // biome-ignore lint/suspicious/noExplicitAny: the SDK's own error class
    return error as any
  }
  throw new Error('it succeeded')
}

/** Resolves once a stream has said something. */
function heard(stream: { once(event: 'text', listener: () => void): void }): Promise<void> {
  return new Promise((resolve) => stream.once('text', () => resolve()))
}

function outcomes(rows: { outcome: string }[]): string[] {
  return rows.map(({ outcome }) => outcome)
}

/** The statuses that the client got, call by call. */
function statuses(): number[] {
  return site.take('/v1/messages').map(({ status }) => status)
}

t.test('a message comes whole, with the upstream’s request id', async (t) => {
  const { data: message, request_id: id } = await client.messages.create(asked).withResponse()
  const [row] = await site.settled(t, 1)
  t.match(message, { content: [{ type: 'text', text: 'You said: say hi to the gateway' }], stop_reason: 'end_turn' })
  t.match(message.usage, { input_tokens: 1001, output_tokens: 2001, cache_read_input_tokens: 31 })
  t.match(id, /^req_fake_/)
  t.match(row, { outcome: 'complete', status: 200, stream: false, requestedModel: MODEL, userAgent: /^Anthropic\/JS / })
  t.same(statuses(), [200])
})

t.test('what the client says of itself reaches the upstream; its key does not', async (t) => {
  await client.beta.messages.create({
    ...asked,
    betas: ['context-1m-2025-08-07', 'made-up-2026-11-01'],
    extra: { a: [1.0] },
  })
  await site.settled(t, 1)
  const [sent] = site.take()
  const { headers, path, body } = site.lastSeen()
  const said = Object.keys(sent?.headers ?? {}).filter((name) => /^(anthropic-|x-stainless-|user-agent$)/.test(name))
  t.equal(headers['anthropic-version'], '2026-10-21')
  t.equal(headers['anthropic-beta'], 'context-1m-2025-08-07,made-up-2026-11-01')
  t.ok(said.length > 8, `enough headers to compare: ${said.join(', ')}`)
  t.same(
    said.filter((name) => headers[name] !== sent?.headers[name]),
    [],
    'headers that were changed',
  )
  t.equal(path, sent?.path)
  t.same(JSON.parse(body), { ...asked, extra: { a: [1.0] } }, 'unknown fields too')
  t.notOk(JSON.stringify(headers).includes(served.key), 'the key that we issued')
  t.match(headers['x-api-key'], /^sk-ant-/)
})

t.test('every way to hand over a key works', async (t) => {
  const ways = [
    { apiKey: served.key },
    { apiKey: null, authToken: served.key },
    { apiKey: null, defaultHeaders: { 'x-api-key': served.key } },
  ]
  for (const way of ways) await clientOf(way).messages.create(asked)
  const presented = site.take().map(({ headers }) => [headers.authorization?.slice(0, 7), 'x-api-key' in headers])
  t.same(presented, [
    ['Bearer ', false],
    ['Bearer ', false],
    [undefined, true],
  ])
  await site.settled(t, 3)
})

t.test('the stream helper puts a message together', async (t) => {
  site.next({ text: TEXT })
  const seen: string[] = []
  const stream = client.messages.stream(asked).on('text', (delta: string) => seen.push(delta))
  const message = await stream.finalMessage()
  const [row] = await site.settled(t, 1)
  t.same(seen, TEXT)
  t.match(message, { content: [{ text: TEXT.join('') }], stop_reason: 'end_turn' })
  t.equal(message.usage.output_tokens, (row as { outputTokens: number }).outputTokens)
  t.match(row, { outcome: 'complete', stream: true })
})

t.test('a raw stream has every event of the upstream', async (t) => {
  site.next({ text: TEXT })
  const types = await eventTypes(await client.messages.create({ ...asked, stream: true }))
  t.same(types, [
    'message_start',
    'content_block_start',
    ...TEXT.map(() => 'content_block_delta'),
    'content_block_stop',
    'message_delta',
    'message_stop',
  ])
  await site.settled(t, 1)
})

t.test('a tool is called and its result goes back', async (t) => {
  const input = { city: 'Zürich', days: [1, 2] }
  const tools = [{ name: 'weather', input_schema: { type: 'object' } }]
  site.next({ text: ['Let me look.'], toolUse: { id: 'toolu_1', name: 'weather', input } })
  const first = await client.messages.stream({ ...asked, tools }).finalMessage()
  t.match(first, { stop_reason: 'tool_use', content: [{ type: 'text' }, { type: 'tool_use', id: 'toolu_1', input }] })
  const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'rain' }] }
  const messages = [...asked.messages, { role: 'assistant', content: first.content }, result]
  const second = await client.messages.create({ ...asked, tools, messages })
  t.equal(second.stop_reason, 'end_turn')
  t.same(JSON.parse(site.lastSeen().body).messages, messages)
  await site.settled(t, 2)
})

t.test('tokens are counted without a usage row', async (t) => {
  const { max_tokens: _, ...counted } = asked
  const { input_tokens: tokens } = await client.messages.countTokens(counted)
  t.equal(tokens, Math.ceil(site.lastSeen().body.length / 4))
  t.equal(site.lastSeen().path, '/v1/messages/count_tokens')
  await site.settled(t, 0)
})

t.test('models are listed page by page, and one by one', async (t) => {
  const ids: string[] = []
  for await (const model of client.models.list({ limit: 2 })) ids.push(model.id)
  t.same(ids, ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5'])
  t.equal(site.take('/v1/models').length, 2, 'in two pages')
  t.match(await client.models.retrieve('claude-haiku-5-5'), { id: 'claude-haiku-5-5', type: 'model' })
  const error = await failureOf(client.models.retrieve('claude-1'))
  t.match(error, { status: 404, type: 'not_found_error', apiMessage: /'claude-1'/ })
  t.equal(site.take('/v1/models').length, 2, 'and it does not ask again')
  await site.settled(t, 0)
})

t.test('an upstream’s refusal comes in its own words', async (t) => {
  const refusals = [
    [400, 'invalid_request_error', 'prompt is too long: 250000 tokens > 200000 maximum'],
    [404, 'not_found_error', 'model: claude-sonnet-5-5'],
    [413, 'request_too_large', 'Request exceeds the maximum size'],
    [422, 'invalid_request_error', 'ünïcode “quotes” \\u0000'],
  ] as const
  for (const [status, type, message] of refusals) {
    const body = `{"type":"error", "error":{"type":"${type}","message":"${message}"},"request_id":"req_upstream","x":1}`
    site.next({ status, body, headers: { 'request-id': 'req_upstream' } })
    const expected = { status, type, requestID: 'req_upstream', error: JSON.parse(body) }
    t.match(await failureOf(client.messages.create({ ...asked, stream: true })), expected, `${status}`)
  }
  t.same(statuses(), [400, 404, 413, 422], 'none was tried again')
  const rows = await site.settled(t, 4)
  t.same(outcomes(rows), ['rejected', 'rejected', 'rejected', 'rejected'])
})

t.test('a path that is not there says so', async (t) => {
  const error = await failureOf(client.post('/v1/complete', { body: {} }))
  t.match(error, { status: 404, apiMessage: /POST \/v1\/complete/ })
  t.equal(site.take().length, 1)
  await site.settled(t, 0)
})

t.test('an upstream’s rate limit: the client waits as told and gets its answer', async (t) => {
  site.next({ status: 429, headers: { 'retry-after': '1', 'anthropic-ratelimit-requests-remaining': '0' } })
  const error = await failureOf(impatient.messages.create(asked))
  t.match(error, { status: 429, type: 'rate_limit_error', apiMessage: /rate limit/ })
  t.equal(error.headers.get('retry-after'), '1')
  t.equal(error.headers.get('anthropic-ratelimit-requests-remaining'), null, 'which is the account’s affair')
  t.equal((await client.messages.create(asked)).stop_reason, 'end_turn')
  const got = statuses()
  t.equal(got.at(-1), 200)
  t.ok(got.length <= 4, `no retry storm: ${got}`)
  await site.settled(t, 2)
})

t.test('an error event before any content is an error with a status', async (t) => {
  site.next({ breaks: { after: 1, how: 'error_event' }, row: NO_TOKENS })
  const error = await failureOf(impatient.messages.create({ ...asked, stream: true }))
  t.match(error, { status: 529, type: 'overloaded_error' })
  await site.settled(t, 1)
})

t.test('a full line is a 429 that says so; with patience it passes', async (t) => {
  const narrow = await issueKey('--concurrency', '1')
  site.next(ENDLESS)
  const running = narrow.messages.stream(asked)
  const left = failureOf(running.done())
  await heard(running)
  const waiting = narrow.messages.create(asked)
  await until('a call to wait in line', async () => {
    const slots = await served.operator.ask<{ state: string }[]>('slot', 'list')
    return slots.filter(({ state }) => state === 'waiting').length === 1
  })
  const error = await failureOf(narrow.messages.create(asked, { maxRetries: 0 }))
  t.match(error, {
    status: 429,
    type: 'rate_limit_error',
    apiMessage: 'this API key may run 1 call at a time, and its waiting line is full',
  })
  t.match(error.headers.get('retry-after'), /^\d+$/)
  running.abort()
  await left
  t.equal((await waiting).stop_reason, 'end_turn')
  const rows = await site.settled(t, 2)
  t.same(outcomes(rows), ['client_left', 'complete'])
})

t.test('a body that is too large is refused, and the connection stays usable', async (t) => {
  const large = { ...asked, messages: [{ role: 'user', content: 'x'.repeat(2 * 1024 * 1024) }] }
  const error = await failureOf(client.messages.create(large))
  t.match(error, { status: 413, type: 'request_too_large', apiMessage: /larger than 1 MiB/ })
  await client.messages.create(asked)
  t.same(statuses(), [413, 200])
  await site.settled(t, 1)
})

t.test('whoever leaves a stream stops the upstream and gives the slot back', async (t) => {
  site.next(ENDLESS, ENDLESS, ENDLESS)
  const ways = [
    async () => {
      const stream = client.messages.stream(asked)
      await heard(stream)
      stream.abort()
      t.match(await failureOf(stream.finalMessage()), { message: 'Request was aborted.' })
    },
    async () => {
      for await (const { type } of await client.messages.create({ ...asked, stream: true })) {
        if (type === 'content_block_delta') break
      }
    },
    async () => {
      const controller = new AbortController()
      const stream = client.messages.stream(asked, { signal: controller.signal })
      await heard(stream)
      controller.abort()
      t.match(await failureOf(stream.done()), { message: 'Request was aborted.' })
    },
  ]
  for (const [index, leave] of ways.entries()) {
    await leave()
    const call = site.lastSeen()
    await until(`the upstream call of way ${index} to be over`, () => call.over)
    t.equal(call.over, 'cancelled')
    const [row] = await site.settled(t, 1)
    t.equal(row?.outcome, 'client_left')
  }
})

t.test('whoever leaves before an answer stops the upstream too', async (t) => {
  site.next({ headDelayMs: 'forever' }, { headDelayMs: 'forever' })
  const controller = new AbortController()
  const left = failureOf(client.messages.create(asked, { signal: controller.signal }))
  const before = upstream.seen.length
  await until('the call to reach the upstream', () => upstream.seen.length > before)
  controller.abort()
  t.match(await left, { message: 'Request was aborted.' })
  t.match(await failureOf(impatient.messages.create(asked, { timeout: 300 })), { message: 'Request timed out.' })
  const calls = upstream.seen.slice(before)
  await until('both upstream calls to be over', () => calls.length === 2 && calls.every(({ over }) => over))
  t.same(
    calls.map(({ over }) => over),
    ['cancelled', 'cancelled'],
  )
  const rows = await site.settled(t, 2)
  t.same(outcomes(rows), ['client_left', 'client_left'])
})

t.test('a stream that breaks is an error, never an answer', async (t) => {
  const cut = { outcome: 'upstream_cut', told: { type: 'api_error', apiMessage: /^the upstream/ } }
  const ways = {
    mid_event: cut,
    clean_end: cut,
    reset: cut,
    error_event: { outcome: 'upstream_error', told: { type: 'overloaded_error', apiMessage: 'Overloaded' } },
  } as const
  for (const [how, { outcome, told }] of Object.entries(ways)) {
    const broken = brokenStream(how as keyof typeof ways)
    site.next(broken, broken)
    const failures = await Promise.all([
      impatient.messages.create({ ...asked, stream: true }).then((stream: Events) => failureOf(eventTypes(stream))),
      failureOf(impatient.messages.stream(asked).finalMessage()),
    ])
    t.match(failures, [told, told], how)
    t.same(statuses(), [200, 200])
    t.same(outcomes(await site.settled(t, 2)), [outcome, outcome])
  }
})

t.test('the gateway stops when it is told to, and has met no bug', async (t) => {
  t.equal(await served.process.stop(), 0)
  t.notMatch(served.process.said, /a bug/)
})

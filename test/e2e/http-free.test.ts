import t from 'tap'
import { type CallOptions, messageRequest, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

/** What costs nothing: counting tokens, model lists, one's own usage, health. */

const COUNT = '/v1/messages/count_tokens'
const BURST = 25
const { stream: _, ...COUNT_BODY } = messageRequest(false) as Record<string, unknown>

t.test('count_tokens', async (t) => {
  const failing = { elsewhere: { status: 401 } }
  const gw = await startGateway(t, {
    config: { 'gateway.count_tokens_per_minute': 40 },
    setUp: async (site) => ({
      plain: await site.scene({
        user: { concurrency: 1 },
        accounts: [{ concurrency: 1, scripts: [{ headDelayMs: 'forever' }] }],
      }),
      failsOver: await site.scene({ accounts: [failing, {}] }),
      fails: await site.scene({ accounts: [failing] }),
      html: await site.scene({ accounts: [{ elsewhere: { status: 403, body: '<html>no</html>' } }] }),
      refused: await site.scene({
        accounts: [
          {
            elsewhere: {
              status: 400,
              body: '{"type":"error","error":{"type":"invalid_request_error","message":"messages: too few"}}',
            },
          },
          {},
        ],
      }),
      ruled: await site.scene({
        accounts: [
          {
            priority: 1,
            elsewhere: {
              status: 400,
              body: '{"type":"error","error":{"type":"invalid_request_error","message":"Plan limit reached"}}',
            },
          },
          {},
        ],
      }),
    }),
  })
  const count = (name: keyof typeof gw.scenes) => gw.call({ path: COUNT, key: gw.scenes[name].key, body: COUNT_BODY })

  t.test('a burst takes no slot, though the only one is taken', async (t) => {
    const running = gw.open({ key: gw.scenes.plain.key, body: messageRequest(false) })
    await until('the one call to run', async () => (await gw.gateway.live.admissions()).length === 1)
    const answers = await Promise.all(Array.from({ length: BURST }, () => count('plain')))
    t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
    t.match(JSON.parse(answers[0]?.text ?? ''), { input_tokens: Number })
    t.equal((await gw.gateway.live.admissions()).length, 1)
    running.leave()
    t.equal((await gw.settled()).length, 1, 'and leaves no row')
    t.match(gw.gateway.counters.all(), { count_tokens: BURST })
  })

  t.test('it has a limit of its own, per key', async (t) => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => count('plain')))
    const refused = answers.filter(({ status }) => status === 429)
    t.equal(refused.length, BURST + 20 - 40)
    t.match(refused[0], { headers: { 'retry-after': '5' }, text: /may count tokens 40 times a minute/ })
    t.equal((await count('failsOver')).status, 200, 'other keys are not touched')
  })

  t.test('another account is asked; faults rest none', async (t) => {
    for (let i = 0; i < 4; i++) t.equal((await count('failsOver')).status, 200)
    t.match(await count('fails'), { status: 529, text: /no upstream account could answer \(authentication_error\)/ })
    t.match(await count('html'), { status: 529, text: /\(http_403\)/ })
    t.match(
      await count('refused'),
      { status: 400, text: /messages: too few/ },
      "the request's own fault goes on as it came",
    )
    const restRules = [{ status: 400, keywords: ['Plan limit'], restMs: 60_000 }]
    const id = gw.scenes.ruled.accounts[0]?.id ?? ''
    await gw.site.store.accounts.set({ id, changes: { restRules }, by: 'test' })
    await gw.seen()
    t.equal((await count('ruled')).status, 200, 'what its own rules make the fault of an account')
    const rests = gw.gateway.directory
      .accounts()
      .filter(({ account, overloads }) => account.rest || overloads.length > 0)
    t.same(rests, [])
    t.equal((await gw.settled()).length, 1)
  })

  t.test('what cannot be served is refused', async (t) => {
    const body = { ...COUNT_BODY, model: 'gpt-6' }
    t.equal((await gw.call({ path: COUNT, key: gw.scenes.fails.key, body })).status, 404)
    t.equal((await gw.call({ path: COUNT, key: gw.scenes.fails.key, body: 'nonsense' })).status, 400)
    t.equal(gw.gateway.running.bufferedBytes, 0)
  })
})

t.test('models', async (t) => {
  const listed = (...ids: string[]) => ({
    body: JSON.stringify({
      data: ids.map((id) => ({
        type: 'model',
        id,
        display_name: id.toUpperCase(),
        created_at: '2026-01-01T00:00:00Z',
      })),
      has_more: false,
    }),
  })
  const many = Array.from({ length: 30 }, (_, index) => `claude-many-${String(index).padStart(2, '0')}`)
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      plain: await site.scene(),
      many: await site.scene({ accounts: [{ elsewhere: listed(...many) }] }),
      two: await site.scene({
        accounts: [
          { elsewhere: listed('claude-a', 'gpt-6', 'claude-b') },
          { elsewhere: listed('claude-b', 'claude-c'), models: ['claude-c'] },
        ],
        key: { models: ['claude-*'] },
      }),
      someOnly: await site.scene({
        accounts: [{ elsewhere: listed('claude-a', 'claude-b') }],
        key: { models: ['claude-b'] },
      }),
      silent: await site.scene({ accounts: [{ elsewhere: { status: 500 } }] }),
    }),
  })
  const get = async (name: keyof typeof gw.scenes, path = '/v1/models') => {
    const answer = await gw.call({ method: 'GET', path, key: gw.scenes[name].key })
    return { status: answer.status, ...JSON.parse(answer.text) }
  }
  const ids = (list: { data: { id: string }[] }) => list.data.map(({ id }) => id)

  t.test('the list of the vendor', async (t) => {
    const list = await get('plain')
    t.match(list, { status: 200, has_more: false, first_id: 'claude-opus-5-5', last_id: 'claude-haiku-5-5' })
    t.match(list.data[0], { type: 'model', id: 'claude-opus-5-5', display_name: String, created_at: String })
  })

  t.test('by patterns of accounts and keys, each model once', async (t) => {
    t.same(ids(await get('two')), ['claude-a', 'claude-b', 'claude-c'])
    t.same(ids(await get('someOnly')), ['claude-b'])
  })

  t.test('one of them', async (t) => {
    t.match(await get('someOnly', '/v1/models/claude-b'), { status: 200, id: 'claude-b', display_name: 'CLAUDE-B' })
    t.match(await get('someOnly', '/v1/models/claude%2Db'), { status: 200, id: 'claude-b' })
    t.match(await get('someOnly', '/v1/models/claude-a'), { status: 404, error: { type: 'not_found_error' } })
    t.match(await get('someOnly', '/v1/models/%E0%A4%A'), { status: 404 })
  })

  t.test('page by page', async (t) => {
    const first = await get('many')
    t.match(first, { has_more: true, first_id: many[0], last_id: many[19] })
    const second = await get('many', `/v1/models?after_id=${first.last_id}`)
    t.same([...ids(first), ...ids(second)], many)
    t.match(second, { has_more: false })
    t.equal((await get('many', '/v1/models?limit=1000')).data.length, 30)
  })

  t.test('asked once, however many ask', async (t) => {
    const asked = () => gw.upstream.seen.filter(({ path }) => path.startsWith('/v1/models')).length
    const before = asked()
    const fresh = await gw.site.scene()
    await gw.seen()
    const call = () => gw.call({ method: 'GET', path: '/v1/models', key: fresh.key })
    await Promise.all([call(), call(), call()])
    await call()
    t.equal(asked(), before + 1)
    t.match(
      gw.upstream.seen.findLast(({ path }) => path.startsWith('/v1/models')),
      {
        path: '/v1/models?limit=1000',
        headers: { 'anthropic-version': String, 'x-api-key': String },
      },
    )
  })

  t.test('a few accounts at a time', async (t) => {
    let asked = 0
    let most = 0
    const { upstream } = gw.gateway
    const { send } = upstream
    t.teardown(() => Object.assign(upstream, { send }))
    upstream.send = (request) => {
      most = Math.max(most, ++asked)
      const exchange = send.call(upstream, request)
      void exchange.head.finally(() => asked--)
      return exchange
    }
    const listedLate = (name: string) => ({ elsewhere: { ...listed(name), headDelayMs: 20 } })
    const names = Array.from({ length: 30 }, (_, index) => `claude-of-${index}`)
    const large = await gw.site.scene({ accounts: names.map(listedLate) })
    await gw.seen()
    const { text } = await gw.call({ method: 'GET', path: '/v1/models?limit=1000', key: large.key })
    t.same(new Set(ids(JSON.parse(text))), new Set(names))
    t.equal(most, 8)
  })

  t.test('where the vendor says nothing, the models with a price', async (t) => {
    const list = await get('silent', '/v1/models?limit=1000')
    t.ok(ids(list).includes('claude-sonnet-5-5'))
  })

  t.test('an old list is better than none', async (t) => {
    const { clock } = gw.gateway
    t.teardown(() => Object.assign(gw.gateway, { clock }))
    Object.assign(gw.gateway, { clock: () => clock() + 2 * 3_600_000 })
    gw.upstream.elsewhere({ status: 500 })
    t.equal((await get('many', '/v1/models?limit=1000')).data.length, 30)
  })
})

t.test('what is free asks the store for nothing that can be known without it, and has limits', async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.count_tokens_per_minute': 10 },
    setUp: (site) => site.scene({ key: { quotaNanoUsd: 5_000_000_000 } }),
  })
  const { key } = gw.scenes
  const { ledger, usage } = gw.gateway.store
  let sums = 0
  const counted =
    <A extends unknown[], R>(read: (...args: A) => R) =>
    (...args: A): R => {
      sums++
      return read(...args)
    }
  ledger.standing = counted(ledger.standing)
  usage.report = counted(usage.report)
  const ask = async (times: number, call: CallOptions) => {
    const answers = await Promise.all(Array.from({ length: times }, () => gw.call({ key, ...call })))
    return answers.filter(({ status }) => status === 429)
  }

  const counts = await ask(12, { path: COUNT, body: COUNT_BODY })
  t.match(counts, [{ text: /count tokens 10 times a minute/ }, { text: /count tokens/ }])
  const lists = await ask(302, { method: 'GET', path: '/v1/models' })
  t.match(lists, [{ text: /list models 300 times a minute/, headers: { 'retry-after': '5' } }, { text: /list models/ }])
  t.equal(sums, 1, 'what the key has spent is learnt once')

  const reads = await ask(22, { method: 'GET', path: '/v1/usage' })
  t.match(reads, [{ text: /read its usage 20 times a minute/ }, { text: /read its usage/ }])
  t.equal(sums, 1 + 20 * 2)
  t.match(gw.gateway.counters.all(), { count_tokens: 12, models: 302, usage: 22, 'refused.limited': 6 })
})

t.test('a key that is used up gets nothing, also for free', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene({ key: { quotaNanoUsd: 1 } }) })
  const { key } = gw.scenes
  const status = async (call: CallOptions) => (await gw.call({ key, ...call })).status
  t.equal(await status({ method: 'GET', path: '/v1/models' }), 200)
  t.equal(await status({ body: messageRequest(false) }), 200)
  await gw.settled()
  t.equal(await status({ path: COUNT, body: COUNT_BODY }), 402)
  t.equal(await status({ method: 'GET', path: '/v1/models' }), 402)
  t.equal(await status({ method: 'GET', path: '/v1/usage' }), 200, 'but to see why')
})

t.test("one sees one's own usage", async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({ key: { name: 'laptop', quotaNanoUsd: 5_000_000_000, expiresAtMs: Date.UTC(2040, 0, 1) } }),
  })
  const { key, user } = gw.scenes
  const usage = async () => JSON.parse((await gw.call({ method: 'GET', path: '/v1/usage', key })).text)
  t.match(await usage(), {
    user: { email: user.email },
    key: {
      name: 'laptop',
      last4: key.slice(-4),
      quotaNanoUsd: 5_000_000_000,
      spentNanoUsd: 0,
      expiresAt: '2040-01-01T00:00:00.000Z',
    },
    today: { requests: 0 },
    total: { requests: 0 },
  })
  await gw.call({ key, body: messageRequest(true) })
  const [row] = await gw.settled()
  const after = await usage()
  t.match(after, {
    key: { spentNanoUsd: row?.costNanoUsd },
    today: { requests: 1, inputTokens: row?.usage.inputTokens, outputTokens: 4, costNanoUsd: row?.costNanoUsd },
    total: { requests: 1, outputTokens: 4 },
  })
  t.same(after.user, { email: user.email }, 'nobody has a balance in simple mode')
  t.notOk(JSON.stringify(after).includes(key))
})

t.test('health and readiness', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene() })
  const get = async (path: string) => {
    const { status, text } = await gw.call({ method: 'GET', path })
    return { status, ...JSON.parse(text) }
  }
  t.match(await get('/health'), { status: 'ok' })
  t.match(await get('/ready'), { status: 'ready' })
  gw.gateway.store.ping = async () => {
    throw new Error('the disk is gone')
  }
  t.equal((await gw.call({ method: 'GET', path: '/ready' })).status, 503)
  t.match(await get('/ready'), { status: 'not ready', reason: 'the store does not answer: the disk is gone' })
  t.match(await get('/health'), { status: 'ok' }, 'the process lives all the same')
})

import t from 'tap'
import { startDaemon } from '../../src/cli/daemon.ts'
import { type Limit, type LimitStanding, parseLimitChange } from '../../src/domain/limit.ts'
import { type Answer, ClientCall, messageRequest, until } from '../support/client.ts'
import { startGateway, type WantedAccount } from '../support/gateway.ts'

/** Limits over windows, as clients meet them. */

const limits = (...texts: string[]): Limit[] =>
  texts.map((text) => {
    const change = parseLimitChange(text, 'UTC')
    if (change.kind !== 'set') throw new Error(text)
    return change.limit
  })
/** 1,000 × $2 and 1,000 × $10 per million tokens, for claude-sonnet-5-5: $0.012. */
const USAGE = { input: 1000, output: 1000 }
const USD = 1_000_000_000
const answers = (count: number): WantedAccount => ({ scripts: Array(count).fill({ usage: USAGE }) })
const errorOf = ({ text }: Answer) => JSON.parse(text).error
const unified = ({ headers }: { headers: Answer['headers'] }) =>
  Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => name.startsWith('anthropic-ratelimit'))
      .map(([name, value]) => [name.replace('anthropic-ratelimit-unified-', ''), value]),
  )

t.test('limits of callers and accounts', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      key: await site.scene({ key: { limits: limits('requests=2/1h') } }),
      user: await site.scene({ user: { limits: limits('requests=1/day') } }),
      group: await site.scene({ group: { name: 'pool', limits: limits('tokens=1500/30d') }, accounts: [answers(2)] }),
      soon: await site.scene({ key: { limits: limits('requests=1/2s') } }),
      minute: await site.scene({ key: { limits: limits('requests=1/1m') } }),
      never: await site.scene({ key: { limits: limits('usd=0/1d') } }),
      money: await site.scene({
        key: { limits: limits('usd=0.03/1d', 'requests=1000/1m') },
        accounts: [
          { scripts: Array(4).fill({ usage: USAGE, headers: { 'anthropic-ratelimit-unified-status': 'rejected' } }) },
        ],
      }),
      reserve: await site.scene({
        key: { limits: limits('tokens=2000/1h') },
        accounts: [{ scripts: Array(2).fill({ usage: { input: 10, output: 5 }, headDelayMs: 'forever' }) }],
      }),
      fallingBack: await site.scene({
        accounts: [{ scripts: [{ status: 500 }] }],
        group: {
          name: 'falling back',
          fallbackGroupId: (
            await site.scene({
              group: { name: 'fallen back to' },
              accounts: [
                { name: 'limited reserve', limits: limits('tokens=1m/1h'), scripts: [{ headDelayMs: 'forever' }] },
              ],
            })
          ).group.id,
        },
      }),
      outgrown: await site.scene({
        key: { limits: limits('output_tokens=300/1h') },
        accounts: [
          {
            scripts: [{ text: Array(60).fill('x'.repeat(40)), eventDelayMs: 2, breaks: { after: 60, how: 'silence' } }],
          },
        ],
      }),
      ordinary: await site.scene({ key: { limits: limits('output_tokens=1m/1h') } }),
      models: await site.scene({
        accounts: [{ limits: limits('requests[claude-opus-*]=1/1h', 'requests=9/7d@2026-11-01') }],
      }),
      unpriced: await site.scene({ key: { limits: limits('usd=0.000001/1h') } }),
      accounts: await site.scene({
        accounts: [{ limits: limits('requests=1/1h') }, { limits: limits('requests=1/5h', 'tokens=1m/1m') }],
      }),
      failing: await site.scene({
        accounts: [{ scripts: [{ status: 500 }, { status: 500 }] }, { limits: limits('requests=1/1h') }],
      }),
      free: await site.scene({}),
    }),
  })
  const { scenes } = gw
  const body = (stream = false, more = {}) => messageRequest(stream, { max_tokens: 10, ...more })
  const call = (name: keyof typeof scenes, stream = false, more = {}) =>
    gw.call({ key: scenes[name].key, body: body(stream, more) })
  const seenOf = (name: keyof typeof scenes) =>
    gw.gateway.store.usage.list({ limit: 100, userId: scenes[name].user.id })

  t.test('a cap is told as clients show it: whose, which, how much, until when', async (t) => {
    for (let n = 0; n < 2; n++) t.equal((await call('key')).status, 200)
    const before = gw.upstream.seen.length
    for (const stream of [false, true]) {
      const refused = await call('key', stream)
      t.equal(refused.status, 429)
      const wait = Number(refused.headers['retry-after'])
      t.ok(wait > 3590 && wait <= 3660, `${wait}`)
      t.equal(refused.headers['x-should-retry'], 'false')
      t.same(unified(refused), {
        status: 'rejected',
        'overage-period': 'daily',
        'overage-disabled-reason': 'org_spend_cap_reached',
      })
      t.match(errorOf(refused), {
        type: 'billing_error',
        message:
          /^this API key has used 2 of the 2 requests that its limit allows in 1h\. It opens again in [1-9dhms]\w*, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/,
      })
    }
    t.equal(gw.upstream.seen.length, before, 'nobody was asked')
    await gw.settled()
    t.equal((await seenOf('key')).length, 2, 'a refusal leaves no row')
  })

  t.test('of a user by the day, of a group by tokens', async (t) => {
    t.equal((await call('user')).status, 200)
    t.match(errorOf(await call('user')), {
      message: /^this user has used 1 of the 1 requests that its limit allows this day \(UTC\)\. It opens again in /,
    })
    t.equal((await call('group')).status, 200)
    await gw.settled()
    const refused = await call('group')
    t.match(errorOf(refused), {
      message:
        /^group 'pool' has used 2,000 of the 1,500 tokens that its limit allows in 30d, running calls included\. It opens/,
    })
    t.equal(unified(refused)['overage-period'], 'monthly')
  })

  t.test('what opens again in a moment is waited for', async (t) => {
    t.equal((await call('soon')).status, 200)
    const refused = await call('soon')
    t.match(refused, { status: 429, headers: { 'retry-after': /^[1-3]$/ } })
    t.equal(refused.headers['x-should-retry'], undefined)
    t.same(unified(refused), {})
    t.match(errorOf(refused), { type: 'rate_limit_error', message: /^this API key has used 1 of the 1 requests/ })
    await until('the limit to open', async () => (await call('soon')).status === 200)
  })

  t.test('a limit of a minute that was used up this moment is waited for as well', async (t) => {
    t.equal((await call('minute')).status, 200)
    const refused = await call('minute')
    t.match(refused, { status: 429, headers: { 'retry-after': '59' } })
    t.equal(refused.headers['x-should-retry'], undefined)
    t.match(errorOf(refused), {
      type: 'rate_limit_error',
      message: /used 1 of the 1 requests that its limit allows in 1m/,
    })
  })

  t.test('a limit of nothing is a prohibition', async (t) => {
    t.match(await call('never'), { status: 429, headers: { 'x-should-retry': 'false' } })
    t.match(errorOf(await call('never')), { message: /^this API key may use no money at all/ })
  })

  t.test('answers tell how much of a limit of money is used, and nothing of the account’s own', async (t) => {
    const first = await call('money')
    t.equal(first.status, 200)
    t.match(unified(first), { status: 'allowed', 'representative-claim': 'overage', 'overage-status': 'allowed' })
    t.match(unified(first), { 'overage-utilization': /^0(\.0\d)?$/, reset: /^\d{10}$/ })
    await gw.settled()
    t.match(unified(await call('money', true)), { status: 'allowed', 'overage-utilization': /^0\.4\d?$/ })
    await gw.settled()
    t.match(unified(await call('money')), {
      status: 'allowed_warning',
      'overage-utilization': '0.8',
      'overage-surpassed-threshold': '0.75',
    })
    await gw.settled()
    t.match(errorOf(await call('money')), {
      type: 'billing_error',
      message: /^this API key has used \$0\.036 of the \$0\.03 that its limit allows in 1d, running calls included/,
    })
    t.same(unified(await call('free')), {}, 'who has no such limit hears of none')
  })

  t.test('running calls count with what they may use, until the truth is known', async (t) => {
    const running = [1, 2].map(() => gw.open({ key: scenes.reserve.key, body: messageRequest(false) }))
    await until('two calls to run', async () => (await gw.gateway.live.admissions()).length === 2)
    t.match(errorOf(await call('reserve')), { message: /^this API key has used 2,1\d\d of the 2,000 tokens/ })
    for (const one of running) one.leave()
    await gw.settled()
    t.equal((await call('reserve')).status, 200)
  })

  t.test('also at an account that was no candidate when they came', async (t) => {
    const running = gw.open({ key: scenes.fallingBack.key, body: messageRequest(false, { max_tokens: 5000 }) })
    const account = await gw.site.store.accounts.find('limited reserve')
    const limited = { subject: 'account' as const, id: account.id, limits: account.limits }
    await until('the call to have gone there', async () =>
      (await gw.gateway.live.admissions()).some(({ accountId }) => accountId === account.id),
    )
    const [standing] = (await gw.gateway.live.standings(limited)) as LimitStanding[]
    t.ok((standing?.used ?? 0) > 5000, `${standing?.used}`)
    running.leave()
    await gw.settled()
  })

  t.test('a stream that outgrows its guess counts with what it has come to', async (t) => {
    const { live } = gw.gateway
    const { key, apiKey } = scenes.outgrown
    const limited = { subject: 'key' as const, id: apiKey.id, limits: limits('output_tokens=300/1h') }
    const used = async () => {
      const standings = await live.standings(limited)
      return Array.isArray(standings) ? (standings[0]?.used ?? 0) : 0
    }
    let raises = 0
    const raise = live.raise.bind(live)
    live.raise = (...how) => {
      raises++
      raise(...how)
    }
    t.teardown(() => Object.assign(live, { raise }))
    const running = gw.open({ key, body: messageRequest(true, { max_tokens: 100 }) })
    await until('the stream to be far over its guess', async () => (await used()) > 500)
    t.ok(raises > 1 && raises <= 20, `in steps of a quarter of the guess: ${raises} times`)
    t.match(errorOf(await call('outgrown')), {
      message:
        /^this API key has used 5\d\d of the 300 output tokens that its limit allows in 1h, running calls included/,
    })
    running.leave()
    await gw.settled()
    const [row] = await seenOf('outgrown')
    t.equal(await used(), row?.usage.outputTokens, 'and in the end with the truth')
    const before = raises
    t.equal((await gw.call({ key: scenes.ordinary.key, body: messageRequest(true) })).status, 200)
    t.equal(raises, before, 'an ordinary call raises nothing')
  })

  t.test('an account over a limit for some models is no candidate for them, and is for the others', async (t) => {
    const ask = (model: string) => call('models', false, { model })
    t.equal((await ask('claude-opus-4-5')).status, 200)
    const refused = await ask('claude-opus-4-1')
    t.equal(refused.status, 429)
    t.match(errorOf(refused), {
      message: /has used 1 of the 1 requests that its limit for claude-opus-\* allows in 1h\. It opens again in/,
    })
    for (let n = 0; n < 8; n++) t.equal((await ask('claude-sonnet-5-5')).status, 200)
    t.match(errorOf(await ask('claude-sonnet-5-5')), {
      message: /has used 9 of the 9 requests that its limit allows in each 7d from 2026-11-01 00:00:00 UTC\. It opens/,
    })
  })

  t.test('a call without a price reserves no money', async (t) => {
    const model = { model: 'claude-nobody-knows' }
    const all = await Promise.all([1, 2, 3].map(() => call('unpriced', false, model)))
    t.same(
      all.map(({ status }) => status),
      [200, 200, 200],
    )
    t.equal((await call('unpriced')).status, 200)
    t.match(errorOf(await call('unpriced')), { type: 'billing_error' })
  })

  t.test('an account over its limit leaves calls to the others; with none left clients are told to wait', async (t) => {
    for (let n = 0; n < 2; n++) t.equal((await call('accounts')).status, 200)
    await gw.settled()
    t.same(
      (await seenOf('accounts')).map(({ accountId }) => accountId),
      scenes.accounts.accounts.map(({ id }) => id),
    )
    const refused = await call('accounts')
    t.match(refused, { status: 429 })
    const wait = Number(refused.headers['retry-after'])
    t.ok(wait > 3590 && wait <= 3660, `the first that is back: ${wait}`)
    t.same(unified(refused), {}, 'it is no limit of the caller’s')
    t.match(errorOf(refused), {
      type: 'rate_limit_error',
      message:
        /^every upstream account that could serve this call has reached a limit of its own; the one .* used 1 of the 1 requests/,
    })
  })

  t.test('a call whose account fails does not go to one that is over its limit', async (t) => {
    t.equal((await call('failing')).status, 200)
    const second = await call('failing')
    t.equal(second.status, 529)
    t.match(errorOf(second), { message: /^no upstream account could answer/ })
  })

  t.test('a caller may see its limits', async (t) => {
    const { text } = await gw.call({ method: 'GET', path: '/v1/usage', key: scenes.user.key })
    t.match(JSON.parse(text).limits, [
      { subject: 'user', metric: 'requests', window: 'day@UTC', limit: 1, used: 1, resetAt: /T00:00:00\.000Z$/ },
    ])
    t.same(JSON.parse((await gw.call({ method: 'GET', path: '/v1/usage', key: scenes.free.key })).text).limits, [])
  })

  t.test('the store is asked for a window once, and not at all for a short one', async (t) => {
    const { usage } = gw.gateway.store
    const { consumption } = usage
    const asked: string[] = []
    usage.consumption = (input) => {
      asked.push(`${input.subject} ${input.id}`)
      return consumption(input)
    }
    t.teardown(() => Object.assign(usage, { consumption }))
    const { apiKey, user, key } = scenes.free
    const store = gw.site.store
    await store.keys.set({ id: apiKey.id, changes: { limits: limits('requests=100/1h', 'usd=5/week') }, by: 'test' })
    await store.users.set({ id: user.id, changes: { limits: limits('requests=100/1m') }, by: 'test' })
    await gw.seen()
    await Promise.all(Array.from({ length: 10 }, () => gw.call({ key, body: body() })))
    t.same(asked, [`key ${apiKey.id}`])
    const { text } = await gw.call({ method: 'GET', path: '/v1/usage', key })
    t.match(
      JSON.parse(text).limits,
      [{ used: 11 }, { metric: 'usd' }, { subject: 'user', used: 10 }],
      'with what was before',
    )
  })

  t.test('parallel calls get as many places as there are', async (t) => {
    const { apiKey, key } = scenes.soon
    await gw.site.store.keys.set({ id: apiKey.id, changes: { limits: limits('requests=7/30d') }, by: 'test' })
    await gw.seen()
    await gw.settled()
    const before = (await seenOf('soon')).length
    const all = await Promise.all(Array.from({ length: 30 }, () => gw.call({ key, body: body() })))
    t.equal(all.filter(({ status }) => status === 200).length, 7 - before)
    t.equal(all.filter(({ status }) => status === 429).length, 30 - 7 + before)
  })
})

t.test('a row tells the limits as they stood when its call was admitted', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      limited: await site.scene({
        key: { limits: limits('requests=5/1m') },
        user: { limits: limits('tokens=100k/1d') },
        accounts: [{ limits: limits('requests=9/1h'), scripts: [{ headDelayMs: 'forever' }, { usage: USAGE }] }],
      }),
      free: await site.scene(),
    }),
  })
  const { limited, free } = gw.scenes
  const body = messageRequest(false, { max_tokens: 10_000 })
  const first = gw.open({ key: limited.key, body })
  await until('the first to run', async () => (await gw.gateway.live.admissions()).length === 1)
  await gw.call({ key: limited.key, body })
  await gw.call({ key: free.key, body })
  first.leave()
  const rows = await gw.settled()
  const seen = rows.map(({ seenLimits }) =>
    seenLimits?.map(({ subject, subjectId, limit, used }) => [subject, subjectId, limit.metric, limit.max, used]),
  )
  // Both calls' bodies and what they asked for at most: neither had ended.
  const mayUse = 2 * (10_000 + Math.ceil(JSON.stringify(body).length / 4))
  t.same(seen[1], [
    ['key', limited.apiKey.id, 'requests', 5, 2],
    ['user', limited.user.id, 'tokens', 100_000, mayUse],
    ['account', limited.accounts[0]?.id, 'requests', 9, 2],
  ])
  t.match(rows[0]?.seenLimits, [{ used: 1 }, {}, { used: 1 }])
  t.equal(rows[2]?.seenLimits, null, 'nothing where there are none')
})

t.test('a restart gives nothing away', async (t) => {
  const gw = await startGateway(t, {
    config: { run_mode: 'saas' },
    setUp: async (site) => ({
      key: await site.scene({
        user: { balanceNanoUsd: 10 * USD },
        group: { multiplierMicro: 2_000_000 },
        key: { limits: limits('usd=0.02/1h', 'requests=9/1m') },
        accounts: [answers(1)],
      }),
      account: await site.scene({
        user: { balanceNanoUsd: 10 * USD },
        accounts: [{ limits: limits('requests=1/month') }],
      }),
      models: await site.scene({
        user: { balanceNanoUsd: 10 * USD },
        accounts: [{ limits: limits('requests[claude-sonnet-*]=1/30d', 'requests[claude-haiku-*]=1/5h') }],
      }),
      anchored: await site.scene({
        user: { balanceNanoUsd: 10 * USD, limits: limits('requests=1/month@2026-08-31T23:45Z') },
      }),
    }),
  })
  const body = messageRequest(false)
  const keys = Object.values(gw.scenes).map(({ key }) => key)
  for (const key of keys) t.equal((await gw.call({ key, body })).status, 200)
  await gw.settled()
  await gw.daemon[Symbol.asyncDispose]()
  await using again = await startDaemon(gw.site.config, gw.gateway.log)
  const refusals = await Promise.all(keys.map((key) => new ClientCall(again.url, { key, body }).over))
  t.match(refusals.map(errorOf), [
    { type: 'billing_error', message: /^this API key has used \$0\.024 of the \$0\.02 / },
    { type: 'rate_limit_error', message: /used 1 of the 1 requests that its limit allows this month \(UTC\)/ },
    { type: 'rate_limit_error', message: /used 1 of the 1 requests that its limit for claude-sonnet-\* allows in 30d/ },
    {
      type: 'billing_error',
      message: /^this user has used 1 of the 1 requests that its limit allows in each month from/,
    },
  ])
})

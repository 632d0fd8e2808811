import t from 'tap'
import { FakeUpstream } from '../../src/demo/fake-upstream.ts'
import type { DaemonStatus } from '../../src/server/admin.ts'
import { ClientCall, messageRequest, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'
import { ServeProcess, serve } from '../support/served.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const OPUS = 'claude-opus-5-5'
const SONNET = 'claude-sonnet-5-5'

/** By its provider's table it would be the request's fault. */
const PLAN_LIMIT = '{"type":"error","error":{"type":"invalid_request_error","message":"plan limit reached"}}'

const inSeconds = (ms: number) => String(Math.floor((Date.now() + ms) / 1000))

/** A subscription's headers: each window's status, share, and when it is whole again. */
function unified(status: string, windows: Record<string, [status: string, used: string, resetMs: number]>) {
  const headers = Object.entries(windows).flatMap(([name, [state, used, resetMs]]) => [
    [`anthropic-ratelimit-unified-${name}-status`, state],
    [`anthropic-ratelimit-unified-${name}-utilization`, used],
    [`anthropic-ratelimit-unified-${name}-reset`, inSeconds(resetMs)],
  ])
  return { 'anthropic-ratelimit-unified-status': status, ...Object.fromEntries(headers) } as Record<string, string>
}

t.test('what a 429 makes of its account', async (t) => {
  const full = unified('rejected', {
    ...{ '5h': ['rejected', '1.0', 2 * HOUR], '7d': ['allowed', '0.4', 3 * DAY] },
  } as Parameters<typeof unified>[1])
  const ofModel = unified('rejected', { '5h': ['allowed', '0.4', HOUR], '7d_oi': ['rejected', '1', 5 * DAY] })
  const roomy = unified('allowed', { '5h': ['allowed', '0.4', HOUR] })
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      full: await site.scene({ accounts: [{ scripts: [{ status: 429, headers: { ...full, 'retry-after': '30' } }] }] }),
      ofModel: await site.scene({ accounts: [{ scripts: [{ status: 429, headers: ofModel }] }] }),
      burst: await site.scene({ accounts: [{ scripts: [{ status: 429, headers: roomy }] }] }),
      long: await site.scene({ accounts: [{ scripts: [{ status: 429, headers: { 'retry-after': '86400' } }] }] }),
      ruled: await site.scene({
        accounts: [{ scripts: [{ status: 400, body: PLAN_LIMIT }] }, {}],
      }),
    }),
  })
  type Name = keyof typeof gw.scenes
  const call = (name: Name, model = OPUS) =>
    gw.call({ key: gw.scenes[name].key, body: messageRequest(false, { model }) })
  const accountOf = (name: Name) => gw.gateway.directory.account(gw.scenes[name].accounts[0]?.id ?? '')
  const restOf = (name: Name) => accountOf(name)?.account.rest ?? null

  await t.test('a full window rests it until that opens, and the client hears so', async (t) => {
    t.match(await call('full'), { status: 429, headers: { 'retry-after': /^7[12]\d\d$/ } })
    t.equal(restOf('full')?.untilMs, Number(full['anthropic-ratelimit-unified-5h-reset']) * 1000)
    t.match(await call('full', SONNET), { status: 429 }, 'for all models')
    t.same(
      gw.gateway.windows.of(accountOf('full') as never).map(({ name, used }) => [name, used]),
      [
        ['5h', 1],
        ['7d', 0.4],
      ],
    )
  })

  await t.test('a window of a class of models rests it for the model that was refused', async (t) => {
    t.match(await call('ofModel'), { status: 429, text: /rate limit/ })
    t.match(await call('ofModel', SONNET), { status: 200 })
    t.match(await call('ofModel'), { status: 429, headers: { 'retry-after': /^4319\d\d|432000$/ } })
    t.equal(restOf('ofModel'), null)
    const stored = await until('the store to know it', async () => {
      const { modelRests } = await gw.site.store.accounts.find(gw.scenes.ofModel.accounts[0]?.id ?? '')
      return modelRests.length > 0 && modelRests
    })
    t.match(stored, [{ model: OPUS, hardness: 'hard' }])
  })

  await t.test('a burst rests it for 5 s, whatever its windows are used', async (t) => {
    t.match(await call('burst'), { status: 429, headers: { 'retry-after': '5' } })
    const rest = restOf('burst')
    t.equal(rest && rest.untilMs - rest.sinceMs, 5 * SECOND)
  })

  await t.test('a wait of a day is believed for an hour', async (t) => {
    t.match(await call('long'), { status: 429, headers: { 'retry-after': '3600' } })
    t.same(restOf('long')?.kind, 'rate_limit')
  })

  await t.test("the account's own rules rest it, and the call goes to another", async (t) => {
    const [ruled] = gw.scenes.ruled.accounts
    const restRules = [{ status: 400, keywords: ['Plan limit'], restMs: 30 * MINUTE }]
    await gw.site.store.accounts.set({ id: ruled?.id ?? '', changes: { restRules }, by: 'test' })
    await gw.seen()
    t.match(await call('ruled'), { status: 200 })
    const rest = restOf('ruled')
    t.match(rest, { kind: 'rule', hardness: 'hard' })
    t.equal(rest && rest.untilMs - rest.sinceMs, 30 * MINUTE)
  })

  await t.test('its operator ends a rest', async (t) => {
    for (const name of ['long', 'ofModel'] as const) {
      const id = gw.scenes[name].accounts[0]?.id ?? ''
      await gw.site.store.accounts.set({ id, changes: { wakes: true }, by: 'test' })
    }
    await gw.seen()
    t.match(await call('long'), { status: 200 })
    t.match(await call('ofModel'), { status: 200 })
  })
})

t.test('the end of a long rest is found by one call, a minute early', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ scripts: [{ status: 401 }, { headDelayMs: 300 }] }] }),
  })
  const call = () => gw.call({ key: gw.scenes.key, body: messageRequest(false) })
  t.match(await call(), { status: 529, headers: { 'x-should-retry': 'false' } })
  const { clock } = gw.gateway
  const later = 9 * MINUTE + SECOND
  Object.assign(gw.gateway, { clock: () => clock() + later })
  const answers = await Promise.all([call(), call(), call()])
  t.same(answers.map(({ status }) => status).sort(), [200, 529, 529])
  t.match(await call(), { status: 200 }, 'it is over for all')
  t.equal(gw.upstream.seen.length, 3)
})

t.test('an outage of all accounts ends with the first call after it', async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.first_event_timeout': '1s', 'gateway.max_attempts': 2 },
    setUp: (site) => site.scene({ accounts: [{}, {}, {}], user: { concurrency: 100 } }),
  })
  const call = (stream = false) => gw.call({ key: gw.scenes.key, body: messageRequest(stream) })
  const many = (stream: boolean) => Promise.all(Array.from({ length: 12 }, () => call(stream)))
  const retryAfters = async (calls: Promise<{ headers: Record<string, unknown> }[]>) =>
    (await calls).map(({ headers }) => Number(headers['retry-after']))

  for (const down of [
    { status: 529 },
    { status: 503, body: '<html>down</html>' },
    { resetBeforeHead: true } as const,
  ]) {
    gw.upstream.always(down)
    for (let i = 0; i < 3; i++) {
      t.ok(
        (await retryAfters(many(false))).every((seconds) => seconds >= 1 && seconds <= 5),
        'seconds, not minutes',
      )
    }
    gw.upstream.always({})
    t.match(await call(), { status: 200 }, JSON.stringify(down))
  }

  gw.upstream.always({ headDelayMs: 'forever' })
  await many(true)
  const asked = gw.upstream.seen.length
  const startedMs = Date.now()
  const refused = await many(true)
  t.same([...new Set(refused.map(({ status }) => status))], [529])
  const probes = gw.upstream.seen.length - asked
  const seconds = (Date.now() - startedMs) / 1000
  t.ok(probes >= 1 && probes <= 2 + seconds, `${probes} of 12 calls waited for a host that hangs`)
  gw.upstream.always({})
  const backMs = Date.now()
  await until('a call to be answered', async () => (await call(true)).status === 200)
  t.ok(Date.now() - backMs < 15 * SECOND)
  t.same([...new Set((await many(true)).map(({ status }) => status))], [200], 'for all')
})

t.test('a host that may be back in a moment is worth more to a client than the end of a rest', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ baseUrl: 'http://127.0.0.1:1' }, {}] }),
  })
  const { breakers, directory, clock } = gw.gateway
  for (let i = 0; i < 5; i++) breakers.failed('127.0.0.1:1', clock())
  breakers.take('127.0.0.1:1', clock() + MINUTE) // a probe that runs
  const limited = directory.account(gw.scenes.accounts[1]?.id ?? '')
  const rest = {
    untilMs: clock() + HOUR,
    sinceMs: clock(),
    hardness: 'hard',
    kind: 'rate_limit',
    reason: 'x',
    step: 0,
  } as const
  if (limited) directory.rest(limited, rest)
  t.match(await gw.call({ key: gw.scenes.key, body: messageRequest(false) }), {
    ...{ status: 529, headers: { 'retry-after': '1' }, text: /can be reached at the moment/ },
  })
  t.equal((await gw.settled()).length, 0, 'refused at once')
})

t.test('windows and rests outlive the process, and their operator sees them', async (t) => {
  await using upstream = await FakeUpstream.start()
  const told = unified('allowed', { '5h': ['allowed', '0.45', 2 * HOUR], '7d': ['allowed', '0.12', 3 * DAY] })
  upstream.next({ headers: told }, { status: 429, headers: { 'retry-after': '300' } })
  const { operator, process: first, key, url } = await serve(t, { upstreamUrl: upstream.url })
  const call = (to: string) => new ClientCall(to, { key, body: messageRequest(false) }).over
  t.match(await call(url), { status: 200 })
  t.equal(await first.stop(), 0, 'within the seconds in which windows are not stored yet')

  const windows = [
    {
      name: '5h',
      used: 0.45,
      source: 'headers',
      resetAtMs: Number(told['anthropic-ratelimit-unified-5h-reset']) * 1000,
    },
    { name: '7d', used: 0.12 },
  ]
  t.match(await operator.ask('account', 'show', 'anthropic'), { windows })
  t.match((await operator.run('account', 'list')).stdout, /5h 45%, 7d 12%/)
  const second = await ServeProcess.start(t, operator)
  t.match(await operator.ask<DaemonStatus>('status'), { accounts: [{ windows }] })

  t.match(await call(second.url), { status: 429 })
  t.match(await operator.run('account', 'list'), { stdout: /rests [45]m/ })
  t.match(await operator.run('account', 'wake', 'anthropic'), { code: 0, stderr: /rests no more/ })
  await until('the gateway to see it', async () => (await call(second.url)).status === 200)

  upstream.next({ status: 429, headers: { 'retry-after': '300' } })
  t.match(await call(second.url), { status: 429 })
  t.equal(await second.stop(), 0)
  t.match(await operator.run('account', 'wake', 'anthropic'), { code: 0 }, 'also while no gateway runs')
  const third = await ServeProcess.start(t, operator)
  t.match(await call(third.url), { status: 200 })
})

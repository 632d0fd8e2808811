import t from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import { messageRequest, until } from '../support/client.ts'
import { type Scene, type Site, startGateway, type WantedAccount } from '../support/gateway.ts'

/** What several accounts that fail in different ways come to, and how a call goes from one to the next. */

const error = (type: string, message: string) => JSON.stringify({ type: 'error', error: { type, message } })
const limited = (seconds: number): Script => ({ status: 429, headers: { 'retry-after': String(seconds) } })
const BURST: Script = { status: 429 }
const DOWN: Script = { status: 529 }
const REFUSED: Script = { status: 401 }
const UNPAID: Script = { status: 402 }
const FORBIDDEN: Script = { status: 403 }
const DISABLED: Script = { status: 403, body: error('permission_error', 'This organization has been disabled.') }
const WRONG: Script = { status: 400, body: error('invalid_request_error', 'max_tokens: too many') }

interface Told {
  status: number
  retryAfter?: string
  shouldRetry?: string
  text?: RegExp
}

const SOON: Told = { status: 529, retryAfter: '1' }
const DOWN_FOR_A_WHILE: Told = { status: 529, retryAfter: '5', text: /no upstream account could answer/ }
const NEVER: Told = { status: 529, shouldRetry: 'false', text: /the operator has to look/ }

/** What accounts answer, each time that they are asked; what the client hears; which accounts were asked. */
const CASES: Record<string, [accounts: Script[], told: Told, asked: string]> = {
  'at a limit, and overloaded': [[limited(120), DOWN], DOWN_FOR_A_WHILE, '0 1 1 1'],
  'overloaded, and at a limit: that says nothing of the first': [[DOWN, limited(120)], SOON, '0 1'],
  'overloaded until a time, and at a limit': [
    [{ ...DOWN, headers: { 'retry-after': '20' } }, limited(120)],
    { status: 529, retryAfter: '20', text: /overloaded_error/ },
    '0 1',
  ],
  'two limits: the earlier': [
    [limited(120), limited(90)],
    { status: 429, retryAfter: '90', shouldRetry: 'false' },
    '0 1',
  ],
  'a burst, and a limit': [[BURST, limited(120)], { status: 429, retryAfter: '5' }, '0 1'],
  'a refused credential, and a limit': [[REFUSED, limited(60)], { status: 429, retryAfter: '59' }, '0 1'],
  'a limit, and no money': [[limited(60), UNPAID], { status: 429, retryAfter: '59' }, '0 1'],
  'disabled, and at a limit': [[DISABLED, limited(60)], { status: 429, retryAfter: '59' }, '0 1'],
  'a refused credential, and overloaded': [[REFUSED, DOWN], DOWN_FOR_A_WHILE, '0 1 1 1'],
  'at a limit, and then the request is wrong': [
    [limited(60), WRONG],
    { status: 400, text: /"message":"max_tokens: too many"/ },
    '0 1',
  ],
  'overloaded, and then the request is wrong': [[DOWN, WRONG], { status: 400, text: /max_tokens: too many/ }, '0 1'],
  'all refused': [[REFUSED, UNPAID], { ...NEVER, text: /is refused by its vendor/ }, '0 1'],
  'all disabled': [[DISABLED, DISABLED], { ...NEVER, status: 503, text: /is paused, disabled or expired/ }, '0 1'],
  'forbidden to all': [
    [FORBIDDEN, FORBIDDEN],
    { ...NEVER, text: /no upstream account may do this \(permission_error\)/ },
    '0 1',
  ],
  'overloaded, and forbidden to the other': [[DOWN, FORBIDDEN], SOON, '0 1'],
  'at a limit, and forbidden to the other': [[limited(60), FORBIDDEN], SOON, '0 1'],
  'four overloaded': [[DOWN, DOWN, DOWN, DOWN, DOWN], SOON, '0 1 2 3'],
}

t.test('of several failures the client hears what helps it most', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scenes = []
      for (const [name, [scripts, told, asked]] of Object.entries(CASES)) {
        const accounts = scripts.map((script) => ({ scripts: [script, script, script, script] }))
        scenes.push({ name, told, asked, scene: await site.scene({ accounts }) })
      }
      return scenes
    },
  })
  const answers = await Promise.all(
    gw.scenes.map(({ scene }) => gw.call({ key: scene.key, body: messageRequest(false) })),
  )
  const rows = await gw.settled()
  for (const [index, { name, told, asked, scene }] of gw.scenes.entries()) {
    const { status = 0, headers, text = '' } = answers[index] ?? {}
    const found = { status, retryAfter: headers?.['retry-after'], shouldRetry: headers?.['x-should-retry'], text }
    t.match(found, { retryAfter: undefined, shouldRetry: undefined, ...told }, name)
    const attempts = rows.find(({ userId }) => userId === scene.user.id)?.attempts ?? []
    const ids = scene.accounts.map(({ id }) => id)
    t.equal(attempts.map(({ accountId }) => ids.indexOf(accountId)).join(' '), asked, name)
  }
})

t.test('repeats do not multiply an outage, however often clients ask', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => ({ one: await site.scene(), two: await site.scene({ accounts: [{}, {}] }) }),
  })
  gw.upstream.always(DOWN)
  const CALLS = 10
  for (const [name, accounts] of [
    ['one', 1],
    ['two', 2],
  ] as const) {
    const before = gw.upstream.seen.length
    for (let number = 0; number < CALLS; number++) {
      t.equal((await gw.call({ key: gw.scenes[name].key, body: messageRequest(false) })).status, 529)
    }
    const asked = gw.upstream.seen.length - before
    t.ok(asked > accounts * CALLS && asked <= accounts * (CALLS + 2), `${asked} times: two repeats of each account`)
  }
})

t.test('of those that rest already the client hears, too', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ scripts: [limited(30)] }, { scripts: [limited(120)] }] }),
  })
  const { key, accounts } = gw.scenes
  await gw.site.store.accounts.set({ id: accounts[1]?.id ?? '', changes: { status: 'paused' }, by: 'test' })
  await gw.seen()
  t.match(await gw.call({ key, body: messageRequest(false) }), { status: 429, headers: { 'retry-after': '30' } })
  await gw.site.store.accounts.set({ id: accounts[1]?.id ?? '', changes: { status: 'active' }, by: 'test' })
  await gw.seen()
  t.match(await gw.call({ key, body: messageRequest(false) }), {
    status: 429,
    headers: { 'retry-after': /^(30|2\d)$/ },
  })
  const [, row] = await gw.settled()
  t.match(row?.attempts, [{ accountId: accounts[1]?.id }], 'the first was not asked again')
})

const numbered = (number: number) =>
  messageRequest(false, { messages: [{ role: 'user', content: `number ${number}` }] })

t.test('a call that waits in vain for another account hears of its failure, not of the wait', async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.wait': '300ms' },
    setUp: (site) =>
      site.scene({
        accounts: [
          { scripts: [{ status: 500 }, { status: 500 }] },
          { concurrency: 1, scripts: [{ headDelayMs: 'forever' }] },
        ],
      }),
  })
  const { key } = gw.scenes
  const first = gw.open({ key, body: numbered(1) })
  await until('both accounts to be asked', () => gw.upstream.seen.length === 2)
  t.match(await gw.call({ key, body: numbered(2) }), {
    ...{ status: 529, headers: { 'retry-after': '1' }, text: /no upstream account could answer \(api_error\)/ },
  })
  first.leave()
  const row = (await gw.settled()).find(({ outcome }) => outcome === 'failed')
  t.match(row, { error: 'overloaded', attempts: [{ fault: 'api_error' }] })
})

t.test('time in line between two attempts is no part of the failover budget', async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.failover_budget': '300ms' },
    setUp: (site) =>
      site.scene({
        accounts: [
          { scripts: [{ status: 500 }, { status: 500 }] },
          { concurrency: 1, scripts: [{ headDelayMs: 800 }, { status: 500 }, {}] },
        ],
      }),
  })
  const { key, accounts } = gw.scenes
  const first = gw.open({ key, body: numbered(1) })
  await until('both accounts to be asked', () => gw.upstream.seen.length === 2)
  t.match(await gw.call({ key, body: numbered(2) }), { status: 200 })
  t.match(await first.over, { status: 200 })
  const [a, b] = accounts.map(({ id }) => id)
  const waited = (await gw.settled()).find(({ attempts }) => attempts.length === 3)
  t.same(
    waited?.attempts.map(({ accountId }) => accountId),
    [a, b, b],
  )
})

t.test('but time in attempts is', async (t) => {
  const slow: Script = { headDelayMs: 400, status: 500 }
  const gw = await startGateway(t, {
    config: { 'gateway.failover_budget': '300ms' },
    setUp: (site) => site.scene({ accounts: [{ scripts: [slow] }, {}] }),
  })
  t.match(await gw.call({ key: gw.scenes.key, body: messageRequest(false) }), { status: 529 })
  t.match(await gw.settled(), [{ attempts: { length: 1 } }])
})

t.test('what a failed attempt used is written down, and its caller does not pay for it', async (t) => {
  const broken: Script = {
    breaks: { after: 1, how: 'error_event' },
    usage: { input: 1000, output: 50, cacheRead: 200 },
  }
  const gw = await startGateway(t, {
    config: { run_mode: 'saas' },
    setUp: (site) =>
      site.scene({
        user: { balanceNanoUsd: 1_000_000_000 },
        accounts: [{ scripts: [broken] }, { scripts: [{ usage: { input: 10, output: 2 } }] }],
      }),
  })
  t.match(await gw.call({ key: gw.scenes.key, body: messageRequest(true) }), { status: 200, text: /message_stop/ })
  const [row] = await gw.settled()
  const [failed, answered] = row?.attempts ?? []
  t.match(failed, { fault: 'overloaded_error', lost: { usage: { inputTokens: 1000, cacheReadTokens: 200 } } })
  t.ok((failed?.lost?.costNanoUsd ?? 0) > 0)
  t.match(answered, { fault: null, lost: null })
  t.match(row, { lostNanoUsd: failed?.lost?.costNanoUsd, usage: { inputTokens: 10, outputTokens: 2 } })
})

t.test('a client that leaves in a pause ends the call, and so does its operator', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ scripts: [{ status: 500 }, { status: 500 }] }] }),
  })
  const { gateway } = gw
  Object.assign(gateway, { random: () => 0.999 })
  const pausing = async (failures: number) => {
    const call = gw.open({ key: gw.scenes.key, body: messageRequest(false) })
    await until('the upstream to have failed', () => gateway.directory.accounts()[0]?.overloads.length === failures)
    return call
  }
  const leaves = await pausing(1)
  leaves.leave()
  await gw.settled()
  const released = await pausing(2)
  const [admission] = await gateway.live.admissions()
  gateway.running.release(admission?.callId ?? '')
  t.match(await released.over, { status: 503, text: /operator of this gateway has ended this call/ })
  t.match(await gw.settled(), [
    { outcome: 'client_left', attempts: { length: 1, 0: { fault: 'api_error' } } },
    { outcome: 'stopped', error: 'released', attempts: { length: 1, 0: { fault: 'api_error' } } },
  ])
})

t.test('what the format of one account cannot say, an account of another serves', async (t) => {
  const openai = (site: Site): WantedAccount => ({
    provider: 'openai',
    baseUrl: `${site.upstream.url}/v1`,
    models: ['*'],
    priority: 0,
  })
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      mixed: await site.scene({ accounts: [openai(site), openai(site), openai(site), openai(site), {}] }),
      alone: await site.scene({ accounts: [openai(site)] }),
      away: await site.scene({ accounts: [openai(site), { scripts: [limited(60)] }] }),
    }),
  })
  const { mixed, alone, away } = gw.scenes
  const body = messageRequest(false, { mcp_servers: [{ type: 'url', name: 'm', url: 'https://mcp.example' }] })
  t.match(await gw.call({ key: mixed.key, body }), { status: 200 })
  t.match(await gw.call({ key: alone.key, body }), { status: 400, text: /mcp_servers: / })
  for (const told of ['after it was asked', 'while it rests']) {
    const answer = await gw.call({ key: away.key, body })
    t.match(answer, { status: 429, headers: { 'retry-after': /^(60|5\d)$/ } }, told)
  }
  const rows = await gw.settled()
  const faultsOf = ({ user }: Scene) =>
    rows
      .filter((row) => row.userId === user.id)
      .map(({ attempts }) => attempts)
      .sort((a, b) => b.length - a.length)
  const unfit = { fault: 'unfit', status: null, message: /^mcp_servers: / }
  t.match(faultsOf(mixed), [[unfit, unfit, unfit, unfit, { fault: null, status: 200 }]], 'more than it may try')
  t.match(faultsOf(alone), [[unfit]])
  t.match(faultsOf(away), [[unfit, { fault: 'rate_limit_error' }], [unfit]])
  t.equal(gw.upstream.seen.filter(({ path }) => path.startsWith('/v1/responses')).length, 0, 'nobody else was asked')
})

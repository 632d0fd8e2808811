import t from 'tap'
import { GatewayError } from '../../src/domain/errors.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import { costOf } from '../../src/pricing/cost.ts'
import { messageRequest, until } from '../support/client.ts'
import { type Scene, startGateway } from '../support/gateway.ts'

/** `run_mode: saas` on SQLite: who pays what, and who may not call any more. */

const USD = 1_000_000_000
/** 1,000 × $3 and 1,000 × $15 per million tokens, for claude-sonnet-5-5. */
const USAGE = { input: 1000, output: 1000 }
const JSON_CALL = messageRequest(false)

t.test('money', async (t) => {
  const pays = (count: number) => [{ scripts: Array(count).fill({ usage: USAGE }) }]
  const gw = await startGateway(t, {
    config: { run_mode: 'saas' },
    setUp: async (site) => {
      const scenes = {
        rich: await site.scene({ user: { balanceNanoUsd: 10 * USD }, accounts: pays(3) }),
        nearlyBroke: await site.scene({ user: { balanceNanoUsd: 1 }, accounts: pays(3) }),
        broke: await site.scene({}),
        free: await site.scene({ group: { multiplierMicro: 0 }, accounts: pays(2) }),
        double: await site.scene({
          group: { multiplierMicro: 2_000_000 },
          user: { balanceNanoUsd: USD },
          accounts: pays(2),
        }),
        quota: await site.scene({ user: { balanceNanoUsd: 10 * USD }, key: { quotaNanoUsd: 1000 }, accounts: pays(2) }),
        leaves: await site.scene({
          group: { whenClientLeaves: 'abort' },
          user: { balanceNanoUsd: USD },
          accounts: [{ scripts: [{ usage: USAGE, text: ['x'.repeat(400)], breaks: { after: 4, how: 'silence' } }] }],
        }),
        refused: await site.scene({ user: { balanceNanoUsd: USD }, accounts: [{ scripts: [{ status: 400 }] }] }),
      }
      const { group } = scenes.double
      const half = await site.scene({ group, user: { balanceNanoUsd: USD }, accounts: [] })
      await site.store.groups.attachUser({ id: group.id, userId: half.user.id, multiplierMicro: 500_000, by: 'test' })
      return { ...scenes, half }
    },
  })
  const { scenes, site } = gw
  const { store } = site
  const call = (name: keyof typeof scenes, body: object = JSON_CALL) => gw.call({ key: scenes[name].key, body })
  const errorOf = ({ text }: { text: string }) => JSON.parse(text).error
  const balanceOf = async ({ user }: Scene) => (await store.users.find(user.id)).balanceNanoUsd
  const rowsOf = async ({ user }: Scene) => (await gw.settled()).filter(({ userId }) => userId === user.id)
  let costNanoUsd = 0

  t.test('a call is charged at its price, by a ledger entry, from the balance', async (t) => {
    t.equal((await call('rich', messageRequest(true))).status, 200)
    const [row] = await rowsOf(scenes.rich)
    costNanoUsd = row?.costNanoUsd ?? 0
    t.match(row, { priceState: 'known', payer: 'balance', chargedNanoUsd: costNanoUsd, multiplierMicro: 1_000_000 })
    t.ok(costNanoUsd > 0)
    t.equal(await balanceOf(scenes.rich), 10 * USD - costNanoUsd)
    const entries = await store.ledger.list({ userId: scenes.rich.user.id, limit: 10 })
    t.match(
      entries.find(({ kind }) => kind === 'charge'),
      { callId: row?.id, amountNanoUsd: -costNanoUsd, balanceAfterNanoUsd: 10 * USD - costNanoUsd },
    )
  })

  t.test('at zero it is refused, in the shape that makes clients stop', async (t) => {
    for (const stream of [false, true]) {
      const answer = await call('broke', messageRequest(stream))
      t.ok([402, 429].includes(answer.status), `status ${answer.status}`)
      t.match(answer.headers, { 'x-should-retry': 'false' })
      t.match(errorOf(answer), {
        type: 'billing_error',
        message: /^the balance of .*@example\.com is used up \(.*\): ask the operator/,
      })
    }
    t.same(await rowsOf(scenes.broke), [])
    t.equal(gw.upstream.seen.length, 1, 'nobody was asked')
  })

  t.test('the last call may overdraw by what it costs; then credit is needed', async (t) => {
    t.equal((await call('nearlyBroke')).status, 200)
    t.equal(await balanceOf(scenes.nearlyBroke), 1 - costNanoUsd)
    t.match(errorOf(await call('nearlyBroke')), { type: 'billing_error' })
    await store.users.credit({ id: scenes.nearlyBroke.user.id, amountNanoUsd: costNanoUsd, note: null, by: 'test' })
    await gw.seen()
    t.equal((await call('nearlyBroke')).status, 200)
    t.match(errorOf(await call('nearlyBroke')), { type: 'billing_error' })
  })

  t.test("multipliers: a free group needs no balance; the user's own counts before the group's", async (t) => {
    for (const name of ['free', 'double', 'half'] as const) t.equal((await call(name)).status, 200)
    const charged = async (name: keyof typeof scenes) => (await rowsOf(scenes[name]))[0]
    t.match(await charged('free'), { costNanoUsd, chargedNanoUsd: 0, multiplierMicro: 0 })
    t.match(await charged('double'), { costNanoUsd, chargedNanoUsd: 2 * costNanoUsd, multiplierMicro: 2_000_000 })
    t.match(await charged('half'), { costNanoUsd, chargedNanoUsd: costNanoUsd / 2, multiplierMicro: 500_000 })
    t.equal(await balanceOf(scenes.half), USD - costNanoUsd / 2)
    t.same(await store.ledger.list({ userId: scenes.free.user.id, limit: 10 }), [], 'no entry where nothing moved')
  })

  t.test('a key stops at its quota, on every path', async (t) => {
    t.equal((await call('quota')).status, 200)
    const { key } = scenes.quota
    await gw.settled()
    for (const answer of [
      await call('quota'),
      await gw.call({ path: '/v1/messages/count_tokens', key, body: JSON_CALL }),
      await gw.call({ method: 'GET', path: '/v1/models', key }),
    ]) {
      t.match(errorOf(answer), {
        type: 'billing_error',
        message: /^this API key has spent its quota of \$0\.000001: ask/,
      })
    }
    t.equal((await gw.call({ method: 'GET', path: '/v1/usage', key })).status, 200, 'but it may see why')
    t.equal((await rowsOf(scenes.quota)).length, 1)
  })

  t.test('a model without a price is refused, and nothing is charged for a refusal', async (t) => {
    const unknown = await call('rich', messageRequest(false, { model: 'claude-nobody-knows' }))
    t.match(unknown, { status: 404, headers: { 'x-should-retry': 'false' } })
    t.match(errorOf(unknown), { message: /'claude-nobody-knows' has no price here/ })
    t.equal((await call('refused')).status, 400)
    t.match(await rowsOf(scenes.refused), [{ outcome: 'rejected', chargedNanoUsd: 0 }])
    t.equal(await balanceOf(scenes.refused), USD)
  })

  t.test('who leaves pays for what was generated', async (t) => {
    const open = gw.open({ key: scenes.leaves.key, body: messageRequest(true) })
    await open.has('xxx')
    open.leave()
    const [row] = await rowsOf(scenes.leaves)
    t.match(row, { outcome: 'client_left', estimated: true, usage: { inputTokens: 1000, outputTokens: 100 } })
    t.ok((row?.chargedNanoUsd ?? 0) > 0)
    t.equal(await balanceOf(scenes.leaves), USD - (row?.chargedNanoUsd ?? 0))
  })

  t.test("one sees one's own balance", async (t) => {
    const answer = await gw.call({ method: 'GET', path: '/v1/usage', key: scenes.half.key })
    t.match(JSON.parse(answer.text), {
      user: { balanceNanoUsd: USD - costNanoUsd / 2 },
      total: { requests: 1, chargedNanoUsd: costNanoUsd / 2 },
    })
  })

  t.test('and it all adds up', async (t) => {
    t.same((await store.usage.verify()).problems, [])
    t.match(gw.gateway.counters.all(), { 'refused.insufficient_funds': 7, 'refused.not_found': 1 })
  })
})

t.test('unknown prices, where the operator lets them pass, are flagged and warned about once', async (t) => {
  const gw = await startGateway(t, {
    config: { run_mode: 'saas', unknown_price: 'record' },
    setUp: (site) => site.scene({ user: { balanceNanoUsd: USD } }),
  })
  const models = ['claude-nobody-knows', 'claude-nobody-knows', 'claude-nor-this']
  for (const model of models) {
    t.equal((await gw.call({ key: gw.scenes.key, body: messageRequest(false, { model }) })).status, 200)
  }
  t.match(
    await gw.settled(),
    models.map(() => ({ priceState: 'unknown', costNanoUsd: 0, chargedNanoUsd: 0 })),
  )
  const warnings = () => gw.log.filter(({ msg }) => /has no price/.test(msg)).map(({ model }) => model)
  t.same(warnings(), ['claude-nobody-knows', 'claude-nor-this'])
  const { clock } = gw.gateway
  t.teardown(() => Object.assign(gw.gateway, { clock }))
  Object.assign(gw.gateway, { clock: () => clock() + 3_600_000 })
  await gw.call({ key: gw.scenes.key, body: messageRequest(false, { model: 'claude-nor-this' }) })
  t.equal(warnings().length, 3, 'again after an hour')
  t.match(gw.gateway.counters.all(), { 'price.unknown': 4 })
})

t.test('the billing guard', async (t) => {
  const gw = await startGateway(t, {
    config: { run_mode: 'saas', 'billing.circuit_breaker.reset_timeout_seconds': 1 },
    setUp: async (site) => ({
      pays: await site.scene({ user: { balanceNanoUsd: USD } }),
      leaves: await site.scene({
        group: { whenClientLeaves: 'abort' },
        user: { balanceNanoUsd: USD, concurrency: 20 },
        accounts: [{ scripts: Array(10).fill({ headDelayMs: 'forever' }) }],
      }),
      wrong: await site.scene({
        user: { balanceNanoUsd: USD },
        accounts: [{ scripts: Array(10).fill({ status: 400 }) }],
      }),
    }),
  })
  const { guard, store } = gw.gateway
  const call = (name: keyof typeof gw.scenes) => gw.call({ key: gw.scenes[name].key, body: JSON_CALL })
  const { record } = store.usage

  t.test('never opens for what clients do', async (t) => {
    const leaving = Array.from({ length: 10 }, () => gw.open({ key: gw.scenes.leaves.key, body: JSON_CALL }))
    await until('all calls to run', async () => (await gw.gateway.live.admissions()).length === 10)
    for (const one of leaving) one.leave()
    for (let i = 0; i < 10; i++) t.equal((await call('wrong')).status, 400)
    t.equal((await gw.settled()).length, 20)
    t.equal(guard.state, 'closed')
  })

  t.test('nor for one record that the store finds fault with', async (t) => {
    store.usage.record = async () => {
      throw new Error('a constraint failed')
    }
    for (let i = 0; i < 10; i++) t.equal((await call('pays')).status, 500)
    t.equal(guard.state, 'closed')
  })

  t.test('opens when charges cannot be stored, says so, and closes when they can', async (t) => {
    store.usage.record = async () => {
      throw new GatewayError('unavailable', 'the disk is full')
    }
    for (let i = 0; i < 5; i++) t.equal((await call('pays')).status, 503)
    t.equal(guard.state, 'open')
    const refused = await call('pays')
    t.match(refused, { status: 503, text: /cannot store charges at the moment and takes no calls until it can/ })
    t.match(refused.headers, { 'retry-after': '1' })
    store.usage.record = record
    await until('a probe to be let through', async () => (await call('pays')).status === 200)
    t.equal(guard.state, 'closed')
    await gw.settled()
    t.same((await store.usage.verify()).problems, [])
  })
})

t.test('calls at the same time overdraw a balance by no more than one of them, at any price', async (t) => {
  const models = ['claude-haiku-5-5', 'claude-sonnet-5-5', 'claude-opus-5-5']
  const OUTPUT = 1000
  const CALLS = 100
  const gw = await startGateway(t, {
    config: { run_mode: 'saas', 'default.user_concurrency': CALLS },
    setUp: async (site) => {
      const script = { usage: { input: 10, output: OUTPUT }, headDelayMs: 200 }
      const scenes = models.map(() =>
        site.scene({ accounts: [{ scripts: Array(CALLS).fill(script) }], user: { concurrency: CALLS } }),
      )
      return Promise.all(scenes)
    },
  })
  for (const [index, model] of models.entries()) {
    const { user, key } = gw.scenes[index] as Scene
    const priced = gw.gateway.prices.find('anthropic', model, Date.now())
    const oneNanoUsd = costOf({ ...NO_USAGE, inputTokens: 10, outputTokens: OUTPUT }, priced, 1_000_000).chargedNanoUsd
    const balanceNanoUsd = 10 * oneNanoUsd
    await gw.site.store.users.credit({ id: user.id, amountNanoUsd: balanceNanoUsd, note: null, by: 'test' })
    await gw.seen()
    const body = messageRequest(false, { model, max_tokens: OUTPUT })
    const answers = await Promise.all(Array.from({ length: CALLS }, () => gw.call({ key, body })))
    const served = answers.filter(({ status }) => status === 200).length
    t.ok(served > 1 && served <= 11, `${model}: ${served} were served`)
    const refused = answers.find(({ status }) => status !== 200)
    t.match(refused, {
      status: 429,
      headers: { 'retry-after': '5' },
      text: /calls that are running may need all of it/,
    })
    await gw.settled()
    const left = (await gw.site.store.users.find(user.id)).balanceNanoUsd
    t.ok(left > -oneNanoUsd, `${left} is left`)
  }
  t.same((await gw.site.store.usage.verify()).problems, [])
})

t.test('a stream that outgrows what was reserved reserves more', async (t) => {
  const gw = await startGateway(t, {
    config: { run_mode: 'saas', 'gateway.reserve_output_max': 10 },
    setUp: (site) =>
      site.scene({
        user: { balanceNanoUsd: 100_000 },
        group: { whenClientLeaves: 'abort' },
        accounts: [{ scripts: [{ text: ['x'.repeat(40_000)], breaks: { after: 4, how: 'silence' } }] }],
      }),
  })
  const { key } = gw.scenes
  const first = gw.open({ key, body: messageRequest(true) })
  await first.has('xxx')
  const second = await gw.call({ key, body: messageRequest(false) })
  t.match(second, { status: 429, text: /calls that are running may need all of it/ })
  first.leave()
  await gw.settled()
})

import t from 'tap'
import type { Choice } from '../../src/domain/call.ts'
import { messageRequest, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

/** What a row says of how its call came to its account. */

t.test('candidates in order, and why the others were none', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({
        accounts: [
          { name: 'a' },
          { name: 'b' },
          { name: 'other model', models: ['claude-opus-*'] },
          { name: 'paused' },
          { name: 'disabled' },
          { name: 'expired', expiresAtMs: Date.now() + 1 },
          { name: 'rests' },
        ],
      }),
  })
  const { key, accounts } = gw.scenes
  const ids = Object.fromEntries(accounts.map(({ name, id }) => [name, id]))
  const serving = (name: string) => {
    const found = gw.gateway.directory.account(ids[name] ?? '')
    if (!found) throw new Error(`no ${name}`)
    return found
  }
  await gw.site.store.accounts.set({ id: ids.paused ?? '', changes: { status: 'paused' }, by: 'test' })
  await gw.seen()
  gw.gateway.directory.disable(serving('disabled'), 'its organization is gone, sk-ant-api03-secretsecretsecret')
  const rest = {
    sinceMs: Date.now(),
    hardness: 'hard',
    kind: 'rate_limit',
    reason: 'rate_limit_error',
    step: 1,
  } as const
  gw.gateway.directory.rest(serving('rests'), { ...rest, untilMs: Date.now() + 600_000 })
  t.match(await gw.call({ key, body: messageRequest(false) }), { status: 200 })
  const [row] = await gw.settled()
  t.same(row?.choice?.candidates, [ids.a, ids.b])
  const why = Object.fromEntries(row?.choice?.others.map(({ accountId, why }) => [accountId, why]) ?? [])
  t.match(
    accounts.slice(2).map(({ id }) => why[id]),
    [
      'does not serve the model',
      'paused',
      'disabled: its organization is gone, [redacted]',
      'expired',
      /^rests \(rate_limit_error\) for \d+ s$/,
    ],
  )
})

t.test('of a large group 32 of each are named, and a conversation stays at an account behind them', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({
        accounts: Array.from({ length: 36 }, (_, index) => ({
          name: `a${index}`,
          ...(index < 2 && { models: ['claude-opus-*'] }),
        })),
      }),
  })
  const { key, accounts } = gw.scenes
  const say = (content: string) =>
    gw.call({ key, body: messageRequest(false, { messages: [{ role: 'user', content }] }) })
  await say('hello')
  const [first] = await gw.settled()
  await gw.site.store.accounts.set({ id: first?.accountId ?? '', changes: { priority: 99 }, by: 'test' })
  await gw.seen()
  await say('hello')
  const [, second] = await gw.settled()
  t.equal(second?.accountId, first?.accountId)
  t.equal(second?.choice?.candidates.length, 32)
  t.same(second?.choice?.others.map(({ why }) => why).sort(), [
    ...Array(2).fill('does not serve the model'),
    ...Array(2).fill('ranks behind enough others'),
  ])
  for (const { id } of accounts.slice(0, 35)) {
    await gw.site.store.accounts.set({ id, changes: { status: 'paused' }, by: 'test' })
  }
  await gw.seen()
  await say('again')
  const choice = (await gw.settled()).at(-1)?.choice
  t.equal(choice?.others.length, 32)
  t.equal(choice?.candidates.length, 1)
})

t.test('the conversation: what named it, and whether it was kept, bound, or made a detour', async (t) => {
  const hang = { headDelayMs: 'forever' } as const
  const gw = await startGateway(t, {
    config: { 'gateway.sticky_wait': '50ms' },
    setUp: async (site) => ({
      many: await site.scene({ accounts: [{ concurrency: 1, scripts: [{}, {}, hang] }, {}] }),
      one: await site.scene(),
    }),
  })
  const { many, one } = gw.scenes
  const headers = { 'x-claude-code-session-id': 'a0b1c2d3-e4f5-4a6b-8c7d-9e0f1a2b3c4d' }
  const ask = async (key: string, more: object = {}) => {
    const { headers } = await gw.call({ key, body: messageRequest(false), ...more })
    return (await gw.gateway.store.usage.show(String(headers['x-subgate-call-id']))).choice
  }
  const session = { conversation: 'a0b1c2d3-e4f5-4a', source: 'x-claude-code-session-id' }
  const candidates = many.accounts.map(({ id }) => id)
  const made: Choice | null = await ask(many.key, { headers })
  const named = { ...session, binding: 'new' as const, from: null }
  t.same(made, { fallbackGroupId: null, candidates, others: [], waited: false, session: named })
  await until('its slot to be free', async () => (await gw.gateway.live.admissions()).length === 0)
  t.match(await ask(many.key, { headers }), { session: { ...session, binding: 'kept' }, waited: false })
  await until('its slot to be free', async () => (await gw.gateway.live.admissions()).length === 0)
  const holds = gw.open({ key: many.key, headers, body: messageRequest(false) })
  await until('its account to be busy', async () => (await gw.gateway.live.admissions()).length === 1)
  const from = { accountId: candidates[0], why: 'its slots were busy' }
  t.match(await ask(many.key, { headers }), { session: { ...session, binding: 'detour', from }, waited: true })
  const unnamed = { body: messageRequest(false, { messages: [{ role: 'assistant', content: 'x' }] }) }
  t.match(await ask(many.key, unnamed), { session: null })
  const byWords = await ask(many.key)
  t.match(byWords, { session: { source: 'first words', conversation: /^[\w-]{16}$/ } })
  t.equal(await ask(one.key, { headers }), null, 'one account is no choice, and costs nothing to write down')
  holds.leave()
  await gw.settled()
})

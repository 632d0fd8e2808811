import t from 'tap'
import { secretOf } from '../../src/domain/account.ts'
import type { AdmittedCall } from '../../src/gateway/admitted-call.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { messageRequest, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

/** Who waits, who is served when, and who is refused. */

const CALLS = 200
const LIMIT = 5
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)
const numbered = (number: number) =>
  messageRequest(false, { messages: [{ role: 'user', content: `number ${number}` }] })
const numberIn = (body: string) => Number(/number (\d+)/.exec(body)?.[1])

t.test('two hundred calls at a time on a key that may run five', async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.line_extra': 1000, 'gateway.wait': '60s' },
    setUp: async (site) => ({
      byKey: await site.scene({
        user: { concurrency: 500 },
        key: { concurrency: LIMIT },
        accounts: [{ scripts: numbers(CALLS).map(() => ({ headDelayMs: 5 })) }],
      }),
      byUser: await site.scene({
        user: { concurrency: LIMIT },
        accounts: [
          { scripts: numbers(CALLS).map((index) => (index % 7 === 0 ? { status: 400 } : { headDelayMs: 5 })) },
        ],
      }),
      byAccount: await site.scene({
        user: { concurrency: 500 },
        accounts: [{ concurrency: LIMIT, scripts: numbers(CALLS).map(() => ({ headDelayMs: 5 })) }],
      }),
    }),
  })
  const { live, running } = gw.gateway
  const asked: string[] = []
  const { admit } = live
  live.admit = (request) => {
    asked.push(request.callId)
    return admit.call(live, request)
  }
  const admitted: string[] = []
  const { add } = running
  running.add = (call) => {
    admitted.push((call as AdmittedCall).call.id)
    add.call(running, call)
  }
  for (const [name, { key, user }] of Object.entries(gw.scenes)) {
    const before = gw.upstream.seen.length
    gw.upstream.mostRunning = 0
    asked.length = 0
    admitted.length = 0
    const answers = await Promise.all(numbers(CALLS).map((number) => gw.call({ key, body: numbered(number) })))
    const served = gw.upstream.seen.slice(before).map(({ body }) => numberIn(body))
    t.equal(gw.upstream.mostRunning, LIMIT, `${name}: never more than ${LIMIT} run, and as many as may`)
    t.same(new Set(served), new Set(numbers(CALLS)), `${name}: none is lost, none asked twice`)
    t.equal(served.length, CALLS)
    t.ok(
      answers.every(({ ended }) => ended === 'whole') &&
        answers.every(({ status }) => status === 200 || status === 400),
    )
    t.same(admitted, asked, `${name}: who came first is served first`)
    t.equal((await gw.settled()).filter(({ userId }) => userId === user.id).length, CALLS, `${name}: a row for each`)
  }
})

t.test('a line has so many places, and says so', async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.wait': '500ms' },
    setUp: async (site) => ({
      user: await site.scene({
        user: { concurrency: 2 },
        accounts: [{ scripts: numbers(2).map(() => ({ headDelayMs: 'forever' as const })) }],
      }),
      account: await site.scene({ accounts: [{ concurrency: 1, scripts: [{ headDelayMs: 'forever' }] }] }),
      none: await site.scene({ user: { concurrency: 0 } }),
    }),
  })
  t.test('the surplus is refused at once', async (t) => {
    const { key } = gw.scenes.user
    const calls = numbers(2 + 22 + 6).map((number) => gw.open({ key, body: numbered(number) }))
    const refused = await until('the surplus to be refused', () => {
      const answered = calls.filter(({ status }) => status !== 0)
      return answered.length >= 6 && answered
    })
    const [first] = await Promise.all(refused.map(({ over }) => over))
    t.equal((await gw.gateway.live.tickets()).length, 22, 'twenty places beyond the limit of two')
    t.match(first, { status: 429, headers: { 'retry-after': '1' } })
    t.equal(
      JSON.parse(first?.text ?? '').error.message,
      'this user may run 2 calls at a time, and its waiting line is full',
    )
    await until('those in line to be refused', () => calls.filter(({ status }) => status !== 0).length === 28)
    const waited = await Promise.all(calls.filter(({ status }) => status !== 0).map(({ over }) => over))
    t.match(
      waited.filter(({ text }) => /none of them ended while this one waited/.test(text)),
      { length: 22 },
      'after the wait that is configured',
    )
    for (const call of calls) call.leave()
    await gw.settled()
  })

  t.test('whose limit it is is said', async (t) => {
    const { key } = gw.scenes.account
    const first = gw.open({ key, body: numbered(1) })
    await until('the account to be asked', async () => (await gw.gateway.live.admissions()).length === 1)
    const second = await gw.call({ key, body: numbered(2) })
    t.match(second, { status: 429, text: /the upstream account may run 1 call at a time, and none of them ended/ })
    first.leave()
    await gw.settled()
  })

  t.test('none at all is no question of waiting', async (t) => {
    const { key } = gw.scenes.none
    const answer = await gw.call({ key, body: numbered(1) })
    t.match(answer, { status: 429, headers: { 'x-should-retry': 'false' }, text: /this user may run no calls at all/ })
  })
})

t.test('those who wait for accounts see what becomes of them', async (t) => {
  const busy = { concurrency: 1, scripts: [{ headDelayMs: 'forever' as const }] }
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      paused: await site.scene({ accounts: [busy] }),
      removed: await site.scene({ accounts: [busy] }),
      rested: await site.scene({
        accounts: [
          {
            concurrency: 2,
            scripts: [{ headDelayMs: 'forever' }, { headDelayMs: 300, status: 429, headers: { 'retry-after': '40' } }],
          },
        ],
      }),
      joined: await site.scene({ accounts: [busy] }),
      failing: await site.scene({ accounts: [{ scripts: [{ status: 500 }] }, busy] }),
    }),
  })
  const { site } = gw
  const open = (name: keyof typeof gw.scenes) => gw.open({ key: gw.scenes[name].key, body: messageRequest(false) })
  const admitted = (count: number) =>
    until('calls to be admitted', async () => (await gw.gateway.live.admissions()).length === count)
  const inLine = (count: number) =>
    until('calls to stand in line', async () => (await gw.gateway.live.tickets()).length === count)
  const idOf = (name: keyof typeof gw.scenes) => gw.scenes[name].accounts[0]?.id as string

  t.test('paused or removed: nobody is left to wait for', async (t) => {
    const [paused, removed] = [open('paused'), open('removed')]
    await admitted(2)
    const [waitsForPaused, waitsForRemoved] = [open('paused'), open('removed')]
    await inLine(2)
    await site.store.accounts.set({ id: idOf('paused'), changes: { status: 'paused' }, by: 'test' })
    await site.store.accounts.remove({ id: idOf('removed'), by: 'test' })
    t.match(await waitsForPaused.over, {
      status: 503,
      headers: { 'x-should-retry': 'false' },
      text: /is paused, disabled or expired/,
    })
    t.match(await waitsForRemoved.over, { status: 503, text: /has no accounts/ })
    t.equal(paused.status + removed.status, 0, 'those who have it keep it')
    for (const call of [paused, removed]) call.leave()
    t.equal((await gw.settled()).length, 2)
  })

  t.test('at rest: the client hears until when', async (t) => {
    const calls = [open('rested')]
    await admitted(1)
    calls.push(open('rested'))
    await admitted(2)
    const waits = open('rested')
    await inLine(1)
    t.match(await waits.over, { status: 429, headers: { 'retry-after': '40' }, text: /at its vendor's rate limit/ })
    for (const call of calls) call.leave()
    await gw.settled()
  })

  t.test('a new one serves whoever waits', async (t) => {
    const first = open('joined')
    await admitted(1)
    const waits = open('joined')
    await inLine(1)
    await site.account({ groupIds: [gw.scenes.joined.group.id] })
    t.match(await waits.over, { status: 200 })
    first.leave()
    await gw.settled()
  })

  t.test(
    'a call whose account failed waits for another with what it has, and hears of the failure if that goes',
    async (t) => {
      const { key, accounts } = gw.scenes.failing
      const first = gw.open({ key, body: numbered(1) })
      await until('the second account to be asked', async () => {
        const running = await gw.gateway.live.admissions()
        return running.some(({ accountId }) => accountId === accounts[1]?.id)
      })
      site.script(secretOf(await credentialsOf(gw.gateway, accounts[0]?.id)), { status: 500 })
      const second = gw.open({ key, body: numbered(2) })
      await inLine(1)
      await site.store.accounts.set({ id: accounts[1]?.id as string, changes: { status: 'paused' }, by: 'test' })
      t.match(await second.over, { status: 529, text: /no upstream account could answer \(api_error\)/ })
      first.leave()
      await gw.settled()
    },
  )
})

async function credentialsOf(gateway: Gateway, accountId: string | undefined) {
  const serving = await until('an account', () => gateway.directory.account(accountId ?? ''))
  return serving.credentials()
}

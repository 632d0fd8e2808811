import type { Test } from 'tap'
import type { Limit } from '../../src/domain/limit.ts'
import { accounts, type LiveStateMaker, onlyOwn, openWorld, session, type World } from './live-state-support.ts'

/** Runs a first call of session `s` that binds it to account A, and ends it well. */
async function bindToA(world: World): Promise<void> {
  const first = await world.run({ session: session('s'), candidates: accounts('A B') })
  await world.end(first, { confirmsBinding: true })
}

const boundTo = async ({ live }: World) => (await live.bindings()).map(({ accountId }) => accountId)

export async function sessionsContract(t: Test, maker: LiveStateMaker): Promise<void> {
  t.test('two first calls of one session land together, before either has answered', async (t) => {
    await using world = await openWorld(maker)
    const first = await world.run({ session: session('s'), candidates: accounts('A B') })
    const second = await world.run({ session: session('s'), candidates: accounts('B A') })
    t.match(
      [first, second],
      [
        { accountId: 'A', bound: true, boundBefore: null },
        { accountId: 'A', bound: true, boundBefore: 'A' },
      ],
    )
    t.equal((await world.run({ session: session('other'), candidates: accounts('B A') })).accountId, 'B')
  })

  t.test('also when both had to wait in line', async (t) => {
    await using world = await openWorld(maker)
    const [a, b] = [await world.run({ candidates: accounts('A:1') }), await world.run({ candidates: accounts('B:1') })]
    const candidates = accounts('A:1 B:1')
    const first = await world.wait({ session: session('s'), candidates })
    const second = await world.wait({ session: session('s'), candidates })
    await world.end(b)
    t.match(await first.outcome, { accountId: 'B', bound: true })
    await world.end(a)
    t.same(await world.inLine(), [second.ticket.callId], 'A is free, but the session is at B now')
    world.time.pass(20_000)
    t.match(await second.outcome, { accountId: 'A', bound: false })
  })

  t.test('a binding lasts from its last use: admission, and a good answer', async (t) => {
    await using world = await openWorld(maker)
    const { time } = world
    const call = { session: session('s', { ttlMs: 1000 }), candidates: accounts('A B') }
    const expiresIn = async () => (await world.live.bindings()).map(({ expiresAtMs }) => expiresAtMs - time.nowMs)
    const first = await world.run(call)
    time.pass(900)
    t.same(await expiresIn(), [100])
    await world.end(first, { confirmsBinding: true })
    t.same(await expiresIn(), [1000])
    time.pass(900)
    const second = await world.run({ ...call, candidates: accounts('B A') })
    t.equal(second.accountId, 'A')
    t.same(await expiresIn(), [1000])
    time.pass(400)
    await world.end(second)
    t.same(await expiresIn(), [600], 'a call without a good answer starts nothing again')
    time.pass(600)
    t.match(await world.run({ ...call, candidates: accounts('B A') }), { accountId: 'B', bound: true })
  })

  t.test('a session waits for its own account while another is free, and is served there', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const candidates = accounts('B A:1')
    const other = await world.run({ userId: 'v', candidates: accounts('A:1') })
    const bound = await world.wait({ session: session('s'), candidates })
    t.same(
      (await world.live.tickets()).map(({ accountIds }) => accountIds),
      [['A']],
    )
    world.time.pass(19_999)
    t.same(await world.inLine(), [bound.ticket.callId])
    await world.end(other)
    t.match(await bound.outcome, { accountId: 'A', bound: true, boundBefore: 'A' })
  })

  t.test('a binding does not end while a call waits for its account', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const other = await world.run({ userId: 'v', candidates: accounts('A:1') })
    world.time.pass(3_599_000)
    const bound = await world.wait({ session: session('s'), candidates: accounts('A:1 B') })
    world.time.pass(2000)
    await world.end(other)
    t.match(await bound.outcome, { accountId: 'A', boundBefore: 'A' })
  })

  t.test('after its sticky wait a call goes elsewhere: one detour that leaves the binding', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const candidates = accounts('B A:1')
    const other = await world.run({ userId: 'v', candidates: accounts('A:1') })
    const bound = await world.wait({ session: session('s'), candidates })
    world.time.pass(20_000)
    const detour = await bound.outcome
    t.match(detour, { kind: 'admission', accountId: 'B', bound: false, boundBefore: 'A' })
    if (detour.kind === 'admission') await world.end(detour, { confirmsBinding: true })
    t.same(await boundTo(world), ['A'])
    await world.end(other)
    t.equal((await world.run({ session: session('s'), candidates })).accountId, 'A')
  })

  t.test('after its sticky wait it still prefers its own account, and keeps waiting if all are busy', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const candidates = accounts('B:1 A:1')
    const [a, b] = [await world.run({ candidates: accounts('A:1') }), await world.run({ candidates: accounts('B:1') })]
    const bound = await world.wait({ session: session('s'), candidates })
    world.time.pass(20_000)
    t.same(
      (await world.live.tickets()).map(({ accountIds }) => accountIds),
      [['A', 'B']],
    )
    await world.end(a)
    t.match(await bound.outcome, { accountId: 'A', bound: true })
    await world.end(b)
  })

  t.test('when too many wait for a session’s account, a call makes a detour at once', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    await world.run({ userId: 'v', candidates: accounts('A:1') })
    const call = { session: session('s', { line: 2 }), candidates: accounts('A:1 B') }
    await world.wait(call)
    await world.wait(call)
    t.match(await world.run(call), { accountId: 'B', bound: false })
    t.same(await boundTo(world), ['A'])
    const busy = { ...call, candidates: accounts('A:1 B:1') }
    const { ticket } = await world.wait(busy)
    t.same((await world.live.tickets()).find(({ callId }) => callId === ticket.callId)?.accountIds, ['A', 'B'])
  })

  t.test('the places of a session’s line are not a user’s or a key’s', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const call = { userConcurrency: 1, session: session('s', { line: 0 }), candidates: accounts('A:1 B') }
    await world.run(call)
    await world.wait(call)
    t.same(await world.inLine(), ['call-3'])
  })

  t.test('a session whose account is no candidate is bound anew', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    t.match(await world.run({ session: session('s'), candidates: accounts('B C') }), { accountId: 'B', bound: true })
    t.match(await world.run({ session: session('s'), candidates: accounts('A:0 B C') }), { accountId: 'B' })
    t.same(await boundTo(world), ['B'])
  })

  t.test(
    'a session waits for its own account while that rests, and is served there when the rest is over',
    async (t) => {
      await using world = await openWorld(maker)
      await bindToA(world)
      const candidates = [...accounts('B'), ...onlyOwn('A', world.time.nowMs + 5000)]
      const { ticket, outcome } = await world.wait({ session: session('s'), candidates })
      t.same((await world.live.tickets())[0]?.accountIds, ['A'])
      world.time.pass(4999)
      t.same(await world.inLine(), [ticket.callId])
      world.time.pass(1)
      t.match(await outcome, { accountId: 'A', bound: true, boundBefore: 'A' })
    },
  )

  t.test('an account that rests is of no use to other calls, now or later', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const candidates = [...accounts('B:1'), ...onlyOwn('A', world.time.nowMs + 5000)]
    t.match(await world.run({ candidates }), { accountId: 'B' })
    const unbound = await world.wait({ session: session('new'), candidates })
    const unnamed = await world.wait({ candidates })
    t.same(
      (await world.live.tickets()).map(({ accountIds }) => accountIds),
      [['B'], ['B']],
    )
    world.time.pass(6000)
    t.same(await world.inLine(), [unbound.ticket.callId, unnamed.ticket.callId])
    world.time.pass(24_000)
    t.match([await unbound.outcome, await unnamed.outcome], [{ kind: 'refused' }, { kind: 'refused' }])
  })

  t.test('a rest that outlasts the sticky wait makes a detour that leaves the binding', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const call = { session: session('s'), candidates: [...accounts('B'), ...onlyOwn('A', world.time.nowMs + 60_000)] }
    const { outcome } = await world.wait(call)
    world.time.pass(19_999)
    t.equal((await world.inLine()).length, 1)
    world.time.pass(1)
    t.match(await outcome, { accountId: 'B', bound: false, boundBefore: 'A' })
    t.same(await boundTo(world), ['A'])
  })

  t.test(
    'a resting account is waited for also where all others are over limits, which are told once that is over',
    async (t) => {
      await using world = await openWorld(maker)
      await bindToA(world)
      const limits: Limit[] = [{ metric: 'requests', max: 1, window: { kind: 'sliding', ms: 60_000 } }]
      const others = accounts('B').map((other) => ({ ...other, limits }))
      await world.run({ candidates: others })
      const resting = (ms: number) => ({
        session: session('s'),
        candidates: [...others, ...onlyOwn('A', world.time.nowMs + ms)],
      })
      t.match(await world.refuse({ ...resting(5000), session: session('new') }), { reason: 'limit', subjectId: 'B' })
      const short = await world.wait(resting(5000))
      const long = await world.wait(resting(25_000))
      world.time.pass(5000)
      t.match(await short.outcome, { accountId: 'A', bound: true })
      world.time.pass(14_999)
      t.same(await world.inLine(), [long.ticket.callId])
      world.time.pass(1)
      t.match(await long.outcome, { refusal: { reason: 'limit', subjectId: 'B' } })
    },
  )

  t.test('not more wait for a resting account than may wait for a busy one', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const candidates = [...accounts('B'), ...onlyOwn('A:1', world.time.nowMs + 5000)]
    const call = { session: session('s', { line: 2 }), candidates }
    const waiting = [await world.wait(call), await world.wait(call)]
    t.match(await world.run(call), { accountId: 'B', bound: false, boundBefore: 'A' })
    world.time.pass(5000)
    t.match(await waiting[0]?.outcome, { accountId: 'A' })
    t.same(await world.inLine(), [waiting[1]?.ticket.callId], 'after the rest it has its slots, and no more')
  })

  t.test('while one waits its account may go to rest, wake, or be out of reach for long', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const busy = await world.run({ userId: 'v', candidates: accounts('A:1') })
    const [first, second] = [
      await world.wait({ session: session('s'), candidates: accounts('A:1 B') }),
      await world.wait({ session: session('s'), candidates: accounts('A:1 B') }),
    ]
    const resting = [...accounts('B'), ...onlyOwn('A:1', world.time.nowMs + 5000)]
    await world.live.rerank(first.ticket, resting)
    await world.live.rerank(second.ticket, resting)
    await world.end(busy)
    t.equal((await world.inLine()).length, 2, 'a slot alone helps nobody')
    world.time.pass(5000)
    t.match(await first.outcome, { accountId: 'A' })
    await world.live.rerank(second.ticket, accounts('B'))
    t.match(await second.outcome, { accountId: 'B', bound: true, boundBefore: 'A' })
  })

  t.test('at the deadline whoever waits for its own takes any account that is free', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    const { nowMs } = world.time
    const patient = { session: session('s', { waitMs: 60_000 }), deadlineMs: nowMs + 30_000 }
    const resting = await world.wait({ ...patient, candidates: [...accounts('B:1'), ...onlyOwn('A', nowMs + 50_000)] })
    const late = await world.wait({ ...patient, candidates: [...accounts('B:1'), ...onlyOwn('A', nowMs + 50_000)] })
    world.time.pass(29_999)
    t.match(await resting.outcome, { accountId: 'B', bound: false })
    world.time.pass(1)
    t.match(await late.outcome, { refusal: { reason: 'waited', subject: 'account', subjectId: 'B', limit: 1 } })
  })

  t.test('a session that moves takes its waiting calls along', async (t) => {
    await using world = await openWorld(maker)
    const call = { session: session('s'), candidates: accounts('A:1 B') }
    const first = await world.run(call)
    const second = await world.wait(call)
    t.match(await world.live.move(first, accounts('B')), { accountId: 'B', bound: true })
    t.match(await second.outcome, { accountId: 'B', bound: true })
    t.same(await boundTo(world), ['B'])
  })

  t.test('a call that binds its session elsewhere takes its waiting calls along', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    await world.run({ userId: 'v', candidates: accounts('A:1') })
    const waiting = await world.wait({ session: session('s'), candidates: accounts('A:1 B') })
    t.match(await world.run({ session: session('s'), candidates: accounts('B') }), { accountId: 'B', bound: true })
    t.match(await waiting.outcome, { accountId: 'B', bound: true })
  })

  t.test('so does a ticket that binds its session elsewhere when its turn comes', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    await world.run({ userId: 'v', candidates: accounts('A:1') })
    const atB = await world.run({ userId: 'v', candidates: accounts('B:1') })
    const rebinding = await world.wait({ session: session('s'), candidates: accounts('B:1') })
    const waiting = await world.wait({ session: session('s'), candidates: accounts('A:1 C') })
    await world.end(atB)
    t.match(await rebinding.outcome, { accountId: 'B', bound: true })
    t.match(await waiting.outcome, { accountId: 'C' }, 'A is not its own any more')
  })

  t.test('a call that ends well leaves the binding where a later call of its session has brought it', async (t) => {
    await using world = await openWorld(maker)
    const early = await world.run({ session: session('s'), candidates: accounts('A') })
    const late = await world.run({ session: session('s'), candidates: accounts('B') })
    await world.end(early, { confirmsBinding: true })
    t.same(await boundTo(world), ['B'])
    await world.end(late, { confirmsBinding: true })
    t.same(await boundTo(world), ['B'])
  })

  t.test('a call that left its account, or never had one again, confirms nothing', async (t) => {
    await using world = await openWorld(maker)
    const call = await world.run({ session: session('s'), lineExtra: -1, candidates: accounts('A') })
    await world.run({ userId: 'v', candidates: accounts('B:1') })
    t.match(await world.live.move(call, accounts('B:1')), { kind: 'refused' })
    world.time.pass(10)
    await world.end(call, { confirmsBinding: true })
    t.same(
      (await world.live.bindings()).map(({ accountId, expiresAtMs }) => [accountId, expiresAtMs - world.time.nowMs]),
      [['A', 3_599_990]],
    )
  })

  t.test('bindings are taken back: of one session, of an account, or all', async (t) => {
    await using world = await openWorld(maker)
    for (const [name, account] of [
      ['a', 'A'],
      ['b', 'A'],
      ['c', 'B'],
      ['d', 'B'],
    ]) {
      await world.end(await world.run({ session: session(name as string), candidates: accounts(account as string) }))
    }
    const left = async () => (await world.live.bindings()).map(({ sessionKey }) => sessionKey).join('')
    t.equal(await world.live.unbind({ sessionKey: 'a' }), 1)
    t.equal(await left(), 'bcd')
    t.equal(await world.live.unbind({ sessionKey: 'a' }), 0)
    t.equal(await world.live.unbind({ accountId: 'B' }), 2)
    t.equal(await left(), 'b')
    t.equal(await world.live.unbind('all'), 1)
    t.equal(await left(), '')
    t.match(await world.run({ session: session('a'), candidates: accounts('B A') }), { accountId: 'B', bound: true })
    world.time.pass(3_600_000)
    t.equal(await world.live.unbind('all'), 0, 'what has expired does not count')
  })

  t.test('a session whose binding is taken back waits for its account no longer', async (t) => {
    await using world = await openWorld(maker)
    await bindToA(world)
    await world.run({ userId: 'v', candidates: accounts('A:1') })
    const waiting = await world.wait({ session: session('s'), candidates: accounts('A:1 B') })
    await world.live.unbind({ sessionKey: 'other' })
    t.same(await world.inLine(), [waiting.ticket.callId])
    await world.live.unbind({ accountId: 'A' })
    t.match(await waiting.outcome, { accountId: 'B', bound: true })
    t.same(await boundTo(world), ['B'])
  })

  t.test('a call that runs does not bind a session again whose binding was taken back', async (t) => {
    await using world = await openWorld(maker)
    const [cleared, kept] = [session('s'), session('t')]
    const first = await world.run({ session: cleared, candidates: accounts('A') })
    const second = await world.run({ session: kept, candidates: accounts('A') })
    await world.live.unbind({ sessionKey: 's' })
    await world.end(first, { confirmsBinding: true })
    await world.end(second, { confirmsBinding: true })
    t.same(
      (await world.live.bindings()).map(({ sessionKey }) => sessionKey),
      ['t'],
    )
  })
}

import type { Test } from 'tap'
import { accounts, type LiveStateMaker, openWorld, session, waitFor } from './live-state-support.ts'

/** One slot of each kind that limits, and who is said to be at fault. */
const ONE_SLOT = [
  ['user', 'u', { userConcurrency: 1 }],
  ['key', 'u-key', { keyConcurrency: 1 }],
  ['account', 'A', { candidates: accounts('A:1') }],
] as const

export async function slotsContract(t: Test, maker: LiveStateMaker): Promise<void> {
  for (const [subject, subjectId, oneSlot] of ONE_SLOT) {
    t.test(`the slot of a ${subject} is held until the call is settled`, async (t) => {
      await using world = await openWorld(maker)
      const first = await world.run(oneSlot)
      const second = await world.wait(oneSlot)
      await world.end(first)
      t.match(await second.outcome, { kind: 'admission', callId: second.ticket.callId, accountId: 'A' })
      t.same(await world.refuse({ ...oneSlot, lineExtra: -1 }), {
        subject,
        subjectId,
        metric: 'concurrent',
        reason: 'line_full',
        limit: 1,
        used: 1,
        retryAfterMs: 1000,
      })
    })
  }

  t.test('a limit of 0 forbids at once, whatever else is full; no limit is none', async (t) => {
    await using world = await openWorld(maker)
    for (let calls = 0; calls < 50; calls++) await world.run()
    const forbidden = { reason: 'line_full', limit: 0, retryAfterMs: null }
    t.match(await world.refuse({ userConcurrency: 0 }), { ...forbidden, subject: 'user' })
    t.match(await world.refuse({ keyConcurrency: 0 }), { ...forbidden, subject: 'key' })
    t.match(await world.refuse({ candidates: accounts('A:0 B:0') }), { ...forbidden, subject: 'account' })
    t.match(await world.refuse({ userConcurrency: 1, keyConcurrency: 0 }), { ...forbidden, subject: 'key' })
    t.match(await world.refuse({ userConcurrency: 0, keyConcurrency: 1 }), { ...forbidden, subject: 'user' })
    t.match(await world.refuse({ userConcurrency: 1, candidates: accounts('A:0') }), {
      ...forbidden,
      subject: 'account',
    })
  })

  t.test('an account that may run nothing is no candidate', async (t) => {
    await using world = await openWorld(maker)
    const first = await world.run({ candidates: accounts('Z:0 A:1') })
    t.equal(first.accountId, 'A')
    const second = await world.wait({ candidates: accounts('Z:0 A:1') })
    await world.live.rerank(second.ticket, accounts('Z:0'))
    t.match(await second.outcome, { kind: 'refused', refusal: { subject: 'account', subjectId: 'Z', limit: 0 } })
  })

  t.test('the first candidate with a free slot is taken', async (t) => {
    await using world = await openWorld(maker)
    const candidates = accounts('A:1 B:2 C')
    const taken = []
    for (let calls = 0; calls < 5; calls++) taken.push((await world.run({ candidates })).accountId)
    t.same(taken, ['A', 'B', 'B', 'C', 'C'])
  })

  t.test('admit is idempotent by call id, in line, running and moving', async (t) => {
    await using world = await openWorld(maker)
    const request = world.request({ userConcurrency: 2, candidates: accounts('A:1') })
    const first = await world.live.admit(request)
    t.same(await world.live.admit(request), first)
    t.same(await world.running(), { [request.callId]: 'A' })

    const waiting = world.request({ userConcurrency: 2, candidates: accounts('A:1') })
    const ticket = await world.live.admit(waiting)
    t.same(await world.live.admit(waiting), ticket)
    t.same(await world.inLine(), [waiting.callId])

    const other = await world.run({ userId: 'v', candidates: accounts('B:1') })
    const moving = await world.live.move(other, accounts('A:1'))
    t.equal(moving.kind, 'ticket')
    t.same(await world.live.admit(world.request({ callId: other.callId })), moving)
  })

  t.test('without a candidate a call is a bug, and nothing changes', async (t) => {
    await using world = await openWorld(maker)
    const running = await world.run({ candidates: accounts('A:1') })
    const waiting = await world.wait({ candidates: accounts('A:1') })
    const bug = { message: 'bug: a call without a candidate can neither be served nor wait' }
    await t.rejects(world.live.admit(world.request({ candidates: [] })), bug)
    await t.rejects(world.live.move(running, []), bug)
    await t.rejects(world.live.rerank(waiting.ticket, []), bug)
    t.same(await world.running(), { [running.callId]: 'A' })
    await world.end(running)
    t.match(await waiting.outcome, { accountId: 'A' })
  })

  t.test('settle frees once, however often it is called', async (t) => {
    await using world = await openWorld(maker)
    const limits = { userConcurrency: 2, keyConcurrency: 2, candidates: accounts('A:2') }
    const [first] = [await world.run(limits), await world.run(limits)]
    await world.end(first)
    await world.end(first)
    await world.run(limits)
    await world.wait(limits)
    t.equal(Object.keys(await world.running()).length, 2)
  })

  t.test('a move swaps the slot of the account and no other', async (t) => {
    await using world = await openWorld(maker)
    const limits = { userConcurrency: 1, keyConcurrency: 1 }
    const moving = await world.run({ ...limits, candidates: accounts('A:1') })
    const sameUser = await world.wait({ ...limits, candidates: accounts('A:1') })
    const otherUser = await world.wait({ userId: 'v', candidates: accounts('A:1') })

    t.match(await world.live.move(moving, accounts('B:1')), { kind: 'admission', accountId: 'B' })
    t.match(await otherUser.outcome, { accountId: 'A' }, 'the slot that it left is given on at once')
    t.same(await world.inLine(), [sameUser.ticket.callId], 'it still is the one call of its user')
    await world.wait({ userId: 'w', candidates: accounts('B:1') })
    await world.end(moving)
    t.equal((await world.running())[sameUser.ticket.callId], undefined, 'A is taken')
    t.same(await world.inLine(), [sameUser.ticket.callId])
  })

  t.test('a moving call waits with the number that it came with', async (t) => {
    await using world = await openWorld(maker)
    const moving = await world.run({ candidates: accounts('A') })
    const busy = await world.run({ userId: 'v', candidates: accounts('B:1') })
    const later = await world.wait({ candidates: accounts('B:1') })
    const answer = await world.live.move(moving, accounts('B:1'))
    if (answer.kind !== 'ticket') throw new Error('it does not wait')
    t.same(await world.inLine(), [moving.callId, later.ticket.callId])
    t.same((await world.running())[moving.callId], '', 'it has no account meanwhile')
    const { outcome } = waitFor(world.live, answer)
    await world.end(busy)
    t.same(await outcome, { kind: 'admission', callId: moving.callId, accountId: 'B', bound: false, boundBefore: null })
    t.same(await world.inLine(), [later.ticket.callId])
  })

  t.test('a call that cannot move keeps its other slots until it is settled', async (t) => {
    await using world = await openWorld(maker)
    const moving = await world.run({ userConcurrency: 1, lineExtra: 0, candidates: accounts('A:1') })
    await world.run({ userId: 'v', candidates: accounts('B:1') })
    const inLine = await world.wait({ userId: 'w', candidates: accounts('B:1') })
    t.match(await world.live.move(moving, accounts('B:1')), { kind: 'refused', refusal: { reason: 'line_full' } })
    t.equal((await world.run({ userId: 'v', candidates: accounts('A:1') })).accountId, 'A', 'A is free')
    const sameUser = await world.wait({ userConcurrency: 1, candidates: accounts('C') })
    t.match(await world.live.move(moving, accounts('D')), { kind: 'admission', accountId: 'D' }, 'it may try again')
    await world.end(moving)
    t.match(await sameUser.outcome, { accountId: 'C' })
    t.same(await world.inLine(), [inLine.ticket.callId])
  })

  t.test('a call that ends while it waits for another account leaves nothing behind', async (t) => {
    await using world = await openWorld(maker)
    const moving = await world.run({ userConcurrency: 1, candidates: accounts('A:1') })
    await world.run({ userId: 'v', candidates: accounts('B:1') })
    const answer = await world.live.move(moving, accounts('B:1'))
    if (answer.kind !== 'ticket') throw new Error('it does not wait')
    const { outcome } = waitFor(world.live, answer)
    await t.rejects(world.live.move(moving, accounts('C')), { message: `bug: ${moving.callId} cannot be moved now` })
    await world.end(moving)
    await t.rejects(outcome, { message: `${moving.callId} ended while it waited for another account` })
    t.same(await world.inLine(), [])
    t.equal((await world.run({ userConcurrency: 1, candidates: accounts('A:1') })).accountId, 'A')
    await t.rejects(world.live.move(moving, accounts('A')), { message: `bug: ${moving.callId} cannot be moved now` })
  })

  t.test('views show who runs, who waits and what is bound', async (t) => {
    await using world = await openWorld(maker)
    const startMs = world.time.nowMs
    const running = await world.run({ session: session('s'), candidates: accounts('A:1 B:1') })
    world.time.pass(5)
    await world.run({ userId: 'v', candidates: accounts('B:1') })
    const { ticket } = await world.wait({ userId: 'w', candidates: accounts('B:1 A:1') })
    t.same((await world.live.admissions())[0], {
      callId: running.callId,
      processId: 'process',
      userId: 'u',
      keyId: 'u-key',
      accountId: 'A',
      sinceMs: startMs,
    })
    t.same(await world.live.tickets(), [
      {
        callId: ticket.callId,
        processId: 'process',
        number: ticket.number,
        userId: 'w',
        keyId: 'w-key',
        accountIds: ['B', 'A'],
        sinceMs: startMs + 5,
        passes: 0,
      },
    ])
    t.same(await world.live.bindings(), [{ sessionKey: 's', accountId: 'A', expiresAtMs: startMs + 3_600_000 }])
    world.time.pass(3_600_000)
    t.same(await world.live.bindings(), [])
  })

  t.test('a subject is counted up to its limit in any minute', async (t) => {
    await using world = await openWorld(maker)
    const { live, time } = world
    const counted = []
    for (let calls = 0; calls < 4; calls++) counted.push(await live.countPerMinute('k', 3))
    t.same(counted, [true, true, true, false])
    t.equal(await live.countPerMinute('other', 3), true)
    time.pass(59_000)
    t.equal(await live.countPerMinute('k', 3), false)
    time.pass(2_000)
    t.equal(await live.countPerMinute('k', 3), true)
    t.equal(await live.countPerMinute('k', 0), false)
  })

  t.test('a lock is held by one at a time and given back, also by work that fails', async (t) => {
    await using world = await openWorld(maker)
    const { live } = world
    const { promise, resolve } = Promise.withResolvers<string>()
    const first = live.withLock('job', 1000, () => promise)
    t.equal(await live.withLock('job', 1000, async () => 'second'), null)
    t.equal(await live.withLock('other job', 1000, async () => 'other'), 'other')
    resolve('first')
    t.equal(await first, 'first')
    await t.rejects(
      live.withLock('job', 1000, async () => {
        throw new Error('work failed')
      }),
      { message: 'work failed' },
    )
    t.equal(await live.withLock('job', 1000, async () => 'third'), 'third')
  })

  t.test('a lock falls after its time, and its late holder does not take it from the next', async (t) => {
    await using world = await openWorld(maker)
    const { live, time } = world
    const late = Promise.withResolvers<string>()
    const next = Promise.withResolvers<string>()
    const hanging = live.withLock('job', 1000, () => late.promise)
    time.pass(999)
    t.equal(await live.withLock('job', 1000, async () => 'too early'), null)
    time.pass(1)
    const second = live.withLock('job', 1000, () => next.promise)
    late.resolve('late')
    t.equal(await hanging, 'late')
    t.equal(await live.withLock('job', 1000, async () => 'too early'), null)
    next.resolve('next')
    t.equal(await second, 'next')
  })
}

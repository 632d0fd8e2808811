import type { Test } from 'tap'
import type { Admission } from '../../src/live/live-state.ts'
import {
  accounts,
  type LiveStateMaker,
  openWorld,
  session,
  type Waiting,
  type World,
  waitFor,
} from './live-state-support.ts'

/** Ends the call at A and returns the one that got its slot, again and again until nobody waits. */
async function serveAll(world: World, first: Admission): Promise<string[]> {
  const served: string[] = []
  let running = first
  while ((await world.inLine()).length > 0) {
    running = await endAndFindNext(world, running)
    served.push(running.callId)
  }
  return served
}

async function endAndFindNext(world: World, running: Admission): Promise<Admission> {
  const before = await world.running()
  await world.end(running)
  const started = Object.keys(await world.running()).filter((callId) => !(callId in before))
  if (started.length !== 1) throw new Error(`${started.length} calls were served by one slot`)
  return { ...running, callId: started[0] as string }
}

const callIds = (waiting: Waiting[]) => waiting.map(({ ticket }) => ticket.callId)

export async function lineContract(t: Test, maker: LiveStateMaker): Promise<void> {
  t.test('a user’s calls are served in order of arrival', async (t) => {
    for (const limits of [{ userConcurrency: 1 }, { keyConcurrency: 1 }, { candidates: accounts('A:1') }]) {
      await using world = await openWorld(maker)
      const running = await world.run(limits)
      const waiting = []
      for (let calls = 0; calls < 6; calls++) waiting.push(await world.wait(limits))
      t.same(await serveAll(world, running), callIds(waiting))
    }
  })

  t.test('users take turns at an account that they wait for', async (t) => {
    await using world = await openWorld(maker)
    const candidates = accounts('A:1')
    const running = await world.run({ userId: 'x', candidates })
    const many = []
    for (let calls = 0; calls < 5; calls++) many.push(await world.wait({ userId: 'many', candidates }))
    const few = []
    for (let calls = 0; calls < 2; calls++) few.push(await world.wait({ userId: 'few', candidates }))
    const [m1, m2, m3, m4, m5] = callIds(many)
    const [f1, f2] = callIds(few)
    t.same(await serveAll(world, running), [m1, f1, m2, f2, m3, m4, m5])
  })

  t.test('turns hold for long lines too: being behind a user who has many calls makes nobody due', async (t) => {
    await using world = await openWorld(maker)
    const call = { lineExtra: 100, candidates: accounts('A:1') }
    const running = await world.run({ userId: 'x', ...call })
    const first = []
    for (let calls = 0; calls < 20; calls++) first.push(await world.wait({ userId: 'first', ...call }))
    const second: Waiting[] = []
    for (let calls = 0; calls < 20; calls++) second.push(await world.wait({ userId: 'second', ...call }))
    const turns = callIds(first).flatMap((callId, index) => [callId, callIds(second)[index]])
    t.same(await serveAll(world, running), turns)
  })

  t.test('users who come for the first time do not go before one who was served and waits again', async (t) => {
    await using world = await openWorld(maker)
    const candidates = accounts('A:1')
    let running = await world.run({ userId: 'x', candidates })
    await world.wait({ userId: 'u', candidates })
    const second = await world.wait({ userId: 'u', candidates })
    running = await endAndFindNext(world, running) // the first of u
    const newcomers = []
    for (let calls = 0; calls < 3; calls++) newcomers.push(await world.wait({ userId: `new-${calls}`, candidates }))
    t.same(await serveAll(world, running), callIds([second, ...newcomers]))
  })

  t.test('a ticket holds no slot while it waits for another', async (t) => {
    await using world = await openWorld(maker)
    await world.run({ userId: 'v', candidates: accounts('A:1') })
    const limits = { userConcurrency: 1, keyConcurrency: 1 }
    const waiting = await world.wait({ ...limits, candidates: accounts('A:1') })
    const newcomer = await world.run({ ...limits, candidates: accounts('B:1') })
    t.same(await world.inLine(), callIds([waiting]))
    await world.end(newcomer)
    t.same(await world.inLine(), callIds([waiting]))
    t.equal((await world.run({ userId: 'v', candidates: accounts('B:1') })).accountId, 'B')
  })

  t.test('a newcomer is held up by older tickets only on what holds them up', async (t) => {
    await using world = await openWorld(maker)
    const busy = { userId: 'busy', userConcurrency: 1 }
    await world.run({ ...busy, candidates: accounts('C') })
    for (let calls = 0; calls < 15; calls++) await world.wait({ ...busy, candidates: accounts('A:1 B:1') })
    for (const userId of ['u', 'v']) {
      // 10 times each, so that whoever is passed would be due
      for (let calls = 0; calls < 10; calls++) {
        const idle = await world.run({ userId, candidates: accounts('A:1 B:1') })
        await world.end(idle)
      }
    }
    const other = await world.run({ userId: 'u', keyConcurrency: 1, candidates: accounts('A:1') })
    await world.wait({ userId: 'u', keyConcurrency: 1, candidates: accounts('B:1') })
    const otherKey = await world.run({
      userId: 'u',
      keyId: 'second-key',
      keyConcurrency: 1,
      candidates: accounts('B:1'),
    })
    t.same([other.accountId, otherKey.accountId], ['A', 'B'])
  })

  t.test('a ticket that was passed 8 times gets its user’s slot kept, and starves no longer', async (t) => {
    await using world = await openWorld(maker)
    const bound = session('s', { waitMs: 30_000 })
    await world.end(await world.run({ session: bound, candidates: accounts('A') }))
    // Others use up A, and the user's one slot is busy whenever A comes free.
    let atA = await world.run({ userId: 'v', candidates: accounts('A:1') })
    const limits = { userConcurrency: 1 }
    const unlucky = await world.wait({ ...limits, session: bound, candidates: accounts('A:1 B') })
    for (let passes = 1; passes <= 8; passes++) {
      const luckier = await world.run({ ...limits, candidates: accounts('B') })
      const next = await world.wait({ userId: 'v', candidates: accounts('A:1') })
      atA = await endAndFindNext(world, atA)
      t.equal(atA.callId, next.ticket.callId)
      t.equal((await world.live.tickets())[0]?.passes, passes)
      await world.end(luckier)
    }
    const ninth = await world.wait({ ...limits, candidates: accounts('B') })
    t.equal((await world.run({ userId: 'w', candidates: accounts('B') })).accountId, 'B', 'others may use B')
    await world.end(atA)
    const served = await unlucky.outcome
    t.match(served, { kind: 'admission', accountId: 'A' })
    t.same(await world.inLine(), callIds([ninth]))
    if (served.kind === 'admission') await world.end(served)
    t.match(await ninth.outcome, { accountId: 'B' })
  })

  t.test('a due ticket that waits for its key’s slot keeps no other key of its user waiting', async (t) => {
    await using world = await openWorld(maker)
    const limits = { userConcurrency: 2, keyConcurrency: 1 }
    await world.run({ ...limits, keyId: 'slow' })
    const due = await world.wait({ ...limits, keyId: 'slow' })
    for (let passes = 0; passes < 12; passes++) await world.end(await world.run({ ...limits, keyId: 'fast' }))
    t.same(await world.inLine(), callIds([due]))
  })

  t.test('what is kept for a due ticket comes free when that gives up, or its time is over', async (t) => {
    for (const end of ['abort', 'deadline'] as const) {
      await using world = await openWorld(maker)
      await world.run({ userId: 'v', candidates: accounts('A:1') })
      const limits = { userConcurrency: 1 }
      const due = await world.wait({ ...limits, candidates: accounts('A:1') })
      for (let passes = 0; passes < 8; passes++) {
        await world.end(await world.run({ ...limits, candidates: accounts('B') }))
      }
      world.time.pass(10)
      const heldUp = await world.wait({ ...limits, candidates: accounts('B') })
      if (end === 'abort') due.abort(new Error('gone'))
      else world.time.pass(29_990)
      t.match(await heldUp.outcome, { kind: 'admission', accountId: 'B' }, end)
      t.same(await world.inLine(), [], end)
    }
  })

  t.test('what is kept for a due ticket serves it, also when other accounts would do', async (t) => {
    await using world = await openWorld(maker)
    await world.run({ userId: 'v', candidates: accounts('A:1') })
    const limits = { userConcurrency: 1, keyConcurrency: 1 }
    const due = await world.wait({ ...limits, candidates: accounts('A:1') })
    for (let passes = 0; passes < 8; passes++) {
      await world.end(await world.run({ ...limits, candidates: accounts('B') }))
    }
    await world.wait({ ...limits, candidates: accounts('B') })
    await world.live.rerank(due.ticket, accounts('C'))
    t.match(await due.outcome, { kind: 'admission', accountId: 'C' })
  })

  t.test('at most limit + line_extra wait for a slot; the next is refused at once', async (t) => {
    await using world = await openWorld(maker)
    const kinds = [
      ['user', { userId: 'a', userConcurrency: 2 }],
      ['key', { userId: 'b', keyConcurrency: 2 }],
      ['account', { userId: 'c', candidates: accounts('X:2') }],
    ] as const
    for (const [subject, limits] of kinds) {
      const call = { ...limits, lineExtra: 3 }
      const running = [await world.run(call), await world.run(call)]
      const waiting = []
      for (let calls = 0; calls < 5; calls++) waiting.push(await world.wait(call))
      const full = { subject, metric: 'concurrent', reason: 'line_full', limit: 2, used: 2, retryAfterMs: 1000 }
      t.match(await world.refuse(call), full)
      for (const admission of running) await world.end(admission)
      await world.wait(call)
      await world.wait(call)
      t.match(await world.refuse(call), full)
      waiting[4]?.abort(new Error('gone'))
      await world.wait(call)
    }
    await world.run({ userId: 'd', userConcurrency: 2 })
  })

  t.test('a call waits for whichever of its accounts has room in line', async (t) => {
    await using world = await openWorld(maker)
    const lineExtra = 0
    await world.run({ candidates: accounts('A:1') })
    await world.run({ candidates: accounts('B:1') })
    const candidates = accounts('A:1 B:1')
    await world.wait({ lineExtra, candidates })
    await world.wait({ lineExtra, candidates })
    t.match(await world.refuse({ lineExtra, candidates }), { subjectId: 'A', reason: 'line_full' })
  })

  t.test('at its deadline a ticket is refused by what holds it up then', async (t) => {
    await using world = await openWorld(maker)
    const other = await world.run({ userConcurrency: 1, candidates: accounts('B:1') })
    await world.run({ userId: 'v', candidates: accounts('A:1') })
    const waiting = await world.wait({ userConcurrency: 1, candidates: accounts('A:1 B:1') })
    await world.wait({ userId: 'v', deadlineMs: world.time.nowMs + 60_000, candidates: accounts('A:1') })
    world.time.pass(29_999)
    t.equal((await world.inLine())[0], waiting.ticket.callId)
    world.time.pass(1)
    t.same(await waiting.outcome, {
      kind: 'refused',
      refusal: {
        subject: 'user',
        subjectId: 'u',
        metric: 'concurrent',
        reason: 'waited',
        limit: 1,
        used: 1,
        retryAfterMs: 1000,
      },
    })
    await world.end(other)
    const atAccount = await world.wait({ candidates: accounts('A:1') })
    world.time.pass(30_000)
    t.match(await atAccount.outcome, { refusal: { subject: 'account', subjectId: 'A', reason: 'waited' } })
    t.equal(world.time.timers, 0)
  })

  t.test('a call that comes after its deadline is served if it need not wait', async (t) => {
    await using world = await openWorld(maker)
    const late = { deadlineMs: world.time.nowMs - 1, candidates: accounts('A:1') }
    await world.run(late)
    const { outcome } = await world.wait(late)
    world.time.pass(0)
    t.match(await outcome, { refusal: { reason: 'waited' } })
  })

  t.test('a wait of months does not end at once', async (t) => {
    await using world = await openWorld(maker)
    const months = 90 * 86_400_000
    await world.run({ userConcurrency: 1 })
    const { outcome } = await world.wait({ userConcurrency: 1, deadlineMs: world.time.nowMs + months })
    world.time.pass(months - 1)
    t.equal((await world.inLine()).length, 1)
    world.time.pass(1)
    t.match(await outcome, { refusal: { reason: 'waited' } })
  })

  t.test('an abort gives the ticket back and rejects with its reason', async (t) => {
    await using world = await openWorld(maker)
    const running = await world.run({ userConcurrency: 1 })
    const gone = await world.wait({ userConcurrency: 1 })
    const next = await world.wait({ userConcurrency: 1 })
    gone.abort(new Error('the client left'))
    await t.rejects(gone.outcome, { message: 'the client left' })
    t.same(await world.inLine(), callIds([next]))
    await world.end(running)
    t.match(await next.outcome, { kind: 'admission' })
    t.equal(world.time.timers, 0)

    const late = await world.wait({ userConcurrency: 1 })
    const aborted = world.live.await(late.ticket, AbortSignal.abort(new Error('left before')))
    await t.rejects(aborted, { message: 'left before' })
    t.same(await world.inLine(), [])
  })

  t.test('an abort that comes after the slot leaves the admission', async (t) => {
    await using world = await openWorld(maker)
    const running = await world.run({ userConcurrency: 1 })
    const waiting = await world.wait({ userConcurrency: 1 })
    const ended = world.end(running)
    waiting.abort(new Error('too late'))
    await ended
    t.match(await waiting.outcome, { kind: 'admission', callId: waiting.ticket.callId })
    t.same(Object.keys(await world.running()), [waiting.ticket.callId])
  })

  t.test('a ticket may end before anybody waits for it, and tells whoever comes then', async (t) => {
    await using world = await openWorld(maker)
    const unseen = async () => {
      const answer = await world.live.admit(world.request({ userConcurrency: 1 }))
      if (answer.kind !== 'ticket') throw new Error('it does not wait')
      return answer
    }
    const running = await world.run({ userConcurrency: 1 })
    const [served, late, forbidden] = [await unseen(), await unseen(), await unseen()]
    await world.end(running)
    await world.live.rerank(forbidden, accounts('A:0'))
    world.time.pass(30_000)
    t.match(await waitFor(world.live, served).outcome, { kind: 'admission', callId: served.callId })
    t.match(await waitFor(world.live, late).outcome, { kind: 'refused', refusal: { reason: 'waited' } })
    t.match(await waitFor(world.live, forbidden).outcome, { kind: 'refused', refusal: { limit: 0 } })
  })

  t.test('a ticket that was never given out is an error', async (t) => {
    await using world = await openWorld(maker)
    const made = world.live.await({ kind: 'ticket', callId: 'made up', number: 1 }, new AbortController().signal)
    await t.rejects(made, { message: 'no ticket for made up' })
  })

  t.test('other candidates may serve a ticket at once, or be waited for', async (t) => {
    await using world = await openWorld(maker)
    const a = await world.run({ userId: 'v', candidates: accounts('A:1') })
    const first = await world.wait({ candidates: accounts('A:1') })
    const second = await world.wait({ candidates: accounts('A:1') })
    await world.live.rerank(second.ticket, accounts('A:1 B:1'))
    t.match(await second.outcome, { kind: 'admission', accountId: 'B' })
    await world.live.rerank(first.ticket, accounts('B:1'))
    t.same(
      (await world.live.tickets()).map(({ accountIds }) => accountIds),
      [['B']],
    )
    await world.end(a)
    t.same(await world.inLine(), callIds([first]), 'A does not do any more')
    await world.live.rerank(second.ticket, accounts('C'))
    t.equal((await world.running())[second.ticket.callId], 'B', 'who runs already stays')
  })

  t.test('a ticket stands in the line of an account that it waits for', async (t) => {
    await using world = await openWorld(maker)
    const lineExtra = 0
    await world.run({ candidates: accounts('A:1') })
    await world.run({ candidates: accounts('B:1') })
    const { ticket } = await world.wait({ lineExtra, candidates: accounts('A:1') })
    t.match(await world.refuse({ lineExtra, candidates: accounts('A:1') }), { reason: 'line_full' })
    await world.live.rerank(ticket, accounts('B:1'))
    await world.wait({ lineExtra, candidates: accounts('A:1') })
    t.match(await world.refuse({ lineExtra, candidates: accounts('B:1') }), { reason: 'line_full' })
  })

  t.test('tickets end when live state is closed', async (t) => {
    const world = await openWorld(maker)
    await world.run({ userConcurrency: 1 })
    const { outcome } = await world.wait({ userConcurrency: 1 })
    await world.live[Symbol.asyncDispose]()
    await t.rejects(outcome, { message: 'live state is closed' })
    t.equal(world.time.timers, 0)
  })
}

import type { Test } from 'tap'
import { type Limit, NO_CONSUMPTION } from '../../src/domain/limit.ts'
import type { Settlement, StoredStanding } from '../../src/live/live-state.ts'
import { accounts, type LiveStateMaker, openWorld, session, type World, waitFor } from './live-state-support.ts'

const CALLER = { userId: 'u', keyId: 'u-key' }
const MINUTES: Limit = { metric: 'tokens', max: 100, window: { kind: 'sliding', ms: 600_000 } }
const HOURS: Limit = { metric: 'tokens', max: 100, window: { kind: 'sliding', ms: 5 * 3_600_000 } }
const tokens = (inputTokens: number) => ({ ...NO_CONSUMPTION, requests: 1, inputTokens })
const ended = (changes: Partial<Settlement> = {}): Settlement => ({
  debitNanoUsd: 0,
  spentNanoUsd: 0,
  confirmsBinding: false,
  used: null,
  ...changes,
})

async function learn({ live }: World, stored: Partial<StoredStanding>): Promise<string[]> {
  let asked: string[] = []
  await live.learn(CALLER, async (callIds) => {
    asked = callIds
    return { balanceNanoUsd: 0, keySpentNanoUsd: 0, recordedCallIds: [], ...stored }
  })
  return asked
}

/** What the user has left, by its refusal of a call that would have to wait for all of it. */
async function balanceOf(world: World): Promise<number> {
  const probe = await world.run({ keyId: 'probe', candidates: accounts('probe') })
  world.raise(probe, { reservedNanoUsd: Number.MAX_SAFE_INTEGER })
  const { limit } = await world.refuse({ keyId: 'probe', needsBalance: true, candidates: accounts('probe') })
  await world.end(probe)
  return limit
}

/** What becomes of admissions and tickets when the process that they belong to dies, or seems to. */
export async function processesContract(t: Test, maker: LiveStateMaker): Promise<void> {
  const busy = { userConcurrency: 1, keyConcurrency: 1, candidates: accounts('A:1') }

  t.test('views say which process a call belongs to', async (t) => {
    await using world = await openWorld(maker)
    const next = await world.join('next')
    t.same([world.live.processId, next.live.processId], ['process', 'next'])
    const mine = await world.run(busy)
    const theirs = await next.live.admit(world.request(busy))
    t.match(theirs, { kind: 'ticket' })
    t.match(await next.live.admissions(), [{ callId: mine.callId, processId: 'process' }])
    t.match(await world.live.tickets(), [{ processId: 'next' }])
    await world.end(mine)
    t.match(await world.live.admissions(), [{ processId: 'next' }])
  })

  t.test(
    'a process that dies gives all that it holds back, within 35 s and not before its heart has been silent',
    async (t) => {
      await using world = await openWorld(maker)
      const next = await world.join('next')
      await learn(world, { balanceNanoUsd: 1000 })
      const dies = { ...busy, reservedNanoUsd: 1000 }
      t.match(await next.live.admit(world.request(dies)), { kind: 'admission' })
      t.match(await next.live.admit(world.request(busy)), { kind: 'ticket' })
      t.match(await next.live.admit(world.request({ userId: 'v', candidates: accounts('A:1') })), { kind: 'ticket' })
      const waits = await world.wait({ ...busy, lineExtra: 20, deadlineMs: world.time.nowMs + 60_000 })
      world.time.pass(100_000)
      t.equal((await world.live.admissions())[0]?.processId, 'next', 'as long as it beats')
      next.stop()
      const patient = { ...busy, deadlineMs: world.time.nowMs + 60_000 }
      t.match(await waits.outcome, { kind: 'refused' }, 'it waited too long')
      const waiting = await world.wait(patient)
      world.time.pass(24_000)
      t.equal((await world.live.admissions())[0]?.processId, 'next')
      world.time.pass(11_000)
      t.match(await waiting.outcome, { kind: 'admission', accountId: 'A' })
      t.match(await world.live.admissions(), [{ callId: waiting.ticket.callId, processId: 'process' }])
      t.same(await world.inLine(), [])
      const paying = { candidates: accounts('B') }
      const unknown = { kind: 'unknown' }
      t.same(await world.live.admit(world.request({ ...paying, needsBalance: true })), unknown, 'it may have paid')
      t.same(await world.live.admit(world.request({ ...paying, quotaNanoUsd: 9 })), unknown)
      await learn(world, { balanceNanoUsd: 1000 })
      t.equal(await balanceOf(world), 1000)
    },
  )

  t.test('tickets of a dead process go to nobody, and its place in line to the next', async (t) => {
    await using world = await openWorld(maker)
    const next = await world.join('next')
    const running = await world.run(busy)
    const theirs = await next.live.admit(world.request({ ...busy, deadlineMs: Number.MAX_SAFE_INTEGER }))
    if (theirs.kind !== 'ticket') throw new Error('it does not wait')
    const { outcome } = waitFor(next.live, theirs)
    next.stop()
    world.time.pass(35_000)
    t.same(await world.inLine(), [])
    await t.rejects(outcome, { code: 'unavailable' })
    await world.end(running)
    t.same(await world.running(), {})
  })

  t.test('a process that comes back late frees nothing twice, and what its call used still counts', async (t) => {
    for (const isRecorded of [false, true]) {
      await using world = await openWorld(maker)
      const next = await world.join('next')
      const limits = [{ subject: 'key' as const, id: 'u-key', limits: [MINUTES, HOURS] }]
      const [limited] = limits
      if (!limited) throw new Error('no limits')
      const learnUsage = (used: number, recordedCallIds: string[] = []) =>
        world.live.learnUsage(limited, async ({ fromMs }) => ({
          spans: [{ fromMs, toMs: world.time.nowMs, used: tokens(used) }],
          recordedCallIds,
        }))
      const usedOf = async () => {
        const standings = await world.live.standings(limited)
        return Array.isArray(standings) ? standings.map(({ used }) => used) : standings.kind
      }
      await learn(world, { balanceNanoUsd: 1000 })
      await learnUsage(0)
      const late = await next.live.admit(world.request({ ...busy, limits, estimate: tokens(50), reservedNanoUsd: 300 }))
      if (late.kind !== 'admission') throw new Error('not admitted')
      t.same(await usedOf(), [50, 50])
      next.stop()
      world.time.pass(35_000)
      t.equal(await usedOf(), 'unknown_usage', 'it may have been recorded')
      const mine = await world.run({ userId: 'v', candidates: accounts('A:1') })
      const recorded = isRecorded ? [late.callId] : []
      const asked = await learn(world, { balanceNanoUsd: isRecorded ? 930 : 1000, recordedCallIds: recorded })
      t.same(asked, [late.callId])
      await learnUsage(isRecorded ? 7 : 0, recorded)
      t.same(await usedOf(), [0, isRecorded ? 7 : 0], 'nothing is reserved for it')
      next.goOn()
      next.live.raise(late, { reservedNanoUsd: 500, estimate: tokens(90) })
      t.same(await usedOf(), [0, isRecorded ? 7 : 0], 'nor raised')
      await next.live.settle(late, ended({ debitNanoUsd: 70, spentNanoUsd: 70, used: tokens(7) }))
      await next.live.settle(late, ended({ debitNanoUsd: 70, spentNanoUsd: 70, used: tokens(7) }))
      t.same(await usedOf(), [7, 7])
      t.equal(await balanceOf(world), 930)
      t.same(await world.running(), { [mine.callId]: 'A' })
      t.match(await world.live.admit(world.request(busy)), { kind: 'ticket' }, 'my slots are mine')
    }
  })

  t.test('a call that was given up asks for everything anew when it moves', async (t) => {
    await using world = await openWorld(maker)
    const next = await world.join('next')
    const bound = { ...busy, session: session('s') }
    const late = await next.live.admit(world.request(bound))
    if (late.kind !== 'admission') throw new Error('not admitted')
    next.stop()
    world.time.pass(35_000)
    const mine = await world.run(busy)
    next.goOn()
    const moved = await next.live.move(late, accounts('B:1'))
    if (moved.kind !== 'ticket') throw new Error(`it takes what others hold: ${JSON.stringify(moved)}`)
    const { outcome } = waitFor(next.live, moved)
    await world.end(mine)
    t.match(await outcome, { kind: 'admission', accountId: 'B' })
    await next.live.settle(late, ended())
    t.same(await world.running(), {})
    t.same([...(await learn(world, {}))], [])
    await t.rejects(next.live.move(late, accounts('B:1')), /bug: /)
  })

  t.test('a late process can be given up again', async (t) => {
    await using world = await openWorld(maker)
    const next = await world.join('next')
    for (const when of ['before it beats', 'when it beats']) {
      next.stop()
      world.time.pass(40_000)
      if (when === 'when it beats') next.goOn()
      t.match(await next.live.admit(world.request(busy)), { kind: 'admission' }, when)
      next.stop()
      world.time.pass(36_000)
      t.same(await world.running(), {}, when)
    }
  })

  t.test('a process that ends leaves nothing behind, at once', async (t) => {
    await using world = await openWorld(maker)
    const next = await world.join('next')
    t.match(await next.live.admit(world.request(busy)), { kind: 'admission' })
    const ticket = await next.live.admit(world.request(busy))
    if (ticket.kind !== 'ticket') throw new Error('it does not wait')
    const { outcome } = waitFor(next.live, ticket)
    const waiting = await world.wait(busy)
    await next.live[Symbol.asyncDispose]()
    await t.rejects(outcome, { message: 'live state is closed' })
    t.match(await waiting.outcome, { kind: 'admission' })
    t.match(await world.live.admissions(), [{ processId: 'process' }])
  })

  t.test('what was given up is remembered for as long as calls run, and then forgotten', async (t) => {
    await using world = await openWorld(maker)
    const next = await world.join('next')
    const late = await next.live.admit(world.request(busy))
    if (late.kind !== 'admission') throw new Error('not admitted')
    next.stop()
    world.time.pass(3_600_000)
    t.same(await learn(world, {}), [late.callId])
    world.time.pass(3_700_000)
    await world.live.forget(null)
    await world.live.learn({ ...CALLER, keyId: 'another' }, async (callIds) => {
      t.same(callIds, [])
      return { balanceNanoUsd: 5, keySpentNanoUsd: 0, recordedCallIds: [] }
    })
    await next.live.settle(late, ended({ debitNanoUsd: 1 }))
    t.equal(await balanceOf(world), 5)
  })

  t.test('nobody gives up the only process, however long it slept', async (t) => {
    await using world = await openWorld(maker)
    const call = await world.run(busy)
    world.time.pass(8 * 3_600_000)
    t.same(await world.running(), { [call.callId]: 'A' })
    await world.end(call)
    t.equal(world.time.timers, 0)
  })
}

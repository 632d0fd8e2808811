import type { Test } from 'tap'
import {
  type Consumption,
  type Limit,
  type Limited,
  type LimitRefusal,
  type LimitStanding,
  type LimitWindow,
  NO_CONSUMPTION,
} from '../../src/domain/limit.ts'
import type { AdmitRequest, RankedCandidate, StoredUsage } from '../../src/live/live-state.ts'
import { accounts, type LiveStateMaker, openWorld, session, type World } from './live-state-support.ts'

const MINUTE: LimitWindow = { kind: 'sliding', ms: 60_000 }
const HOUR: LimitWindow = { kind: 'sliding', ms: 3_600_000 }
const DAY: LimitWindow = { kind: 'calendar', unit: 'day', timeZone: 'UTC' }
const NOTHING: StoredUsage = { spans: [], recordedCallIds: [] }

const limit = (metric: Limit['metric'], max: number, window: LimitWindow = MINUTE): Limit => ({ metric, max, window })
const ofKey = (...limits: Limit[]): Limited => ({ subject: 'key', id: 'u-key', limits })
const ofUser = (...limits: Limit[]): Limited => ({ subject: 'user', id: 'u', limits })
const ofGroup = (...limits: Limit[]): Limited => ({ subject: 'group', id: 'g', limits })
const used = (changes: Partial<Consumption>): Consumption => ({ ...NO_CONSUMPTION, requests: 1, ...changes })
const account = (text: string, ...limits: Limit[]): RankedCandidate =>
  ({ ...accounts(text)[0], limits }) as RankedCandidate

async function refusedBy(world: World, changes: Partial<AdmitRequest>): Promise<LimitRefusal> {
  const refusal = await world.refuse(changes)
  if (refusal.reason !== 'limit') throw new Error(`refused otherwise: ${JSON.stringify(refusal)}`)
  return refusal
}

/** The window limits of callers and accounts, one by one. live-state-limit-histories.ts has all of it together. */
export async function limitsContract(t: Test, maker: LiveStateMaker): Promise<void> {
  t.test('a limit is refused with whose it is, what is used and when it opens again', async (t) => {
    for (const [subject, limited] of [
      ['key', ofKey(limit('requests', 2))],
      ['user', ofUser(limit('requests', 2))],
      ['group', ofGroup(limit('requests', 2))],
    ] as const) {
      await using world = await openWorld(maker)
      await world.run({ limits: [limited] })
      world.time.pass(10_000)
      await world.run({ limits: [limited] })
      const refusal = await refusedBy(world, { limits: [limited] })
      t.match(refusal, { subject, subjectId: limited.id, metric: 'requests', window: MINUTE, limit: 2, used: 2 })
      const { retryAfterMs } = refusal
      t.ok(retryAfterMs !== null && retryAfterMs > 49_000 && retryAfterMs <= 51_000, `${retryAfterMs}`)
      world.time.pass((retryAfterMs ?? 0) - 1)
      await refusedBy(world, { limits: [limited] })
      world.time.pass(1)
      await world.run({ limits: [limited] })
    }
  })

  t.test('each metric counts what it says', async (t) => {
    const consumed = used({
      inputTokens: 1,
      cacheReadTokens: 20,
      outputTokens: 300,
      costNanoUsd: 4000,
      spentNanoUsd: 50_000,
    })
    const amounts = { requests: 1, input_tokens: 1, output_tokens: 300, tokens: 301, all_tokens: 321, usd: 50_000 }
    for (const [metric, amount] of Object.entries(amounts) as [Limit['metric'], number][]) {
      await using world = await openWorld(maker)
      const limits = [ofKey(limit(metric, amount + 1))]
      await world.end(await world.run({ limits, estimate: NO_CONSUMPTION }), { used: consumed })
      await world.run({ limits, estimate: NO_CONSUMPTION })
      const full = [ofKey(limit(metric, amount))]
      t.equal((await refusedBy(world, { limits: full })).used, amount, metric)
    }
    await using world = await openWorld(maker)
    const limited = [account('A', limit('usd', 4000))]
    await world.end(await world.run({ candidates: limited }), { used: consumed })
    t.match(
      await refusedBy(world, { candidates: limited }),
      { subject: 'account', used: 4000 },
      'an account’s usd is cost',
    )
  })

  t.test(
    'what a running call may use counts until the truth is known; what was never made counts for nothing',
    async (t) => {
      await using world = await openWorld(maker)
      const call = { limits: [ofKey(limit('tokens', 100))], estimate: used({ inputTokens: 30, outputTokens: 40 }) }
      const first = await world.run(call)
      const second = await world.run(call)
      t.equal((await refusedBy(world, call)).used, 140)
      await world.end(first, { used: used({ inputTokens: 5, outputTokens: 1, cacheReadTokens: 1000 }) })
      const third = await world.run(call)
      t.equal((await refusedBy(world, call)).used, 146)
      await world.end(second, { used: null })
      await world.end(second, { used: used({ inputTokens: 1000 }) })
      await world.end(third, { used: used({ outputTokens: 94 }) })
      t.equal((await refusedBy(world, call)).used, 100)
    },
  )

  t.test('the truth takes the place of the estimate at the moment of the admission', async (t) => {
    await using world = await openWorld(maker)
    const call = { limits: [ofKey(limit('tokens', 100))], estimate: used({ inputTokens: 1 }) }
    const early = await world.run(call)
    world.time.pass(45_000)
    await world.end(early, { used: used({ inputTokens: 500 }) })
    const { retryAfterMs } = await refusedBy(world, call)
    t.ok(retryAfterMs !== null && retryAfterMs <= 16_000, 'it leaves the window with its admission')
    const late = await world.run({ ...call, limits: [] })
    world.time.pass(61_000)
    await world.end(late, { used: used({ inputTokens: 500 }) })
    await world.run(call)
  })

  t.test('of several limits the one that holds for longest is named', async (t) => {
    await using world = await openWorld(maker)
    const limits = [ofKey(limit('requests', 1), limit('requests', 1, DAY)), ofUser(limit('requests', 1, MINUTE))]
    for (const limited of limits) await world.live.learnUsage(limited, async () => NOTHING)
    await world.run({ limits })
    t.match(await refusedBy(world, { limits }), { subject: 'key', window: DAY, retryAfterMs: 14 * 3_600_000 })
    t.match(await refusedBy(world, { limits: [ofKey(limit('usd', 0)), ...limits] }), {
      metric: 'usd',
      retryAfterMs: null,
    })
  })

  t.test('a call that is admitted twice counts once; one that is refused not at all', async (t) => {
    await using world = await openWorld(maker)
    const limits = [ofKey(limit('requests', 2))]
    const request = world.request({ limits })
    await world.live.admit(request)
    await world.live.admit(request)
    await world.refuse({ limits, userConcurrency: 0 })
    await world.run({ limits })
    t.equal((await refusedBy(world, { limits })).used, 2)
    t.equal((await refusedBy(world, { limits })).used, 2)
  })

  t.test('a limit that is gone forgets, and one that changes its number does not', async (t) => {
    await using world = await openWorld(maker)
    const one = [ofKey(limit('requests', 1))]
    await world.run({ limits: one })
    await world.run({ limits: [ofKey(limit('requests', 2))] })
    t.equal((await refusedBy(world, { limits: one })).used, 2)
    await world.run()
    await world.run({ limits: one })
    await world.run({ limits: [ofKey(limit('usd', 1))] })
    await world.run({ limits: one })
    await refusedBy(world, { limits: one })
  })

  t.test('longer windows have to be learnt, and shorter ones begin empty', async (t) => {
    await using world = await openWorld(maker)
    const { live, time } = world
    const limited = ofUser(limit('requests', 9, MINUTE), limit('usd', 100, HOUR), limit('requests', 5, DAY))
    t.same(await live.admit(world.request({ limits: [limited] })), { kind: 'unknown_usage', of: [limited] })
    t.same(await live.standings(limited), { kind: 'unknown_usage', of: [limited] })
    const quarter = time.nowMs - (time.nowMs % 900_000)
    const spans = [
      { fromMs: quarter - 3_600_000, toMs: quarter - 2_700_000, used: used({ requests: 1, spentNanoUsd: 10 }) },
      { fromMs: quarter, toMs: quarter + 900_000, used: used({ requests: 2, spentNanoUsd: 80 }) },
    ]
    await live.learnUsage(limited, async (question) => {
      const fromMs = time.nowMs - (time.nowMs % 86_400_000)
      t.same(question, { fromMs, stepMs: 900_000, byModel: false, callIds: [] })
      return { spans, recordedCallIds: [] }
    })
    const call = await world.run({ limits: [limited] })
    const standings = await live.standings(limited)
    t.match(standings, [
      { subject: 'user', subjectId: 'u', limit: limited.limits[0], used: 1 },
      { limit: limited.limits[1], used: 90 },
      { limit: limited.limits[2], used: 4, resetAtMs: Date.UTC(2026, 10, 26) },
    ])
    await world.end(call, { used: used({ spentNanoUsd: 10 }) })
    t.match(await refusedBy(world, { limits: [limited] }), { metric: 'usd', used: 100, window: HOUR })
    time.pass(30 * 60_000)
    await world.run({ limits: [limited] })
    t.match(await refusedBy(world, { limits: [limited] }), { metric: 'requests', used: 5, window: DAY })
  })

  t.test('a limit for some models counts on while others are asked for and other limits taken away', async (t) => {
    await using world = await openWorld(maker)
    const opus: Limit = { ...limit('requests', 1), models: 'opus-*' }
    const of = (model: string, ...limits: Limit[]) => [{ ...account('A', ...limits), model }]
    await world.run({ candidates: of('opus-5', opus, limit('requests', 9)) })
    await world.run({ candidates: of('haiku-5', opus) })
    t.match(await refusedBy(world, { candidates: of('opus-6', opus) }), { models: 'opus-*', limit: 1, used: 1 })
    await world.run({ candidates: of('haiku-5', opus) })
    const [standing] = (await world.live.standings({ subject: 'account', id: 'A', limits: [opus] })) as LimitStanding[]
    t.match(standing, { limit: opus, used: 1 })
  })

  t.test('one look serves all who ask, and rejects as it does', async (t) => {
    await using world = await openWorld(maker)
    const limited = ofKey(limit('requests', 1, HOUR))
    let looks = 0
    const answer = Promise.withResolvers<StoredUsage>()
    const asked = Promise.withResolvers<void>()
    const look = () => {
      looks++
      asked.resolve()
      return answer.promise
    }
    const learnt = [world.live.learnUsage(limited, look), world.live.learnUsage(limited, look)]
    await asked.promise
    answer.reject(new Error('no store'))
    t.same(
      (await Promise.allSettled(learnt)).map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    t.equal(looks, 1)
    t.match(await world.live.admit(world.request({ limits: [limited] })), { kind: 'unknown_usage' })
    await world.live.learnUsage(limited, async () => NOTHING)
    await world.live.learnUsage(limited, async () => t.fail('what is known is not read') as never)
    await world.run({ limits: [limited] })
  })

  t.test('an account over its limit is passed over, and refuses only where no other is left', async (t) => {
    await using world = await openWorld(maker)
    const candidates = [account('A', limit('requests', 1)), account('B', limit('requests', 2)), account('C:0')]
    await world.run({ candidates })
    world.time.pass(5000)
    for (let n = 0; n < 2; n++) t.equal((await world.run({ candidates })).accountId, 'B')
    t.match(await refusedBy(world, { candidates }), { subject: 'account', subjectId: 'A', used: 1, limit: 1 })
    t.equal((await world.run({ candidates: [...candidates, account('D')] })).accountId, 'D')
    world.time.pass(56_000)
    t.equal((await world.run({ candidates })).accountId, 'A')
  })

  t.test('a session leaves an account that is over its limit', async (t) => {
    await using world = await openWorld(maker)
    const candidates = [account('A', limit('requests', 1)), account('B')]
    const call = { candidates, session: session('s') }
    t.match(await world.run(call), { accountId: 'A', bound: true })
    t.match(await world.run(call), { accountId: 'B', bound: true })
    t.same(
      (await world.live.bindings()).map(({ accountId }) => accountId),
      ['B'],
    )
  })

  t.test('a call that moves counts at the account that serves it, and once at its caller', async (t) => {
    await using world = await openWorld(maker)
    const [a, b] = [account('A', limit('requests', 1)), account('B', limit('requests', 1))]
    const limits = [ofUser(limit('requests', 2))]
    const call = await world.run({ candidates: [a], limits })
    const moved = await world.live.move(call, [b])
    t.match(moved, { kind: 'admission', accountId: 'B' })
    await world.run({ candidates: [a, b], limits })
    t.match(await refusedBy(world, { candidates: [a, b] }), { subject: 'account' })
    t.match(await refusedBy(world, { limits }), { subject: 'user', used: 2 })
    const third = await world.run({ candidates: [account('C')] })
    t.match(await world.live.move(third, [a, b]), { kind: 'refused', refusal: { reason: 'limit', subject: 'account' } })
    t.equal((await world.running())[third.callId], '', 'it holds the rest')
  })

  t.test('moves and waiting calls, too, have windows to be learnt, and change nothing before', async (t) => {
    await using world = await openWorld(maker)
    const long = account('B', limit('requests', 1, HOUR))
    const unknown = { kind: 'unknown_usage', of: [{ subject: 'account', id: 'B', limits: long.limits }] }
    const call = await world.run({ candidates: accounts('A:1') })
    const waiting = await world.wait({ candidates: accounts('A:1') })
    t.same(await world.live.move(call, [long]), unknown)
    t.same(await world.live.rerank(waiting.ticket, [long]), unknown)
    t.same([await world.running(), await world.inLine()], [{ [call.callId]: 'A' }, [waiting.ticket.callId]])
    await world.live.learnUsage(unknown.of[0] as Limited, async () => NOTHING)
    t.equal(await world.live.rerank(waiting.ticket, [long]), null)
    t.match(await waiting.outcome, { kind: 'admission', accountId: 'B' })
  })

  t.test('windows of accounts that may run nothing have to be learnt like all others', async (t) => {
    await using world = await openWorld(maker)
    const forbidden = account('Z:0', limit('requests', 1, HOUR))
    const unknown = { kind: 'unknown_usage', of: [{ subject: 'account', id: 'Z', limits: forbidden.limits }] }
    const candidates = [forbidden, account('A:1')]
    t.same(await world.live.admit(world.request({ candidates })), unknown)
    const call = await world.run({ candidates: accounts('A:1') })
    const waiting = await world.wait({ candidates: accounts('A:1') })
    t.same(await world.live.move(call, candidates), unknown)
    t.same(await world.live.rerank(waiting.ticket, candidates), unknown)
    await world.live.learnUsage(unknown.of[0] as Limited, async () => NOTHING)
    t.equal(await world.live.rerank(waiting.ticket, candidates), null)
    await world.end(call)
    t.match(await waiting.outcome, { kind: 'admission', accountId: 'A' })
  })

  t.test('a call over a limit does not wait; a ticket is asked again when its turn comes', async (t) => {
    await using world = await openWorld(maker)
    const call = { userConcurrency: 1, limits: [ofKey(limit('requests', 2))] }
    const first = await world.run(call)
    const second = await world.wait(call)
    const third = await world.wait(call)
    const other = await world.wait({ keyId: 'second', userConcurrency: 1 })
    await world.end(first, { used: used({}) })
    t.match(await second.outcome, { kind: 'admission' }, 'nothing counts while it waits')
    await refusedBy(world, call)
    await world.end((await second.outcome) as never, { used: used({}) })
    t.match(await third.outcome, { kind: 'refused', refusal: { reason: 'limit', metric: 'requests', used: 2 } })
    t.match(await other.outcome, { kind: 'admission' }, 'the slot goes to the next')
  })

  t.test('a ticket whose accounts are all over their limits is refused when its turn comes', async (t) => {
    await using world = await openWorld(maker)
    const candidates = [account('A:1', limit('requests', 2))]
    const first = await world.run({ candidates })
    const second = await world.wait({ candidates, userId: 'v' })
    const third = await world.wait({ candidates, userId: 'w' })
    await world.end(first, { used: used({}) })
    t.match(await second.outcome, { kind: 'admission' })
    t.same(await world.inLine(), [third.ticket.callId])
    await world.end((await second.outcome) as never, { used: used({}) })
    t.match(await third.outcome, { kind: 'refused', refusal: { subject: 'account', subjectId: 'A', reason: 'limit' } })
    t.equal(world.time.timers, 0)
  })

  t.test('a ticket gets an account that is back within its limits while it waits for another', async (t) => {
    await using world = await openWorld(maker)
    const second: LimitWindow = { kind: 'sliding', ms: 2000 }
    const candidates = [account('A', limit('requests', 1, second)), account('B:1')]
    await world.run({ candidates })
    await world.run({ candidates })
    const waiting = await world.wait({ candidates })
    world.time.pass(1999)
    t.same(await world.inLine(), [waiting.ticket.callId])
    world.time.pass(100)
    t.match(await waiting.outcome, { kind: 'admission', accountId: 'A' })
  })

  t.test('an admission tells what is used of all limits, itself included', async (t) => {
    await using world = await openWorld(maker)
    const limits = [ofKey(limit('usd', 100), limit('requests', 1000)), ofGroup(limit('usd', 900))]
    const candidates = [account('A', limit('requests', 9)), account('B', limit('requests', 9))]
    const before = await world.run({ limits, candidates, estimate: used({ spentNanoUsd: 40 }) })
    const call = await world.run({ limits, candidates, estimate: used({ spentNanoUsd: 5 }) })
    const seen = (standings = call.standings) =>
      standings?.map(({ subject, subjectId, limit, used }) => [subject, subjectId, limit.metric, used])
    t.same(seen(before.standings), [
      ['key', 'u-key', 'usd', 40],
      ['key', 'u-key', 'requests', 1],
      ['group', 'g', 'usd', 40],
      ['account', 'A', 'requests', 1],
    ])
    t.same(seen(), [
      ['key', 'u-key', 'usd', 45],
      ['key', 'u-key', 'requests', 2],
      ['group', 'g', 'usd', 45],
      ['account', 'A', 'requests', 2],
    ])
    t.same(seen((await world.run({ candidates })).standings), [['account', 'A', 'requests', 3]])
    t.notOk('standings' in (await world.run()), 'nothing where there are none')
    t.notOk('standings' in ((await world.live.move(call, candidates.slice(1))) as object), 'nor where it moves')
  })
}

import t from 'tap'
import type { UpstreamFault } from '../../src/domain/fault.ts'
import { upstreamFault } from '../../src/gateway/attempt.ts'
import { Breakers } from '../../src/gateway/breakers.ts'
import type { ServingAccount } from '../../src/gateway/directory.ts'
import { Failover } from '../../src/gateway/failover.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'

/** A call's failover under settings and draws of the test's own; `fails` notes one failure and says what may follow. */
function world({ draw = 0.5, maxAttempts = 4, failoverBudgetMs = 180_000, arrivedMs = 0 } = {}) {
  const gateway = {
    breakers: new Breakers(),
    clock: () => 1000,
    random: () => draw,
    config: { gateway: { maxAttempts, failoverBudgetMs, totalTimeoutMs: 60_000 } },
  } as unknown as Gateway
  const serving = { account: { rest: null, deadlines: {} }, host: 'upstream.example' } as unknown as ServingAccount
  const failover = new Failover(gateway, { arrivedMs })
  return {
    gateway,
    serving,
    failover,
    fails(more: Partial<UpstreamFault> = {}, tookMs = 10) {
      failover.noteFailure({ serving, fault: { ...upstreamFault('a_reason', 'words'), ...more } }, tookMs)
      return { mayGoOn: failover.mayGoOn, pauseMs: failover.pauseBeforeRepeat() }
    },
  }
}

t.test('pauses are random parts of half a second and of a second, and then no more', async (t) => {
  for (const [draw, first, second] of [
    [0, 0, 0],
    [0.5, 250, 500],
    [0.999, 499.5, 999],
  ] as const) {
    const { fails } = world({ draw })
    t.equal(fails().pauseMs, first)
    t.equal(fails().pauseMs, second)
    t.equal(fails().pauseMs, null, 'twice at most')
  }
})

t.test('an upstream that says when to come back is waited for, or not asked again', async (t) => {
  t.equal(world().fails({ retryAfterMs: 1000 }).pauseMs, 1000)
  t.equal(world().fails({ retryAfterMs: 0 }).pauseMs, 250)
  t.equal(world().fails({ retryAfterMs: 1001 }).pauseMs, null)
})

t.test('who is not asked again', async (t) => {
  t.equal(world().fails({ blame: 'account' }).pauseMs, null, 'an account that is at fault itself')
  const resting = world()
  const rest = { untilMs: 1001, hardness: 'soft' } as ServingAccount['account']['rest']
  Object.assign(resting.serving.account, { rest })
  t.equal(resting.fails().pauseMs, null, 'one that has failed so often that it rests')
  Object.assign(resting.serving.account, { rest: { ...rest, untilMs: 1000 } })
  t.equal(resting.fails().pauseMs, 250, 'that rest is over')
  const down = world()
  for (let i = 0; i < 5; i++) down.gateway.breakers.failed('upstream.example', 1000)
  t.equal(down.fails().pauseMs, null, 'one whose host is down')
  t.equal(world().fails({}, 10_000).pauseMs, null, 'one that took long to fail')
})

t.test('what ends all trying', async (t) => {
  t.same(
    [{ blame: 'request' }, { blame: 'client' }, { mayBeRunning: true }, { blame: 'account' }, {}].map(
      (more) => world().fails(more as Partial<UpstreamFault>).mayGoOn,
    ),
    [false, false, false, true, true],
  )
  const often = world({ maxAttempts: 3 })
  t.same(
    [often.fails(), often.fails(), often.fails()].map(({ mayGoOn }) => mayGoOn),
    [true, true, false],
    'attempts at the same account count as well',
  )
  t.same(
    [-58_999, -59_000].map((arrivedMs) => world({ arrivedMs }).fails().mayGoOn),
    [true, false],
    'the call has had its whole time',
  )
  const long = world({ failoverBudgetMs: 100 })
  t.same(
    [long.fails({}, 60), long.fails({}, 40)].map(({ mayGoOn }) => mayGoOn),
    [true, false],
  )
})

t.test('who has been tried: who failed, and who had gone to rest', async (t) => {
  const { failover, serving, fails } = world()
  const other = { ...serving } as ServingAccount
  failover.noteResting(other)
  t.same([failover.hasTried(serving), failover.hasTried(other), failover.told], [false, true, null])
  fails()
  t.match([failover.hasTried(serving), failover.told], [true, { fault: { reason: 'a_reason' } }])
})

t.test('the client hears of what may pass, and of what an account may never do only if that is all', async (t) => {
  const forbidden = { blame: 'account', rest: null, reason: 'forbidden' } as const
  const toldAfter = (...faults: Partial<UpstreamFault>[]) => {
    const { fails, failover } = world()
    for (const fault of faults) fails(fault)
    return failover.told?.fault.reason
  }
  t.equal(toldAfter({}, forbidden), 'a_reason')
  t.equal(toldAfter(forbidden, {}), 'a_reason')
  t.equal(toldAfter(forbidden, forbidden), 'forbidden')
  t.equal(toldAfter({}, { blame: 'account', reason: 'its limit' }, forbidden), 'a_reason')
  t.equal(toldAfter(forbidden, { blame: 'account', reason: 'its limit' }, forbidden), 'its limit')
  t.equal(toldAfter({}, { blame: 'request', reason: 'its own' }), 'its own')
})

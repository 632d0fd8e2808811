import t from 'tap'
import { isGatewayError } from '../../src/domain/errors.ts'
import { BillingGuard } from '../../src/gateway/billing-guard.ts'

const RULES = { enabled: true, failureThreshold: 3, resetTimeoutMs: 1000, halfOpenRequests: 2 }

function newGuard(rules: Partial<typeof RULES> = {}) {
  const time = { ms: 50_000 }
  const guard = new BillingGuard(
    () => ({ ...RULES, ...rules }),
    () => time.ms,
  )
  const passes = () => {
    try {
      guard.check()
      return true
    } catch (error) {
      if (!isGatewayError(error, 'unavailable')) throw error
      return false
    }
  }
  const fail = (times: number) => {
    for (let i = 0; i < times; i++) guard.failed()
  }
  return { guard, time, passes, fail }
}

t.test('opens after so many failures in a row, and says until when', async (t) => {
  const { guard, time, fail, passes } = newGuard()
  fail(2)
  guard.stored()
  fail(2)
  t.equal(guard.state, 'closed', 'a stored record between them starts the count again')
  t.ok(passes())
  fail(1)
  t.equal(guard.state, 'open')
  time.ms += 400
  t.throws(() => guard.check(), { code: 'unavailable', message: /cannot store charges/, facts: { retryAfterMs: 1000 } })
})

t.test('half open lets as many probes through as the rules say, and closes when one is stored', async (t) => {
  const { guard, time, fail, passes } = newGuard()
  fail(3)
  time.ms += 1000
  t.equal(guard.state, 'half_open')
  t.same([passes(), passes(), passes()], [true, true, false])
  guard.stored()
  t.equal(guard.state, 'closed')
  t.ok(passes())
})

t.test('a failed probe starts the wait again', async (t) => {
  const { guard, time, fail, passes } = newGuard()
  fail(3)
  time.ms += 1000
  t.ok(passes())
  guard.failed()
  t.equal(guard.state, 'open')
  time.ms += 999
  t.notOk(passes())
  time.ms += 1
  t.same([passes(), passes(), passes()], [true, true, false], 'with all its probes')
})

t.test('probes that never report (refused by a limit, left by their client) come back', async (t) => {
  const { time, fail, passes, guard } = newGuard()
  fail(3)
  time.ms += 1000
  t.same([passes(), passes(), passes()], [true, true, false])
  time.ms += 250
  t.throws(() => guard.check(), { code: 'unavailable', facts: { retryAfterMs: 1000 } }, 'at least a second')
  time.ms += 750
  t.same([passes(), passes(), passes()], [true, true, false], 'a new set every reset time-out')
  time.ms += 10_000
  t.same([passes(), passes(), passes()], [true, true, false], 'and no more of them for having waited longer')
})

t.test('off means that it never refuses, and says so', async (t) => {
  const { guard, fail, passes } = newGuard({ enabled: false })
  fail(100)
  t.ok(passes())
  t.equal(guard.state, 'closed')
})

import { pino } from 'pino'
import t from 'tap'
import type { WhenClientLeaves } from '../../src/domain/group.ts'
import { AdmittedCall } from '../../src/gateway/admitted-call.ts'
import type { Call } from '../../src/gateway/call.ts'
import type { ClientAnswer } from '../../src/gateway/client-answer.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { RunningCalls } from '../../src/gateway/running-calls.ts'
import type { Ticker } from '../../src/lib/ticker.ts'

const READ_ON_MS = 60_000

function admitted(whenClientLeaves: WhenClientLeaves, accountIsThere = true) {
  const watchers = new Set<(nowMs: number) => void>()
  const ticker = {
    watch(watcher: (nowMs: number) => void) {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
  } as unknown as Ticker
  const gateway = {
    clock: () => 1000,
    config: { gateway: { readOnMs: READ_ON_MS } },
    directory: { account: () => (accountIsThere ? { account: { id: 'acc_1' } } : undefined) },
    live: { settle: async () => {} },
    log: pino({ level: 'silent' }),
    running: new RunningCalls(ticker),
    ticker,
  } as unknown as Gateway
  watchers.clear() // that of RunningCalls itself
  const call = { id: 'call_1', arrivedMs: 0, whenClientLeaves } as unknown as Call
  const admission = {
    kind: 'admission',
    callId: 'call_1',
    accountId: 'acc_1',
    bound: false,
    boundBefore: null,
  } as const
  const stops: string[] = []
  const make = () => new AdmittedCall(gateway, call, {} as ClientAnswer, admission, null)
  const tick = (ms: number) => {
    for (const watcher of watchers) watcher(1000 + ms)
  }
  return { gateway, make, stops, watchers, tick }
}

t.test('a client that leaves stops the call at once, or after a while, or not at all if it is over', async (t) => {
  for (const how of ['abort', 'delivered'] as const) {
    const { make, stops } = admitted(how)
    const running = make()
    running.onStop((reason) => stops.push(reason))
    running.clientLeft()
    t.same(stops, ['client_left'], how)
  }
  const { make, stops, watchers, tick } = admitted('read_on')
  const running = make()
  running.onStop((reason) => stops.push(reason))
  running.clientLeft()
  tick(READ_ON_MS - 1)
  t.same(stops, [])
  tick(READ_ON_MS)
  t.same(stops, ['client_left'])
  t.equal(watchers.size, 0)

  const twice = admitted('read_on')
  const retried = twice.make()
  retried.clientLeft()
  retried.clientLeft() // its first try ended with a stale connection, and the second one hears of it too
  t.equal(twice.watchers.size, 1)
  await retried.settle()
  t.equal(twice.watchers.size, 0, 'and nothing of it stays')

  const over = admitted('read_on')
  const ended = over.make()
  await ended.settle()
  ended.clientLeft()
  t.equal(over.watchers.size, 0, 'nothing is watched for a call that is over')
})

t.test('who comes to stop a call that is to end already is stopped at once', async (t) => {
  const { make, stops } = admitted('abort')
  const running = make()
  running.stop()
  running.stop('client_left')
  running.onStop((reason) => stops.push(reason))
  t.same(stops, ['stopped'], 'for the first reason')
})

t.test('a call that is admitted when all must end has to end', async (t) => {
  const { gateway, make } = admitted('abort')
  gateway.running.stopAll()
  t.equal(make().stopReason, 'stopped')
})

t.test('an account that is gone admits nobody', async (t) => {
  const { gateway, make } = admitted('abort', false)
  t.throws(make, { code: 'unavailable', facts: { retryAfterMs: 1000 } })
  t.equal(gateway.running.size, 0)
})

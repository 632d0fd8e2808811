import { pino } from 'pino'
import t from 'tap'
import type { WhenClientLeaves } from '../../src/domain/group.ts'
import { AdmittedCall } from '../../src/gateway/admitted-call.ts'
import type { Call } from '../../src/gateway/call.ts'
import type { ClientAnswer } from '../../src/gateway/client-answer.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import type { Reservation } from '../../src/gateway/reservation.ts'
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
  const serving = { account: { id: 'acc_1' }, upstreamModelOf: (model: string) => model }
  const gateway = {
    clock: () => 1000,
    config: { gateway: { readOnMs: READ_ON_MS } },
    directory: { account: () => (accountIsThere ? serving : undefined) },
    live: { settle: async () => {} },
    log: pino({ level: 'silent' }),
    running: new RunningCalls(ticker),
    ticker,
  } as unknown as Gateway
  watchers.clear() // that of RunningCalls itself
  const facts = { requestedModel: 'claude-sonnet-5-5' }
  const call = { id: 'call_1', arrivedMs: 0, whenClientLeaves, facts } as unknown as Call
  const admission = {
    kind: 'admission',
    callId: 'call_1',
    accountId: 'acc_1',
    bound: false,
    boundBefore: null,
  } as const
  const stops: string[] = []
  const make = (client = {} as ClientAnswer) =>
    new AdmittedCall(gateway, call, client, admission, {} as Reservation, null)
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

t.test('a pause ends with its time, at once when the call is to end or its client leaves', async (t) => {
  const start = (how: WhenClientLeaves) => {
    const world = admitted(how)
    const client = { leaves: () => {}, onLeave: (callback: () => void) => Object.assign(client, { leaves: callback }) }
    const running = world.make(client as unknown as ClientAnswer)
    let isOver = false
    const pause = running.pause(500).then(() => {
      isOver = true
    })
    return { ...world, running, client, pause, isOver: () => isOver }
  }
  const whole = start('abort')
  whole.tick(499)
  await Promise.resolve()
  t.equal(whole.isOver(), false)
  whole.tick(500)
  await whole.pause
  const released = start('abort')
  released.running.stop('released')
  await released.pause
  t.equal(released.running.stopReason, 'released')
  for (const how of ['abort', 'read_on'] as const) {
    const left = start(how)
    left.client.leaves()
    await left.pause
    await left.running.settle()
    t.equal(left.watchers.size, 0, `${how}: and nothing of it stays`)
  }
  t.same([whole.watchers.size, released.watchers.size], [0, 0])
})

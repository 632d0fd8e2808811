import t from 'tap'
import { type RunningCall, RunningCalls } from '../../src/gateway/running-calls.ts'
import type { Ticker } from '../../src/lib/ticker.ts'

t.test('a call is journaled once it has run for a second, however long it stood in line before', async (t) => {
  let tick: (nowMs: number) => void = () => {}
  const ticker = {
    watch(watcher: typeof tick) {
      tick = watcher
      return () => {}
    },
  } as unknown as Ticker
  const running = new RunningCalls(ticker)
  const journaled: string[] = []
  const admit = (name: string, admittedMs: number): RunningCall => {
    const call = { callId: name, admittedMs, stop: () => {}, journal: () => void journaled.push(name) }
    running.add(call)
    return call
  }
  const first = admit('first', 30_000)
  const gone = admit('gone', 30_100)
  admit('last', 30_200)
  running.delete(gone)
  tick(30_999)
  t.same(journaled, [])
  tick(31_000)
  t.same(journaled, ['first'])
  tick(31_199)
  tick(31_200)
  t.same(journaled, ['first', 'last'], 'once, and none that is over')
  running.delete(first)
  t.equal(running.size, 1)
})

t.test('a call is released wherever it is: running, in line, or both while it moves', async (t) => {
  const running = new RunningCalls({ watch: () => () => {} } as unknown as Ticker)
  const told: string[] = []
  const stop = (name: string) => (reason: string) => void told.push(`${name} ${reason}`)
  running.addWaiting({ callId: 'moves', stop: stop('moves, in line') })
  running.addWaiting({ callId: 'waits', stop: stop('waits') })
  running.addWaiting({ stop: stop('has no place yet') })
  for (const callId of ['moves', 'runs']) running.add({ callId, admittedMs: 0, stop: stop(callId), journal: () => {} })
  t.equal(running.release('moves'), true)
  t.same(told.splice(0), ['moves, in line released', 'moves released'])
  t.same([running.release('waits'), running.release('runs')], [true, true])
  t.same(told.splice(0), ['waits released', 'runs released'])
  t.equal(running.release('gone'), false)
  running.stopAll()
  t.equal(told.length, 5)
  t.ok(told.every((one) => one.endsWith(' stopped')))
})

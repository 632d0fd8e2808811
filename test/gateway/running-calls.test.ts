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
    const call = { admittedMs, stop: () => {}, journal: () => void journaled.push(name) }
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

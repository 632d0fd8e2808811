import t from 'tap'
import { Ticker } from '../../src/lib/ticker.ts'

/** Resolves when the ticker calls, with the time that it told. */
function nextTick(ticker: Ticker): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const unwatch = ticker.watch((nowMs) => {
    unwatch()
    resolve(nowMs)
  })
  return promise
}

t.test('every watcher is told the clock’s time, again and again, until it is removed', async (t) => {
  using ticker = new Ticker(() => 4711)
  const seen: number[] = []
  let removedCalls = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  ticker.watch((nowMs) => {
    if (seen.push(nowMs) === 3) resolve()
  })
  ticker.watch(() => removedCalls++)()
  await promise
  t.same(seen, [4711, 4711, 4711])
  t.equal(removedCalls, 0)
})

t.test('a watcher may remove itself and others while it is called', async (t) => {
  using ticker = new Ticker(() => 0)
  const called: string[] = []
  const removeFirst = ticker.watch(() => {
    called.push('first')
    removeFirst()
    removeSecond()
  })
  const removeSecond = ticker.watch(() => called.push('second'))
  await nextTick(ticker)
  await nextTick(ticker)
  t.same(called, ['first'])
})

t.test('a ticker without watchers stops, and starts again with the next one', async (t) => {
  let asked = 0
  using ticker = new Ticker(() => ++asked)
  await nextTick(ticker)
  // The tick after the last watcher left stops the timer: nothing keeps the process alive then.
  const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  while (process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length >= before) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  const atRest = asked
  await nextTick(ticker)
  t.equal(asked, atRest + 1)
})

t.test('a disposed ticker calls nobody', async (t) => {
  const ticker = new Ticker(() => 0)
  let calls = 0
  ticker.watch(() => calls++)
  ticker[Symbol.dispose]()
  using other = new Ticker(() => 0)
  await nextTick(other)
  await nextTick(other)
  t.equal(calls, 0)
})

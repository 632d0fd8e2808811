import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { superviseWorkers } from '../../src/cli/workers.ts'
import { until } from '../support/client.ts'
import { keptLog } from '../support/store.ts'

/** A worker as a script; it is ready, and ends when it is told to. */
const GOOD = "process.on('SIGTERM', () => process.exit(0)); process.send('ready'); setInterval(() => {}, 1000)"

/** Supervises workers that run such scripts; the stop signal is the test's. */
function supervised(scripts: string[], count = scripts.length) {
  const { log, lines } = keptLog()
  const workers: ReturnType<typeof spawn>[] = []
  const stops = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let asked = 0
  let ready = 0
  const over = superviseWorkers({
    count,
    log,
    start() {
      const script = scripts[Math.min(workers.length, scripts.length - 1)] as string
      const worker = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
      workers.push(worker)
      return worker
    },
    stopSignal: () => (stops[asked++] as PromiseWithResolvers<void>).promise,
    onAllReady: () => void ready++,
  })
  return {
    over,
    workers,
    lines,
    stop: () => stops[0]?.resolve(),
    stopNow: () => stops[1]?.resolve(),
    ready: () => ready,
  }
}

t.test('all are started, told once when all are ready, and end when they are told to', async (t) => {
  const { over, workers, stop, ready } = supervised([GOOD, GOOD, GOOD])
  await until('all workers to be ready', () => ready() === 1)
  t.equal(workers.length, 3)
  stop()
  await over
  t.same(
    workers.map(({ exitCode }) => exitCode),
    [0, 0, 0],
  )
})

t.test('one that is killed is started again', async (t) => {
  const { over, workers, lines, stop, ready } = supervised([GOOD, GOOD])
  await until('both to be ready', () => ready() === 1)
  workers[0]?.kill('SIGKILL')
  await until('a third to be started', () => workers.length === 3)
  t.match(lines, [{ msg: 'a worker has ended, and is started again' }])
  await once(workers[2] as (typeof workers)[0], 'message')
  stop()
  await over
  t.equal(workers.length, 3, 'and no fourth at the end')
})

t.test('if one cannot start, none goes on', async (t) => {
  const { over, workers } = supervised([GOOD, 'process.exit(7)'])
  await t.rejects(over, { message: 'a worker could not start (exit code 7)' })
  t.ok(workers.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null))
})

t.test('a second signal reaches those that do not end at the first', async (t) => {
  const stubborn =
    "let told = 0; process.on('SIGTERM', () => { if (++told === 2) process.exit(3); else process.send('told') }); process.send('ready'); setInterval(() => {}, 1000)"
  const { over, workers, stop, stopNow, ready } = supervised([stubborn])
  await until('it to be ready', () => ready() === 1)
  const told = once(workers[0] as (typeof workers)[0], 'message')
  stop()
  t.match(await told, ['told'])
  t.equal(workers[0]?.exitCode, null)
  stopNow()
  await over
  t.equal(workers[0]?.exitCode, 3)
})

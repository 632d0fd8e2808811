import { PassThrough } from 'node:stream'
import t from 'tap'
import { Output } from '../../src/cli/output.ts'
import { Progress } from '../../src/cli/progress.ts'
import { manualClock } from '../support/store.ts'

/** What a progress writes, and a way to go on with it. */
function progressOn({ isTTY = false, quiet = false }) {
  const stderr = Object.assign(new PassThrough(), { isTTY })
  const out = new Output({ stdout: new PassThrough(), stderr }, { json: false, quiet, color: false, utc: true })
  const clock = manualClock(0)
  const progress = new Progress(out, clock)
  const show = (done: number, afterMs: number, doing = 'copying', what = 'usage') => {
    clock.nowMs += afterMs
    progress.show({ doing, what, done, total: 1000, unit: 'rows' })
  }
  const said = () => {
    let all = ''
    for (let chunk = stderr.read(); chunk !== null; chunk = stderr.read()) all += chunk
    return all
  }
  return { progress, show, said }
}

t.test('on a terminal one line is drawn again and again, and is gone at the end', async (t) => {
  const { progress, show, said } = progressOn({ isTTY: true })
  show(0, 0)
  t.equal(said(), `\r\u001b[K${'░'.repeat(24)}   0 %  copying usage`)
  show(10, 10)
  t.equal(said(), '', 'not more often than can be seen')
  show(500, 1000)
  t.equal(said(), `\r\u001b[K${'█'.repeat(12)}${'░'.repeat(12)}  50 %  copying usage`)
  show(600, 5000)
  t.match(said(), / 60 % {2}copying usage, 5 s left$/)
  show(601, 300_000)
  t.match(said(), / 60 % {2}copying usage, 4 min left$/)
  show(1000, 0, 'comparing', 'ledger')
  t.match(said(), /█{24} 100 % {2}comparing ledger$/)
  progress[Symbol.dispose]()
  t.equal(said(), '\r\u001b[K')
})

t.test('elsewhere there is a line for each tenth and each kind of work', async (t) => {
  const { progress, show, said } = progressOn({})
  for (const done of [0, 50, 99, 100, 101, 550]) show(done, 1000)
  show(1000, 0, 'comparing', 'users')
  show(1000, 1000, 'comparing', 'usage')
  progress[Symbol.dispose]()
  t.equal(
    said(),
    'copying: 0 %, 0 of 1,000 rows\ncopying: 10 %, 100 of 1,000 rows\ncopying: 55 %, 550 of 1,000 rows\ncomparing: 100 %, 1,000 of 1,000 rows\n',
  )
})

t.test('--quiet means neither', async (t) => {
  for (const isTTY of [true, false]) {
    const { progress, show, said } = progressOn({ isTTY, quiet: true })
    show(0, 0)
    show(500, 1000)
    progress[Symbol.dispose]()
    t.equal(said(), '')
  }
})

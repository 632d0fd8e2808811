import fc from 'fast-check'
import t from 'tap'
import { formatDuration, parseDuration } from '../../src/lib/duration.ts'

t.test('durations are read exactly', async (t) => {
  const cases: [string, number | null][] = [
    ['250ms', 250],
    ['10s', 10_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['30d', 2_592_000_000],
    ['2w', 1_209_600_000],
    ['0s', 0],
    ['1.5s', 1500],
    ['8.2m', 492_000],
    ['1.001s', 1001],
    ['0.5ms', null],
    ['10', null],
    ['', null],
    ['10 s', null],
    ['-5s', null],
    ['1e3s', null],
    ['5S', null],
    ['s', null],
    [`${'9'.repeat(400)}s`, null],
    ['300000000w', null],
  ]
  t.same(
    cases.map(([text]) => parseDuration(text)),
    cases.map(([, ms]) => ms),
  )
})

t.test('a duration that is shown reads back as the same time, to its second unit', async (t) => {
  const cases: [number, string][] = [
    [0, '0ms'],
    [999.6, '1s'],
    [90_000, '1m30s'],
    [3_601_000, '1h1s'],
    [90_061_000, '1d1h'],
  ]
  t.same(
    cases.map(([ms]) => formatDuration(ms)),
    cases.map(([, text]) => text),
  )
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e12 }), (ms) => {
      const shown = parseDuration(formatDuration(ms))
      const unit = ms < 1000 ? 1 : ms < 3_600_000 ? 1000 : ms < 86_400_000 ? 60_000 : 3_600_000
      return shown !== null && Math.abs(shown - ms) <= unit
    }),
  )
})

t.test('a long text takes no time', async (t) => {
  const before = performance.now()
  for (const text of ['1'.repeat(1_000_000), '1.1'.repeat(300_000), `${'1m'.repeat(400_000)}x`]) parseDuration(text)
  t.ok(performance.now() - before < 5000)
})

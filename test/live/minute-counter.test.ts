import fc from 'fast-check'
import t from 'tap'
import { MinuteCounter } from '../../src/live/minute-counter.ts'

t.test('no minute holds more than the limit, and a place comes back after 61 s at the latest', async (t) => {
  const pauses = fc.array(fc.oneof(fc.nat(300), fc.nat(5_000), fc.nat(80_000)), { minLength: 50, maxLength: 300 })
  fc.assert(
    fc.property(pauses, fc.integer({ min: 1, max: 6 }), fc.nat(100_000), (pauses, limit, startMs) => {
      let nowMs = startMs
      const counter = new MinuteCounter(() => nowMs)
      const counted: number[] = []
      for (const pause of pauses) {
        nowMs += pause
        const within = (ms: number) => counted.filter((atMs) => atMs > nowMs - ms).length
        const isCounted = counter.count('subject', limit)
        if (isCounted && within(60_000) >= limit) return false
        if (!isCounted && within(61_000) < limit) return false
        if (isCounted) counted.push(nowMs)
      }
      return true
    }),
    { seed: 20261125, numRuns: 200 },
  )
  t.pass()
})

t.test('beyond its limit of subjects those silent longest start again', async (t) => {
  const counter = new MinuteCounter(() => 0, 3)
  for (const subject of ['a', 'b', 'c', 'a', 'd']) counter.count(subject, 1)
  // 'b' was asked for longest ago when 'd' came, and takes the place of 'c' in its turn.
  t.same(
    ['a', 'd', 'b', 'c'].map((subject) => counter.count(subject, 1)),
    [false, false, true, true],
  )
})

t.test('subjects that are all active do not make it grow', async (t) => {
  const max = 10
  const counter = new MinuteCounter(() => 0, max)
  for (let n = 0; n < 1000; n++) counter.count(`subject-${n}`, 1)
  const kept = Array.from({ length: 1000 }, (_, n) => n).filter(
    (n) => n >= 1000 - max && !counter.count(`subject-${n}`, 1),
  )
  t.equal(kept.length, max)
  t.equal(counter.count(`subject-${1000 - max - 1}`, 1), true)
})

t.test('a clock that is set back gives nothing away', async (t) => {
  let nowMs = 100_000
  const counter = new MinuteCounter(() => nowMs)
  counter.count('subject', 2)
  counter.count('subject', 2)
  nowMs = 30_000
  t.equal(counter.count('subject', 2), false)
  nowMs = 110_000
  t.equal(counter.count('subject', 2), false)
  nowMs = 161_000
  t.equal(counter.count('subject', 2), true)
})

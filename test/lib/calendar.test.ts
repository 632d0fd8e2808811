import t from 'tap'
import { periodAt } from '../../src/lib/calendar.ts'

const utc = (text: string) => Date.parse(`${text}Z`)

t.test('days, weeks and months where the clocks of a zone show them', async (t) => {
  const period = (unit: 'day' | 'week' | 'month', zone: string, at: string) => {
    const { startMs, endMs } = periodAt(unit, zone, utc(at))
    return [startMs, endMs].map((ms) => new Date(ms).toISOString().slice(0, 16))
  }
  const at = '2026-11-27T23:30:00'
  t.same(period('day', 'UTC', at), ['2026-11-27T00:00', '2026-11-28T00:00'])
  t.same(period('day', 'Europe/Berlin', at), ['2026-11-27T23:00', '2026-11-28T23:00'])
  t.same(period('week', 'UTC', at), ['2026-11-23T00:00', '2026-11-30T00:00'], 'from Monday')
  t.same(period('week', 'UTC', '2026-11-30T00:00:00'), ['2026-11-30T00:00', '2026-12-07T00:00'])
  t.same(period('month', 'Asia/Kathmandu', '2026-12-31T18:15:00'), ['2026-12-31T18:15', '2027-01-31T18:15'])
  t.same(period('month', 'UTC', '2028-02-29T12:00:00'), ['2028-02-01T00:00', '2028-03-01T00:00'])
})

t.test('a day may have 23 or 25 hours, and begin at another time than 0:00', async (t) => {
  const hours = (zone: string, at: string) => {
    const { startMs, endMs } = periodAt('day', zone, utc(at))
    return (endMs - startMs) / 3_600_000
  }
  t.equal(hours('Europe/Berlin', '2026-03-29T12:00:00'), 23)
  t.equal(hours('Europe/Berlin', '2026-10-25T12:00:00'), 25)
  // Where clocks were set forward at midnight that day began at 1:00.
  const { startMs } = periodAt('day', 'America/Sao_Paulo', utc('2018-11-04T12:00:00'))
  t.equal(new Date(startMs).toISOString(), '2018-11-04T03:00:00.000Z')
})

t.test('a moment lies in its period, and the next begins where it ends', async (t) => {
  for (let ms = utc('2026-01-01T00:00:00'); ms < utc('2027-01-01T00:00:00'); ms += 7_777_777) {
    for (const unit of ['day', 'week', 'month'] as const) {
      const { startMs, endMs } = periodAt(unit, 'America/New_York', ms)
      if (ms < startMs || ms >= endMs || periodAt(unit, 'America/New_York', endMs).startMs !== endMs)
        t.fail(`${unit} ${ms}`)
      if (periodAt(unit, 'America/New_York', endMs - 1).startMs !== startMs) t.fail(`${unit} ${ms}`)
    }
  }
  t.pass()
})

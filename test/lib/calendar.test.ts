import t from 'tap'
import { periodAt, periodFrom } from '../../src/lib/calendar.ts'

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

t.test('windows follow one another from a start, and go back from it', async (t) => {
  const period = (start: string, every: number | 'month', at: string) => {
    const { startMs, endMs } = periodFrom(utc(start), every, utc(at))
    return [startMs, endMs].map((ms) => new Date(ms).toISOString().slice(0, 16))
  }
  const week = 7 * 86_400_000
  t.same(period('2026-11-01T08:15:00', week, '2026-11-08T08:14:59'), ['2026-11-01T08:15', '2026-11-08T08:15'])
  t.same(period('2026-11-01T08:15:00', week, '2026-11-08T08:15:00'), ['2026-11-08T08:15', '2026-11-15T08:15'])
  t.same(period('2026-11-01T08:15:00', week, '2026-10-31T00:00:00'), ['2026-10-25T08:15', '2026-11-01T08:15'])
  const months = ['2026-08-31T23:45', '2026-09-30T23:45', '2026-10-31T23:45', '2026-11-30T23:45']
  for (const [place, start] of months.slice(0, -1).entries()) {
    t.same(period('2026-08-31T23:45:00', 'month', `${start}:00`), months.slice(place, place + 2), 'no day is lost')
  }
  t.same(period('2026-08-31T23:45:00', 'month', '2026-07-31T23:44:00'), ['2026-06-30T23:45', '2026-07-31T23:45'])
  for (let ms = utc('2025-01-01T00:00:00'); ms < utc('2027-01-01T00:00:00'); ms += 7_777_777) {
    const { startMs, endMs } = periodFrom(utc('2026-01-31T10:30:00'), 'month', ms)
    if (ms < startMs || ms >= endMs) t.fail(String(ms))
    if (periodFrom(utc('2026-01-31T10:30:00'), 'month', endMs).startMs !== endMs) t.fail(`after ${ms}`)
  }
})

/** A period of the calendar as unix ms, `endMs` exclusive. */
export interface Period {
  startMs: number
  endMs: number
}

/** The day, week (from Monday) or month that a moment lies in, where a time zone's clocks say so; a day may have 23 or 25 hours. */
export function periodAt(unit: 'day' | 'week' | 'month', timeZone: string, ms: number): Period {
  const date = Temporal.Instant.fromEpochMilliseconds(Math.floor(ms)).toZonedDateTimeISO(timeZone).toPlainDate()
  const first =
    unit === 'day' ? date : unit === 'week' ? date.subtract({ days: date.dayOfWeek - 1 }) : date.with({ day: 1 })
  const next = first.add({ [`${unit}s`]: 1 })
  return { startMs: midnight(first, timeZone), endMs: midnight(next, timeZone) }
}

/**
 * The window that a moment lies in, of those that follow one another from a start and go back from it: so many ms each, or
 * months of the UTC calendar (from the 31st, a month without one ends on its last day).
 */
export function periodFrom(startMs: number, every: number | 'month', ms: number): Period {
  if (every !== 'month') {
    const place = Math.floor((ms - startMs) / every)
    return { startMs: startMs + place * every, endMs: startMs + (place + 1) * every }
  }
  const start = utc(startMs)
  const at = utc(Math.floor(ms))
  const months = (at.year - start.year) * 12 + at.month - start.month
  const place = monthsAfter(start, months) > ms ? months - 1 : months
  return { startMs: monthsAfter(start, place), endMs: monthsAfter(start, place + 1) }
}

function utc(ms: number): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO('UTC')
}

/** Counted from the start each time, so that a short month does not shorten those that follow. */
function monthsAfter(start: Temporal.ZonedDateTime, months: number): number {
  return start.add({ months }).epochMilliseconds
}

/** The first moment of a day: not always 0:00, where clocks are set forward at midnight. */
function midnight(date: Temporal.PlainDate, timeZone: string): number {
  return date.toZonedDateTime(timeZone).startOfDay().epochMilliseconds
}

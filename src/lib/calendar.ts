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

/** The first moment of a day: not always 0:00, where clocks are set forward at midnight. */
function midnight(date: Temporal.PlainDate, timeZone: string): number {
  return date.toZonedDateTime(timeZone).startOfDay().epochMilliseconds
}

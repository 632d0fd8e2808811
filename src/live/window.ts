import type { LimitWindow } from '../domain/limit.ts'
import { periodAt, periodFrom } from '../lib/calendar.ts'
import { PeriodWindow } from './period-window.ts'
import { SlidingWindow } from './sliding-window.ts'

/** What is counted over a time. */
export type Window = SlidingWindow | PeriodWindow

/** An empty one, for a limit's window. */
export function newWindow(window: LimitWindow, nowMs: number): Window {
  switch (window.kind) {
    case 'sliding':
      return new SlidingWindow(window.ms, nowMs)
    case 'calendar':
      return new PeriodWindow((ms) => periodAt(window.unit, window.timeZone, ms), nowMs)
    case 'anchored':
      return new PeriodWindow((ms) => periodFrom(window.startMs, window.every, ms), nowMs)
  }
}

/** The store knows what was used by quarters of an hour. */
const QUARTER_MS = 900_000
const DAY_MS = 86_400_000

/**
 * The longest time, of those that go into a day, over which what was used may be added up for all these windows: none of
 * them begins, or begins a bucket, within one. A quarter of an hour is the least that there is.
 */
export function stepOf(windows: readonly Window[]): number {
  const stepMs = windows.map(({ grainMs }) => grainMs).reduce(commonDivisor, DAY_MS)
  return stepMs % QUARTER_MS === 0 ? stepMs : QUARTER_MS
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b)
}

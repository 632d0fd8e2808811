import type { Clock } from '../lib/clock.ts'
import { SlidingWindow } from './sliding-window.ts'

/** Subjects counted at a time; beyond it those silent longest start again from zero. */
const SUBJECTS_MAX = 100_000
const MINUTE_MS = 60_000

/** Counts events per subject over a sliding minute. */
export class MinuteCounter {
  readonly #now: Clock
  readonly #max: number
  /** The one asked for last stands last. */
  readonly #windows = new Map<string, SlidingWindow>()

  constructor(now: Clock, max = SUBJECTS_MAX) {
    this.#now = now
    this.#max = max
  }

  /** Counts one more unless the last minute already holds `limit`; returns whether it was counted. */
  count(subject: string, limit: number): boolean {
    const nowMs = this.#now()
    const window = this.#windowOf(subject, nowMs)
    if (window.used(nowMs) >= limit) return false
    window.count(nowMs, nowMs, 1)
    return true
  }

  #windowOf(subject: string, nowMs: number): SlidingWindow {
    const window = this.#windows.get(subject) ?? new SlidingWindow(MINUTE_MS, nowMs)
    this.#windows.delete(subject)
    this.#windows.set(subject, window)
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= this.#max) break
      this.#windows.delete(oldest)
    }
    return window
  }
}

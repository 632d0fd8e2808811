import type { Clock } from '../lib/clock.ts'

/** A sliding minute is this many buckets; one counts until it is wholly out, so no minute ever holds more than the limit. */
const BUCKETS = 60
const BUCKET_MS = 1000
/** Subjects counted at a time; beyond it those silent longest start again from zero. */
const SUBJECTS_MAX = 100_000

interface Window {
  counts: Uint32Array
  total: number
  /** The latest bucket (unix ms / BUCKET_MS) that was written. */
  last: number
}

/** Counts events per subject over a sliding minute. */
export class MinuteCounter {
  readonly #now: Clock
  readonly #max: number
  /** The one asked for last stands last. */
  readonly #windows = new Map<string, Window>()

  constructor(now: Clock, max = SUBJECTS_MAX) {
    this.#now = now
    this.#max = max
  }

  /** Counts one more unless the last minute already holds `limit`; returns whether it was counted. */
  count(subject: string, limit: number): boolean {
    const window = this.#windowOf(subject)
    // A clock that was set back counts on in the bucket where it was.
    const bucket = Math.max(window.last, Math.floor(this.#now() / BUCKET_MS))
    // One bucket more than a minute is kept: the oldest may still hold an event of less than a minute ago.
    for (let gone = Math.max(window.last + 1, bucket - BUCKETS); gone <= bucket; gone++) {
      const slot = gone % (BUCKETS + 1)
      window.total -= window.counts[slot] as number
      window.counts[slot] = 0
    }
    window.last = bucket
    if (window.total >= limit) return false
    const slot = bucket % (BUCKETS + 1)
    window.counts[slot] = (window.counts[slot] as number) + 1
    window.total++
    return true
  }

  #windowOf(subject: string): Window {
    const window = this.#windows.get(subject) ?? { counts: new Uint32Array(BUCKETS + 1), total: 0, last: 0 }
    this.#windows.delete(subject)
    this.#windows.set(subject, window)
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= this.#max) break
      this.#windows.delete(oldest)
    }
    return window
  }
}

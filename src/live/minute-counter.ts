import type { Clock } from '../lib/clock.ts'

/** A sliding minute is this many buckets; one counts until it is wholly out, so no minute ever holds more than the limit. */
const BUCKETS = 60
const BUCKET_MS = 1000
/** Subjects counted at a time; those silent for a minute make room. */
const SUBJECTS_MAX = 100_000

interface Window {
  counts: Uint32Array
  total: number
  /** The bucket (unix ms / BUCKET_MS) that was written last. */
  last: number
}

/** Counts events per subject over a sliding minute. */
export class MinuteCounter {
  readonly #now: Clock
  readonly #windows = new Map<string, Window>()

  constructor(now: Clock) {
    this.#now = now
  }

  /** Counts one more unless the last minute already holds `limit`; returns whether it was counted. */
  count(subject: string, limit: number): boolean {
    const bucket = Math.floor(this.#now() / BUCKET_MS)
    const window = this.#windowOf(subject, bucket)
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

  #windowOf(subject: string, bucket: number): Window {
    let window = this.#windows.get(subject)
    if (!window) {
      for (const [other, { last }] of this.#windows) {
        if (this.#windows.size < SUBJECTS_MAX) break
        if (last < bucket - BUCKETS) this.#windows.delete(other)
      }
      window = { counts: new Uint32Array(BUCKETS + 1), total: 0, last: bucket }
      this.#windows.set(subject, window)
    }
    return window
  }
}

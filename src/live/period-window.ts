import type { Period } from '../lib/calendar.ts'

/** What was counted in the current one of periods that follow one another. The same methods as SlidingWindow's. */
export class PeriodWindow {
  readonly #periodAt: (ms: number) => Period
  #period: Period
  #total = 0

  constructor(periodAt: (ms: number) => Period, nowMs: number) {
    this.#periodAt = periodAt
    this.#period = periodAt(nowMs)
  }

  get sinceMs(): number {
    return this.#period.startMs
  }

  /** As of SlidingWindow: multiples of it meet the beginning of the period, and no other edge matters, as what is before does not count. */
  get grainMs(): number {
    return this.#period.startMs
  }

  used(nowMs: number): number {
    this.#roll(nowMs)
    return this.#total
  }

  /** What was before the period has no place in it, and does not count. */
  count(nowMs: number, atMs: number, amount: number): number {
    this.#roll(nowMs)
    const place = atMs < this.#period.startMs ? Number.NEGATIVE_INFINITY : this.#period.startMs
    this.change(place, amount)
    return place
  }

  change(place: number, amount: number): void {
    if (place === this.#period.startMs) this.#total += amount
  }

  belowFromMs(limit: number, nowMs: number): number | null {
    if (limit <= 0) return null
    return this.used(nowMs) < limit ? nowMs : this.#period.endMs
  }

  emptyFromMs(nowMs: number): number | null {
    this.#roll(nowMs)
    return this.#period.endMs
  }

  /** A clock that was set back counts on in the period where it was. */
  #roll(nowMs: number): void {
    if (nowMs < this.#period.endMs) return
    this.#period = this.#periodAt(nowMs)
    this.#total = 0
  }
}

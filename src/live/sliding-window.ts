/** A window is this many buckets; one counts until it is wholly out, so that no window ever holds more than was let in. */
const BUCKETS = 60

/**
 * What was counted in the last so many ms. One bucket more than a window is kept: the oldest may still hold something
 * that is not out. So what was counted stops counting at most a bucket's time late, and never early.
 */
export class SlidingWindow {
  readonly #ms: number
  readonly #amounts = new Float64Array(BUCKETS + 1)
  #total = 0
  /** The latest bucket that was current: the so many-th since 1970. */
  #last: number

  constructor(ms: number, nowMs: number) {
    this.#ms = ms
    this.#last = this.#bucketAt(nowMs)
  }

  /** The earliest moment of which something may count. */
  get sinceMs(): number {
    return Math.floor(((this.#last - BUCKETS) * this.#ms) / BUCKETS)
  }

  /** What is added up over so many ms, from whole multiples of it on, may be counted as one: it lies in one bucket. */
  get grainMs(): number {
    return this.#ms / BUCKETS
  }

  /** What counts now. */
  used(nowMs: number): number {
    this.#roll(nowMs)
    return this.#total
  }

  /** Counts an amount at a moment that is now or has been. Returns its place, at which `change` can correct it. */
  count(nowMs: number, atMs: number, amount: number): number {
    this.#roll(nowMs)
    const place = Math.min(this.#bucketAt(atMs), this.#last)
    this.change(place, amount)
    return place
  }

  /** Corrects what was counted at a place; nothing if that has left the window. */
  change(place: number, amount: number): void {
    if (place < this.#last - BUCKETS) return
    const slot = place % (BUCKETS + 1)
    this.#amounts[slot] = (this.#amounts[slot] as number) + amount
    this.#total += amount
  }

  /** The moment from which less than `limit` counts, if nothing is added; `nowMs` if that is so now, null if it never is. */
  belowFromMs(limit: number, nowMs: number): number | null {
    if (limit <= 0) return null
    this.#roll(nowMs)
    let left = this.#total
    if (left < limit) return nowMs
    for (let place = this.#last - BUCKETS; place <= this.#last; place++) {
      left -= this.#amounts[place % (BUCKETS + 1)] as number
      if (left < limit) return this.#outFromMs(place)
    }
    return null
  }

  /** When the last of what counts now is out; null if nothing counts. */
  emptyFromMs(nowMs: number): number | null {
    this.#roll(nowMs)
    for (let place = this.#last; place >= this.#last - BUCKETS; place--) {
      if ((this.#amounts[place % (BUCKETS + 1)] as number) > 0) return this.#outFromMs(place)
    }
    return null
  }

  #bucketAt(ms: number): number {
    return Math.floor((ms * BUCKETS) / this.#ms)
  }

  /** The first moment at which a bucket no longer counts. */
  #outFromMs(place: number): number {
    return Math.ceil(((place + BUCKETS + 1) * this.#ms) / BUCKETS)
  }

  /** Drops what is out. A clock that was set back counts on in the bucket where it was. */
  #roll(nowMs: number): void {
    const bucket = this.#bucketAt(nowMs)
    if (bucket <= this.#last) return
    for (let gone = Math.max(this.#last + 1, bucket - BUCKETS); gone <= bucket; gone++) {
      const slot = gone % (BUCKETS + 1)
      this.#total -= this.#amounts[slot] as number
      this.#amounts[slot] = 0
    }
    this.#last = bucket
  }
}

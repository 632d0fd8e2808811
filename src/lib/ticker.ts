/** How fine the ticker's deadlines are. */
const TICK_MS = 100

/**
 * One timer for all deadlines of all calls: a watcher is called about ten times a second until it is removed. Cheaper
 * than several timers per call (2,000 streams cost 1 ms of a second), and fine enough for waits of seconds.
 */
export class Ticker implements Disposable {
  readonly #watchers = new Set<(nowMs: number) => void>()
  readonly #now: () => number
  #timer: NodeJS.Timeout | null = null

  constructor(now: () => number) {
    this.#now = now
  }

  /** Returns the way to stop. */
  watch(watcher: (nowMs: number) => void): () => void {
    this.#watchers.add(watcher)
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS)
    return () => {
      this.#watchers.delete(watcher)
    }
  }

  #tick(): void {
    if (this.#watchers.size === 0 && this.#timer) {
      clearInterval(this.#timer)
      this.#timer = null
      return
    }
    const now = this.#now()
    for (const watcher of this.#watchers) watcher(now)
  }

  [Symbol.dispose](): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    this.#watchers.clear()
  }
}

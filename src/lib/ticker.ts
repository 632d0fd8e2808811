import { type Clock, type SetTimer, systemTimer } from './clock.ts'

/** How fine the ticker's deadlines are. */
const TICK_MS = 100

/**
 * One timer for all deadlines of all calls: a watcher is called about ten times a second until it is removed. Cheaper
 * than several timers per call (2,000 streams cost 1 ms of a second), and fine enough for waits of seconds.
 */
export class Ticker implements Disposable {
  readonly #watchers = new Set<(nowMs: number) => void>()
  readonly #now: Clock
  readonly #setTimer: SetTimer
  /** Set while it ticks. */
  #cancelTimer: (() => void) | null = null

  constructor(now: Clock, setTimer: SetTimer = systemTimer) {
    this.#now = now
    this.#setTimer = setTimer
  }

  /** Returns the way to stop. */
  watch(watcher: (nowMs: number) => void): () => void {
    this.#watchers.add(watcher)
    this.#cancelTimer ??= this.#setTimer(TICK_MS, () => this.#tick())
    return () => {
      this.#watchers.delete(watcher)
    }
  }

  #tick(): void {
    this.#cancelTimer = this.#watchers.size > 0 ? this.#setTimer(TICK_MS, () => this.#tick()) : null
    const now = this.#now()
    for (const watcher of this.#watchers) watcher(now)
  }

  [Symbol.dispose](): void {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    this.#watchers.clear()
  }
}

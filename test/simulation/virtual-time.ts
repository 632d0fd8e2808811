import type { Clock, SetTimer } from '../../src/lib/clock.ts'

interface Timer {
  atMs: number
  /** Of those for the same moment, the one that was set first comes first. */
  order: number
  /** Null once it is cancelled or over. */
  callback: (() => void) | null
}

/**
 * The time of a simulation. It stands still while anything happens, and goes to the next timer when everything that the
 * last one caused is over.
 */
export class VirtualTime {
  #nowMs: number
  #order = 0
  #set = 0
  /** A heap: the earliest first. */
  readonly #timers: Timer[] = []

  constructor(nowMs: number) {
    this.#nowMs = nowMs
  }

  readonly clock: Clock = () => this.#nowMs

  readonly setTimer: SetTimer = (afterMs, callback) => {
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, afterMs), order: this.#order++, callback }
    this.#push(timer)
    this.#set++
    return () => {
      if (timer.callback !== null) this.#set--
      timer.callback = null
    }
  }

  /** Timers that are set. */
  get timers(): number {
    return this.#set
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.setTimer(ms, resolve))
  }

  /** Lets time pass until `work` is done. Rejects as it does, and where nothing is left that could bring it to its end. */
  async during<T>(work: Promise<T>): Promise<T> {
    let isDone = false
    const done = () => {
      isDone = true
    }
    work.then(done, done)
    await this.#passWhile(() => !isDone)
    if (!isDone) throw new Error('a simulation stands still: work is left, and no timer is set')
    return work
  }

  /** Lets time pass until no timer is left. */
  async runOut(): Promise<void> {
    await this.#passWhile(() => true)
  }

  #passWhile(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      // All promises that can go on have gone on when the next immediate comes.
      const step = () => {
        if (!condition()) return resolve()
        const timer = this.#next()
        if (!timer) return resolve()
        this.#nowMs = timer.atMs
        try {
          timer.callback?.()
        } catch (error) {
          return reject(error)
        }
        setImmediate(step)
      }
      setImmediate(step)
    })
  }

  #next(): { atMs: number; callback: () => void } | null {
    for (;;) {
      const timer = this.#pop()
      if (!timer) return null
      const { atMs, callback } = timer
      if (!callback) continue
      timer.callback = null
      this.#set--
      return { atMs, callback }
    }
  }

  #push(timer: Timer): void {
    const heap = this.#timers
    let at = heap.length
    heap.push(timer)
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!isBefore(timer, heap[above] as Timer)) break
      heap[at] = heap[above] as Timer
      at = above
    }
    heap[at] = timer
  }

  #pop(): Timer | undefined {
    const heap = this.#timers
    const first = heap[0]
    const last = heap.pop()
    if (!first || !last || first === last) return first
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      const right = heap[below + 1]
      if (right && isBefore(right, heap[below] as Timer)) below++
      if (below >= heap.length || !isBefore(heap[below] as Timer, last)) break
      heap[at] = heap[below] as Timer
      at = below
    }
    heap[at] = last
    return first
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

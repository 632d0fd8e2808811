import type { Ticker } from '../lib/ticker.ts'
import { HeldBodies } from './held-bodies.ts'

/** A call that runs longer than this leaves a trace in the start journal, in ms. */
const JOURNAL_AFTER_MS = 1000

/** Why somebody other than the client wants a call to end: the daemon has to, or its operator wants its place. */
export type EndReason = 'stopped' | 'released'

/** Something that must end when the daemon has to. */
export interface Stoppable {
  /** Of what holds a place that its operator may want: a slot, or one in line. */
  readonly callId?: string
  stop(reason: EndReason): void
}

/** An admitted call. */
export interface RunningCall extends Stoppable {
  /** Unix ms. */
  readonly admittedMs: number
  /** Writes the call into the start journal. */
  journal(): void
}

/** Every call that waits or runs, and the bytes of request bodies held for them. */
export class RunningCalls {
  readonly #waiting = new Set<Stoppable>()
  readonly #admitted = new Set<RunningCall>()
  readonly #unjournaled = new Set<RunningCall>()
  #stopping = false
  readonly bodies = new HeldBodies()
  /** No new calls. */
  draining = false

  constructor(ticker: Ticker) {
    ticker.watch((now) => this.#journalOld(now))
  }

  /** Bytes of request bodies in memory. */
  get bufferedBytes(): number {
    return this.bodies.bytes
  }

  get size(): number {
    return this.#admitted.size
  }

  /** A request that holds no admission now: its body is on the way, or it stands in line, or it needs none. */
  addWaiting(call: Stoppable): void {
    this.#waiting.add(call)
    if (this.#stopping) call.stop('stopped')
  }

  deleteWaiting(call: Stoppable): void {
    this.#waiting.delete(call)
  }

  add(call: RunningCall): void {
    this.#admitted.add(call)
    this.#unjournaled.add(call)
    if (this.#stopping) call.stop('stopped')
  }

  delete(call: RunningCall): void {
    this.#admitted.delete(call)
    this.#unjournaled.delete(call)
  }

  /** Ends all of them, each with its protocol's error, and whatever still comes. */
  stopAll(): void {
    this.#stopping = true
    for (const call of [...this.#waiting, ...this.#admitted]) call.stop('stopped')
  }

  /** Ends the call that runs or stands in line under this id, as its operator wants. Returns false if there is none. */
  release(callId: string): boolean {
    // One that moves to another account does both.
    const calls = [...this.#waiting, ...this.#admitted].filter((call) => call.callId === callId)
    for (const call of calls) call.stop('released')
    return calls.length > 0
  }

  /** In order of admission, so it stops at the first that is young. */
  #journalOld(nowMs: number): void {
    for (const call of this.#unjournaled) {
      if (nowMs - call.admittedMs < JOURNAL_AFTER_MS) return
      this.#unjournaled.delete(call)
      call.journal()
    }
  }
}

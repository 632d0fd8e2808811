import { GatewayError } from '../domain/errors.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
import { Allowances } from './allowances.ts'
import { arrivalOf, type RunningCall } from './arrival.ts'
import { Bindings } from './bindings.ts'
import { Limits } from './limits.ts'
import { Line } from './line.ts'
import type { Admission, AdmitRequest, Refused, Ticket } from './live-state.ts'
import { MinuteCounter } from './minute-counter.ts'
import { Serving } from './serving.ts'
import { Slots } from './slots.ts'
import { type Spender, Standings } from './standings.ts'
import { Vacancies } from './vacancies.ts'

/** Without a beat for so long, a process is given up by the next one that beats. */
const TTL_MS = 30_000
/** So long a call is remembered whose process was given up, in case that comes back: longer than calls run. */
const LOST_MS = 2 * 3_600_000

/** What processes share of live state: everything but the hearts that beat. Each method is one step. */
export class MemoryState {
  readonly now: Clock
  readonly slots = new Slots()
  readonly line = new Line()
  readonly running = new Map<string, RunningCall>()
  readonly standings = new Standings()
  readonly bindings: Bindings
  readonly limits: Limits
  readonly minutes: MinuteCounter
  readonly allowances: Allowances
  readonly vacancies: Vacancies
  readonly serving: Serving
  /** Until when each lock is held, in unix ms. */
  readonly locks = new Map<string, { untilMs: number }>()
  /** Calls whose process was given up; they hold nothing. By call id, the latest last. */
  readonly #lost = new Map<string, { call: RunningCall; untilMs: number }>()
  /** By process, the way to make its heart beat. */
  readonly #members = new Map<string, () => void>()
  /** By process, when it beat last, in unix ms. */
  readonly #beats = new Map<string, number>()
  #lastNumber = 0

  constructor(now: Clock, setTimer: SetTimer) {
    this.now = now
    this.bindings = new Bindings(now)
    this.limits = new Limits(now)
    this.minutes = new MinuteCounter(now)
    this.allowances = new Allowances(this.standings, this.limits)
    this.vacancies = new Vacancies(now, this.slots, this.line, this.bindings, this.limits)
    this.serving = new Serving({
      now,
      setTimer,
      slots: this.slots,
      bindings: this.bindings,
      allowances: this.allowances,
      line: this.line,
      vacancies: this.vacancies,
      running: this.running,
    })
  }

  /** A call comes to a process. That may have been given up while it was stopped; what it asks for now is its own again. */
  enter(request: AdmitRequest, processId: string): Admission | Ticket | Refused {
    if (!this.#beats.has(processId)) this.#beats.set(processId, this.now())
    const place = { number: ++this.#lastNumber, turn: this.line.turn }
    const answer = this.serving.enter(arrivalOf(request, processId, place, this.now()))
    this.serving.serveLine(request.userId, null) // its session may have moved, and its other calls with it
    return answer
  }

  /** All calls that have not settled, also those whose process was given up. */
  unsettled(): RunningCall[] {
    return [...this.running.values(), ...Array.from(this.#lost.values(), ({ call }) => call)]
  }

  /** The user's calls of which a charge may come: those that are in line as well. */
  spendersOf(userId: string): Spender[] {
    const calls: Spender[] = []
    for (const { request } of this.unsettled()) if (request.userId === userId) calls.push(request)
    for (const { request, running } of this.line.of(userId)?.calls ?? []) if (!running) calls.push(request)
    return calls
  }

  /** A call that was given up and has not settled since, though it may have been admitted anew; null: there is none. */
  lost(callId: string): RunningCall | null {
    return this.#lost.get(callId)?.call ?? null
  }

  /** The same, to settle it. */
  takeLost(callId: string): RunningCall | null {
    const call = this.lost(callId)
    if (call) this.#lost.delete(callId)
    return call
  }

  // ---- processes ----

  /** From when there are two, each has to show that it lives. */
  join(processId: string, startBeating: () => void): void {
    this.#members.set(processId, startBeating)
    this.#beats.set(processId, this.now())
    if (this.#members.size > 1) for (const start of this.#members.values()) start()
  }

  /** The process ends. */
  leave(processId: string): void {
    this.#members.delete(processId)
    this.#giveUp(processId, new Error('live state is closed'))
  }

  /** The process lives. Those that have been silent for too long do not. */
  beat(processId: string): void {
    const nowMs = this.now()
    this.#beats.set(processId, nowMs)
    for (const [other, beatMs] of this.#beats) if (nowMs - beatMs >= TTL_MS) this.#giveUp(other, takenForDead())
    for (const [callId, { untilMs }] of this.#lost) {
      if (untilMs > nowMs) break
      this.#lost.delete(callId)
      this.standings.forgetCall(callId)
    }
  }

  /** What a process's calls hold goes to whoever waits, and its own waits end. */
  #giveUp(processId: string, reason: Error): void {
    this.#beats.delete(processId)
    for (const call of this.line.tickets()) if (call.processId === processId) this.serving.giveUp(call, reason)
    for (const call of [...this.running.values()]) {
      if (call.processId !== processId) continue
      this.serving.release(call)
      this.allowances.giveUp(call)
      this.#lost.delete(call.request.callId) // the latest last
      this.#lost.set(call.request.callId, { call, untilMs: this.now() + LOST_MS })
      this.serving.serveLine(call.request.userId, call.accountId || null)
    }
  }
}

function takenForDead(): GatewayError {
  return new GatewayError('unavailable', 'this gateway process was taken for dead: try again', { retryAfterMs: 1000 })
}

import type { Limited, LimitStanding } from '../domain/limit.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
import { Allowances } from './allowances.ts'
import { admissionOf, arrivalOf, arrivalOfMoving, type RunningCall, usable } from './arrival.ts'
import { Bindings } from './bindings.ts'
import { Limits } from './limits.ts'
import { Line } from './line.ts'
import type {
  Admission,
  AdmissionView,
  AdmitRequest,
  BindingView,
  LiveState,
  RankedCandidate,
  ReadStanding,
  ReadUsage,
  Refused,
  Settlement,
  StandingCaller,
  Ticket,
  TicketView,
  UnknownStanding,
  UnknownUsage,
  WhichBindings,
} from './live-state.ts'
import { MinuteCounter } from './minute-counter.ts'
import { Serving } from './serving.ts'
import { Slots } from './slots.ts'
import { type Spender, Standings } from './standings.ts'
import { Vacancies } from './vacancies.ts'

/** LiveState of one process, in plain maps. No method waits before it is done, so each is one step. */
export class MemoryLiveState implements LiveState {
  readonly #now: Clock
  readonly #slots = new Slots()
  readonly #line = new Line()
  readonly #running = new Map<string, RunningCall>()
  readonly #standings = new Standings()
  readonly #bindings: Bindings
  readonly #limits: Limits
  readonly #minutes: MinuteCounter
  readonly #allowances: Allowances
  readonly #vacancies: Vacancies
  readonly #serving: Serving
  #lastNumber = 0
  /** Until when each lock is held, in unix ms. */
  readonly #locks = new Map<string, { untilMs: number }>()

  constructor(now: Clock, setTimer: SetTimer) {
    this.#now = now
    this.#bindings = new Bindings(now)
    this.#limits = new Limits(now)
    this.#minutes = new MinuteCounter(now)
    this.#allowances = new Allowances(this.#standings, this.#limits)
    this.#vacancies = new Vacancies(now, this.#slots, this.#line, this.#bindings, this.#limits)
    this.#serving = new Serving({
      now,
      setTimer,
      slots: this.#slots,
      bindings: this.#bindings,
      allowances: this.#allowances,
      line: this.#line,
      vacancies: this.#vacancies,
      running: this.#running,
    })
  }

  async admit(request: AdmitRequest): Promise<Admission | Ticket | Refused | UnknownStanding | UnknownUsage> {
    const waiting = this.#line.get(request.callId)
    if (waiting) return this.#serving.ticketOf(waiting)
    const running = this.#running.get(request.callId)
    if (running) return admissionOf(running)
    const refused = this.#allowances.refuse(request)
    if (refused) return refused
    const place = { number: ++this.#lastNumber, turn: this.#line.turn }
    const answer = this.#serving.enter(arrivalOf(request, place, this.#now()))
    this.#serving.serveLine(request.userId, null) // its session may have moved, and its other calls with it
    return answer
  }

  await(ticket: Ticket, signal: AbortSignal): Promise<Admission | Refused> {
    const call = this.#serving.callOf(ticket)
    if (!call?.outcome) return Promise.reject(new Error(`no ticket for ${ticket.callId}`))
    const { promise } = call.outcome
    const abort = () => this.#serving.giveUp(call, signal.reason)
    if (signal.aborted) abort()
    else {
      signal.addEventListener('abort', abort, { once: true })
      const stopListening = () => signal.removeEventListener('abort', abort)
      promise.then(stopListening, stopListening)
    }
    return promise
  }

  async move(
    admission: Admission,
    candidates: RankedCandidate[],
  ): Promise<Admission | Ticket | Refused | UnknownUsage> {
    const running = this.#running.get(admission.callId)
    if (!running || this.#line.get(admission.callId)) throw new Error(`bug: ${admission.callId} cannot be moved now`)
    const unknown = this.#allowances.unknownUsage([], candidates)
    if (unknown) return unknown
    const call = arrivalOfMoving(running, candidates, this.#now())
    const { accountId } = running
    if (accountId) this.#slots.free('account', accountId)
    this.#allowances.leaveAccount(running)
    running.accountId = ''
    running.bound = false
    const answer = this.#serving.enter(call)
    this.#serving.serveLine(running.request.userId, accountId || null)
    return answer
  }

  raise(admission: Admission, reservedNanoUsd: number): void {
    const running = this.#running.get(admission.callId)
    if (running) this.#allowances.raise(running, reservedNanoUsd)
  }

  async settle(admission: Admission, end: Settlement): Promise<void> {
    const running = this.#running.get(admission.callId)
    if (!running) return
    const { request, accountId, bound } = running
    const { callId, userId, keyId, session } = request
    const moving = this.#line.get(callId)
    if (moving) this.#serving.giveUp(moving, new Error(`${callId} ended while it waited for another account`))
    this.#running.delete(callId)
    this.#slots.free('user', userId)
    this.#slots.free('key', keyId)
    if (accountId) this.#slots.free('account', accountId)
    this.#allowances.settle(running, end)
    if (session && bound && end.confirmsBinding) this.#bindings.bind(session.key, accountId, session.ttlMs)
    this.#serving.serveLine(userId, accountId || null)
  }

  async learn(caller: StandingCaller, read: ReadStanding): Promise<void> {
    return this.#standings.learn(caller, read, () => this.#unsettled(caller.userId))
  }

  async learnUsage(limited: Limited, read: ReadUsage): Promise<void> {
    return this.#limits.learn(limited, read, () => this.#running.values())
  }

  async standings(limited: Limited): Promise<LimitStanding[] | UnknownUsage> {
    return this.#allowances.unknownUsage([limited], []) ?? this.#limits.standings(limited)
  }

  async spentBy(keyId: string): Promise<number | null> {
    return this.#standings.spentBy(keyId)
  }

  async forget(userId: string | null): Promise<void> {
    this.#standings.forget(userId)
  }

  async rerank(ticket: Ticket, candidates: RankedCandidate[]): Promise<UnknownUsage | null> {
    const call = this.#line.get(ticket.callId)
    if (!call) return null
    const unknown = this.#allowances.unknownUsage([], candidates)
    if (unknown) return unknown
    this.#line.rerank(call, usable(candidates))
    this.#serving.lookAgain(call)
    return null
  }

  async countPerMinute(subject: string, limit: number): Promise<boolean> {
    return this.#minutes.count(subject, limit)
  }

  async admissions(): Promise<AdmissionView[]> {
    return Array.from(this.#running.values(), ({ request: { callId, userId, keyId }, accountId, sinceMs }) => ({
      callId,
      userId,
      keyId,
      accountId,
      sinceMs,
    }))
  }

  async tickets(): Promise<TicketView[]> {
    return this.#line.tickets().map((call) => ({
      callId: call.request.callId,
      number: call.place.number,
      userId: call.request.userId,
      keyId: call.request.keyId,
      accountIds: this.#vacancies.accountsFor(call).map(({ accountId }) => accountId),
      sinceMs: call.sinceMs,
      passes: call.passes,
    }))
  }

  async bindings(): Promise<BindingView[]> {
    return this.#bindings.all()
  }

  async unbind(which: WhichBindings): Promise<number> {
    const isMeant = (sessionKey: string, accountId: string) =>
      which === 'all' || ('accountId' in which ? which.accountId === accountId : which.sessionKey === sessionKey)
    const count = this.#bindings.unbind(isMeant)
    for (const running of this.#running.values()) {
      const { session } = running.request
      if (session && isMeant(session.key, running.accountId)) running.bound = false
    }
    this.#serving.serveLines(Array.from(this.#line.users(), ({ userId }) => userId)) // who waited for its own account only
    return count
  }

  async withLock<T>(name: string, ttlMs: number, work: () => Promise<T>): Promise<T | null> {
    const held = this.#locks.get(name)
    if (held && held.untilMs > this.#now()) return null
    const lock = { untilMs: this.#now() + ttlMs }
    this.#locks.set(name, lock)
    try {
      return await work()
    } finally {
      if (this.#locks.get(name) === lock) this.#locks.delete(name)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#serving.close(new Error('live state is closed'))
  }

  /** The user's calls that are admitted or in line: a charge of theirs may come. */
  #unsettled(userId: string): Spender[] {
    const calls: Spender[] = []
    for (const { request } of this.#running.values()) if (request.userId === userId) calls.push(request)
    for (const { request, running } of this.#line.of(userId)?.calls ?? []) if (!running) calls.push(request)
    return calls
  }
}

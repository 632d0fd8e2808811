import type { Limited, LimitRefusal, LimitStanding } from '../domain/limit.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
import {
  type Arrival,
  admissionOf,
  arrivalOf,
  arrivalOfMoving,
  forbiddingNeed,
  isOlder,
  limitedAccount,
  type Need,
  type RunningCall,
  usable,
} from './arrival.ts'
import { Bindings } from './bindings.ts'
import { Limits, waitOf } from './limits.ts'
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
import { Slots } from './slots.ts'
import { type Spender, Standings } from './standings.ts'
import { type Fit, Vacancies } from './vacancies.ts'

/** What a client whose line is full is told to wait. */
const RETRY_AFTER_MS = 1000
/** The longest that a timer can be set. */
const TIMER_MAX_MS = 2 ** 31 - 1

/**
 * LiveState of one process, in plain maps. No method waits before it is done, so each is one step.
 *
 * Between two steps nobody in line could be served. So a step looks only at those whom it may have helped: the tickets
 * of the user whose slot came free, and at the account that came free everybody's.
 */
export class MemoryLiveState implements LiveState {
  readonly #now: Clock
  readonly #setTimer: SetTimer
  readonly #slots = new Slots()
  readonly #bindings: Bindings
  readonly #standings = new Standings()
  readonly #limits: Limits
  readonly #minutes: MinuteCounter
  readonly #running = new Map<string, RunningCall>()
  readonly #line = new Line()
  /** A ticket may end before anybody waits for it, so they are remembered for as long as somebody has them. */
  readonly #tickets = new WeakMap<Ticket, Arrival>()
  readonly #vacancies: Vacancies
  #lastNumber = 0
  /** Until when each lock is held, in unix ms. */
  readonly #locks = new Map<string, { untilMs: number }>()

  constructor(now: Clock, setTimer: SetTimer) {
    this.#now = now
    this.#setTimer = setTimer
    this.#bindings = new Bindings(now)
    this.#minutes = new MinuteCounter(now)
    this.#limits = new Limits(now)
    this.#vacancies = new Vacancies(now, this.#slots, this.#line, this.#bindings, this.#limits)
  }

  async admit(request: AdmitRequest): Promise<Admission | Ticket | Refused | UnknownStanding | UnknownUsage> {
    const waiting = this.#line.get(request.callId)
    if (waiting) return this.#ticketOf(waiting)
    const running = this.#running.get(request.callId)
    if (running) return admissionOf(running)
    const refused = this.#standings.refuse(request)
    if (refused) return refused
    const unknown = this.#unknownUsage(request.limits, request.candidates)
    if (unknown) return unknown
    const limited = this.#overLimit(request)
    if (limited) return limited
    const place = { number: ++this.#lastNumber, turn: this.#line.turn }
    const answer = this.#serveOrQueue(arrivalOf(request, place, this.#now()))
    this.#serveLine(request.userId, null) // its session may have moved, and its other calls with it
    return answer
  }

  await(ticket: Ticket, signal: AbortSignal): Promise<Admission | Refused> {
    const call = this.#tickets.get(ticket)
    if (!call?.outcome) return Promise.reject(new Error(`no ticket for ${ticket.callId}`))
    const { promise } = call.outcome
    const abort = () => this.#giveUp(call, signal.reason)
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
    const unknown = this.#unknownUsage([], candidates)
    if (unknown) return unknown
    const call = arrivalOfMoving(running, candidates, this.#now())
    const { accountId } = running
    if (accountId) this.#slots.free('account', accountId)
    this.#limits.giveBack(running.accountHolds)
    running.accountId = ''
    running.bound = false
    const answer = this.#serveOrQueue(call)
    this.#serveLine(running.request.userId, accountId || null)
    return answer
  }

  raise(admission: Admission, reservedNanoUsd: number): void {
    const running = this.#running.get(admission.callId)
    if (!running || reservedNanoUsd <= running.reservedNanoUsd) return
    this.#standings.reserve(running.request.userId, reservedNanoUsd - running.reservedNanoUsd)
    running.reservedNanoUsd = reservedNanoUsd
  }

  async settle(admission: Admission, end: Settlement): Promise<void> {
    const running = this.#running.get(admission.callId)
    if (!running) return
    const { request, accountId, bound, reservedNanoUsd } = running
    const { callId, userId, keyId, session } = request
    const moving = this.#line.get(callId)
    if (moving) this.#giveUp(moving, new Error(`${callId} ended while it waited for another account`))
    this.#running.delete(callId)
    this.#slots.free('user', userId)
    this.#slots.free('key', keyId)
    if (accountId) this.#slots.free('account', accountId)
    this.#standings.reserve(userId, -reservedNanoUsd)
    this.#standings.debit(request, end)
    this.#limits.settle(running, end.used)
    if (session && bound && end.confirmsBinding) this.#bindings.confirm(session.key, accountId, session.ttlMs)
    this.#serveLine(userId, accountId || null)
  }

  async learn(caller: StandingCaller, read: ReadStanding): Promise<void> {
    return this.#standings.learn(caller, read, () => this.#unsettled(caller.userId))
  }

  async learnUsage(limited: Limited, read: ReadUsage): Promise<void> {
    return this.#limits.learn(limited, read, () => this.#running.values())
  }

  async standings(limited: Limited): Promise<LimitStanding[] | UnknownUsage> {
    return this.#unknownUsage([limited], []) ?? this.#limits.standings(limited)
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
    const unknown = this.#unknownUsage([], candidates)
    if (unknown) return unknown
    this.#line.rerank(call, usable(candidates))
    call.cancelTimer()
    this.#watch(call)
    this.#lookAgain(call)
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
    this.#serveLines(Array.from(this.#line.users(), ({ userId }) => userId)) // who waited for its own account only
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
    for (const call of this.#line.tickets()) {
      this.#leaveLine(call)
      call.outcome?.reject(new Error('live state is closed'))
    }
  }

  // ---- serving ----

  /** Serves the call at once if all that it needs is free; otherwise it stands in line, if there is room. */
  #serveOrQueue(call: Arrival): Admission | Ticket | Refused {
    const forbidding = forbiddingNeed(call)
    if (forbidding) return this.#refuse(forbidding, 'line_full')
    const limit = this.#vacancies.limitReached(call)
    if (limit) return { kind: 'refused', refusal: limit }
    const account = this.#vacancies.accountFor(call)
    if (account) return this.#serve(call, account)
    const bottlenecks = this.#vacancies.bottlenecks(call)
    const withRoom = bottlenecks.find((need) => this.#hasRoomInLine(call, need))
    if (withRoom) return this.#queue(call, withRoom)
    const bottleneck = bottlenecks[0] as Need
    if (bottleneck.kind !== 'account' || !this.#vacancies.waitsForItsOwn(call))
      return this.#refuse(bottleneck, 'line_full')
    call.stickyUntilMs = 0 // too many wait for the session's account: a detour, at once
    return this.#serveOrQueue(call)
  }

  /** Serves the line after a slot of the user and perhaps one of an account came free. */
  #serveLine(userId: string, accountId: string | null): void {
    this.#serveLines([userId], accountId)
  }

  /** Serves the line until nobody fits: of each user the oldest ticket that fits, and among users the one whose turn it is. */
  #serveLines(userIds: string[], accountId: string | null = null): void {
    if (this.#line.isEmpty) return
    let freeAccountId = accountId !== null && this.#line.isWanted(accountId) ? accountId : null
    const users = new Set(userIds)
    for (;;) {
      const next = this.#nextInLine(users, freeAccountId)
      if (!next) return
      users.add(next.call.request.userId) // its session may have moved, and its other calls with it
      const isServed = this.#serveTicket(next)
      if (isServed && next.account.accountId === freeAccountId) freeAccountId = null
    }
  }

  #nextInLine(users: Set<string>, freeAccountId: string | null): Fit | null {
    let best: (Fit & { turn: number }) | null = null
    const lines = freeAccountId === null ? Array.from(users, (id) => this.#line.of(id)) : this.#line.users()
    for (const line of lines) {
      const next = line && this.#vacancies.oldestThatFits(line, users.has(line.userId) ? null : freeAccountId)
      if (!next) continue
      const turn = this.#line.turnAt(next.account.accountId, next.call)
      const isBefore = !best || turn < best.turn || (turn === best.turn && isOlder(next.call, best.call))
      if (isBefore) best = { ...next, turn }
    }
    return best
  }

  /** Ends the wait of a ticket: it gets what it waited for, unless money or a limit ran out meanwhile. Returns whether it was served. */
  #serveTicket({ call, account }: Fit): boolean {
    const refused = this.#ranOut(call)
    if (!refused) this.#line.takeTurn(account.accountId, call)
    this.#leaveLine(call)
    call.outcome?.resolve(refused ?? this.#serve(call, account))
    return refused === null
  }

  /** Why a ticket is refused though it is its turn. What has to be learnt anew meanwhile does not hold it up. */
  #ranOut(call: Arrival): Refused | null {
    const { running, request } = call
    if (!running) {
      const spent = this.#standings.refuse(request)
      if (spent?.kind === 'refused') return spent
      const limited = this.#overLimit(request)
      if (limited) return limited
    }
    const refusal = this.#vacancies.limitReached(call)
    return refusal && { kind: 'refused', refusal }
  }

  #serve(call: Arrival, candidate: RankedCandidate): Admission {
    const { request, place } = call
    const { accountId } = candidate
    const { session, userId, keyId, reservedNanoUsd } = request
    const own = this.#vacancies.ownAccount(call)
    this.#slots.take('account', accountId)
    let running = call.running
    if (!running) {
      this.#notePassed(call)
      this.#slots.take('user', userId)
      this.#slots.take('key', keyId)
      this.#standings.reserve(userId, reservedNanoUsd)
      running = {
        request,
        place,
        accountId,
        bound: false,
        boundBefore: null,
        reservedNanoUsd,
        sinceMs: this.#now(),
        holds: [],
        accountHolds: [],
      }
      this.#running.set(request.callId, running)
      this.#countCaller(running)
    }
    this.#limits.count(limitedAccount(candidate), running, running.accountHolds)
    running.accountId = accountId
    // A session is bound here, so that its second call lands beside a first that has not answered yet. A detour from an
    // account that is still a candidate leaves the binding as it is.
    running.boundBefore = session && this.#bindings.accountOf(session.key)
    running.bound = session !== null && (own === null || own.accountId === accountId)
    if (session && running.bound) this.#bindings.bind(session.key, accountId, session.ttlMs)
    const spending = this.#spendingOf(request)
    return spending ? { ...admissionOf(running), spending } : admissionOf(running)
  }

  /** Its user's older tickets were passed once more. Others lose nothing by it: at an account users take turns. */
  #notePassed(served: Arrival): void {
    for (const call of this.#line.of(served.request.userId)?.calls ?? []) {
      if (isOlder(call, served)) call.passes++
    }
  }

  // ---- limits ----

  /** Those who have to be learnt before the call can be judged; null if there are none. */
  #unknownUsage(limits: readonly Limited[], candidates: readonly RankedCandidate[]): UnknownUsage | null {
    let of: Limited[] | null = null
    for (const limited of limits) if (this.#limits.isUnknown(limited)) of = [...(of ?? []), limited]
    for (const candidate of candidates) {
      if (candidate.limits.length === 0) continue
      const limited = limitedAccount(candidate)
      if (this.#limits.isUnknown(limited)) of = [...(of ?? []), limited]
    }
    return of && { kind: 'unknown_usage', of }
  }

  /** The caller's limit that keeps the call out, of several the one that does so for longest. */
  #overLimit({ limits }: AdmitRequest): Refused | null {
    let worst: LimitRefusal | null = null
    for (const limited of limits) {
      const exceeded = this.#limits.exceeded(limited)
      if (exceeded && (worst === null || waitOf(exceeded) > waitOf(worst))) worst = exceeded
    }
    return worst && { kind: 'refused', refusal: worst }
  }

  #countCaller(running: RunningCall): void {
    const { keyId, userId, groupId, limits } = running.request
    for (const limited of limits) this.#limits.count(limited, running, running.holds)
    // Who has no limits any more is forgotten.
    const has = (subject: Limited['subject']) => limits.some((limited) => limited.subject === subject)
    if (!has('key')) this.#limits.forget('key', keyId)
    if (!has('user')) this.#limits.forget('user', userId)
    if (!has('group')) this.#limits.forget('group', groupId)
  }

  /** Of the caller's limits of money the one of which the largest share is used. */
  #spendingOf({ limits }: AdmitRequest): LimitStanding | null {
    let nearest: LimitStanding | null = null
    for (const limited of limits) {
      if (!limited.limits.some(({ metric }) => metric === 'usd')) continue
      for (const standing of this.#limits.standings(limited)) {
        if (standing.limit.metric === 'usd' && (!nearest || shareOf(standing) > shareOf(nearest))) nearest = standing
      }
    }
    return nearest
  }

  // ---- the line ----

  #queue(call: Arrival, heldUpBy: Need): Ticket {
    call.outcome = Promise.withResolvers()
    call.outcome.promise.catch(() => {}) // it may be given up before anybody comes to wait
    this.#line.join(call, heldUpBy)
    this.#keepBinding(call)
    this.#watch(call)
    return this.#ticketOf(call)
  }

  /** To wait for a session's account is to use its binding: it does not end while the call stands in line for it. */
  #keepBinding(call: Arrival): void {
    const { session } = call.request
    const own = this.#vacancies.ownAccount(call)
    if (session && own) this.#bindings.bind(session.key, own.accountId, session.ttlMs)
  }

  #ticketOf(call: Arrival): Ticket {
    const ticket: Ticket = { kind: 'ticket', callId: call.request.callId, number: call.place.number }
    this.#tickets.set(ticket, call)
    return ticket
  }

  /** Looks again when the wait for the session's own account is over or one is back within its limits, and refuses at the deadline. */
  #watch(call: Arrival): void {
    const now = this.#now()
    const { deadlineMs } = call.request
    const stickyUntilMs = call.stickyUntilMs > now ? call.stickyUntilMs : deadlineMs
    const wakeAtMs = Math.min(stickyUntilMs, deadlineMs, now + this.#vacancies.backInMs(call))
    call.cancelTimer = this.#setTimer(Math.min(Math.max(0, wakeAtMs - now), TIMER_MAX_MS), () => {
      if (this.#now() < deadlineMs) {
        this.#watch(call)
        this.#lookAgain(call)
      } else {
        const limit = this.#vacancies.limitReached(call)
        const [bottleneck] = this.#vacancies.bottlenecks(call)
        this.#refuseTicket(
          call,
          limit ? { kind: 'refused', refusal: limit } : this.#refuse(bottleneck as Need, 'waited'),
        )
      }
    })
  }

  /** For this ticket something has changed: other candidates, or the wait for its session's own account is over. */
  #lookAgain(call: Arrival): void {
    const forbidding = forbiddingNeed(call)
    const account = this.#vacancies.accountFor(call)
    if (forbidding) this.#refuseTicket(call, this.#refuse(forbidding, 'line_full'))
    else if (account) {
      this.#serveTicket({ call, account })
      this.#serveLine(call.request.userId, null)
    }
  }

  /** The user's calls that are admitted or in line: a charge of theirs may come. */
  #unsettled(userId: string): Spender[] {
    const calls: Spender[] = []
    for (const { request } of this.#running.values()) if (request.userId === userId) calls.push(request)
    for (const { request, running } of this.#line.of(userId)?.calls ?? []) if (!running) calls.push(request)
    return calls
  }

  #leaveLine(call: Arrival): void {
    call.cancelTimer()
    this.#line.leave(call)
  }

  #refuseTicket(call: Arrival, refused: Refused): void {
    this.#leaveLine(call)
    call.outcome?.resolve(refused)
    this.#serveLine(call.request.userId, null) // what was kept for it
  }

  #giveUp(call: Arrival, reason: unknown): void {
    this.#leaveLine(call)
    call.outcome?.reject(reason)
    this.#serveLine(call.request.userId, null) // what was kept for it
  }

  #hasRoomInLine(call: Arrival, need: Need): boolean {
    const { session, lineExtra } = call.request
    const isSticky = session !== null && need.kind === 'account' && this.#vacancies.waitsForItsOwn(call)
    const places = isSticky ? session.line : (need.limit ?? 0) + lineExtra
    return this.#line.lengthAt(need) < places
  }

  #refuse({ kind, id, limit }: Need, reason: 'line_full' | 'waited'): Refused {
    const used = this.#slots.inUse(kind, id)
    const retryAfterMs = limit === 0 ? null : RETRY_AFTER_MS
    return {
      kind: 'refused',
      refusal: { subject: kind, subjectId: id, metric: 'concurrent', reason, limit: limit ?? 0, used, retryAfterMs },
    }
  }
}

/** What is used of a limit; a limit of nothing is used up. */
function shareOf({ used, limit }: LimitStanding): number {
  return limit.max === 0 ? Number.POSITIVE_INFINITY : used / limit.max
}

import type { Clock, SetTimer } from '../lib/clock.ts'
import type { Allowances } from './allowances.ts'
import {
  type Arrival,
  admissionOf,
  forbiddingNeed,
  isOlder,
  type Need,
  type RunningCall,
  type Usable,
} from './arrival.ts'
import type { Bindings } from './bindings.ts'
import type { Line } from './line.ts'
import type { Admission, RankedCandidate, Refused, Ticket } from './live-state.ts'
import type { Slots } from './slots.ts'
import type { Fit, Vacancies } from './vacancies.ts'

/** What a client whose line is full is told to wait. */
const RETRY_AFTER_MS = 1000
/** The longest that a timer can be set. */
const TIMER_MAX_MS = 2 ** 31 - 1

/** What serving works on. */
interface Parts {
  now: Clock
  setTimer: SetTimer
  slots: Slots
  bindings: Bindings
  allowances: Allowances
  line: Line
  vacancies: Vacancies
  running: Map<string, RunningCall>
}

/**
 * Gives slots to those who come and to those who wait.
 *
 * Between two steps nobody in line could be served. So a step looks only at those whom it may have helped: the tickets
 * of the user whose slot came free, and at the account that came free everybody's.
 */
export class Serving {
  readonly #now: Clock
  readonly #setTimer: SetTimer
  readonly #slots: Slots
  readonly #bindings: Bindings
  readonly #allowances: Allowances
  readonly #line: Line
  readonly #vacancies: Vacancies
  readonly #running: Map<string, RunningCall>
  /** A ticket may end before anybody waits for it, so they are remembered for as long as somebody has them. */
  readonly #tickets = new WeakMap<Ticket, Arrival>()

  constructor(parts: Parts) {
    this.#now = parts.now
    this.#setTimer = parts.setTimer
    this.#slots = parts.slots
    this.#bindings = parts.bindings
    this.#allowances = parts.allowances
    this.#line = parts.line
    this.#vacancies = parts.vacancies
    this.#running = parts.running
  }

  /** Serves the call at once if all that it needs is free; otherwise it stands in line, if there is room. */
  enter(call: Arrival): Admission | Ticket | Refused {
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
    return this.enter(call)
  }

  /** Serves the line after a slot of the user and perhaps one of an account came free. */
  serveLine(userId: string, accountId: string | null): void {
    this.serveLines([userId], accountId)
  }

  /** Serves the line until nobody fits: of each user the oldest ticket that fits, and among users the one whose turn it is. */
  serveLines(userIds: string[], accountId: string | null = null): void {
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

  /** A call has ended: its slots are free, for `serveLine` to give away. */
  release({ request, accountId }: RunningCall): void {
    this.#running.delete(request.callId)
    this.#slots.free('user', request.userId)
    this.#slots.free('key', request.keyId)
    if (accountId) this.#slots.free('account', accountId)
  }

  /** Other accounts would do for the ticket now. */
  rerank(call: Arrival, usable: Usable): void {
    this.#line.rerank(call, usable)
    call.cancelTimer()
    this.#watch(call)
    this.#lookAgain(call)
  }

  /** For this ticket something has changed: other candidates, or the wait for its session's own account is over. */
  #lookAgain(call: Arrival): void {
    const forbidding = forbiddingNeed(call)
    const account = this.#vacancies.accountFor(call)
    if (forbidding) this.#refuseTicket(call, this.#refuse(forbidding, 'line_full'))
    else if (account) {
      this.#serveTicket({ call, account })
      this.serveLine(call.request.userId, null)
    }
  }

  /** Ends a wait in vain: whoever waits for it hears the reason. */
  giveUp(call: Arrival, reason: unknown): void {
    this.#leaveLine(call)
    call.outcome?.reject(reason)
    this.serveLine(call.request.userId, null) // what was kept for it
  }

  /** A ticket for a call in line. */
  ticketOf(call: Arrival): Ticket {
    const ticket: Ticket = { kind: 'ticket', callId: call.request.callId, number: call.place.number }
    this.#tickets.set(ticket, call)
    return ticket
  }

  /** The call that a ticket stands for, in line or not. */
  callOf(ticket: Ticket): Arrival | undefined {
    return this.#tickets.get(ticket)
  }

  // ---- serving ----

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
    const spent = call.running ? null : this.#allowances.ranOut(call.request)
    if (spent) return spent
    const refusal = this.#vacancies.limitReached(call)
    return refusal && { kind: 'refused', refusal }
  }

  #serve(call: Arrival, candidate: RankedCandidate): Admission {
    const { request, processId, place } = call
    const { accountId, model } = candidate
    const { session, userId, keyId } = request
    const own = this.#vacancies.ownAccount(call)
    this.#slots.take('account', accountId)
    let running = call.running
    if (!running) {
      this.#notePassed(call)
      this.#slots.take('user', userId)
      this.#slots.take('key', keyId)
      running = {
        request,
        processId,
        place,
        accountId,
        model,
        bound: false,
        boundBefore: null,
        reservedNanoUsd: request.reservedNanoUsd,
        estimate: request.estimate,
        sinceMs: this.#now(),
        holds: [],
        accountHolds: [],
      }
      this.#running.set(request.callId, running)
      this.#allowances.countCaller(running)
    }
    running.accountId = accountId
    running.model = model
    this.#allowances.countAccount(candidate, running)
    // A session is bound here, so that its second call lands beside a first that has not answered yet. A detour from an
    // account that is still a candidate leaves the binding as it is.
    running.boundBefore = session && this.#bindings.accountOf(session.key)
    running.bound = session !== null && (own === null || own.accountId === accountId)
    if (session && running.bound) this.#bindings.bind(session.key, accountId, session.ttlMs)
    const standings = call.running ? null : this.#allowances.standingsOf(request, candidate)
    return standings ? { ...admissionOf(running), standings } : admissionOf(running)
  }

  /** Its user's older tickets were passed once more. Others lose nothing by it: at an account users take turns. */
  #notePassed(served: Arrival): void {
    for (const call of this.#line.of(served.request.userId)?.calls ?? []) {
      if (isOlder(call, served)) call.passes++
    }
  }

  // ---- the line ----

  #queue(call: Arrival, heldUpBy: Need): Ticket {
    call.outcome = Promise.withResolvers()
    call.outcome.promise.catch(() => {}) // it may be given up before anybody comes to wait
    this.#line.join(call, heldUpBy)
    this.#watch(call)
    return this.ticketOf(call)
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

  #leaveLine(call: Arrival): void {
    call.cancelTimer()
    this.#line.leave(call)
  }

  #refuseTicket(call: Arrival, refused: Refused): void {
    this.#leaveLine(call)
    call.outcome?.resolve(refused)
    this.serveLine(call.request.userId, null) // what was kept for it
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

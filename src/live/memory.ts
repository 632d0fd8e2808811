import type { Limited, LimitStanding } from '../domain/limit.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
import { admissionOf, arrivalOfMoving, usable } from './arrival.ts'
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
  Reservation,
  Settlement,
  StandingCaller,
  Ticket,
  TicketView,
  UnknownStanding,
  UnknownUsage,
  WhichBindings,
} from './live-state.ts'
import { MemoryState } from './memory-state.ts'

/** How often a process shows that it lives, and looks for those that do not. */
const BEAT_MS = 5000

/**
 * LiveState in plain maps. No method waits before it is done, so each is one step. Processes that share a state are a
 * matter of tests: a real one is alone with its own, and then no heart beats, as nobody could give it up.
 */
export class MemoryLiveState implements LiveState {
  readonly processId: string
  readonly #setTimer: SetTimer
  readonly #state: MemoryState
  #stopBeating: (() => void) | null = null

  constructor(processId: string, now: Clock, setTimer: SetTimer, state = new MemoryState(now, setTimer)) {
    this.processId = processId
    this.#setTimer = setTimer
    this.#state = state
    state.join(processId, () => {
      this.#stopBeating ??= setTimer(BEAT_MS, () => this.#beat())
    })
  }

  async ping(): Promise<void> {}

  #beat(): void {
    this.#state.beat(this.processId)
    this.#stopBeating = this.#setTimer(BEAT_MS, () => this.#beat())
  }

  async admit(request: AdmitRequest): Promise<Admission | Ticket | Refused | UnknownStanding | UnknownUsage> {
    const { line, running, allowances, serving } = this.#state
    const waiting = line.get(request.callId)
    if (waiting) return serving.ticketOf(waiting)
    const admitted = running.get(request.callId)
    if (admitted) return admissionOf(admitted)
    const refused = allowances.refuse(request)
    if (refused) return refused
    return this.#state.enter(request, this.processId)
  }

  await(ticket: Ticket, signal: AbortSignal): Promise<Admission | Refused> {
    const { serving } = this.#state
    const call = serving.callOf(ticket)
    if (!call?.outcome) return Promise.reject(new Error(`no ticket for ${ticket.callId}`))
    const { promise } = call.outcome
    const abort = () => serving.giveUp(call, signal.reason)
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
    const { line, slots, allowances, serving } = this.#state
    const running = this.#state.running.get(admission.callId)
    if (!running) return this.#readmit(admission, candidates)
    if (line.get(admission.callId)) throw new Error(`bug: ${admission.callId} cannot be moved now`)
    const unknown = allowances.unknownUsage([], candidates)
    if (unknown) return unknown
    const call = arrivalOfMoving(running, candidates, this.#state.now())
    const { accountId } = running
    if (accountId) slots.free('account', accountId)
    allowances.leaveAccount(running)
    running.accountId = ''
    running.bound = false
    const answer = serving.enter(call)
    serving.serveLine(running.request.userId, accountId || null)
    return answer
  }

  raise(admission: Admission, reservation: Reservation): void {
    const running = this.#state.running.get(admission.callId)
    if (running) this.#state.allowances.raise(running, reservation)
  }

  async settle(admission: Admission, end: Settlement): Promise<void> {
    const { running, line, bindings, allowances, serving } = this.#state
    const lost = this.#state.takeLost(admission.callId)
    const call = running.get(admission.callId) ?? lost
    if (!call) return
    const isRunning = call !== lost
    const moving = line.get(admission.callId)
    if (moving) serving.giveUp(moving, new Error(`${admission.callId} ended while it waited for another account`))
    if (isRunning) serving.release(call)
    allowances.settle(call, end)
    const { session, userId } = call.request
    if (session && call.bound && end.confirmsBinding) bindings.confirm(session.key, call.accountId, session.ttlMs)
    serving.serveLine(userId, isRunning ? call.accountId || null : null) // also where only its session has moved
  }

  async learn(caller: StandingCaller, read: ReadStanding): Promise<void> {
    return this.#state.standings.learn(caller, read, () => this.#state.spendersOf(caller.userId))
  }

  async learnUsage(limited: Limited, read: ReadUsage): Promise<void> {
    return this.#state.limits.learn(limited, read, () => this.#state.unsettled())
  }

  async standings(limited: Limited): Promise<LimitStanding[] | UnknownUsage> {
    const { limits } = this.#state
    return limits.knowsAll(limited) ? limits.standings(limited) : { kind: 'unknown_usage', of: [limited] }
  }

  async spentBy(keyId: string): Promise<number | null> {
    return this.#state.standings.spentBy(keyId)
  }

  async forget(userId: string | null): Promise<void> {
    this.#state.standings.forget(userId)
  }

  async rerank(ticket: Ticket, candidates: RankedCandidate[]): Promise<UnknownUsage | null> {
    const { line, allowances, serving } = this.#state
    const call = line.get(ticket.callId)
    if (!call) return null
    const unknown = allowances.unknownUsage([], candidates)
    if (unknown) return unknown
    serving.rerank(call, usable(candidates))
    return null
  }

  async countPerMinute(subject: string, limit: number): Promise<boolean> {
    return this.#state.minutes.count(subject, limit)
  }

  async admissions(): Promise<AdmissionView[]> {
    return Array.from(this.#state.running.values(), ({ request, processId, accountId, sinceMs }) => {
      const { callId, userId, keyId } = request
      return { callId, processId, userId, keyId, accountId, sinceMs }
    })
  }

  async tickets(): Promise<TicketView[]> {
    const { line, vacancies } = this.#state
    return line.tickets().map((call) => ({
      callId: call.request.callId,
      processId: call.processId,
      number: call.place.number,
      userId: call.request.userId,
      keyId: call.request.keyId,
      accountIds: vacancies.accountsFor(call).map(({ accountId }) => accountId),
      sinceMs: call.sinceMs,
      passes: call.passes,
    }))
  }

  async bindings(): Promise<BindingView[]> {
    return this.#state.bindings.all()
  }

  async unbind(which: WhichBindings): Promise<number> {
    const { bindings, line, serving } = this.#state
    const isMeant = (sessionKey: string, accountId: string) =>
      which === 'all' || ('accountId' in which ? which.accountId === accountId : which.sessionKey === sessionKey)
    const count = bindings.unbind(isMeant)
    for (const call of this.#state.unsettled()) {
      const { session } = call.request
      if (session && isMeant(session.key, call.accountId)) call.bound = false
    }
    serving.serveLines(Array.from(line.users(), ({ userId }) => userId)) // who waited for its own account only
    return count
  }

  async withLock<T>(name: string, ttlMs: number, work: () => Promise<T>): Promise<T | null> {
    const { locks, now } = this.#state
    const held = locks.get(name)
    if (held && held.untilMs > now()) return null
    const lock = { untilMs: now() + ttlMs }
    locks.set(name, lock)
    try {
      return await work()
    } finally {
      if (locks.get(name) === lock) locks.delete(name)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopBeating?.()
    this.#state.leave(this.processId)
  }

  /** Its process was given up while it was stopped: the call holds nothing and needs everything again. */
  async #readmit(
    { callId }: Admission,
    candidates: RankedCandidate[],
  ): Promise<Admission | Ticket | Refused | UnknownUsage> {
    const unknown = this.#state.allowances.unknownUsage([], candidates)
    if (unknown) return unknown
    const lost = this.#state.lost(callId)
    if (!lost) throw new Error(`bug: ${callId} cannot be moved now`)
    return this.#state.enter({ ...lost.request, candidates }, this.processId)
  }
}

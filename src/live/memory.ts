import type { LimitSubject, Refusal } from '../domain/limit.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
import type {
  Admission,
  AdmissionView,
  AdmitRequest,
  BindingView,
  LiveState,
  RankedCandidate,
  Refused,
  SeededStanding,
  Settlement,
  Ticket,
  TicketView,
  UnknownStanding,
} from './live-state.ts'
import { MinuteCounter } from './minute-counter.ts'

/** Arrivals that may pass a ticket before the slots it needs are kept for it. */
const PASSES_MAX = 8
/** Users and keys whose money is remembered; beyond it the oldest without a running call are forgotten and seeded anew. */
const STANDINGS_MAX = 100_000
/** Bindings kept; beyond it those used longest ago go. */
const BINDINGS_MAX = 200_000

/** A counted place: `user`, `key` or `account`, and its id. */
interface Subject {
  kind: LimitSubject
  id: string
  limit: number | null
}

interface RunningCall {
  request: AdmitRequest
  number: number
  accountId: string
  reservedNanoUsd: number
  sinceMs: number
  /** The standing that was seeded last already includes this call. */
  alreadyDebited: boolean
  bound: boolean
}

interface WaitingCall {
  request: AdmitRequest
  number: number
  /** A moving call keeps these; only the account's slot is waited for. */
  running: RunningCall | null
  candidates: RankedCandidate[]
  /** Until when it waits for its session's own account only. */
  stickyUntilMs: number
  sinceMs: number
  passes: number
  outcome: PromiseWithResolvers<Admission | Refused>
  cancelTimer: () => void
}

interface Standing {
  /** Null: unknown. */
  balanceNanoUsd: number | null
  reservedNanoUsd: number
}

/** LiveState of one process, in plain maps. Every method runs without waiting, so each is one step. */
export class MemoryLiveState implements LiveState {
  readonly #now: Clock
  readonly #setTimer: SetTimer
  readonly #running = new Map<string, RunningCall>()
  /** In order of arrival. */
  #waiting: WaitingCall[] = []
  #lastNumber = 0
  /** Slots in use by subject (`user:…`, `key:…`, `account:…`). */
  readonly #used = new Map<string, number>()
  readonly #bindings = new Map<string, { accountId: string; expiresAtMs: number }>()
  readonly #standings = new Map<string, Standing>()
  readonly #keySpent = new Map<string, number>()
  /** Per account: when each user's waiting calls were last served, for turns between users. */
  readonly #turns = new Map<string, Map<string, number>>()
  #lastTurn = 0
  readonly #minutes: MinuteCounter
  readonly #locks = new Set<string>()

  constructor(now: Clock, setTimer: SetTimer) {
    this.#now = now
    this.#setTimer = setTimer
    this.#minutes = new MinuteCounter(now)
  }

  async admit(request: AdmitRequest): Promise<Admission | Ticket | Refused | UnknownStanding> {
    const running = this.#running.get(request.callId)
    if (running) return admissionOf(running)
    const waiting = this.#waiting.find((call) => call.request.callId === request.callId)
    if (waiting) return ticketOf(waiting)

    const money = this.#refuseForMoney(request)
    if (money) return money
    const session = this.#sessionOf(request)
    const call: WaitingCall = {
      request,
      number: ++this.#lastNumber,
      running: null,
      candidates: request.candidates,
      stickyUntilMs: session ? this.#now() + session.waitMs : 0,
      sinceMs: this.#now(),
      passes: 0,
      outcome: Promise.withResolvers(),
      cancelTimer: () => {},
    }
    return this.#serveOrQueue(call)
  }

  await(ticket: Ticket, signal: AbortSignal): Promise<Admission | Refused> {
    const call = this.#waiting.find((waiting) => waiting.request.callId === ticket.callId)
    if (!call) {
      const running = this.#running.get(ticket.callId)
      if (running) return Promise.resolve(admissionOf(running))
      return Promise.reject(new Error(`no ticket for ${ticket.callId}`))
    }
    const abort = () => {
      this.#leaveLine(call)
      call.outcome.reject(signal.reason)
    }
    if (signal.aborted) abort()
    else {
      signal.addEventListener('abort', abort, { once: true })
      const stopListening = () => signal.removeEventListener('abort', abort)
      call.outcome.promise.then(stopListening, stopListening)
    }
    return call.outcome.promise
  }

  async move(admission: Admission, candidates: RankedCandidate[]): Promise<Admission | Ticket | Refused> {
    const running = this.#running.get(admission.callId)
    if (!running) throw new Error(`${admission.callId} is not admitted`)
    const left = running.accountId
    this.#free(`account:${left}`)
    running.accountId = ''
    const call: WaitingCall = {
      request: running.request,
      number: running.number,
      running,
      candidates,
      stickyUntilMs: 0,
      sinceMs: this.#now(),
      passes: 0,
      outcome: Promise.withResolvers(),
      cancelTimer: () => {},
    }
    const answer = this.#serveOrQueue(call)
    this.#serveWaiting()
    return answer
  }

  raise(admission: Admission, reservedNanoUsd: number): void {
    const running = this.#running.get(admission.callId)
    if (!running || reservedNanoUsd <= running.reservedNanoUsd) return
    this.#standingOf(running.request.userId).reservedNanoUsd += reservedNanoUsd - running.reservedNanoUsd
    running.reservedNanoUsd = reservedNanoUsd
  }

  async settle(admission: Admission, end: Settlement): Promise<void> {
    const running = this.#running.get(admission.callId)
    if (!running) return
    const waiting = this.#waiting.find((call) => call.running === running)
    if (waiting) this.#leaveLine(waiting)
    this.#running.delete(admission.callId)
    const { userId, keyId, session } = running.request
    this.#free(`user:${userId}`)
    this.#free(`key:${keyId}`)
    if (running.accountId) this.#free(`account:${running.accountId}`)
    const standing = this.#standingOf(userId)
    standing.reservedNanoUsd -= running.reservedNanoUsd
    if (!running.alreadyDebited) {
      if (standing.balanceNanoUsd !== null) standing.balanceNanoUsd -= end.debitNanoUsd
      const spent = this.#keySpent.get(keyId)
      if (spent !== undefined) this.#keySpent.set(keyId, spent + end.spentNanoUsd)
    }
    if (session && end.confirmsBinding) this.#bind(session.key, running.accountId, session.ttlMs)
    this.#serveWaiting()
  }

  async seed(standing: SeededStanding): Promise<void> {
    const known = this.#standingOf(standing.userId)
    known.balanceNanoUsd = standing.balanceNanoUsd
    this.#keySpent.set(standing.keyId, standing.keySpentNanoUsd)
    trimOldest(this.#keySpent, STANDINGS_MAX)
    for (const callId of standing.recordedCallIds) {
      const running = this.#running.get(callId)
      if (running) running.alreadyDebited = true
    }
    this.#trimStandings()
  }

  async forget(userId: string): Promise<void> {
    const standing = this.#standings.get(userId)
    if (standing) standing.balanceNanoUsd = null
  }

  async unsettled(userId: string): Promise<string[]> {
    return [...this.#running.values()]
      .filter((call) => call.request.userId === userId)
      .map((call) => call.request.callId)
  }

  async rerank(ticket: Ticket, candidates: RankedCandidate[]): Promise<void> {
    const call = this.#waiting.find((waiting) => waiting.request.callId === ticket.callId)
    if (!call) return
    call.candidates = candidates
    this.#serveWaiting()
  }

  async countPerMinute(subject: string, limit: number): Promise<boolean> {
    return this.#minutes.count(subject, limit)
  }

  async admissions(): Promise<AdmissionView[]> {
    return [...this.#running.values()].map(({ request, accountId, sinceMs }) => ({
      callId: request.callId,
      userId: request.userId,
      keyId: request.keyId,
      accountId,
      sinceMs,
    }))
  }

  async tickets(): Promise<TicketView[]> {
    return this.#waiting.map((call) => ({
      callId: call.request.callId,
      number: call.number,
      userId: call.request.userId,
      keyId: call.request.keyId,
      accountIds: this.#accountsOf(call).map((candidate) => candidate.accountId),
      sinceMs: call.sinceMs,
      passes: call.passes,
    }))
  }

  async bindings(): Promise<BindingView[]> {
    const now = this.#now()
    return [...this.#bindings]
      .filter(([, binding]) => binding.expiresAtMs > now)
      .map(([sessionKey, binding]) => ({ sessionKey, ...binding }))
  }

  async withLock<T>(name: string, _ttlMs: number, work: () => Promise<T>): Promise<T | null> {
    if (this.#locks.has(name)) return null
    this.#locks.add(name)
    try {
      return await work()
    } finally {
      this.#locks.delete(name)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const call of [...this.#waiting]) call.cancelTimer()
  }

  // ---- serving ----

  /** Serves the call at once if all that it needs is free and not kept for somebody else; otherwise puts it in line, if there is room. */
  #serveOrQueue(call: WaitingCall): Admission | Ticket | Refused {
    const kept = this.#keptForDueTickets()
    const account = this.#firstFit(call, kept)
    if (account) {
      this.#countPasses(call, account.accountId)
      return this.#take(call, account)
    }
    const full = this.#fullLineOf(call, kept)
    if (full) {
      const overSticky = full.kind === 'account' && call.stickyUntilMs > 0
      if (!overSticky) return this.#refuse(call, full, 'line_full')
      call.stickyUntilMs = 0 // too many wait for the session's account: a detour, at once
      return this.#serveOrQueue(call)
    }
    this.#waiting.push(call)
    this.#waiting.sort((a, b) => a.number - b.number) // a moving call keeps its first number
    this.#watch(call)
    return ticketOf(call)
  }

  /** Serves waiting calls until none fits: due ones first by arrival, then by turns between users, the oldest of each. */
  #serveWaiting(): void {
    while (this.#waiting.length > 0) {
      const kept = this.#keptForDueTickets()
      let best: { call: WaitingCall; account: RankedCandidate; turn: number } | null = null
      for (const call of this.#waiting) {
        const account = this.#firstFit(call, kept)
        if (!account) continue
        const due = call.passes >= PASSES_MAX
        const turn = due ? -1 : this.#turnOf(account.accountId, call.request.userId)
        if (!best || turn < best.turn) best = { call, account, turn }
        if (due) break
      }
      if (!best) return
      const { call, account } = best
      this.#leaveLine(call)
      this.#countPasses(call, account.accountId)
      this.#takeTurn(account.accountId, call.request.userId)
      call.outcome.resolve(this.#take(call, account))
    }
  }

  /** Slots that due tickets have a claim on, by subject: taken out of the free ones in order of arrival. */
  #keptForDueTickets(): Map<string, WaitingCall[]> | null {
    let kept: Map<string, WaitingCall[]> | null = null
    for (const call of this.#waiting) {
      if (call.passes < PASSES_MAX) continue
      kept ??= new Map()
      const subjects = [...this.#callersOf(call)]
      const account = this.#accountsOf(call).find(
        (candidate) => this.#freeSlots(accountSubject(candidate), kept, call) > 0,
      )
      if (account) subjects.push(accountSubject(account))
      for (const subject of subjects) {
        if (this.#freeSlots(subject, kept, call) <= 0) continue
        const claims = kept.get(nameOf(subject)) ?? []
        claims.push(call)
        kept.set(nameOf(subject), claims)
      }
    }
    return kept
  }

  /** The best candidate with a free slot, if the caller's own slots are free too. */
  #firstFit(call: WaitingCall, kept: Map<string, WaitingCall[]> | null): RankedCandidate | null {
    for (const subject of this.#callersOf(call)) {
      if (this.#freeSlots(subject, kept, call) <= 0) return null
    }
    for (const candidate of this.#accountsOf(call)) {
      if (this.#freeSlots(accountSubject(candidate), kept, call) > 0) return candidate
    }
    return null
  }

  #freeSlots(subject: Subject, kept: Map<string, WaitingCall[]> | null, forCall: WaitingCall): number {
    if (subject.limit === null) return Number.POSITIVE_INFINITY
    const claims = kept?.get(nameOf(subject))
    const others = claims ? claims.filter((call) => call !== forCall).length : 0
    return subject.limit - (this.#used.get(nameOf(subject)) ?? 0) - others
  }

  #take(call: WaitingCall, account: RankedCandidate): Admission {
    const { request } = call
    const bound = this.#sessionAccount(call) === account.accountId
    this.#use(`account:${account.accountId}`)
    let running = call.running
    if (running) {
      running.accountId = account.accountId
      running.bound = bound
    } else {
      this.#use(`user:${request.userId}`)
      this.#use(`key:${request.keyId}`)
      this.#standingOf(request.userId).reservedNanoUsd += request.reservedNanoUsd
      running = {
        request,
        number: call.number,
        accountId: account.accountId,
        reservedNanoUsd: request.reservedNanoUsd,
        sinceMs: this.#now(),
        alreadyDebited: false,
        bound,
      }
      this.#running.set(request.callId, running)
    }
    const { session } = request
    // The first call of a session binds it here, so that a second one that comes before the first has answered lands beside it.
    if (session && (bound || !this.#bindings.has(session.key)))
      this.#bind(session.key, account.accountId, session.ttlMs)
    return admissionOf(running)
  }

  /** Everybody older who needs the same slots, and whose turn it was, has been passed once more. */
  #countPasses(served: WaitingCall, accountId: string): void {
    for (const call of this.#waiting) {
      if (call === served || call.number > served.number) continue
      const sameUser = call.request.userId === served.request.userId
      const sameAccount = this.#accountsOf(call).some((candidate) => candidate.accountId === accountId)
      if (!sameUser && !sameAccount) continue
      const itsTurn =
        sameUser || this.#turnOf(accountId, call.request.userId) <= this.#turnOf(accountId, served.request.userId)
      if (itsTurn) call.passes++
    }
  }

  // ---- lines ----

  /** Refuses at the deadline, and looks again when the wait for the session's own account is over. */
  #watch(call: WaitingCall): void {
    const now = this.#now()
    const sticky = call.stickyUntilMs > now && call.stickyUntilMs < call.request.deadlineMs
    const wakeAtMs = sticky ? call.stickyUntilMs : call.request.deadlineMs
    call.cancelTimer = this.#setTimer(Math.max(0, wakeAtMs - now), () => {
      if (this.#now() >= call.request.deadlineMs) {
        this.#leaveLine(call)
        const bottleneck = this.#bottleneckOf(call, this.#keptForDueTickets())
        call.outcome.resolve(this.#refuse(call, bottleneck, 'waited'))
        return
      }
      call.stickyUntilMs = 0
      this.#watch(call)
      this.#serveWaiting()
    })
  }

  #leaveLine(call: WaitingCall): void {
    call.cancelTimer()
    const index = this.#waiting.indexOf(call)
    if (index >= 0) this.#waiting.splice(index, 1)
    for (const { accountId } of call.candidates) {
      const stillWaiting = this.#waiting.some((other) =>
        other.candidates.some((candidate) => candidate.accountId === accountId),
      )
      if (!stillWaiting) this.#turns.delete(accountId)
    }
  }

  /** The first subject of the call that has no free slot, or all of its accounts (as the first of them). */
  #bottleneckOf(call: WaitingCall, kept: Map<string, WaitingCall[]> | null): Subject {
    const caller = this.#callersOf(call).find((subject) => this.#freeSlots(subject, kept, call) <= 0)
    return caller ?? accountSubject(this.#accountsOf(call)[0] as RankedCandidate)
  }

  /** The call's bottleneck, if the line there has no place left. */
  #fullLineOf(call: WaitingCall, kept: Map<string, WaitingCall[]> | null): Subject | null {
    const bottleneck = this.#bottleneckOf(call, kept)
    if (bottleneck.limit === 0) return bottleneck
    const session = this.#sessionAccount(call) !== null ? call.request.session : null
    const places =
      bottleneck.kind === 'account' && session ? session.line : (bottleneck.limit ?? 0) + call.request.lineExtra
    const name = nameOf(bottleneck)
    const inLine = this.#waiting.filter((other) => nameOf(this.#bottleneckOf(other, kept)) === name).length
    return inLine >= places ? bottleneck : null
  }

  #refuse(call: WaitingCall, subject: Subject, reason: 'line_full' | 'waited'): Refused {
    const refusal: Refusal = {
      subject: subject.kind,
      subjectId: subject.id,
      metric: 'concurrent',
      reason,
      limit: subject.limit ?? 0,
      used: this.#used.get(nameOf(subject)) ?? 0,
      retryAfterMs: subject.limit === 0 ? null : 1000,
    }
    call.outcome.promise.catch(() => {})
    return { kind: 'refused', refusal }
  }

  // ---- subjects, sessions, money ----

  /** The caller's subjects that the call still needs; a moving call has them. */
  #callersOf(call: WaitingCall): Subject[] {
    if (call.running) return []
    const { userId, keyId, userConcurrency, keyConcurrency } = call.request
    return [
      { kind: 'user', id: userId, limit: userConcurrency },
      { kind: 'key', id: keyId, limit: keyConcurrency },
    ]
  }

  /** The accounts that would do: only the session's own while it is waited for. */
  #accountsOf(call: WaitingCall): RankedCandidate[] {
    const own = this.#sessionAccount(call)
    if (own === null) return call.candidates
    const candidate = call.candidates.find(({ accountId }) => accountId === own) as RankedCandidate
    return this.#now() < call.stickyUntilMs
      ? [candidate]
      : [candidate, ...call.candidates.filter((other) => other !== candidate)]
  }

  /** The account that the call's session is bound to, if it is a candidate. */
  #sessionAccount(call: WaitingCall): string | null {
    const { session } = call.request
    const binding = session && this.#sessionOf(call.request) && this.#bindings.get(session.key)
    return binding && call.candidates.some(({ accountId }) => accountId === binding.accountId)
      ? binding.accountId
      : null
  }

  #sessionOf({ session }: AdmitRequest): AdmitRequest['session'] {
    if (!session) return null
    const binding = this.#bindings.get(session.key)
    if (binding && binding.expiresAtMs <= this.#now()) this.#bindings.delete(session.key)
    return session
  }

  #bind(sessionKey: string, accountId: string, ttlMs: number): void {
    this.#bindings.delete(sessionKey) // last used goes last
    this.#bindings.set(sessionKey, { accountId, expiresAtMs: this.#now() + ttlMs })
    trimOldest(this.#bindings, BINDINGS_MAX)
  }

  #refuseForMoney(request: AdmitRequest): Refused | UnknownStanding | null {
    const { userId, keyId, needsBalance, quotaNanoUsd } = request
    if (needsBalance) {
      const { balanceNanoUsd, reservedNanoUsd } = this.#standingOf(userId)
      if (balanceNanoUsd === null) return { kind: 'unknown' }
      if (balanceNanoUsd - reservedNanoUsd <= 0) {
        return refusedForMoney('user', userId, 'balance', balanceNanoUsd, reservedNanoUsd)
      }
    }
    if (quotaNanoUsd !== null) {
      const spent = this.#keySpent.get(keyId)
      if (spent === undefined) return { kind: 'unknown' }
      if (spent >= quotaNanoUsd) return refusedForMoney('key', keyId, 'quota', quotaNanoUsd, spent)
    }
    return null
  }

  #standingOf(userId: string): Standing {
    let standing = this.#standings.get(userId)
    if (!standing) {
      standing = { balanceNanoUsd: null, reservedNanoUsd: 0 }
      this.#standings.set(userId, standing)
    }
    return standing
  }

  #trimStandings(): void {
    for (const userId of this.#standings.keys()) {
      if (this.#standings.size <= STANDINGS_MAX) return
      if (!this.#used.has(`user:${userId}`)) this.#standings.delete(userId)
    }
  }

  #turnOf(accountId: string, userId: string): number {
    return this.#turns.get(accountId)?.get(userId) ?? 0
  }

  #takeTurn(accountId: string, userId: string): void {
    const turns = this.#turns.get(accountId) ?? new Map<string, number>()
    turns.set(userId, ++this.#lastTurn)
    this.#turns.set(accountId, turns)
  }

  #use(name: string): void {
    this.#used.set(name, (this.#used.get(name) ?? 0) + 1)
  }

  #free(name: string): void {
    const used = (this.#used.get(name) ?? 0) - 1
    if (used > 0) this.#used.set(name, used)
    else this.#used.delete(name)
  }
}

function admissionOf(running: RunningCall): Admission {
  return { kind: 'admission', callId: running.request.callId, accountId: running.accountId, bound: running.bound }
}

function ticketOf(call: WaitingCall): Ticket {
  return { kind: 'ticket', callId: call.request.callId, number: call.number }
}

function accountSubject(candidate: RankedCandidate): Subject {
  return { kind: 'account', id: candidate.accountId, limit: candidate.concurrency }
}

function nameOf(subject: Subject): string {
  return `${subject.kind}:${subject.id}`
}

function refusedForMoney(
  subject: LimitSubject,
  subjectId: string,
  metric: 'balance' | 'quota',
  limit: number,
  used: number,
): Refused {
  return { kind: 'refused', refusal: { subject, subjectId, metric, reason: 'spent', limit, used, retryAfterMs: null } }
}

function trimOldest(map: Map<string, unknown>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) return
    map.delete(key)
  }
}

import type { LimitSubject } from '../domain/limit.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
import { Bindings } from './bindings.ts'
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
import { Slots } from './slots.ts'
import { Standings } from './standings.ts'

/** Arrivals that may pass a ticket before the slots it needs are kept for it. */
const PASSES_MAX = 8
/** What a client whose line is full is told to wait. */
const RETRY_AFTER_MS = 1000

interface RunningCall {
  request: AdmitRequest
  number: number
  /** Empty while it moves. */
  accountId: string
  bound: boolean
  reservedNanoUsd: number
  sinceMs: number
  /** The standing that was seeded last already includes this call. */
  alreadyDebited: boolean
}

/** A call that is about to get its slots, or that stands in line for them. */
interface Arrival {
  request: AdmitRequest
  number: number
  /** A moving call has its other slots already; only the account's is waited for. */
  running: RunningCall | null
  candidates: RankedCandidate[]
  /** Until when it waits for its session's own account only. */
  stickyUntilMs: number
  sinceMs: number
  passes: number
  /** Set while it stands in line. */
  outcome: PromiseWithResolvers<Admission | Refused> | null
  cancelTimer: () => void
}

/** What a call needs a slot of. */
interface Need {
  kind: LimitSubject
  id: string
  limit: number | null
}

/** Whose the free slots are that are kept for due tickets, by `user:…`, `key:…` or `account:…`. */
type Kept = Map<string, Arrival[]>

/** LiveState of one process, in plain maps. No method waits before it is done, so each is one step. */
export class MemoryLiveState implements LiveState {
  readonly #now: Clock
  readonly #setTimer: SetTimer
  readonly #slots = new Slots()
  readonly #bindings: Bindings
  readonly #standings = new Standings()
  readonly #minutes: MinuteCounter
  readonly #running = new Map<string, RunningCall>()
  /** In order of arrival. */
  readonly #line: Arrival[] = []
  #lastNumber = 0
  /** Per account, while somebody waits for it: when each user's waiting calls were served last, for turns between users. */
  readonly #turns = new Map<string, Map<string, number>>()
  #lastTurn = 0
  readonly #locks = new Set<string>()

  constructor(now: Clock, setTimer: SetTimer) {
    this.#now = now
    this.#setTimer = setTimer
    this.#bindings = new Bindings(now)
    this.#minutes = new MinuteCounter(now)
  }

  async admit(request: AdmitRequest): Promise<Admission | Ticket | Refused | UnknownStanding> {
    const running = this.#running.get(request.callId)
    if (running) return admissionOf(running)
    const waiting = this.#waiting(request.callId)
    if (waiting) return ticketOf(waiting)
    const { session, candidates } = request
    const sinceMs = this.#now()
    const stickyUntilMs = session ? sinceMs + session.waitMs : 0
    return (
      this.#standings.refuse(request) ??
      this.#serveOrQueue(
        arrival({ request, candidates, sinceMs, stickyUntilMs, number: ++this.#lastNumber, running: null }),
      )
    )
  }

  await(ticket: Ticket, signal: AbortSignal): Promise<Admission | Refused> {
    const call = this.#waiting(ticket.callId)
    if (!call?.outcome) {
      const running = this.#running.get(ticket.callId) // served before anybody came to wait
      if (running) return Promise.resolve(admissionOf(running))
      return Promise.reject(new Error(`no ticket for ${ticket.callId}`))
    }
    const { promise, reject } = call.outcome
    const abort = () => {
      this.#leaveLine(call)
      reject(signal.reason)
    }
    if (signal.aborted) abort()
    else {
      signal.addEventListener('abort', abort, { once: true })
      const stopListening = () => signal.removeEventListener('abort', abort)
      promise.then(stopListening, stopListening)
    }
    return promise
  }

  async move(admission: Admission, candidates: RankedCandidate[]): Promise<Admission | Ticket | Refused> {
    const running = this.#running.get(admission.callId)
    if (!running) throw new Error(`${admission.callId} is not admitted`)
    this.#slots.free('account', running.accountId)
    running.accountId = ''
    const { request, number } = running
    const answer = this.#serveOrQueue(
      arrival({ request, number, running, candidates, sinceMs: this.#now(), stickyUntilMs: 0 }),
    )
    this.#serveLine()
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
    const waiting = this.#waiting(admission.callId)
    if (waiting) this.#leaveLine(waiting)
    this.#running.delete(admission.callId)
    const { userId, keyId, session } = running.request
    this.#slots.free('user', userId)
    this.#slots.free('key', keyId)
    if (running.accountId) this.#slots.free('account', running.accountId)
    this.#standings.reserve(userId, -running.reservedNanoUsd)
    if (!running.alreadyDebited) this.#standings.debit(userId, keyId, end)
    if (session && end.confirmsBinding && running.bound)
      this.#bindings.bind(session.key, running.accountId, session.ttlMs)
    this.#serveLine()
  }

  async seed(standing: SeededStanding): Promise<void> {
    this.#standings.seed(standing)
    for (const callId of standing.recordedCallIds) {
      const running = this.#running.get(callId)
      if (running) running.alreadyDebited = true
    }
  }

  async forget(userId: string): Promise<void> {
    this.#standings.forget(userId)
  }

  async unsettled(userId: string): Promise<string[]> {
    return [...this.#running.values()]
      .filter(({ request }) => request.userId === userId)
      .map(({ request }) => request.callId)
  }

  async rerank(ticket: Ticket, candidates: RankedCandidate[]): Promise<void> {
    const call = this.#waiting(ticket.callId)
    if (!call) return
    call.candidates = candidates
    this.#serveLine()
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
    return this.#line.map((call) => ({
      callId: call.request.callId,
      number: call.number,
      userId: call.request.userId,
      keyId: call.request.keyId,
      accountIds: this.#accountsFor(call).map(({ accountId }) => accountId),
      sinceMs: call.sinceMs,
      passes: call.passes,
    }))
  }

  async bindings(): Promise<BindingView[]> {
    return this.#bindings.all()
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
    for (const call of this.#line) call.cancelTimer()
  }

  // ---- serving ----

  /** Serves the call at once if all that it needs is free and kept for nobody else; otherwise it stands in line, if there is room. */
  #serveOrQueue(call: Arrival): Admission | Ticket | Refused {
    const kept = this.#keptForDue()
    const account = this.#firstFit(call, kept)
    if (account) {
      this.#countPasses(call, account.accountId)
      return this.#take(call, account)
    }
    const full = this.#fullLine(call, kept)
    if (full) {
      if (!this.#waitsForItsOwn(call) || full.kind !== 'account') return this.#refuse(full, 'line_full')
      call.stickyUntilMs = 0 // too many wait for the session's account: a detour, at once
      return this.#serveOrQueue(call)
    }
    call.outcome = Promise.withResolvers()
    this.#line.push(call)
    this.#line.sort((a, b) => a.number - b.number) // a moving call keeps its first number
    this.#watch(call)
    return ticketOf(call)
  }

  /** Serves the line until nobody fits: due tickets first by arrival, then by turns between users, the oldest of each. */
  #serveLine(): void {
    while (this.#line.length > 0) {
      const kept = this.#keptForDue()
      let best: { call: Arrival; account: RankedCandidate; turn: number } | null = null
      for (const call of this.#line) {
        const account = this.#firstFit(call, kept)
        if (!account) continue
        const isDue = call.passes >= PASSES_MAX
        const turn = isDue ? -1 : this.#turnOf(account.accountId, call.request.userId)
        if (!best || turn < best.turn) best = { call, account, turn }
        if (isDue) break
      }
      if (!best) return
      const { call, account } = best
      this.#takeTurn(account.accountId, call.request.userId)
      this.#leaveLine(call)
      this.#countPasses(call, account.accountId)
      call.outcome?.resolve(this.#take(call, account))
    }
  }

  /** Free slots that belong to due tickets, given to them in order of arrival; null if nobody is due. */
  #keptForDue(): Kept | null {
    let kept: Kept | null = null
    for (const call of this.#line) {
      if (call.passes < PASSES_MAX) continue
      kept ??= new Map()
      const account = this.#accountsFor(call)
        .map(accountNeed)
        .find((need) => this.#isFree(need, kept, call))
      for (const need of account ? [...callerNeeds(call), account] : callerNeeds(call)) {
        if (!this.#isFree(need, kept, call)) continue
        const claims = kept.get(nameOf(need)) ?? []
        claims.push(call)
        kept.set(nameOf(need), claims)
      }
    }
    return kept
  }

  /** The best candidate with a free slot, if the caller's own slots are free too. */
  #firstFit(call: Arrival, kept: Kept | null): RankedCandidate | null {
    for (const need of callerNeeds(call)) if (!this.#isFree(need, kept, call)) return null
    for (const candidate of this.#accountsFor(call))
      if (this.#isFree(accountNeed(candidate), kept, call)) return candidate
    return null
  }

  #isFree(need: Need, kept: Kept | null, forCall: Arrival): boolean {
    if (need.limit === null) return true
    const claims = kept?.get(nameOf(need))
    const keptForOthers = claims ? claims.filter((call) => call !== forCall).length : 0
    return this.#slots.inUse(need.kind, need.id) + keptForOthers < need.limit
  }

  #take(call: Arrival, { accountId }: RankedCandidate): Admission {
    const { request } = call
    const { session, userId, keyId, reservedNanoUsd } = request
    const own = this.#ownAccount(call)
    this.#slots.take('account', accountId)
    let running = call.running
    if (!running) {
      this.#slots.take('user', userId)
      this.#slots.take('key', keyId)
      this.#standings.reserve(userId, reservedNanoUsd)
      const { number } = call
      running = {
        request,
        number,
        accountId,
        bound: false,
        reservedNanoUsd,
        sinceMs: this.#now(),
        alreadyDebited: false,
      }
      this.#running.set(request.callId, running)
    }
    running.accountId = accountId
    // A session is bound here, so that its second call lands beside a first that has not answered yet. A detour from an
    // account that is still a candidate leaves the binding as it is.
    running.bound = session !== null && (own === null || own === accountId)
    if (session && running.bound) this.#bindings.bind(session.key, accountId, session.ttlMs)
    return admissionOf(running)
  }

  /** Every older call that needs the same slots, and whose turn it was, has been passed once more. */
  #countPasses(served: Arrival, accountId: string): void {
    for (const call of this.#line) {
      if (call === served || call.number > served.number) continue
      const sameUser = call.request.userId === served.request.userId
      const sameAccount = this.#accountsFor(call).some((candidate) => candidate.accountId === accountId)
      if (!sameUser && !sameAccount) continue
      const itsTurn = this.#turnOf(accountId, call.request.userId) <= this.#turnOf(accountId, served.request.userId)
      if (sameUser || itsTurn) call.passes++
    }
  }

  #turnOf(accountId: string, userId: string): number {
    return this.#turns.get(accountId)?.get(userId) ?? 0
  }

  #takeTurn(accountId: string, userId: string): void {
    const turns = this.#turns.get(accountId) ?? new Map<string, number>()
    this.#turns.set(accountId, turns.set(userId, ++this.#lastTurn))
  }

  // ---- the line ----

  #waiting(callId: string): Arrival | undefined {
    return this.#line.length === 0 ? undefined : this.#line.find((call) => call.request.callId === callId)
  }

  /** Looks again when the wait for the session's own account is over, and refuses at the deadline. */
  #watch(call: Arrival): void {
    const now = this.#now()
    const { deadlineMs } = call.request
    const wakeAtMs = call.stickyUntilMs > now ? Math.min(call.stickyUntilMs, deadlineMs) : deadlineMs
    call.cancelTimer = this.#setTimer(Math.max(0, wakeAtMs - now), () => {
      if (this.#now() >= deadlineMs) {
        this.#leaveLine(call)
        call.outcome?.resolve(this.#refuse(this.#bottleneck(call, this.#keptForDue()), 'waited'))
        return
      }
      if (this.#now() >= call.stickyUntilMs) call.stickyUntilMs = 0
      this.#watch(call)
      this.#serveLine()
    })
  }

  #leaveLine(call: Arrival): void {
    call.cancelTimer()
    const index = this.#line.indexOf(call)
    if (index >= 0) this.#line.splice(index, 1)
    if (this.#line.length === 0) this.#turns.clear()
  }

  /** The first of its needs that has no free slot; of accounts the best, as all are taken. */
  #bottleneck(call: Arrival, kept: Kept | null): Need {
    const caller = callerNeeds(call).find((need) => !this.#isFree(need, kept, call))
    return caller ?? accountNeed(this.#accountsFor(call)[0] as RankedCandidate)
  }

  /** The call's bottleneck, if there is no place left in line for it. */
  #fullLine(call: Arrival, kept: Kept | null): Need | null {
    const bottleneck = this.#bottleneck(call, kept)
    if (bottleneck.limit === 0) return bottleneck
    const { session, lineExtra } = call.request
    const sticky = session !== null && bottleneck.kind === 'account' && this.#waitsForItsOwn(call)
    const places = sticky ? session.line : (bottleneck.limit ?? 0) + lineExtra
    const name = nameOf(bottleneck)
    const inLine = this.#line.filter((other) => nameOf(this.#bottleneck(other, kept)) === name).length
    return inLine >= places ? bottleneck : null
  }

  #refuse({ kind, id, limit }: Need, reason: 'line_full' | 'waited'): Refused {
    const used = this.#slots.inUse(kind, id)
    const retryAfterMs = limit === 0 ? null : RETRY_AFTER_MS
    return {
      kind: 'refused',
      refusal: { subject: kind, subjectId: id, metric: 'concurrent', reason, limit: limit ?? 0, used, retryAfterMs },
    }
  }

  // ---- sessions ----

  /** The account that the call's session is bound to, if it is a candidate. */
  #ownAccount({ request, candidates }: Arrival): string | null {
    const own = request.session && this.#bindings.accountOf(request.session.key)
    return own && candidates.some(({ accountId }) => accountId === own) ? own : null
  }

  #waitsForItsOwn(call: Arrival): boolean {
    return call.stickyUntilMs > this.#now() && this.#ownAccount(call) !== null
  }

  /** The accounts that would do, best first: the session's own, and while that is waited for no other. */
  #accountsFor(call: Arrival): RankedCandidate[] {
    const own = this.#ownAccount(call)
    if (own === null) return call.candidates
    const isOwn = (candidate: RankedCandidate) => candidate.accountId === own
    const others = this.#waitsForItsOwn(call) ? [] : call.candidates.filter((candidate) => !isOwn(candidate))
    return [...call.candidates.filter(isOwn), ...others]
  }
}

function arrival(call: Omit<Arrival, 'passes' | 'outcome' | 'cancelTimer'>): Arrival {
  return { ...call, passes: 0, outcome: null, cancelTimer: () => {} }
}

function callerNeeds({ request, running }: Arrival): Need[] {
  if (running) return []
  return [
    { kind: 'user', id: request.userId, limit: request.userConcurrency },
    { kind: 'key', id: request.keyId, limit: request.keyConcurrency },
  ]
}

function accountNeed({ accountId, concurrency }: RankedCandidate): Need {
  return { kind: 'account', id: accountId, limit: concurrency }
}

function nameOf(need: Need): string {
  return `${need.kind}:${need.id}`
}

function admissionOf({ request, accountId, bound }: RunningCall): Admission {
  return { kind: 'admission', callId: request.callId, accountId, bound }
}

function ticketOf({ request, number }: Arrival): Ticket {
  return { kind: 'ticket', callId: request.callId, number }
}

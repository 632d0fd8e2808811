import { randomUUID } from 'node:crypto'
import { GatewayError } from '../domain/errors.ts'
import type { Consumption, Limited, LimitStanding, LimitSubject } from '../domain/limit.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
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
import type { RedisConnection } from './redis-connection.ts'
import type { StepName } from './redis-library.ts'
import { type Wait, Waits } from './redis-waits.ts'
import {
  candidatesToWire,
  consumptionToWire,
  limitedToWire,
  limitsAmong,
  list,
  refusalFromWire,
  requestToWire,
  spanToWire,
  standingsFromWire,
  type WireOutcome,
  type WireStanding,
} from './redis-wire.ts'
import { newWindow, stepOf } from './window.ts'

/** How often a process shows that it lives, looks for those that do not, and asks what became of its waits. */
const BEAT_MS = 5000
/** Looks into the store for one caller, if its standing changes again and again while it is looked at. */
const LOOKS_MAX = 5
/** Calls that are told of in one step, when Redis has begun anew. */
const REGISTERED_AT_ONCE = 50
/** What could not be told while Redis was away, to be told at the next beat; beyond it the oldest are left to the time when this process ends. */
const OWED_MAX = 10_000

/** What keeps live states apart, and what they go by. */
export interface RedisLiveOptions {
  processId: string
  clock: Clock
  setTimer: SetTimer
  /** Keeps several live states of one Redis apart. */
  space?: string
  /** The connection is closed with it. */
  ownsConnection?: boolean
  /** Steps go by `clock`, for tests; otherwise by Redis's own. */
  tellsTime?: boolean
}

/** A call of this process that runs, as it is told again to a Redis that has lost it. */
interface RunningHere {
  readonly request: AdmitRequest
  candidates: RankedCandidate[]
  /** Empty while it waits for another account. */
  accountId: string
  bound: boolean
  reservedNanoUsd: number
  estimate: Readonly<Consumption>
  readonly sinceMs: number
}

/** What a step replies: its answer, how waits of this process ended, and Redis's time. */
type Reply = [answer: unknown, outcomes: [string, WireOutcome][] | object, nowMs: number]

/** LiveState that any number of processes share in one Redis. Each step is one function there; this side knows its own calls only. */
export class RedisLiveState implements LiveState {
  readonly processId: string
  readonly #connection: RedisConnection
  readonly #clock: Clock
  readonly #setTimer: SetTimer
  readonly #space: string
  readonly #tellsTime: boolean
  readonly #ownsConnection: boolean
  readonly #waits: Waits
  readonly #running = new Map<string, RunningHere>()
  /** Calls that Redis is being asked for: how their waits ended may be heard before the answer. */
  readonly #asked = new Map<string, WireOutcome[]>()
  /** By call id, or by what it is about: what has to be told still, by which step. */
  readonly #owed = new Map<string, { step: StepName; body: string }>()
  readonly #looks = new Map<string, Promise<void>>()
  #stopBeating: (() => void) | null = null
  #stopHearing: () => void
  #isClosed = false

  private constructor(connection: RedisConnection, options: RedisLiveOptions) {
    this.processId = options.processId
    this.#connection = connection
    this.#clock = options.clock
    this.#setTimer = options.setTimer
    this.#space = options.space ?? ''
    this.#tellsTime = options.tellsTime ?? false
    this.#ownsConnection = options.ownsConnection ?? false
    this.#waits = new Waits(options.clock, options.setTimer, (wait) => void this.#remind(wait))
    this.#stopHearing = connection.onReconnect(() => void this.#beat())
  }

  /** A process of its own, whose heart does not beat yet. Throws `unavailable`. */
  static async join(connection: RedisConnection, options: RedisLiveOptions): Promise<RedisLiveState> {
    const live = new RedisLiveState(connection, options)
    await connection.listen(live.#space, live.processId, (outcomes) => live.#hear(outcomes as Reply[1]))
    await live.#ask('join', '')
    return live
  }

  /** From now on it shows that it lives. A process that shares nothing with others has no need to. */
  startBeating(): void {
    this.#stopBeating ??= this.#setTimer(BEAT_MS, () => this.#beatAgain())
  }

  async ping(): Promise<void> {
    await this.#ask('spent_by', '')
  }

  async admit(request: AdmitRequest): Promise<Admission | Ticket | Refused | UnknownStanding | UnknownUsage> {
    const { callId, candidates } = request
    const body = requestToWire(request, candidates, this.#clock())
    return this.#askFor(callId, 'admit', body, (answer, lagMs) =>
      this.#entered(answer, lagMs, request, candidates, false),
    )
  }

  await(ticket: Ticket, signal: AbortSignal): Promise<Admission | Refused> {
    const wait = this.#waits.of(ticket)
    if (!wait) return Promise.reject(new Error(`no ticket for ${ticket.callId}`))
    const { promise } = wait.outcome
    const abort = () => void this.#giveUp(wait, signal.reason)
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
    const { callId } = admission
    const running = this.#running.get(callId)
    if (!running) throw new Error(`bug: ${callId} cannot be moved now`)
    const body = requestToWire(running.request, candidates, this.#clock())
    return this.#askFor(callId, 'move', body, (answer, lagMs) => {
      if (answer[0] === 'bug') throw new Error(`bug: ${callId} cannot be moved now`)
      if (answer[0] !== 'unknown_usage') Object.assign(running, { accountId: '', bound: false })
      return this.#entered(answer, lagMs, running.request, candidates, true) as
        | Admission
        | Ticket
        | Refused
        | UnknownUsage
    })
  }

  raise({ callId }: Admission, { reservedNanoUsd, estimate }: Reservation): void {
    const running = this.#running.get(callId)
    if (running) {
      running.reservedNanoUsd = Math.max(running.reservedNanoUsd, reservedNanoUsd)
      running.estimate = mostOf(running.estimate, estimate)
    }
    const body = { id: callId, reserved: reservedNanoUsd, estimate: consumptionToWire(estimate) }
    this.#ask('raise', body).catch(() => {}) // what a call turns out to use is told again when it settles
  }

  async settle({ callId }: Admission, end: Settlement): Promise<void> {
    this.#running.delete(callId)
    const { debitNanoUsd, spentNanoUsd, confirmsBinding, used } = end
    const body = {
      id: callId,
      debit: debitNanoUsd,
      spent: spentNanoUsd,
      confirms: confirmsBinding,
      used: used ? consumptionToWire(used) : undefined,
    }
    await this.#tell(callId, 'settle', JSON.stringify(body))
  }

  learn(caller: StandingCaller, read: ReadStanding): Promise<void> {
    return this.#lookOnce(`standing ${caller.userId} ${caller.keyId}`, async () => {
      let isFresh = false
      for (let looks = 0; looks < LOOKS_MAX && !isFresh; looks++) isFresh = await this.#lookAtStanding(caller, read)
    })
  }

  learnUsage(limited: Limited, read: ReadUsage): Promise<void> {
    return this.#lookOnce(`usage ${limited.subject} ${limited.id}`, async () => {
      let isFresh = false
      for (let looks = 0; looks < LOOKS_MAX && !isFresh; looks++) isFresh = await this.#lookAtUsage(limited, read)
    })
  }

  async standings(limited: Limited): Promise<LimitStanding[] | UnknownUsage> {
    const answer = await this.#ask('standings_of', limitedToWire(limited, this.#clock()))
    if (answer === false) return { kind: 'unknown_usage', of: [limited] }
    return standingsFromWire(answer as WireStanding[], (_subject, _id, name) =>
      limitsAmong([{ ...limited, subject: 'key' }], [])('key', limited.id, name),
    )
  }

  async spentBy(keyId: string): Promise<number | null> {
    const spent = await this.#ask('spent_by', keyId)
    return spent === false ? null : Number(spent)
  }

  async forget(userId: string | null): Promise<void> {
    await this.#tell(`forget ${userId ?? ''}`, 'forget', userId ?? '')
  }

  async rerank(ticket: Ticket, candidates: RankedCandidate[]): Promise<UnknownUsage | null> {
    const { callId } = ticket
    const body = { id: callId, ...candidatesToWire(candidates, this.#clock()) }
    const wait = this.#waits.get(callId)
    if (!wait) return null
    return this.#ask('rerank', body, (answer, lagMs) => {
      const outcome = answer as WireOutcome | false
      if (outcome && outcome[0] === 'unknown_usage') return unknownUsage(outcome[1], wait.request, candidates)
      this.#waits.rerank(wait, candidates)
      if (outcome && outcome[0] === 'ticket') this.#waits.told(wait, outcome[2] + lagMs)
      return null
    })
  }

  async countPerMinute(subject: string, limit: number): Promise<boolean> {
    return (await this.#ask('count_per_minute', { subject, max: limit })) as boolean
  }

  async admissions(): Promise<AdmissionView[]> {
    type Row = [string, string, string, string, string, number]
    const rows = list((await this.#ask('admissions', '')) as Row[])
    return rows.map(([callId, processId, userId, keyId, accountId, sinceMs]) => {
      return { callId, processId, userId, keyId, accountId, sinceMs }
    })
  }

  async tickets(): Promise<TicketView[]> {
    type Row = [string, string, number, string, string, string[] | object, number, number]
    const rows = list((await this.#ask('tickets', '')) as Row[])
    return rows.map(([callId, processId, number, userId, keyId, accountIds, sinceMs, passes]) => {
      return { callId, processId, number, userId, keyId, accountIds: list(accountIds) as string[], sinceMs, passes }
    })
  }

  async bindings(): Promise<BindingView[]> {
    const rows = list((await this.#ask('bindings', '')) as [string, string, number][])
    return rows.map(([sessionKey, accountId, expiresAtMs]) => ({ sessionKey, accountId, expiresAtMs }))
  }

  async unbind(which: WhichBindings): Promise<number> {
    if (which === 'all') return (await this.#ask('unbind', {})) as number
    const body = 'accountId' in which ? { account: which.accountId } : { session: which.sessionKey }
    return (await this.#ask('unbind', body)) as number
  }

  async withLock<T>(name: string, ttlMs: number, work: () => Promise<T>): Promise<T | null> {
    const token = randomUUID()
    if (!(await this.#ask('lock', { name, token, ttl: ttlMs }))) return null
    try {
      return await work()
    } finally {
      await this.#ask('unlock', { name, token }).catch(() => {}) // it falls by itself
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#stopBeating?.()
    this.#stopHearing()
    for (const wait of this.#waits.all()) this.#endWait(wait, new Error('live state is closed'))
    await this.#ask('leave', '').catch(() => {}) // others give it up
    await this.#connection.stopListening(this.#space, this.processId)
    if (this.#ownsConnection) await this.#connection[Symbol.asyncDispose]()
  }

  // ---- asking ----

  /** Takes a step; `take` sees its answer, and by how much this clock is ahead of Redis's, before anything else is heard. */
  async #ask<T = unknown>(
    step: StepName,
    body: string | object,
    take: (answer: unknown, lagMs: number) => T = (answer) => answer as T,
  ): Promise<T> {
    const sentMs = this.#clock()
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const nowMs = this.#tellsTime ? sentMs : null
    const [answer, outcomes, atMs] = (await this.#connection.take(
      step,
      this.#space,
      nowMs,
      this.processId,
      text,
    )) as Reply
    const taken = take(answer, sentMs - atMs)
    this.#hear(outcomes)
    return taken
  }

  /** Asks for what a call needs. If no answer comes nobody knows whether it was given: then it is given back. */
  async #askFor<T>(
    callId: string,
    step: StepName,
    body: object,
    take: (answer: WireOutcome, lagMs: number) => T,
  ): Promise<T> {
    const early = this.#asked.get(callId) ?? []
    this.#asked.set(callId, early)
    try {
      const taken = await this.#ask(step, body, (answer, lagMs) => take(answer as WireOutcome, lagMs))
      this.#asked.delete(callId)
      this.#hear(early.map((outcome): [string, WireOutcome] => [callId, outcome]))
      return taken
    } catch (error) {
      this.#asked.delete(callId)
      if (error instanceof GatewayError && !this.#running.has(callId)) this.#owe(callId, 'drop', callId)
      throw error
    }
  }

  #entered(
    answer: WireOutcome,
    lagMs: number,
    request: AdmitRequest,
    candidates: RankedCandidate[],
    isMoving: boolean,
  ): Admission | Ticket | Refused | UnknownStanding | UnknownUsage {
    switch (answer[0]) {
      case 'admission':
        return this.#admitted(answer, request, candidates)
      case 'ticket':
        return this.#waits.enter({ request, isMoving, number: answer[1], toldMs: answer[2] + lagMs }, candidates)
      case 'refused':
        return refused(answer, request, candidates)
      case 'unknown':
        return { kind: 'unknown' }
      case 'unknown_usage':
        return unknownUsage(answer[1], request, candidates)
      default:
        throw new Error(`bug: a call cannot be ${answer[0]} when it comes`)
    }
  }

  #admitted(
    [, accountId, bound, before, standings]: WireOutcome & ['admission', ...unknown[]],
    request: AdmitRequest,
    candidates: RankedCandidate[],
  ): Admission {
    const { callId, reservedNanoUsd, estimate } = request
    const known = this.#running.get(callId)
    const running = known ?? {
      request,
      reservedNanoUsd,
      estimate,
      sinceMs: this.#clock(),
      candidates,
      accountId,
      bound,
    }
    this.#running.set(callId, Object.assign(running, { candidates, accountId, bound }))
    const admission: Admission = {
      kind: 'admission',
      callId,
      accountId,
      bound,
      boundBefore: before === false ? null : before,
    }
    if (!standings) return admission
    return { ...admission, standings: standingsFromWire(standings, limitsAmong(request.limits, candidates)) }
  }

  // ---- waiting ----

  /** How waits of this process ended. Slots are its own once it has confirmed that it heard of them. */
  #hear(outcomes: Reply[1]): void {
    const granted: string[] = []
    const heard: string[] = []
    for (const [callId, outcome] of list(outcomes as [string, WireOutcome][])) {
      const early = this.#asked.get(callId)
      if (early) {
        early.push(outcome)
        continue
      }
      heard.push(callId)
      const wait = this.#waits.get(callId)
      if (outcome[0] === 'admission') granted.push(callId)
      else if (wait) this.#endWait(wait, outcomeOf(outcome, wait))
    }
    if (heard.length === 0) return
    const grants = new Map(list(outcomes as [string, WireOutcome][]).filter(([callId]) => granted.includes(callId)))
    void this.#confirm(heard, grants)
  }

  async #confirm(callIds: string[], grants: Map<string, WireOutcome>): Promise<void> {
    try {
      const own = list((await this.#ask('confirm', callIds)) as boolean[])
      for (const [index, callId] of callIds.entries()) {
        const outcome = grants.get(callId)
        if (outcome?.[0] === 'admission' && own[index]) this.#take(callId, outcome)
      }
    } catch {
      // It is told of again with the next beat.
    }
  }

  /** The slots that a call waited for are its own. */
  #take(callId: string, outcome: WireOutcome & ['admission', ...unknown[]]): void {
    const wait = this.#waits.get(callId)
    if (wait) {
      const admission = this.#admitted(outcome, wait.request, wait.candidates)
      this.#waits.leave(wait)
      wait.outcome.resolve(admission)
    } else if (!this.#running.has(callId)) void this.#tell(callId, 'drop', callId) // nobody wants it any more
  }

  #endWait(wait: Wait, outcome: Refused | Error): void {
    this.#waits.leave(wait)
    if (outcome instanceof Error) wait.outcome.reject(outcome)
    else wait.outcome.resolve(outcome)
  }

  async #giveUp(wait: Wait, reason: unknown): Promise<void> {
    const { callId } = wait.request
    try {
      if (!(await this.#ask('give_up', callId))) return // it has just been told how the wait ended
    } catch {
      if (!wait.isMoving) this.#owe(callId, 'drop', callId)
    }
    this.#waits.leave(wait)
    wait.outcome.reject(reason)
  }

  /** The time has come that a ticket waited for. */
  async #remind(wait: Wait): Promise<void> {
    try {
      await this.#ask('look_again', wait.request.callId, (answer, lagMs) => {
        const outcome = answer as WireOutcome | false
        if (outcome && outcome[0] === 'ticket') this.#waits.told(wait, outcome[2] + lagMs)
      })
    } catch (error) {
      if (this.#clock() < wait.request.deadlineMs || this.#waits.get(wait.request.callId) !== wait) return
      if (!wait.isMoving) this.#owe(wait.request.callId, 'drop', wait.request.callId)
      this.#endWait(wait, error as Error)
    }
  }

  // ---- the heart ----

  #beatAgain(): void {
    this.#stopBeating = this.#setTimer(BEAT_MS, () => this.#beatAgain())
    void this.#beat()
  }

  async #beat(): Promise<void> {
    if (this.#isClosed) return
    try {
      const [isKnown, unconfirmed] = (await this.#ask('beat', '')) as [boolean, Reply[1]]
      this.#hear(unconfirmed)
      for (const [callId, { step, body }] of [...this.#owed]) {
        await this.#ask(step, body)
        this.#owed.delete(callId)
      }
      if (!isKnown) await this.#register()
    } catch {
      // The next beat tells it.
    }
  }

  /** Redis does not know this process: it has begun anew, or others have given the process up. All that it runs and waits for is told again. */
  async #register(): Promise<void> {
    const nowMs = this.#clock()
    const running = Array.from(this.#running.values(), (one) => ({
      request: requestToWire(one.request, one.candidates, nowMs),
      account: one.accountId,
      bound: one.bound,
      reserved: one.reservedNanoUsd,
      estimate: consumptionToWire(one.estimate),
      model: one.candidates.find(({ accountId }) => accountId === one.accountId)?.model ?? '',
      age: nowMs - one.sinceMs,
    }))
    for (let from = 0; from < running.length; from += REGISTERED_AT_ONCE) {
      await this.#ask('register', running.slice(from, from + REGISTERED_AT_ONCE))
    }
    for (const wait of this.#waits.all()) await this.#enterAgain(wait)
  }

  async #enterAgain(wait: Wait): Promise<void> {
    const { request, candidates, isMoving } = wait
    const body = requestToWire(request, candidates, this.#clock())
    await this.#ask(isMoving ? 'move' : 'admit', body, (answer, lagMs) => {
      const outcome = answer as WireOutcome
      if (outcome[0] === 'ticket') this.#waits.told(wait, outcome[2] + lagMs)
      else if (outcome[0] === 'admission') this.#take(request.callId, outcome)
      else if (outcome[0] === 'refused') this.#endWait(wait, refused(outcome, request, candidates))
      // What has to be learnt first is learnt by whoever comes next; this call comes again with the next beat.
    })
  }

  /** Tells something that must not be lost: at the next beat, if not now. */
  async #tell(callId: string, step: StepName, body: string): Promise<void> {
    try {
      await this.#ask(step, body)
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      this.#owe(callId, step, body)
    }
  }

  #owe(callId: string, step: StepName, body: string): void {
    this.#owed.set(callId, { step, body })
    for (const oldest of this.#owed.keys()) {
      if (this.#owed.size <= OWED_MAX) return
      this.#owed.delete(oldest)
    }
  }

  // ---- looks into the store ----

  #lookOnce(name: string, look: () => Promise<void>): Promise<void> {
    const underWay = this.#looks.get(name)
    if (underWay) return underWay
    const looking = look().finally(() => this.#looks.delete(name))
    this.#looks.set(name, looking)
    return looking
  }

  /** Returns false if the answer was out of date when it came: then nothing is taken over. */
  async #lookAtStanding({ userId, keyId }: StandingCaller, read: ReadStanding): Promise<boolean> {
    const [look, callIds] = (await this.#ask('begin_look', { user: userId })) as [string, string[] | object]
    const stored = await this.#readOrDrop(look, () => read(list(callIds) as string[]))
    const { balanceNanoUsd, keySpentNanoUsd, recordedCallIds } = stored
    const body = {
      look,
      user: userId,
      key: keyId,
      balance: balanceNanoUsd,
      spent: keySpentNanoUsd,
      recorded: recordedCallIds,
    }
    return (await this.#ask('end_look', body)) as boolean
  }

  async #lookAtUsage(limited: Limited, read: ReadUsage): Promise<boolean> {
    const wire = limitedToWire(limited, this.#clock())
    type Begun = false | [string, string[], string[] | object]
    const [begun, askedMs] = await this.#ask(
      'begin_usage_look',
      wire,
      (answer, lagMs) => [answer as Begun, this.#clock() - lagMs] as const,
    )
    if (begun === false) return true
    const [look, names, callIds] = begun
    const find = limitsAmong([{ ...limited, subject: 'key' }], [])
    const unknown = names.map((name) => find('key', limited.id, name))
    const windows = unknown.map(({ window }) => newWindow(window, askedMs))
    const { spans, recordedCallIds } = await this.#readOrDrop(look, () =>
      read({
        fromMs: Math.min(...windows.map(({ sinceMs }) => sinceMs)),
        stepMs: stepOf(windows),
        byModel: unknown.some(({ models }) => models !== undefined),
        callIds: list(callIds) as string[],
      }),
    )
    const body = {
      look,
      limited: limitedToWire(limited, this.#clock()),
      spans: spans.map(spanToWire),
      recorded: recordedCallIds,
    }
    return (await this.#ask('end_usage_look', body)) as boolean
  }

  async #readOrDrop<T>(look: string, read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      await this.#ask('drop_look', look).catch(() => {}) // it falls by itself
      throw error
    }
  }
}

function refused(
  [, refusal]: WireOutcome & ['refused', ...unknown[]],
  request: AdmitRequest,
  candidates: RankedCandidate[],
): Refused {
  return { kind: 'refused', refusal: refusalFromWire(refusal, request, limitsAmong(request.limits, candidates)) }
}

function unknownUsage(
  of: [LimitSubject, string][],
  request: AdmitRequest,
  candidates: readonly RankedCandidate[],
): UnknownUsage {
  const limited = of.map(([subject, id]): Limited => {
    if (subject !== 'account') return request.limits.find((one) => one.subject === subject && one.id === id) as Limited
    const { limits } = candidates.find(({ accountId }) => accountId === id) as RankedCandidate
    return { subject, id, limits }
  })
  return { kind: 'unknown_usage', of: limited }
}

function outcomeOf(outcome: WireOutcome, { request, candidates }: Wait): Refused | Error {
  if (outcome[0] === 'refused') return refused(outcome, request, candidates)
  if (outcome[0] === 'ended') return new Error(`${request.callId} ended while it waited for another account`)
  return new GatewayError('unavailable', 'this gateway process was taken for dead: try again', { retryAfterMs: 1000 })
}

/** The larger of each amount. */
function mostOf(a: Readonly<Consumption>, b: Readonly<Consumption>): Consumption {
  const names = Object.keys(a) as (keyof Consumption)[]
  return Object.fromEntries(names.map((name) => [name, Math.max(a[name], b[name])])) as unknown as Consumption
}

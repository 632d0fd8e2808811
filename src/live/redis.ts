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
import { RedisLooks } from './redis-looks.ts'
import { RedisSteps, type WireOutcomes } from './redis-steps.ts'
import { type Wait, Waits } from './redis-waits.ts'
import {
  candidatesToWire,
  consumptionToWire,
  limitedToWire,
  limitsAmong,
  limitsOf,
  list,
  refusalFromWire,
  requestToWire,
  standingsFromWire,
  type WireOutcome,
  type WireStanding,
} from './redis-wire.ts'

/** How often a process shows that it lives, looks for those that do not, and asks what became of its waits. */
const BEAT_MS = 5000
/** Calls that are told of in one step, when Redis has begun anew. */
const REGISTERED_AT_ONCE = 50
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

/** LiveState that any number of processes share in one Redis. Each step is one function there; this side knows its own calls only. */
export class RedisLiveState implements LiveState {
  readonly processId: string
  readonly #connection: RedisConnection
  readonly #clock: Clock
  readonly #setTimer: SetTimer
  readonly #space: string
  readonly #ownsConnection: boolean
  readonly #steps: RedisSteps
  readonly #looks: RedisLooks
  readonly #waits: Waits
  readonly #running = new Map<string, RunningHere>()
  /** Calls that Redis is being asked for: how their waits ended may be heard before the answer. */
  readonly #asked = new Map<string, WireOutcome[]>()
  /** Calls whose grant has been heard of, and is being confirmed. */
  readonly #confirming = new Set<string>()
  #stopBeating: (() => void) | null = null
  #stopHearing: () => void
  #isClosed = false

  private constructor(connection: RedisConnection, options: RedisLiveOptions) {
    this.processId = options.processId
    this.#connection = connection
    this.#clock = options.clock
    this.#setTimer = options.setTimer
    this.#space = options.space ?? ''
    this.#ownsConnection = options.ownsConnection ?? false
    this.#steps = new RedisSteps(connection, {
      ...{ processId: options.processId, clock: options.clock, space: this.#space },
      tellsTime: options.tellsTime ?? false,
      hear: (outcomes) => this.#hear(outcomes),
    })
    this.#looks = new RedisLooks(this.#steps, options.clock)
    this.#waits = new Waits(options.clock, options.setTimer, (wait) => void this.#remind(wait))
    this.#stopHearing = connection.onReconnect(() => void this.#beat())
  }

  /** A process of its own, whose heart does not beat yet. Throws `unavailable`. */
  static async join(connection: RedisConnection, options: RedisLiveOptions): Promise<RedisLiveState> {
    const live = new RedisLiveState(connection, options)
    await connection.listen(live.#space, live.processId, (outcomes) => live.#hear(outcomes as WireOutcomes))
    await live.#steps.ask('join', '')
    return live
  }

  /** From now on it shows that it lives. A process that shares nothing with others has no need to. */
  startBeating(): void {
    this.#stopBeating ??= this.#setTimer(BEAT_MS, () => this.#beatAgain())
  }

  async ping(): Promise<void> {
    await this.#steps.ask('spent_by', '')
  }

  async admit(request: AdmitRequest): Promise<Admission | Ticket | Refused | UnknownStanding | UnknownUsage> {
    const { callId, candidates } = request
    const body = requestToWire(request, candidates, this.#clock())
    return this.#askFor(callId, 'admit', body, (answer, aheadMs) =>
      this.#entered(answer, aheadMs, request, candidates, false),
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
    return this.#askFor(callId, 'move', body, (answer, aheadMs) => {
      if (answer[0] === 'bug') throw new Error(`bug: ${callId} cannot be moved now`)
      if (answer[0] !== 'unknown_usage') Object.assign(running, { accountId: '', bound: false })
      return this.#entered(answer, aheadMs, running.request, candidates, true) as
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
    this.#steps.ask('raise', body).catch(() => {}) // what a call turns out to use is told again when it settles
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
    await this.#steps.tell(callId, 'settle', JSON.stringify(body))
  }

  learn(caller: StandingCaller, read: ReadStanding): Promise<void> {
    return this.#looks.learn(caller, read)
  }

  learnUsage(limited: Limited, read: ReadUsage): Promise<void> {
    return this.#looks.learnUsage(limited, read)
  }

  async standings(limited: Limited): Promise<LimitStanding[] | UnknownUsage> {
    const answer = await this.#steps.ask('standings_of', limitedToWire(limited, this.#clock()))
    if (answer === false) return { kind: 'unknown_usage', of: [limited] }
    return standingsFromWire(answer as WireStanding[], (_subject, _id, name) => limitsOf(limited, [name])[0])
  }

  async spentBy(keyId: string): Promise<number | null> {
    const spent = await this.#steps.ask('spent_by', keyId)
    return spent === false ? null : Number(spent)
  }

  async forget(userId: string | null): Promise<void> {
    await this.#steps.tell(`forget ${userId ?? ''}`, 'forget', userId ?? '')
  }

  async rerank(ticket: Ticket, candidates: RankedCandidate[]): Promise<UnknownUsage | null> {
    const { callId } = ticket
    const body = { id: callId, ...candidatesToWire(candidates, this.#clock()) }
    const wait = this.#waits.get(callId)
    if (!wait) return null
    return this.#steps.ask('rerank', body, (answer, aheadMs) => {
      const outcome = answer as WireOutcome | false
      if (outcome && outcome[0] === 'unknown_usage') return unknownUsage(outcome[1], wait.request, candidates)
      this.#waits.rerank(wait, candidates)
      if (outcome && outcome[0] === 'ticket') this.#waits.told(wait, outcome[2] + aheadMs)
      return null
    })
  }

  async countPerMinute(subject: string, limit: number): Promise<boolean> {
    return (await this.#steps.ask('count_per_minute', { subject, max: limit })) as boolean
  }

  async admissions(): Promise<AdmissionView[]> {
    type Row = [string, string, string, string, string, number]
    const rows = list((await this.#steps.ask('admissions', '')) as Row[])
    return rows.map(([callId, processId, userId, keyId, accountId, sinceMs]) => {
      return { callId, processId, userId, keyId, accountId, sinceMs }
    })
  }

  async tickets(): Promise<TicketView[]> {
    type Row = [string, string, number, string, string, string[] | object, number, number]
    const rows = list((await this.#steps.ask('tickets', '')) as Row[])
    return rows.map(([callId, processId, number, userId, keyId, accountIds, sinceMs, passes]) => {
      return { callId, processId, number, userId, keyId, accountIds: list(accountIds) as string[], sinceMs, passes }
    })
  }

  async bindings(): Promise<BindingView[]> {
    const rows = list((await this.#steps.ask('bindings', '')) as [string, string, number][])
    return rows.map(([sessionKey, accountId, expiresAtMs]) => ({ sessionKey, accountId, expiresAtMs }))
  }

  async unbind(which: WhichBindings): Promise<number> {
    if (which === 'all') return (await this.#steps.ask('unbind', {})) as number
    const body = 'accountId' in which ? { account: which.accountId } : { session: which.sessionKey }
    return (await this.#steps.ask('unbind', body)) as number
  }

  async withLock<T>(name: string, ttlMs: number, work: () => Promise<T>): Promise<T | null> {
    const token = randomUUID()
    if (!(await this.#steps.ask('lock', { name, token, ttl: ttlMs }))) return null
    try {
      return await work()
    } finally {
      await this.#steps.ask('unlock', { name, token }).catch(() => {}) // it falls by itself
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#stopBeating?.()
    this.#stopHearing()
    for (const wait of this.#waits.all()) this.#endWait(wait, new Error('live state is closed'))
    await this.#steps.ask('leave', '').catch(() => {}) // others give it up
    await this.#connection.stopListening(this.#space, this.processId)
    if (this.#ownsConnection) await this.#connection[Symbol.asyncDispose]()
  }

  // ---- asking ----

  /** Asks for what a call needs. If no answer comes nobody knows whether it was given: then it is given back. */
  async #askFor<T>(
    callId: string,
    step: StepName,
    body: object,
    take: (answer: WireOutcome, aheadMs: number) => T,
  ): Promise<T> {
    const early = this.#asked.get(callId) ?? []
    this.#asked.set(callId, early)
    try {
      const taken = await this.#steps.ask(step, body, (answer, aheadMs) => take(answer as WireOutcome, aheadMs))
      this.#asked.delete(callId)
      this.#hear(early.map((outcome): [string, WireOutcome] => [callId, outcome]))
      return taken
    } catch (error) {
      this.#asked.delete(callId)
      if (error instanceof GatewayError && !this.#running.has(callId)) this.#steps.owe(callId, 'drop', callId)
      throw error
    }
  }

  #entered(
    answer: WireOutcome,
    aheadMs: number,
    request: AdmitRequest,
    candidates: RankedCandidate[],
    isMoving: boolean,
  ): Admission | Ticket | Refused | UnknownStanding | UnknownUsage {
    switch (answer[0]) {
      case 'admission':
        return this.#admitted(answer, request, candidates)
      case 'ticket':
        return this.#waits.enter({ request, isMoving, number: answer[1], toldMs: answer[2] + aheadMs }, candidates)
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
  #hear(outcomes: WireOutcomes): void {
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
    for (const callId of grants.keys()) this.#confirming.add(callId)
    try {
      const own = list((await this.#steps.ask('confirm', callIds)) as boolean[])
      for (const [index, callId] of callIds.entries()) {
        const outcome = grants.get(callId)
        if (outcome?.[0] === 'admission' && own[index]) this.#take(callId, outcome)
      }
    } catch {
      // It is told of again with the next beat.
    } finally {
      for (const callId of grants.keys()) this.#confirming.delete(callId)
    }
  }

  /** The slots that a call waited for are its own. */
  #take(callId: string, outcome: WireOutcome & ['admission', ...unknown[]]): void {
    const wait = this.#waits.get(callId)
    if (wait) {
      const admission = this.#admitted(outcome, wait.request, wait.candidates)
      this.#waits.leave(wait)
      wait.outcome.resolve(admission)
    } else if (!this.#running.has(callId)) void this.#steps.tell(callId, 'drop', callId) // nobody wants it any more
  }

  #endWait(wait: Wait, outcome: Refused | Error): void {
    this.#waits.leave(wait)
    if (outcome instanceof Error) wait.outcome.reject(outcome)
    else wait.outcome.resolve(outcome)
  }

  async #giveUp(wait: Wait, reason: unknown): Promise<void> {
    const { callId } = wait.request
    try {
      if (!(await this.#steps.ask('give_up', callId))) return // it has just been told how the wait ended
    } catch {
      if (!wait.isMoving) this.#steps.owe(callId, 'drop', callId)
    }
    this.#waits.leave(wait)
    wait.outcome.reject(reason)
  }

  /** The time has come that a ticket waited for. */
  async #remind(wait: Wait): Promise<void> {
    const { callId, deadlineMs } = wait.request
    const isWaiting = () => this.#waits.get(callId) === wait && !this.#confirming.has(callId)
    try {
      const isInLine = await this.#steps.ask('look_again', callId, (answer, aheadMs) => {
        const outcome = answer as WireOutcome | false
        if (outcome && outcome[0] === 'ticket') this.#waits.told(wait, outcome[2] + aheadMs)
        return outcome !== false
      })
      if (!isInLine && isWaiting()) await this.#standAgain(wait)
    } catch (error) {
      if (this.#clock() < deadlineMs || !isWaiting()) return
      if (!wait.isMoving) this.#steps.owe(callId, 'drop', callId)
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
      const [isKnown, unconfirmed] = (await this.#steps.ask('beat', '')) as [boolean, WireOutcomes]
      this.#hear(unconfirmed)
      await this.#steps.settleUp()
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
      await this.#steps.ask('register', running.slice(from, from + REGISTERED_AT_ONCE))
    }
    for (const wait of this.#waits.all()) await this.#standAgain(wait)
  }

  /** Redis does not know of the ticket any more. */
  async #standAgain(wait: Wait): Promise<void> {
    const { request, candidates } = wait
    const body = requestToWire(request, candidates, this.#clock())
    await this.#steps.ask('stand_again', body, (answer, aheadMs) => {
      const outcome = answer as WireOutcome
      if (outcome[0] === 'ticket') this.#waits.told(wait, outcome[2] + aheadMs)
      else if (outcome[0] === 'admission') this.#take(request.callId, outcome)
      else this.#endWait(wait, outcomeOf(outcome, wait))
    })
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
  try {
    if (outcome[0] === 'refused') return refused(outcome, request, candidates)
  } catch (error) {
    return error as Error
  }
  if (outcome[0] === 'ended') return new Error(`${request.callId} ended while it waited for another account`)
  return new GatewayError('unavailable', 'this gateway process was taken for dead: try again', { retryAfterMs: 1000 })
}

/** The larger of each amount. */
function mostOf(a: Readonly<Consumption>, b: Readonly<Consumption>): Consumption {
  const names = Object.keys(a) as (keyof Consumption)[]
  return Object.fromEntries(names.map((name) => [name, Math.max(a[name], b[name])])) as unknown as Consumption
}

import {
  type Consumption,
  type Limited,
  type LimitRefusal,
  type LimitStanding,
  NO_CONSUMPTION,
} from '../domain/limit.ts'
import { limitedAccount, type RunningCall } from './arrival.ts'
import { type Limits, waitOf } from './limits.ts'
import type {
  AdmitRequest,
  RankedCandidate,
  Refused,
  Reservation,
  Settlement,
  UnknownStanding,
  UnknownUsage,
} from './live-state.ts'
import type { Standings } from './standings.ts'

/** What calls may use: their callers' money and everybody's limits, asked and counted together. */
export class Allowances {
  readonly #standings: Standings
  readonly #limits: Limits

  constructor(standings: Standings, limits: Limits) {
    this.#standings = standings
    this.#limits = limits
  }

  /** Why a new call may not run, or what has to be learnt before that can be said; null: it may. */
  refuse(request: AdmitRequest): Refused | UnknownStanding | UnknownUsage | null {
    return (
      this.#standings.refuse(request) ??
      this.unknownUsage(request.limits, request.candidates) ??
      this.#overLimit(request)
    )
  }

  /** Why a call may not run that was let in and has waited since. What has to be learnt anew meanwhile does not hold it up. */
  ranOut(request: AdmitRequest): Refused | null {
    const spent = this.#standings.refuse(request)
    return spent?.kind === 'refused' ? spent : this.#overLimit(request)
  }

  /** Those who have to be learnt before a call can be judged; null if there are none. */
  unknownUsage(limits: readonly Limited[], candidates: readonly RankedCandidate[]): UnknownUsage | null {
    let of: Limited[] | null = null
    for (const limited of limits) if (this.#limits.isUnknown(limited, null)) of = [...(of ?? []), limited]
    for (const candidate of candidates) {
      if (candidate.limits.length === 0) continue
      const limited = limitedAccount(candidate)
      if (this.#limits.isUnknown(limited, candidate.model)) of = [...(of ?? []), limited]
    }
    return of && { kind: 'unknown_usage', of }
  }

  /** Reserves for a call that starts, and counts it against its caller's limits. */
  countCaller(running: RunningCall): void {
    const { userId, keyId, groupId, limits } = running.request
    this.#standings.reserve(userId, running.reservedNanoUsd)
    for (const limited of limits) this.#limits.count(limited, running, running.holds)
    // Who has no limits any more is forgotten.
    const has = (subject: Limited['subject']) => limits.some((limited) => limited.subject === subject)
    if (!has('key')) this.#limits.forget('key', keyId)
    if (!has('user')) this.#limits.forget('user', userId)
    if (!has('group')) this.#limits.forget('group', groupId)
  }

  /** Counts a call against the limits of the account that it gets. */
  countAccount(candidate: RankedCandidate, running: RunningCall): void {
    this.#limits.count(limitedAccount(candidate), running, running.accountHolds)
  }

  /** The call goes to another account: at the one that it leaves it no longer counts. */
  leaveAccount({ accountHolds }: RunningCall): void {
    this.#limits.giveBack(accountHolds)
  }

  /** Reserves as much for a running call as it turns out to need, if that is more. */
  raise(running: RunningCall, { reservedNanoUsd, estimate }: Reservation): void {
    this.#reserve(running, Math.max(running.reservedNanoUsd, reservedNanoUsd))
    this.#limits.reestimate(running, mostOf(running.estimate, estimate))
  }

  /**
   * Whoever ran the call is gone: its reservations are taken back, and what may have been recorded of it without our
   * hearing of it has to be learnt anew.
   */
  giveUp(running: RunningCall): void {
    const { userId, keyId, groupId } = running.request
    this.#reserve(running, 0)
    this.#limits.reestimate(running, NO_CONSUMPTION)
    this.#standings.forget(userId)
    this.#standings.forgetKey(keyId)
    this.#limits.forgetKept('key', keyId)
    this.#limits.forgetKept('user', userId)
    this.#limits.forgetKept('group', groupId)
    if (running.accountId) this.#limits.forgetKept('account', running.accountId)
  }

  /** Exchanges what was reserved for the truth. */
  settle(running: RunningCall, end: Settlement): void {
    this.#reserve(running, 0)
    this.#standings.debit(running.request, end)
    this.#limits.settle(running, end.used)
  }

  /** What is used of the limits of the caller and of the account; null if they have none. */
  standingsOf({ limits }: AdmitRequest, candidate: RankedCandidate): LimitStanding[] | null {
    if (limits.length === 0 && candidate.limits.length === 0) return null
    const ofAccount = this.#limits.standings(limitedAccount(candidate))
    return [
      ...limits.flatMap((limited) => this.#limits.standings(limited)),
      ...ofAccount.filter(({ limit }) => this.#limits.covers(limit, candidate.model)),
    ]
  }

  #reserve(running: RunningCall, nanoUsd: number): void {
    this.#standings.reserve(running.request.userId, nanoUsd - running.reservedNanoUsd)
    running.reservedNanoUsd = nanoUsd
  }

  /** The caller's limit that keeps the call out, of several the one that does so for longest. */
  #overLimit({ limits }: AdmitRequest): Refused | null {
    let worst: LimitRefusal | null = null
    for (const limited of limits) {
      const exceeded = this.#limits.exceeded(limited, null)
      if (exceeded && (worst === null || waitOf(exceeded) > waitOf(worst))) worst = exceeded
    }
    return worst && { kind: 'refused', refusal: worst }
  }
}

/** The larger of each amount. */
function mostOf(a: Readonly<Consumption>, b: Readonly<Consumption>): Consumption {
  return {
    requests: Math.max(a.requests, b.requests),
    inputTokens: Math.max(a.inputTokens, b.inputTokens),
    cacheReadTokens: Math.max(a.cacheReadTokens, b.cacheReadTokens),
    outputTokens: Math.max(a.outputTokens, b.outputTokens),
    costNanoUsd: Math.max(a.costNanoUsd, b.costNanoUsd),
    spentNanoUsd: Math.max(a.spentNanoUsd, b.spentNanoUsd),
  }
}

import type { LimitRefusal } from '../domain/limit.ts'
import type { Clock } from '../lib/clock.ts'
import { type Arrival, accountNeed, isOlder, limitedAccount, type Need } from './arrival.ts'
import type { Bindings } from './bindings.ts'
import { type Limits, waitOf } from './limits.ts'
import type { Line, UserLine } from './line.ts'
import type { RankedCandidate } from './live-state.ts'
import { Slots } from './slots.ts'

/** Later calls of the same user that may pass a ticket before it is due: before slots are kept for it. */
const PASSES_MAX = 8

/** A ticket that fits, and the account that would serve it. */
export interface Fit {
  call: Arrival
  account: RankedCandidate
}

/** Whom the free slots would do for. Asks only, and changes nothing. */
export class Vacancies {
  readonly #now: Clock
  readonly #slots: Slots
  readonly #line: Line
  readonly #bindings: Bindings
  readonly #limits: Limits

  constructor(now: Clock, slots: Slots, line: Line, bindings: Bindings, limits: Limits) {
    this.#now = now
    this.#slots = slots
    this.#line = line
    this.#bindings = bindings
    this.#limits = limits
  }

  /** The account that would serve the call now; null if it has to wait. For a call that only limits keep from all its accounts any of them: its turn has come, to be refused. */
  accountFor(call: Arrival): RankedCandidate | null {
    return this.#freeAccount(call, this.#keptBefore(call), null)
  }

  /** What the call waits for: the first of the caller's slots that is not free, or else its accounts, as all are taken. */
  bottlenecks(call: Arrival): Need[] {
    const kept = this.#keptBefore(call)
    const own = call.callerNeeds.find((need) => !this.#isFree(need, kept))
    return own ? [own] : this.accountsFor(call).map(accountNeed)
  }

  /** The user's oldest ticket that fits; with `onlyAt` at this account. */
  oldestThatFits(line: UserLine, onlyAt: string | null): Fit | null {
    let kept: Slots | null = null
    for (const call of line.calls) {
      const account = this.#freeAccount(call, kept, onlyAt)
      if (account) return { call, account }
      kept = this.#keepFor(call, kept)
    }
    return null
  }

  /** The accounts that would do, best first: the session's own, and while that is waited for no other. */
  accountsFor(call: Arrival): readonly RankedCandidate[] {
    const open = this.#openTo(call)
    const own = this.#boundAmong(call, open)
    if (own === null) return open
    if (call.stickyUntilMs > this.#now()) return [own]
    const others = open.filter((candidate) => candidate !== own)
    return this.#rests(own) ? others : [own, ...others]
  }

  waitsForItsOwn(call: Arrival): boolean {
    return call.stickyUntilMs > this.#now() && this.ownAccount(call) !== null
  }

  /** The account that the call's session is bound to, if it is a candidate and within its limits. */
  ownAccount(call: Arrival): RankedCandidate | null {
    return this.#boundAmong(call, this.#openTo(call))
  }

  /**
   * The limit that is used up where all of the call's accounts are over theirs, of the one that is back first; null if any
   * is within, or its session's own one that rests, while that is waited for.
   */
  limitReached(call: Arrival): LimitRefusal | null {
    let first: LimitRefusal | null = null
    for (const candidate of this.#candidatesOf(call)) {
      const rests = this.#rests(candidate)
      if (rests && call.stickyUntilMs <= this.#now()) continue
      const exceeded = this.#exceeded(candidate)
      if (!exceeded) return null
      if (rests) continue
      if (first === null || waitOf(exceeded) < waitOf(first)) first = exceeded
    }
    return first
  }

  /** In how many ms the first of the call's accounts that are over their limits or rest is back; infinite if none is away or none comes back. */
  backInMs(call: Arrival): number {
    let soonestMs = Number.POSITIVE_INFINITY
    // Also those that its session is not bound to: it may be by then.
    for (const candidate of call.onlyOwn) {
      if (this.#rests(candidate)) soonestMs = Math.min(soonestMs, (candidate.onlyOwnFromMs ?? 0) - this.#now())
    }
    for (const candidate of this.#candidatesOf(call)) {
      const exceeded = this.#exceeded(candidate)
      if (exceeded) soonestMs = Math.min(soonestMs, waitOf(exceeded))
    }
    return soonestMs
  }

  /** Those for every call, and its session's own account if it is one that is of use to it alone. */
  #candidatesOf({ request: { session }, candidates, onlyOwn }: Arrival): readonly RankedCandidate[] {
    if (onlyOwn.length === 0 || !session) return candidates
    const boundTo = this.#bindings.accountOf(session.key)
    const own = onlyOwn.find(({ accountId }) => accountId === boundTo)
    return own ? [own, ...candidates] : candidates
  }

  #rests({ onlyOwnFromMs }: RankedCandidate): boolean {
    return onlyOwnFromMs !== undefined && onlyOwnFromMs > this.#now()
  }

  /** The call's candidates that are within their own limits. */
  #openTo(call: Arrival): readonly RankedCandidate[] {
    const candidates = this.#candidatesOf(call)
    if (!candidates.some(hasLimits)) return candidates
    return candidates.filter((candidate) => !this.#exceeded(candidate))
  }

  #exceeded(candidate: RankedCandidate): LimitRefusal | null {
    return hasLimits(candidate) ? this.#limits.exceeded(limitedAccount(candidate), candidate.model) : null
  }

  #boundAmong({ request }: Arrival, candidates: readonly RankedCandidate[]): RankedCandidate | null {
    const own = request.session && this.#bindings.accountOf(request.session.key)
    return (own && candidates.find(({ accountId }) => accountId === own)) || null
  }

  #freeAccount(call: Arrival, kept: Slots | null, onlyAt: string | null): RankedCandidate | null {
    for (const need of call.callerNeeds) if (!this.#isFree(need, kept)) return null
    const accounts = this.accountsFor(call)
    if (accounts.length === 0) return call.candidates[0] as RankedCandidate
    for (const candidate of accounts) {
      const { accountId, concurrency } = candidate
      if ((onlyAt !== null && accountId !== onlyAt) || this.#rests(candidate)) continue
      if (concurrency === null || this.#slots.inUse('account', accountId) < concurrency) return candidate
    }
    return null
  }

  #isFree({ kind, id, limit }: Need, kept: Slots | null): boolean {
    if (limit === null) return true
    return this.#slots.inUse(kind, id) + (kept?.inUse(kind, id) ?? 0) < limit
  }

  /** What is kept for its user's older tickets. */
  #keptBefore(call: Arrival): Slots | null {
    let kept: Slots | null = null
    for (const other of this.#line.of(call.request.userId)?.calls ?? []) {
      if (!isOlder(other, call)) break
      kept = this.#keepFor(other, kept)
    }
    return kept
  }

  /**
   * Adds what is kept for a ticket that is due: the key's slot, and once that is free the user's too. So it holds up
   * only calls of its own user, and never an account: there its turn comes anyway.
   */
  #keepFor(call: Arrival, kept: Slots | null): Slots | null {
    if (call.passes < PASSES_MAX) return kept
    const keeping = kept ?? new Slots()
    for (const need of call.callerNeeds) {
      if (!this.#isFree(need, keeping)) break
      keeping.take(need.kind, need.id)
    }
    return keeping
  }
}

function hasLimits({ limits }: RankedCandidate): boolean {
  return limits.length > 0
}

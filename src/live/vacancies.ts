import type { Clock } from '../lib/clock.ts'
import { type Arrival, accountNeed, isOlder, type Need } from './arrival.ts'
import type { Bindings } from './bindings.ts'
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

  constructor(now: Clock, slots: Slots, line: Line, bindings: Bindings) {
    this.#now = now
    this.#slots = slots
    this.#line = line
    this.#bindings = bindings
  }

  /** The account that would serve the call now; null if it has to wait. */
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
    const own = this.ownAccount(call)
    if (own === null) return call.candidates
    if (call.stickyUntilMs > this.#now()) return [own]
    return [own, ...call.candidates.filter((candidate) => candidate !== own)]
  }

  waitsForItsOwn(call: Arrival): boolean {
    return call.stickyUntilMs > this.#now() && this.ownAccount(call) !== null
  }

  /** The account that the call's session is bound to, if it is a candidate. */
  ownAccount({ request, candidates }: Arrival): RankedCandidate | null {
    const own = request.session && this.#bindings.accountOf(request.session.key)
    return (own && candidates.find(({ accountId }) => accountId === own)) || null
  }

  #freeAccount(call: Arrival, kept: Slots | null, onlyAt: string | null): RankedCandidate | null {
    for (const need of call.callerNeeds) if (!this.#isFree(need, kept)) return null
    for (const candidate of this.accountsFor(call)) {
      const { accountId, concurrency } = candidate
      if (onlyAt !== null && accountId !== onlyAt) continue
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

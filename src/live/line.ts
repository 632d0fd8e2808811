import { type Arrival, accountNeed, type Need, type Usable } from './arrival.ts'
import type { RankedCandidate } from './live-state.ts'
import { Slots } from './slots.ts'

/** The tickets of one user. */
export interface UserLine {
  readonly userId: string
  /** In order of arrival. */
  readonly calls: Arrival[]
  /** Per account, the turn at which one of its tickets was served last. */
  readonly turns: Map<string, number>
}

/** Everybody who waits: first come, first served in each user's line, while users take turns at an account. */
export class Line {
  readonly #byCall = new Map<string, Arrival>()
  /** Only users who wait: who comes back later stands behind everybody's present turn anyway. */
  readonly #byUser = new Map<string, UserLine>()
  /** Tickets by what held them up when they came. */
  readonly #heldUp = new Slots()
  /** Tickets by account that they would take. */
  readonly #wanting = new Slots()
  #turn = 0

  /** Counts the tickets served. */
  get turn(): number {
    return this.#turn
  }

  get isEmpty(): boolean {
    return this.#byCall.size === 0
  }

  get(callId: string): Arrival | undefined {
    return this.#byCall.get(callId)
  }

  of(userId: string): UserLine | undefined {
    return this.#byUser.get(userId)
  }

  users(): Iterable<UserLine> {
    return this.#byUser.values()
  }

  /** All tickets, in order of arrival. */
  tickets(): Arrival[] {
    return [...this.#byCall.values()].sort((a, b) => a.place.number - b.place.number)
  }

  join(call: Arrival, heldUpBy: Need): void {
    const { callId, userId } = call.request
    const line = this.#byUser.get(userId) ?? { userId, calls: [], turns: new Map() }
    this.#byUser.set(userId, line)
    const before = line.calls.findLastIndex(({ place }) => place.number < call.place.number)
    line.calls.splice(before + 1, 0, call) // not always the end: a moving call came before those that wait
    this.#byCall.set(callId, call)
    call.heldUpBy = heldUpBy
    this.#count(call)
  }

  /** Other accounts would do for the ticket. It keeps its place in line, unless that is at an account which would not do any more. */
  rerank(call: Arrival, { candidates, onlyOwn }: Usable): void {
    this.#uncount(call)
    const { heldUpBy } = call
    const would = [...candidates, ...onlyOwn]
    const isGone = heldUpBy?.kind === 'account' && !would.some(({ accountId }) => accountId === heldUpBy.id)
    if (isGone) call.heldUpBy = accountNeed(candidates[0] as RankedCandidate)
    call.candidates = candidates
    call.onlyOwn = onlyOwn
    this.#count(call)
  }

  leave(call: Arrival): void {
    const { callId, userId } = call.request
    const line = this.#byUser.get(userId)
    if (!line || this.#byCall.get(callId) !== call) return
    this.#byCall.delete(callId)
    this.#uncount(call)
    line.calls.splice(line.calls.indexOf(call), 1)
    if (line.calls.length === 0) this.#byUser.delete(userId)
  }

  /** How many stand in the line of a user, a key or an account. */
  lengthAt({ kind, id }: Need): number {
    return this.#heldUp.inUse(kind, id)
  }

  /** Whether the account would do for anybody who waits. */
  isWanted(accountId: string): boolean {
    return this.#wanting.inUse('account', accountId) > 0
  }

  /** Since when it is the user's turn at the account: since the call came, or since one of its tickets was served there. */
  turnAt(accountId: string, call: Arrival): number {
    const served = this.#byUser.get(call.request.userId)?.turns.get(accountId) ?? 0
    return Math.max(served, call.place.turn)
  }

  /** One of the user's tickets is served at the account: now it is the others' turn. */
  takeTurn(accountId: string, call: Arrival): void {
    this.#byUser.get(call.request.userId)?.turns.set(accountId, ++this.#turn)
  }

  #count({ heldUpBy, candidates, onlyOwn }: Arrival): void {
    if (heldUpBy) this.#heldUp.take(heldUpBy.kind, heldUpBy.id)
    for (const { accountId } of candidates) this.#wanting.take('account', accountId)
    for (const { accountId } of onlyOwn) this.#wanting.take('account', accountId)
  }

  #uncount({ heldUpBy, candidates, onlyOwn }: Arrival): void {
    if (heldUpBy) this.#heldUp.free(heldUpBy.kind, heldUpBy.id)
    for (const { accountId } of candidates) this.#wanting.free('account', accountId)
    for (const { accountId } of onlyOwn) this.#wanting.free('account', accountId)
  }
}

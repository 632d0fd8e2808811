import type { SlotRefusal } from '../domain/limit.ts'
import type {
  AdmitRequest,
  ReadStanding,
  Refused,
  Settlement,
  StandingCaller,
  StoredStanding,
  UnknownStanding,
} from './live-state.ts'

/** Users and keys whose money is remembered; beyond it the oldest without reservations are forgotten and read again. */
const STANDINGS_MAX = 100_000
/** Looks into the store for one caller, if its standing changes again and again while it is looked at. */
const LOOKS_MAX = 5

interface Standing {
  /** Null: unknown, to be read from the store. */
  balanceNanoUsd: number | null
  reservedNanoUsd: number
}

/** A call that moves its key's money; its user's is known from where it stands. */
export interface Spender {
  callId: string
  keyId: string
}

/** A look into the store that is under way. */
interface Look {
  userId: string
  /** Calls that have settled since it began. */
  settled: (Spender & { end: Settlement })[]
  /** The balance has changed in the store since it began. */
  isStale: boolean
}

/** Balances of users and spending of keys, as running calls move them between two looks into the store. */
export class Standings {
  readonly #max: number
  readonly #users = new Map<string, Standing>()
  readonly #keySpent = new Map<string, number>()
  /** Unsettled calls whose charge was already in the balance, or in the key's spending, when that was read. */
  readonly #inBalance = new Set<string>()
  readonly #inKeySpent = new Set<string>()
  readonly #looks = new Set<Look>()
  readonly #learning = new Map<string, Promise<void>>()

  constructor(max = STANDINGS_MAX) {
    this.#max = max
  }

  /** Whether a call may spend: null = it may. */
  refuse({ userId, keyId, needsBalance, quotaNanoUsd }: AdmitRequest): Refused | UnknownStanding | null {
    if (needsBalance) {
      const standing = this.#users.get(userId)
      if (!standing || standing.balanceNanoUsd === null) return { kind: 'unknown' }
      const { balanceNanoUsd, reservedNanoUsd } = standing
      if (balanceNanoUsd - reservedNanoUsd <= 0) {
        return spent({
          subject: 'user',
          subjectId: userId,
          metric: 'balance',
          limit: balanceNanoUsd,
          used: reservedNanoUsd,
        })
      }
    }
    if (quotaNanoUsd !== null) {
      const used = this.#keySpent.get(keyId)
      if (used === undefined) return { kind: 'unknown' }
      if (used >= quotaNanoUsd) {
        return spent({ subject: 'key', subjectId: keyId, metric: 'quota', limit: quotaNanoUsd, used })
      }
    }
    return null
  }

  /** Changes what the user's running calls hold; a negative amount gives back. */
  reserve(userId: string, nanoUsd: number): void {
    if (nanoUsd !== 0) this.#of(userId).reservedNanoUsd += nanoUsd
  }

  /** A call has settled. What is unknown stays so: the store knows the call when it is asked. */
  debit({ callId, userId, keyId }: Spender & { userId: string }, end: Settlement): void {
    for (const look of this.#looks) if (look.userId === userId) look.settled.push({ callId, keyId, end })
    const standing = this.#users.get(userId)
    const isInBalance = this.#inBalance.delete(callId)
    if (standing && standing.balanceNanoUsd !== null && !isInBalance) standing.balanceNanoUsd -= end.debitNanoUsd
    const used = this.#keySpent.get(keyId)
    const isInKeySpent = this.#inKeySpent.delete(callId)
    if (used !== undefined && !isInKeySpent) this.#keySpent.set(keyId, used + end.spentNanoUsd)
  }

  /** See LiveState. `unsettled` lists the user's calls whose charge may still come. */
  learn(caller: StandingCaller, read: ReadStanding, unsettled: () => Spender[]): Promise<void> {
    const name = `${caller.userId} ${caller.keyId}`
    const underWay = this.#learning.get(name)
    if (underWay) return underWay
    const lookUntilFresh = async () => {
      try {
        let isFresh = false
        for (let looks = 0; looks < LOOKS_MAX && !isFresh; looks++) isFresh = await this.#look(caller, read, unsettled)
      } finally {
        this.#learning.delete(name)
      }
    }
    const learning = lookUntilFresh()
    this.#learning.set(name, learning)
    return learning
  }

  /** Returns false if the answer was out of date when it came: then nothing is taken over. */
  async #look(caller: StandingCaller, read: ReadStanding, unsettled: () => Spender[]): Promise<boolean> {
    const look: Look = { userId: caller.userId, settled: [], isStale: false }
    this.#looks.add(look)
    try {
      const standing = await read(unsettled().map(({ callId }) => callId))
      if (look.isStale) return false
      const recorded = new Set(standing.recordedCallIds)
      const isRecorded = ({ callId }: Spender) => recorded.has(callId)
      const missed = look.settled.filter((call) => !isRecorded(call))
      this.takeOver(caller, standing, { included: unsettled().filter(isRecorded), missed })
      return true
    } finally {
      this.#looks.delete(look)
    }
  }

  /**
   * Takes over what is not known: what is known has moved since the store was asked. The charges of `included` calls,
   * which have not settled, are in the standing already; those of `missed` ones, which have, are not.
   */
  takeOver(
    { userId, keyId }: StandingCaller,
    standing: StoredStanding,
    { included, missed }: { included: Spender[]; missed: Look['settled'] },
  ): void {
    const user = this.#of(userId)
    if (user.balanceNanoUsd === null) {
      user.balanceNanoUsd = standing.balanceNanoUsd - sum(missed.map(({ end }) => end.debitNanoUsd))
      for (const { callId } of included) this.#inBalance.add(callId)
    }
    if (!this.#keySpent.has(keyId)) {
      const ofKey = (call: Spender) => call.keyId === keyId
      const missedNanoUsd = sum(missed.filter(ofKey).map(({ end }) => end.spentNanoUsd))
      this.#keySpent.set(keyId, standing.keySpentNanoUsd + missedNanoUsd)
      for (const { callId } of included.filter(ofKey)) this.#inKeySpent.add(callId)
      for (const oldest of this.#keySpent.keys()) {
        if (this.#keySpent.size <= this.#max) break
        this.#keySpent.delete(oldest)
      }
    }
  }

  spentBy(keyId: string): number | null {
    return this.#keySpent.get(keyId) ?? null
  }

  /** Null: everybody's balance. */
  forget(userId: string | null): void {
    for (const look of this.#looks) if (userId === null || look.userId === userId) look.isStale = true
    const standings = userId === null ? this.#users.values() : [this.#users.get(userId)]
    for (const standing of standings) if (standing) standing.balanceNanoUsd = null
  }

  /** What the key has spent may have moved in the store: the next call has to learn it again. */
  forgetKey(keyId: string): void {
    this.#keySpent.delete(keyId)
  }

  /** A call will never settle. */
  forgetCall(callId: string): void {
    this.#inBalance.delete(callId)
    this.#inKeySpent.delete(callId)
  }

  #of(userId: string): Standing {
    let standing = this.#users.get(userId)
    if (!standing) {
      for (const [oldest, { reservedNanoUsd }] of this.#users) {
        if (this.#users.size < this.#max) break
        if (reservedNanoUsd === 0) this.#users.delete(oldest)
      }
      standing = { balanceNanoUsd: null, reservedNanoUsd: 0 }
      this.#users.set(userId, standing)
    }
    return standing
  }
}

function sum(amounts: number[]): number {
  return amounts.reduce((total, amount) => total + amount, 0)
}

function spent(refusal: Omit<SlotRefusal, 'reason' | 'retryAfterMs'>): Refused {
  return { kind: 'refused', refusal: { ...refusal, reason: 'spent', retryAfterMs: null } }
}

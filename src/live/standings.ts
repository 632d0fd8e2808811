import type { Refusal } from '../domain/limit.ts'
import type { AdmitRequest, Refused, SeededStanding, Settlement, UnknownStanding } from './live-state.ts'

/** Users and keys whose money is remembered; beyond it the oldest without reservations are forgotten and seeded anew. */
const STANDINGS_MAX = 100_000

interface Standing {
  /** Null: unknown, to be seeded from the store. */
  balanceNanoUsd: number | null
  reservedNanoUsd: number
}

/** Balances of users and spending of keys, as running calls move them between two looks into the store. */
export class Standings {
  readonly #users = new Map<string, Standing>()
  readonly #keySpent = new Map<string, number>()

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

  /** What is unknown stays so: the store knows the call when it is asked. */
  debit(userId: string, keyId: string, { debitNanoUsd, spentNanoUsd }: Settlement): void {
    const standing = this.#users.get(userId)
    if (standing && standing.balanceNanoUsd !== null) standing.balanceNanoUsd -= debitNanoUsd
    const used = this.#keySpent.get(keyId)
    if (used !== undefined) this.#keySpent.set(keyId, used + spentNanoUsd)
  }

  seed({ userId, keyId, balanceNanoUsd, keySpentNanoUsd }: SeededStanding): void {
    this.#of(userId).balanceNanoUsd = balanceNanoUsd
    this.#keySpent.set(keyId, keySpentNanoUsd)
    for (const [oldest, { reservedNanoUsd }] of this.#users) {
      if (this.#users.size <= STANDINGS_MAX) break
      if (reservedNanoUsd === 0) this.#users.delete(oldest)
    }
    for (const oldest of this.#keySpent.keys()) {
      if (this.#keySpent.size <= STANDINGS_MAX) break
      this.#keySpent.delete(oldest)
    }
  }

  forget(userId: string): void {
    const standing = this.#users.get(userId)
    if (standing) standing.balanceNanoUsd = null
  }

  #of(userId: string): Standing {
    let standing = this.#users.get(userId)
    if (!standing) {
      standing = { balanceNanoUsd: null, reservedNanoUsd: 0 }
      this.#users.set(userId, standing)
    }
    return standing
  }
}

function spent(refusal: Omit<Refusal, 'reason' | 'retryAfterMs'>): Refused {
  return { kind: 'refused', refusal: { ...refusal, reason: 'spent', retryAfterMs: null } }
}

import { GatewayError } from '../domain/errors.ts'

export interface HoldLimits {
  /** Bytes of all bodies at a time. */
  max: number
  /** Bytes of one user's. */
  maxOfUser: number
}

/** How many bytes of request bodies are in memory: of all users, and of each. */
export class HeldBodies {
  #bytes = 0
  readonly #byUser = new Map<string, number>()

  get bytes(): number {
    return this.#bytes
  }

  of(userId: string): number {
    return this.#byUser.get(userId) ?? 0
  }

  /** Adds to what is held, or takes away. */
  count(userId: string, bytes: number): void {
    this.#bytes += bytes
    const ofUser = this.of(userId) + bytes
    if (ofUser > 0) this.#byUser.set(userId, ofUser)
    else this.#byUser.delete(userId)
  }
}

/** What one request holds. It counts only what is there: a length that is announced costs its client nothing. */
export class Holding {
  readonly #all: HeldBodies
  readonly #userId: string
  readonly #limits: HoldLimits
  #bytes = 0

  constructor(all: HeldBodies, userId: string, limits: HoldLimits) {
    this.#all = all
    this.#userId = userId
    this.#limits = limits
  }

  /** Throws `limited` if so many bytes more are beyond the user's share, `unavailable` if they are too many in all. */
  requireRoom(bytes: number): void {
    const { max, maxOfUser } = this.#limits
    if (this.#all.of(this.#userId) + bytes > maxOfUser) {
      throw new GatewayError(
        'limited',
        "the gateway holds as many request bodies as it may of one user, and they are this user's; try again shortly",
        { retryAfterMs: RETRY_AFTER_MS },
      )
    }
    if (this.#all.bytes + bytes > max) {
      throw new GatewayError('unavailable', 'the gateway holds as many request bodies as it may; try again shortly', {
        retryAfterMs: RETRY_AFTER_MS,
      })
    }
  }

  /** Throws as `requireRoom` does. */
  add(bytes: number): void {
    this.requireRoom(bytes)
    this.#count(bytes)
  }

  drop(bytes: number): void {
    this.#count(-bytes)
  }

  release(): void {
    this.#count(-this.#bytes)
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#all.count(this.#userId, bytes)
  }
}

const RETRY_AFTER_MS = 2000

import { GatewayError } from '../domain/errors.ts'
import type { Clock } from '../lib/clock.ts'

export interface GuardRules {
  enabled: boolean
  failureThreshold: number
  resetTimeoutMs: number
  halfOpenRequests: number
}

/**
 * Stops taking calls while their charges cannot be stored: opens after some store failures in a row, lets a few probes
 * through after a while, and closes when one of them is stored. Only the store's failures count, never a caller's.
 */
export class BillingGuard {
  readonly #rules: () => GuardRules
  readonly #now: Clock
  #failures = 0
  #openedMs: number | null = null
  /** Let through in the current reset time-out, the so many-th since it opened. */
  #probes = 0
  #round = 0

  constructor(rules: () => GuardRules, now: Clock) {
    this.#rules = rules
    this.#now = now
  }

  get state(): 'closed' | 'open' | 'half_open' {
    const { enabled, resetTimeoutMs } = this.#rules()
    if (!enabled || this.#openedMs === null) return 'closed'
    return this.#now() - this.#openedMs >= resetTimeoutMs ? 'half_open' : 'open'
  }

  /**
   * Throws `unavailable` if no call may start now. A probe need not report: it may be refused by a limit, or left by its
   * client. So every reset time-out has new ones.
   */
  check(): void {
    const { enabled, resetTimeoutMs, halfOpenRequests } = this.#rules()
    if (!enabled || this.#openedMs === null) return
    const openMs = this.#now() - this.#openedMs
    const round = Math.floor(openMs / resetTimeoutMs)
    if (round !== this.#round) this.#probes = 0
    this.#round = round
    if (round > 0 && this.#probes < halfOpenRequests) {
      this.#probes++
      return
    }
    throw new GatewayError(
      'unavailable',
      'the gateway cannot store charges at the moment and takes no calls until it can',
      { retryAfterMs: Math.max(1000, (round + 1) * resetTimeoutMs - openMs) },
    )
  }

  stored(): void {
    this.#failures = 0
    this.#openedMs = null
  }

  failed(): void {
    this.#failures++
    if (this.#failures < this.#rules().failureThreshold && this.#openedMs === null) return
    this.#openedMs = this.#now() // a failed probe starts the wait again
  }
}

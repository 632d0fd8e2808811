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
  #probes = 0

  constructor(rules: () => GuardRules, now: Clock) {
    this.#rules = rules
    this.#now = now
  }

  get state(): 'closed' | 'open' | 'half_open' {
    if (this.#openedMs === null) return 'closed'
    return this.#now() - this.#openedMs >= this.#rules().resetTimeoutMs ? 'half_open' : 'open'
  }

  /** Throws `unavailable` if no call may start now. Whoever passes reports back by `stored` or `failed`. */
  check(): void {
    const rules = this.#rules()
    if (!rules.enabled || this.#openedMs === null) return
    if (this.state === 'half_open' && this.#probes < rules.halfOpenRequests) {
      this.#probes++
      return
    }
    throw new GatewayError(
      'unavailable',
      'the gateway cannot store charges at the moment and takes no calls until it can',
      {
        retryAfterMs: Math.max(1000, this.#openedMs + rules.resetTimeoutMs - this.#now()),
      },
    )
  }

  stored(): void {
    this.#failures = 0
    this.#openedMs = null
    this.#probes = 0
  }

  failed(): void {
    this.#failures++
    if (this.#failures < this.#rules().failureThreshold && this.#openedMs === null) return
    this.#openedMs = this.#now() // a failed probe starts the wait again
    this.#probes = 0
  }
}

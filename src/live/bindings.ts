import type { Clock } from '../lib/clock.ts'
import type { BindingView } from './live-state.ts'

/** Bindings kept; beyond it those used longest ago go. */
const BINDINGS_MAX = 200_000

/** Which account a conversation is bound to, until it has been silent for its TTL. */
export class Bindings {
  readonly #now: Clock
  readonly #max: number
  readonly #bindings = new Map<string, { accountId: string; expiresAtMs: number }>()

  constructor(now: Clock, max = BINDINGS_MAX) {
    this.#now = now
    this.#max = max
  }

  /** Null if it is bound to none. */
  accountOf(sessionKey: string): string | null {
    const binding = this.#bindings.get(sessionKey)
    return binding && binding.expiresAtMs > this.#now() ? binding.accountId : null
  }

  /** Binds it anew, or starts the TTL again. */
  bind(sessionKey: string, accountId: string, ttlMs: number): void {
    this.#bindings.delete(sessionKey) // the one used last stands last
    this.#bindings.set(sessionKey, { accountId, expiresAtMs: this.#now() + ttlMs })
    for (const oldest of this.#bindings.keys()) {
      if (this.#bindings.size <= this.#max) return
      this.#bindings.delete(oldest)
    }
  }

  /** A call has gone well at the account: the TTL starts again. Where a later call bound the session elsewhere meanwhile, that stands. */
  confirm(sessionKey: string, accountId: string, ttlMs: number): void {
    const boundTo = this.accountOf(sessionKey)
    if (boundTo === null || boundTo === accountId) this.bind(sessionKey, accountId, ttlMs)
  }

  /** Returns how many there were. */
  unbind(isMeant: (sessionKey: string, accountId: string) => boolean): number {
    const meant = this.all().filter(({ sessionKey, accountId }) => isMeant(sessionKey, accountId))
    for (const { sessionKey } of meant) this.#bindings.delete(sessionKey)
    return meant.length
  }

  all(): BindingView[] {
    const now = this.#now()
    return Array.from(this.#bindings, ([sessionKey, binding]) => ({ sessionKey, ...binding })).filter(
      ({ expiresAtMs }) => expiresAtMs > now,
    )
  }
}

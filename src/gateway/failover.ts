import { isForbidden, type UpstreamFault } from '../domain/fault.ts'
import type { Call } from './call.ts'
import { deadlineMs } from './deadlines.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

/**
 * A call asks the same account again this often at most. It is for an accident (one reset connection, one 500). Clients
 * ask again as well, SDKs twice and Claude Code ten times, and each of their tries would be that many here.
 */
const REPEATS_MAX = 2
/** The pause before the first repeat is a random part of this, before the next one of twice as much: all in all a second and a half. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = FIRST_PAUSE_MS * 2 ** (REPEATS_MAX - 1)
/** What took longer than this to fail was no accident, and its client has waited long enough. */
const REPEATS_WITHIN_MS = 10_000

/** A fault, and whose it is. */
export interface Failure {
  serving: ServingAccount
  fault: UpstreamFault
}

/** What a call has tried, and what it may try still. */
export class Failover {
  readonly #gateway: Gateway
  readonly #call: Pick<Call, 'arrivedMs'>
  readonly #tried = new Set<ServingAccount>()
  #attempts = 0
  #repeats = 0
  /** In attempts alone: time in line and pauses do not count. */
  #spentMs = 0
  #last: Failure | null = null
  #told: Failure | null = null

  constructor(gateway: Gateway, call: Pick<Call, 'arrivedMs'>) {
    this.#gateway = gateway
    this.#call = call
  }

  hasTried(serving: ServingAccount): boolean {
    return this.#tried.has(serving)
  }

  /** It has gone to rest before it could be asked. */
  noteResting(serving: ServingAccount): void {
    this.#tried.add(serving)
  }

  /** The failure that tells the client most: of those that left others to ask, the one that may be over soonest. Null while there is none. */
  get told(): Failure | null {
    return this.#told
  }

  /** Returns the one that tells the client most by now. */
  noteFailure(failure: Failure, tookMs: number): Failure {
    this.#tried.add(failure.serving)
    this.#attempts++
    this.#spentMs += tookMs
    this.#last = failure
    if (!this.#told || hopeIn(failure) >= hopeIn(this.#told)) this.#told = failure
    return this.#told
  }

  /** Whether the last failure leaves anything to try: another account, or, for an accident of the upstream's, the same one. */
  get mayGoOn(): boolean {
    const { maxAttempts, failoverBudgetMs } = this.#gateway.config.gateway
    if (!this.#last) return true
    const { serving, fault } = this.#last
    const mayBeAskedElsewhere = (fault.blame === 'account' || fault.blame === 'upstream') && !fault.mayBeRunning
    const isOver = this.#gateway.clock() >= this.#call.arrivedMs + deadlineMs(this.#gateway, serving, 'totalMs')
    return mayBeAskedElsewhere && !isOver && this.#attempts < maxAttempts && this.#spentMs < failoverBudgetMs
  }

  /**
   * How long to wait before the account that has just failed is asked again, in ms; null: it is not. An account at fault
   * itself never is, and neither is one that rests or whose host is down: those have failed too often for an accident, so
   * that an outage is not multiplied by repeats.
   */
  pauseBeforeRepeat(): number | null {
    const { breakers, clock, random } = this.#gateway
    if (this.#last?.fault.blame !== 'upstream') return null
    const { serving, fault } = this.#last
    const isDown = (serving.account.rest?.untilMs ?? 0) > clock() || breakers.isOpen(serving.host)
    if (isDown || this.#repeats === REPEATS_MAX || this.#spentMs >= REPEATS_WITHIN_MS) return null
    const toldMs = fault.retryAfterMs ?? 0
    if (toldMs > LONGEST_PAUSE_MS) return null
    return Math.max(toldMs, random() * FIRST_PAUSE_MS * 2 ** this.#repeats++)
  }
}

/** How soon the same account may answer after all: what it may not do stays so, its own rests may be long, an upstream recovers. */
function hopeIn({ fault }: Failure): number {
  if (isForbidden(fault)) return 0
  return fault.blame === 'account' ? 1 : 2
}

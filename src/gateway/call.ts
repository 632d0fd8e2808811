import type { ProviderName } from '../domain/account.ts'
import type { GatewayError } from '../domain/errors.ts'
import type { WhenClientLeaves } from '../domain/group.ts'
import type { CallFacts, Headers, Protocol } from '../protocols/protocol.ts'
import type { Operation } from '../providers/provider.ts'
import type { Caller } from './directory.ts'

/** One client request, read and understood as far as routing needs. Disposed, it holds no body. */
export interface Call extends Disposable {
  id: string
  /** Unix ms. */
  arrivedMs: number
  protocol: Protocol
  facts: CallFacts
  caller: Caller
  /** As it came; null once it can no longer be needed, because an upstream's answer is being relayed. */
  body: Buffer | null
  /**
   * What is made of the body for accounts that are asked in another way. The call keeps the last one for the next account that is
   * asked so, and counts it as held too. Throws `limited` and `unavailable` if too much is held, and what `make` throws.
   */
  copyFor<T>(way: string, make: () => T): T
  /** The body without what it has named so; what is known of it is read anew. Throws `invalid_request`. */
  leaveOut(name: string, body: Buffer): void
  /** Names of what it has been asked on without. */
  leftOut: readonly string[]
  /** The body is no longer needed, and no longer counted as held. */
  releaseBody(): void
  headers: Headers
  /** With its `?`, or empty. */
  query: string
  method: string
  /** As it was asked for, with its query. */
  path: string
  /** What it wants of an account. */
  operation: Operation
  /** The path that it came by is for this provider's accounts alone; null: for all that serve the general paths. */
  onlyProvider: ProviderName | null
  /** The account at which lies what it names; null = it names nothing of the kind. */
  heldAt: string | null
  /** What accounts' formats cannot say of it, by account id; null = none was found to be so. */
  unfit: Map<string, GatewayError> | null
  clientIp: string
  userAgent: string | null
  whenClientLeaves: WhenClientLeaves
  /** Names and values in turn: what its answer says of its caller's limits. */
  limitHeaders: string[]
  /** Kept if the client asked for `server-timing`. */
  timing: Timing | null
}

/** Tells the gateway's own share of a call's time: all of it but what was spent waiting for others. Fractions of ms. */
export interface Timing {
  startedAt: number
  elsewhereMs: number
}

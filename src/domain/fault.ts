/**
 * Whose fault a failed attempt is, and therefore what to do next:
 * request → tell the client · account → rest it, try another · upstream → try another · client → stop.
 */
export type Blame = 'request' | 'account' | 'upstream' | 'client'

/**
 * Kinds of faults that rest an account: the provider's fault table tells which (`rule`: one of the account's own rules),
 * gateway/rests.ts for how long.
 */
export type RestKind = 'credential' | 'funds' | 'rate_limit' | 'overload' | 'rule'

/** One failed attempt, as a value: `attempt` returns it, nobody throws it. */
export interface UpstreamFault {
  blame: Blame
  /** A short machine word for records and logs, such as `rate_limit_error` or `connect_failed`. */
  reason: string
  /** The vendor's words if there were any, else ours. Never holds a credential. */
  message: string
  /** What kind of rest the account has earned; null = none. */
  rest: RestKind | null
  /** What rests: the account, the account for this one model, or the whole host (it could not be reached, whoever asks). */
  scope: 'account' | 'model' | 'host'
  /** Unix ms when the last of the vendor's windows that are full opens again; null if none is known to be full. */
  restUntilMs: number | null
  /** How long the vendor asked us to stay away, if it did. */
  retryAfterMs: number | null
  /** The account cannot work again until its operator acts (revoked, organisation disabled). */
  disables: boolean
  /** True if the upstream may already be working on the call, so that trying again could do it twice. */
  mayBeRunning: boolean
  /** The request brings thoughts of earlier turns that this account cannot read: it may be asked without them. Absent = it does not. */
  strangeThoughts?: true
  /** Null if no head came. */
  upstreamStatus: number | null
  /** Lower-case names; empty if no head came. */
  upstreamHeaders: Readonly<Record<string, string | string[] | undefined>>
  /** The upstream's body as it came, to be relayed for blame `request`; null if there was none. */
  upstreamBody: Uint8Array | null
}

/** The account may not do what was asked for, today or tomorrow, and is otherwise well. */
export function isForbidden({ blame, rest, disables }: UpstreamFault): boolean {
  return blame === 'account' && rest === null && !disables
}

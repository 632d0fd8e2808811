import type { ProviderName } from './account.ts'
import type { LimitStanding } from './limit.ts'
import type { Usage } from './usage.ts'

export const PROTOCOLS = ['anthropic-messages', 'openai-responses', 'openai-chat', 'gemini'] as const
export type ProtocolName = (typeof PROTOCOLS)[number]

/** Programs that can be told by what their requests say. */
export const CLIENTS = ['claude-code', 'codex', 'gemini-cli'] as const
export type ClientName = (typeof CLIENTS)[number]

/**
 * How a call ended, as its usage row says it.
 * complete: the protocol's own end · client_left: the client closed first · upstream_cut: the answer stopped short ·
 * upstream_error: an error event inside the answer · timed_out: a deadline passed · rejected: the upstream refused the
 * request itself · failed: no account could answer · stopped: the daemon was told to stop and the grace ran out, or its
 * operator ended the call (then its error is `released`) · interrupted: the process died; found at the next start.
 */
export const OUTCOMES = [
  'complete',
  'client_left',
  'upstream_cut',
  'upstream_error',
  'timed_out',
  'rejected',
  'failed',
  'stopped',
  'interrupted',
] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Who pays: the user's balance, or nobody (simple mode). */
export type Payer = 'none' | 'balance'

/** Whether every token kind that was used has a price. */
export type PriceState = 'known' | 'partly_unknown' | 'unknown'

/** One try of a call at one account. Times are milliseconds since the call arrived. */
export interface Attempt {
  accountId: string
  startedMs: number
  endedMs: number
  /** HTTP status of the upstream's head; null if none came. */
  status: number | null
  /** The fault's reason; null for the attempt that answered. */
  fault: string | null
  message: string | null
  /** Of one that failed, what its upstream reported all the same; null for nothing. The operator bears it, never the caller. */
  lost: LostUsage | null
  /** Of the one that answered, names of what of the request its upstream did not get, as there is no place for it; absent = it got all. */
  dropped?: string[]
}

/** What a failed attempt has used: the kinds that were used at all, at list price. */
export interface LostUsage {
  usage: Partial<Usage>
  costNanoUsd: number
}

/** Headers and body fields in which clients name their conversation; the first that says something counts. */
export const SESSION_SIGNALS = [
  'x-claude-code-session-id',
  'metadata.user_id', // Claude Code
  'session-id',
  'thread-id',
  'session_id',
  'conversation_id', // Codex, and before 0.160
  'prompt_cache_key', // Codex, OpenAI's SDKs
  'request.session_id', // Gemini CLI at Code Assist
  'x-session-affinity', // anybody
] as const
export type SessionSignal = (typeof SESSION_SIGNALS)[number]

/** What named the conversation of a call: a signal of its client's, or what it began with. */
export type SessionSource = SessionSignal | 'first words'

/** How a call came to the first account that it asked. */
export interface Choice {
  /** The group that they are of, where its own had none and fell back to it; null = its own. */
  fallbackGroupId: string | null
  /** Accounts that could take it when it came, best first. */
  candidates: string[]
  /** Accounts of the groups that were looked at that could not, and why. */
  others: { accountId: string; why: string }[]
  /** It stood in line before it was admitted. */
  waited: boolean
  /** Null if its conversation has no name. */
  session: {
    /** The beginning of its name. */
    conversation: string
    source: SessionSource
    /**
     * kept: the call went to the conversation's own account · new: it had none and is bound there · moved: its own was no
     * candidate, and it is bound anew · detour: its own could not take it in time, and it stays bound there.
     */
    binding: 'kept' | 'new' | 'moved' | 'detour'
    /** Of a move or a detour, what it was away from, and why. */
    from: { accountId: string; why: string } | null
  } | null
}

/** A limit as it stood when a call was admitted: used with what running calls might use, that call's own estimate included. */
export type SeenLimit = Pick<LimitStanding, 'subject' | 'subjectId' | 'limit' | 'used'>

/** Everything that is written about one admitted call, in one transaction with its debit. */
export interface CallRecord {
  /** Sorts by time. */
  id: string
  /** Unix ms of its admission; its price is that instant's. */
  atMs: number
  userId: string
  keyId: string
  groupId: string
  /** The account that answered, or the last one tried. */
  accountId: string
  provider: ProviderName
  protocol: ProtocolName
  requestedModel: string
  upstreamModel: string
  /** Null if the answer named none. */
  reportedModel: string | null
  stream: boolean
  outcome: Outcome
  /** The HTTP status that the client got; 0 if it left before any. */
  status: number
  /** Machine word for what went wrong; null if nothing did. */
  error: string | null
  stopReason: string | null
  usage: Usage
  /** Output was counted from text, because the upstream had not reported it when the client left. */
  estimated: boolean
  priceState: PriceState
  /** At list price. */
  costNanoUsd: number
  /** × multiplier; 0 where nobody pays. */
  chargedNanoUsd: number
  /** What upstreams reported for attempts that failed, in all: the operator's cost, never the caller's. */
  lostNanoUsd: number
  multiplierMicro: number
  payer: Payer
  /** From arrival to admission. */
  waitMs: number
  /** From arrival to the first content; null if none came. */
  firstTokenMs: number | null
  /** From arrival to the end. */
  durationMs: number
  /** Null where there was nothing to choose: its group has one account. */
  choice: Choice | null
  /** Of its key, user, group, and the account that it was admitted to; null where they have none. */
  seenLimits: SeenLimit[] | null
  attempts: Attempt[]
  upstreamRequestId: string | null
  /** The id under which its vendor keeps the answer, or what its code has run in, for later calls; null = it has not said that it keeps anything. */
  storedAs: string | null
  clientIp: string
  userAgent: string | null
}

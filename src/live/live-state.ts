import type { Consumption, Limit, Limited, LimitStanding, Refusal } from '../domain/limit.ts'

/**
 * What may be lost on restart: slots, lines, bindings, balances as they are spent. Processes that share it each have one
 * of their own; `memory` serves one process. Everything that takes or gives a slot is one step, so that no two processes
 * can ever hold the same one.
 *
 * Admissions and tickets belong to the process that asked for them, for as long as its heart beats, which it does by
 * itself from opening to disposing. Within 35 s of its last beat (or at once when it is disposed) others give it up: what
 * its calls hold goes to whoever waits, their reservations are taken back, and what their callers have spent is read from
 * the store anew. Should it come back after all, its calls hold nothing any more: `settle` still debits and counts what
 * they used, `move` asks for everything again, and `await` rejects with `unavailable`.
 */
export interface LiveState extends AsyncDisposable {
  readonly processId: string
  /** Rejects with `unavailable` while live state does not answer. */
  ping(): Promise<void>
  /**
   * One step: the caller's limits, user's and key's slot, the bound or best account within its limits with its slot, and
   * the reservations; or a place in line. A call over a limit that only time gives back is refused at once: it does not
   * wait. Idempotent by call id. What is answered with `unknown` and `unknown_usage` has changed nothing.
   */
  admit(request: AdmitRequest): Promise<Admission | Ticket | Refused | UnknownStanding | UnknownUsage>
  /**
   * Waits for the turn of a ticket, as `admit` or `move` returned it. Refused when the call's deadline passes, or when its turn
   * comes and its caller's money or a limit has run out: limits are asked again then, and a call counts against them from then on; an abort gives the ticket back and rejects with the signal's reason.
   */
  await(ticket: Ticket, signal: AbortSignal): Promise<Admission | Refused>
  /**
   * Gives the account's slot back and takes one at another account; the call keeps its other slots and its arrival
   * number. While it waits, and after a refusal, it holds only those. Its caller's limits it has passed already; at the
   * account that it leaves it no longer counts. `unknown_usage` has changed nothing.
   */
  move(admission: Admission, candidates: RankedCandidate[]): Promise<Admission | Ticket | Refused | UnknownUsage>
  /** A running call turns out to use more than was reserved for it, in money or in anything that limits count. What it reserves never becomes less. */
  raise(admission: Admission, reservation: Reservation): void
  /** The upstream call has ended: gives back slots, exchanges reservations for the truth, debits, and wakes tickets that now fit. Idempotent. */
  settle(admission: Admission, end: Settlement): Promise<void>
  /**
   * Reads from the store what `admit` answered that it does not know, once for all who ask at the same time. Charges
   * that come meanwhile are counted exactly once; if the balance changes in the store meanwhile, it is read again, five
   * times at most. What is known already stays as it is, for it has moved since. Rejects as `read` does.
   */
  learn(caller: StandingCaller, read: ReadStanding): Promise<void>
  /**
   * Reads from the store what a subject has used in the windows that `admit` answered it does not know: those of an hour
   * and more, for shorter ones begin empty. Once for all who ask at the same time; calls that run or settle meanwhile are
   * counted exactly once. Rejects as `read` does.
   */
  learnUsage(limited: Limited, read: ReadUsage): Promise<void>
  /** What is used of each limit. */
  standings(limited: Limited): Promise<LimitStanding[] | UnknownUsage>
  /** What the key has spent in its lifetime, in nano-USD, with every call that has settled; null if that has to be learnt first. */
  spentBy(keyId: string): Promise<number | null>
  /** The user's balance (null: anybody's) has changed in the store: the next call has to learn it again. Tickets in line keep their place. */
  forget(userId: string | null): Promise<void>
  /** Gives a waiting ticket other accounts to wait for (at least one for every call), after accounts rested, woke or changed. `unknown_usage` has changed nothing. */
  rerank(ticket: Ticket, candidates: RankedCandidate[]): Promise<UnknownUsage | null>
  /** True if `subject` did this less than `limit` times in the last minute, which counts as once more. */
  countPerMinute(subject: string, limit: number): Promise<boolean>
  admissions(): Promise<AdmissionView[]>
  tickets(): Promise<TicketView[]>
  bindings(): Promise<BindingView[]>
  /**
   * Takes bindings back: their sessions choose an account anew, those in line at once, and calls that run do not bind
   * them again. Returns how many there were.
   */
  unbind(which: WhichBindings): Promise<number>
  /** Runs `work` if nobody else holds the lock, else returns null at once. The lock falls after `ttlMs`, as its holder may hang or be dead. */
  withLock<T>(name: string, ttlMs: number, work: () => Promise<T>): Promise<T | null>
}

/** An account that may take the call. The order of a list is the order of preference. */
export interface RankedCandidate {
  accountId: string
  /** What it would be asked for: the model that its usage row will name as sent upstream. */
  model: string
  /** Null = no limit; 0 = none allowed. */
  concurrency: number | null
  /** All that the account has: over one that covers the model it is no candidate. */
  limits: readonly Limit[]
  /** Of use only to a call whose session is bound to it, and from then on (unix ms); absent = to every call, at once. */
  onlyOwnFromMs?: number
}

export interface AdmitRequest extends Reservation {
  callId: string
  userId: string
  keyId: string
  groupId: string
  /** Null = no limit; 0 = none allowed. */
  userConcurrency: number | null
  keyConcurrency: number | null
  /** At least one for every call, or it is a bug. */
  candidates: RankedCandidate[]
  /** The conversation, if one is known: its account is waited for and kept. */
  session: { key: string; ttlMs: number; waitMs: number; line: number } | null
  /** Places in each line beyond its limit. */
  lineExtra: number
  /** Unix ms by which the call must have all that it needs. */
  deadlineMs: number
  /** The user's balance less what is reserved must be above 0. */
  needsBalance: boolean
  /** What the key may spend in its lifetime, in nano-USD; null = no limit. */
  quotaNanoUsd: number | null
  /** Of its key, user and group, those that have limits. */
  limits: readonly Limited[]
}

/** What a call may use, as far as anybody knows before it has ended. */
export interface Reservation {
  /** Of the user's balance. */
  reservedNanoUsd: number
  /** What the call counts for in limits until it settles. */
  estimate: Readonly<Consumption>
}

/** What a running call holds. */
export interface Admission {
  kind: 'admission'
  callId: string
  accountId: string
  /** The call binds its session to the account, or keeps it there. */
  bound: boolean
  /** Where the session was bound before; null if nowhere. */
  boundBefore: string | null
  /** Of a call that was just admitted, what is used of its caller's limits and its account's, itself included; absent if they have none. */
  standings?: LimitStanding[]
}

/** A place in line: one number for all that the call needs, all or nothing. */
export interface Ticket {
  kind: 'ticket'
  callId: string
  /** Arrival number; lower goes first. */
  number: number
}

export interface Refused {
  kind: 'refused'
  refusal: Refusal
}

/** The caller's balance or spending has to be learnt first. */
export interface UnknownStanding {
  kind: 'unknown'
}

/** What these have used in their longer windows has to be learnt first. */
export interface UnknownUsage {
  kind: 'unknown_usage'
  of: Limited[]
}

export interface Settlement {
  /** Taken from the user's balance. */
  debitNanoUsd: number
  /** Counted against the key's quota. */
  spentNanoUsd: number
  /** The account answered well: the session's binding to it holds. */
  confirmsBinding: boolean
  /** What it counts for in limits; null = nothing, as for a call that was never made. */
  used: Consumption | null
}

export interface StandingCaller {
  userId: string
  keyId: string
}

/** A caller's money as the store has it, in one view. */
export interface StoredStanding {
  balanceNanoUsd: number
  keySpentNanoUsd: number
  /** Those of the unsettled calls whose charge is in the numbers already. */
  recordedCallIds: string[]
}

/** Looks into the store. Gets the ids of the user's calls that are admitted or in line, and not settled: their charges may be there or not. */
export type ReadStanding = (unsettledCallIds: string[]) => Promise<StoredStanding>

/** What is asked of a subject's usage. */
export interface UsageQuestion {
  /** Calls admitted from this time on. */
  fromMs: number
  /** A multiple of a quarter of an hour: spans may be as long, but end at whole multiples of it since 1970. */
  stepMs: number
  /** Spans are each of one model. */
  byModel: boolean
  /** The subject's calls that have not settled: they may be there or not. */
  callIds: string[]
}

/** What was used in a time by calls that were admitted in it. */
export interface UsageSpan {
  fromMs: number
  /** Exclusive. */
  toMs: number
  /** As sent upstream; absent unless it was asked for. */
  model?: string
  used: Consumption
}

/** What a subject used of late, as the store has it, in one view. */
export interface StoredUsage {
  /** The first may begin before the asked time. */
  spans: UsageSpan[]
  /** Those of the unsettled calls that are in the spans already. */
  recordedCallIds: string[]
}

/** Looks into the store. */
export type ReadUsage = (question: UsageQuestion) => Promise<StoredUsage>

export interface AdmissionView {
  callId: string
  /** The gateway process that runs it. */
  processId: string
  userId: string
  keyId: string
  /** Empty while it waits for another account. */
  accountId: string
  /** Unix ms. */
  sinceMs: number
}

export interface TicketView {
  callId: string
  processId: string
  number: number
  userId: string
  keyId: string
  /** The accounts that it waits for. */
  accountIds: string[]
  sinceMs: number
  /** How often a later call of the same user was served first. */
  passes: number
}

export type WhichBindings = 'all' | { sessionKey: string } | { accountId: string }

export interface BindingView {
  sessionKey: string
  accountId: string
  expiresAtMs: number
}

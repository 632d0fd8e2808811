import type { Consumption, Limited, SlotSubject } from '../domain/limit.ts'
import type { Hold } from './limits.ts'
import type { Admission, AdmitRequest, RankedCandidate, Refused } from './live-state.ts'

/** What a call needs a slot of. */
export interface Need {
  kind: SlotSubject
  id: string
  /** Null = no limit. */
  limit: number | null
}

/** When a call came. A call that moves keeps it. */
export interface Place {
  /** Lower goes first in its user's line. */
  number: number
  /** The line's turn at that time. */
  turn: number
}

/** A call that has its slots. */
export interface RunningCall {
  readonly request: AdmitRequest
  /** The process that runs it. */
  readonly processId: string
  readonly place: Place
  /** Empty while it waits for another account. */
  accountId: string
  /** What the account is asked for. */
  model: string
  bound: boolean
  /** Where its session was bound when it got its account. */
  boundBefore: string | null
  reservedNanoUsd: number
  /** What it counts for in limits. */
  estimate: Readonly<Consumption>
  readonly sinceMs: number
  /** Where it counts against its caller's limits. */
  readonly holds: Hold[]
  /** The same of its account. */
  readonly accountHolds: Hold[]
}

/** A call that is about to get its slots, or that stands in line for them. */
export interface Arrival {
  readonly request: AdmitRequest
  /** The process that it came to. */
  readonly processId: string
  readonly place: Place
  /** A moving call has its other slots already; only the account's is waited for. */
  readonly running: RunningCall | null
  /** What it needs beside an account, the narrower first. */
  readonly callerNeeds: readonly Need[]
  /** Best first; without those that may run no calls at all, unless there is no other. */
  candidates: readonly RankedCandidate[]
  /** Of use to it only if its session is bound to one of them. */
  onlyOwn: readonly RankedCandidate[]
  /** Until when it waits for its session's own account only. */
  stickyUntilMs: number
  readonly sinceMs: number
  /** How often a later call of its user was served first. */
  passes: number
  /** In whose line it stands: what held it up when it came. Null while it is not in line. */
  heldUpBy: Need | null
  outcome: PromiseWithResolvers<Admission | Refused> | null
  cancelTimer: () => void
}

/** A new call. */
export function arrivalOf(request: AdmitRequest, processId: string, place: Place, sinceMs: number): Arrival {
  const { userId, keyId, userConcurrency, keyConcurrency, candidates, session, deadlineMs } = request
  return {
    request,
    processId,
    place,
    running: null,
    callerNeeds: [
      { kind: 'key', id: keyId, limit: keyConcurrency },
      { kind: 'user', id: userId, limit: userConcurrency },
    ],
    ...usable(candidates),
    // Before it is refused it takes any account that is free.
    stickyUntilMs: session ? Math.min(sinceMs + session.waitMs, deadlineMs - 1) : 0,
    sinceMs,
    passes: 0,
    heldUpBy: null,
    outcome: null,
    cancelTimer: () => {},
  }
}

/** A running call that needs another account. */
export function arrivalOfMoving(running: RunningCall, candidates: RankedCandidate[], sinceMs: number): Arrival {
  const { request, processId, place } = running
  return {
    ...arrivalOf(request, processId, place, sinceMs),
    running,
    callerNeeds: [],
    ...usable(candidates),
    stickyUntilMs: 0,
  }
}

/** Candidates by whom they are of use to, without those that may run no calls. */
export type Usable = Pick<Arrival, 'candidates' | 'onlyOwn'>

/** Those for every call stay if none of them may run calls. Throws if there are none: whoever asks has to see that first. */
export function usable(candidates: RankedCandidate[]): Usable {
  const forAll = candidates.some(isOnlyOwn) ? candidates.filter((one) => !isOnlyOwn(one)) : candidates
  if (forAll.length === 0) throw new Error('bug: a call without a candidate can neither be served nor wait')
  const onlyOwn = forAll === candidates ? [] : candidates.filter((one) => isOnlyOwn(one) && !isForbidden(one))
  if (!forAll.some(isForbidden)) return { candidates: forAll, onlyOwn }
  const able = forAll.filter((candidate) => !isForbidden(candidate))
  return { candidates: able.length > 0 ? able : forAll, onlyOwn }
}

function isOnlyOwn({ onlyOwnFromMs }: RankedCandidate): boolean {
  return onlyOwnFromMs !== undefined
}

function isForbidden({ concurrency }: RankedCandidate): boolean {
  return concurrency === 0
}

export function accountNeed({ accountId, concurrency }: RankedCandidate): Need {
  return { kind: 'account', id: accountId, limit: concurrency }
}

/** An account as something with limits. */
export function limitedAccount({ accountId, limits }: RankedCandidate): Limited {
  return { subject: 'account', id: accountId, limits }
}

export function admissionOf({ request, accountId, bound, boundBefore }: RunningCall): Admission {
  return { kind: 'admission', callId: request.callId, accountId, bound, boundBefore }
}

/** What never has a slot for the call; null if each may have one. */
export function forbiddingNeed({ callerNeeds, candidates: [best] }: Arrival): Need | null {
  const own = callerNeeds.find(({ limit }) => limit === 0)
  if (own) return own
  return best?.concurrency === 0 ? accountNeed(best) : null
}

export function isOlder(a: Arrival, b: Arrival): boolean {
  return a.place.number < b.place.number
}

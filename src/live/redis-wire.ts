import { GatewayError } from '../domain/errors.ts'
import {
  type Consumption,
  isKept,
  type Limit,
  type Limited,
  type LimitStanding,
  type LimitSubject,
  limitName,
  type Refusal,
  type SlotSubject,
} from '../domain/limit.ts'
import { periodAt, periodFrom } from '../lib/calendar.ts'
import { usable } from './arrival.ts'
import type { AdmitRequest, RankedCandidate, UsageSpan } from './live-state.ts'

// What steps in Redis are told, and what they answer. Absent = undefined, never null; no limit of slots = -1; times in ms from
// now; amounts of money in answers as texts, which keep every digit. The names are those that the steps read.

/** What a client whose line is full is told to wait. */
const RETRY_AFTER_MS = 1000
const NO_LIMIT = -1

export function slotsToWire(limit: number | null): number {
  return limit ?? NO_LIMIT
}

/** A call's request, with these candidates. Throws if there are none for every call. */
export function requestToWire(request: AdmitRequest, candidates: readonly RankedCandidate[], nowMs: number): object {
  const { session } = request
  return {
    id: request.callId,
    user: request.userId,
    key: request.keyId,
    group: request.groupId,
    user_slots: slotsToWire(request.userConcurrency),
    key_slots: slotsToWire(request.keyConcurrency),
    ...candidatesToWire(candidates, nowMs),
    session: session ? { key: session.key, ttl: session.ttlMs, wait: session.waitMs, line: session.line } : undefined,
    line_extra: request.lineExtra,
    deadline_in: request.deadlineMs - nowMs,
    needs_balance: request.needsBalance,
    quota: request.quotaNanoUsd ?? undefined,
    reserved: request.reservedNanoUsd,
    estimate: consumptionToWire(request.estimate),
    limits: request.limits.map((limited) => limitedToWire(limited, nowMs)),
  }
}

/** `candidates` and `only_own` may serve; `others` may not, but their windows have to be known like all others'. */
export function candidatesToWire(all: readonly RankedCandidate[], nowMs: number): object {
  const { candidates, onlyOwn } = usable([...all])
  const others = all.filter((one) => one.limits.length > 0 && !candidates.includes(one) && !onlyOwn.includes(one))
  const toWire = ({ accountId, model, concurrency, limits, onlyOwnFromMs }: RankedCandidate) => ({
    id: accountId,
    model,
    slots: slotsToWire(concurrency),
    limits: limits.map((limit) => limitToWire(limit, nowMs)),
    from_in: onlyOwnFromMs === undefined ? undefined : onlyOwnFromMs - nowMs,
  })
  return { candidates: candidates.map(toWire), only_own: onlyOwn.map(toWire), others: others.map(toWire) }
}

export function limitedToWire({ subject, id, limits }: Limited, nowMs: number): object {
  return { subject, id, limits: limits.map((limit) => limitToWire(limit, nowMs)) }
}

export function consumptionToWire(used: Readonly<Consumption>): number[] {
  const { requests, inputTokens, cacheReadTokens, outputTokens, costNanoUsd, spentNanoUsd } = used
  // Fractions are rounded up: counters hold whole numbers.
  return [requests, inputTokens, cacheReadTokens, outputTokens, costNanoUsd, spentNanoUsd].map(Math.ceil)
}

export function spanToWire({ toMs, model, used }: UsageSpan): object {
  return { to: toMs, model, used: consumptionToWire(used) }
}

/** Limits as they were told last, until their period is over. */
const told = new WeakMap<Limit, { wire: object; fromMs: number; untilMs: number }>()

function limitToWire(limit: Limit, nowMs: number): object {
  const known = told.get(limit)
  if (known && known.fromMs <= nowMs && nowMs < known.untilMs) return known.wire
  const { metric, max, window, models } = limit
  const period = periodToWire(limit, nowMs)
  const wire = {
    name: limitName(limit),
    metric,
    max,
    kept: isKept(window),
    pieces: models?.split('*'),
    ...(window.kind === 'sliding' ? { ms: window.ms } : { period }),
  }
  const [fromMs, untilMs] = period
  told.set(limit, { wire, fromMs, untilMs })
  return wire
}

/** Where the current period begins, ends, and the next one ends: Redis knows no calendar. */
function periodToWire({ window }: Limit, nowMs: number): [number, number, number] {
  if (window.kind === 'sliding') return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  const at = (ms: number) =>
    window.kind === 'calendar'
      ? periodAt(window.unit, window.timeZone, ms)
      : periodFrom(window.startMs, window.every, ms)
  const { startMs, endMs } = at(nowMs)
  return [startMs, endMs, at(endMs).endMs]
}

// ---- what steps answer ----

/** Lua has no empty list: its empty table comes as an object. */
export function list<T>(value: T[] | object): T[] {
  return Array.isArray(value) ? value : []
}

export type WireRefusal =
  | ['slot', SlotSubject, string, 'line_full' | 'waited', number, number]
  | ['spent', 'balance' | 'quota', string, string]
  | ['limit', LimitSubject, string, string, string, number | false]
export type WireStanding = [LimitSubject, string, string, string, number | false]
export type WireOutcome =
  | ['admission', string, boolean, string | false, WireStanding[] | object | false]
  | ['ticket', number, number]
  | ['refused', WireRefusal]
  | ['unknown']
  | ['unknown_usage', [LimitSubject, string][]]
  | ['bug']
  | ['gone']
  | ['ended']

/** Finds a limit that a step names; undefined: it has just been changed. */
export type FindLimit = (subject: LimitSubject, id: string, name: string) => Limit | undefined

/** Among all that a call was asked with. */
export function limitsAmong(limited: readonly Limited[], candidates: readonly RankedCandidate[]): FindLimit {
  return (subject, id, name) => {
    const limits =
      subject === 'account'
        ? candidates.filter(({ accountId }) => accountId === id).flatMap(({ limits }) => limits)
        : limited.filter((one) => one.subject === subject && one.id === id).flatMap(({ limits }) => limits)
    return limits.find((limit) => limitName(limit) === name)
  }
}

/** The limits of these names. */
export function limitsOf({ limits }: Limited, names: readonly string[]): Limit[] {
  return limits.filter((limit) => names.includes(limitName(limit)))
}

/** Throws `unavailable` if it is about a limit that has just been changed. */
export function refusalFromWire(wire: WireRefusal, request: AdmitRequest, find: FindLimit): Refusal {
  if (wire[0] === 'slot') {
    const [, subject, subjectId, reason, limit, used] = wire
    const retryAfterMs = limit === 0 ? null : RETRY_AFTER_MS
    return { subject, subjectId, metric: 'concurrent', reason, limit, used, retryAfterMs }
  }
  if (wire[0] === 'spent') {
    const [, metric, limit, used] = wire
    const whose =
      metric === 'balance'
        ? { subject: 'user' as const, subjectId: request.userId }
        : { subject: 'key' as const, subjectId: request.keyId }
    return { ...whose, metric, limit: Number(limit), used: Number(used), reason: 'spent', retryAfterMs: null }
  }
  const [, subject, subjectId, name, used, waitMs] = wire
  const found = find(subject, subjectId, name)
  if (!found) {
    throw new GatewayError('unavailable', 'limits have just been changed: try again', { retryAfterMs: 1000 })
  }
  const { metric, window, max, models } = found
  return {
    subject,
    subjectId,
    metric,
    reason: 'limit',
    window,
    ...(models !== undefined && { models }),
    limit: max,
    used: Number(used),
    retryAfterMs: waitMs === false ? null : waitMs,
  }
}

export function standingsFromWire(wire: WireStanding[] | object, find: FindLimit): LimitStanding[] {
  return list(wire as WireStanding[]).flatMap(([subject, subjectId, name, used, resetAtMs]) => {
    const limit = find(subject, subjectId, name)
    if (!limit) return []
    return [{ subject, subjectId, limit, used: Number(used), resetAtMs: resetAtMs === false ? null : resetAtMs }]
  })
}

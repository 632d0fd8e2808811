import {
  amountOf,
  type Consumption,
  isKept,
  type Limit,
  type Limited,
  type LimitMetric,
  type LimitRefusal,
  type LimitStanding,
  type LimitSubject,
  limitName,
} from '../domain/limit.ts'
import type { Clock } from '../lib/clock.ts'
import type { RunningCall } from './arrival.ts'
import { CalendarWindow } from './calendar-window.ts'
import type { ReadUsage } from './live-state.ts'
import { SlidingWindow } from './sliding-window.ts'

/** Subjects of each kind that are counted at a time; beyond it those silent longest are forgotten, and read again or begun anew. */
const SUBJECTS_MAX = 100_000

type Window = SlidingWindow | CalendarWindow

/** What one limit of a subject counts. */
interface Meter {
  metric: LimitMetric
  window: Window
}

/** What a running call counts for in one window until it settles: first what it may use, there corrected to the truth. */
export interface Hold {
  readonly subject: LimitSubject
  readonly metric: LimitMetric
  readonly window: Window
  readonly place: number
  readonly amount: number
}

/** A look into the store that is under way, with the subject's calls that have settled since it began. */
interface Look {
  limited: Limited
  settled: { call: RunningCall; used: Consumption }[]
}

/**
 * What keys, users, groups and accounts have used of their limits. A call counts from its admission on, at that moment
 * and for good: what it may use at first, what it used once it has settled, however late that is.
 */
export class Limits {
  readonly #now: Clock
  readonly #max: number
  /** By id, the one that was used last standing last; then by metric and window. */
  readonly #meters: Record<LimitSubject, Map<string, Map<string, Meter>>> = {
    key: new Map(),
    user: new Map(),
    group: new Map(),
    account: new Map(),
  }
  /** Texts of limits, which live as long as who has them is remembered. */
  readonly #names = new WeakMap<Limit, string>()
  readonly #looks = new Set<Look>()
  readonly #learning = new Map<string, Promise<void>>()

  constructor(now: Clock, max = SUBJECTS_MAX) {
    this.#now = now
    this.#max = max
  }

  /** Whether there is a window of which the store has to be asked what is used. */
  isUnknown(limited: Limited): boolean {
    return limited.limits.some((limit) => isKept(limit.window) && !this.#meterOf(limited, limit))
  }

  /** The limit that is used up, of several the one that is so for longest; null if there is room for one more call. */
  exceeded(limited: Limited): LimitRefusal | null {
    const nowMs = this.#now()
    let worst: LimitRefusal | null = null
    for (const limit of limited.limits) {
      const window = this.#meterOf(limited, limit)?.window
      const used = window?.used(nowMs) ?? 0
      if (used < limit.max) continue
      const untilMs = window?.belowFromMs(limit.max, nowMs) ?? null
      const refusal: LimitRefusal = {
        subject: limited.subject,
        subjectId: limited.id,
        metric: limit.metric,
        reason: 'limit',
        window: limit.window,
        limit: limit.max,
        used,
        retryAfterMs: untilMs === null ? null : untilMs - nowMs,
      }
      if (worst === null || waitOf(refusal) > waitOf(worst)) worst = refusal
    }
    return worst
  }

  /** Counts a call at the moment of its admission, and notes in `holds` where. What the subject is limited by no more is forgotten: it would count no further. */
  count(limited: Limited, { request, sinceMs }: RunningCall, holds: Hold[]): void {
    const { subject, id, limits } = limited
    if (limits.length === 0) {
      this.forget(subject, id)
      return
    }
    const nowMs = this.#now()
    const meters = this.#metersOf(limited)
    let counted = 0
    for (const limit of limits) {
      const name = this.#nameOf(limit)
      let meter = meters.get(name)
      if (!meter) {
        if (isKept(limit.window)) continue // unknown, and to be learnt with the calls that run now
        meter = { metric: limit.metric, window: newWindow(limit, nowMs) }
        meters.set(name, meter)
      }
      counted++
      const amount = amountOf(meter.metric, subject, request.estimate)
      const place = meter.window.count(nowMs, sinceMs, amount)
      holds.push({ subject, metric: meter.metric, window: meter.window, place, amount })
    }
    if (meters.size === counted) return
    const names = new Set(limits.map((limit) => this.#nameOf(limit)))
    for (const name of meters.keys()) if (!names.has(name)) meters.delete(name)
  }

  /** Drops what is counted of a subject that has no limits any more. */
  forget(subject: LimitSubject, id: string): void {
    const all = this.#meters[subject]
    if (all.size > 0) all.delete(id)
  }

  /** Takes back what a call counted for that is not made after all, or not here. */
  giveBack(holds: Hold[]): void {
    for (const { window, place, amount } of holds.splice(0)) window.change(place, -amount)
  }

  /** The truth takes the place of what the call might have used; null: it counts for nothing. */
  settle(call: RunningCall, used: Consumption | null): void {
    for (const holds of [call.holds, call.accountHolds]) {
      for (const { subject, metric, window, place, amount } of holds) {
        window.change(place, (used ? amountOf(metric, subject, used) : 0) - amount)
      }
    }
    if (!used) return
    for (const look of this.#looks) if (isOf(call, look.limited)) look.settled.push({ call, used })
  }

  /** See LiveState. `running` lists the calls that have not settled. */
  learn(limited: Limited, read: ReadUsage, running: () => Iterable<RunningCall>): Promise<void> {
    const name = `${limited.subject} ${limited.id}`
    const underWay = this.#learning.get(name)
    if (underWay) return underWay
    const learning = this.#look(limited, read, running).finally(() => this.#learning.delete(name))
    this.#learning.set(name, learning)
    return learning
  }

  /** What is used of each limit; windows that are unknown count as empty. */
  standings(limited: Limited): LimitStanding[] {
    const nowMs = this.#now()
    const { subject, id: subjectId, limits } = limited
    return limits.map((limit) => {
      const window = this.#meterOf(limited, limit)?.window
      const resetAtMs = window?.emptyFromMs(nowMs) ?? null
      return { subject, subjectId, limit, used: window?.used(nowMs) ?? 0, resetAtMs }
    })
  }

  async #look(limited: Limited, read: ReadUsage, running: () => Iterable<RunningCall>): Promise<void> {
    const unknown = limited.limits.filter((limit) => isKept(limit.window) && !this.#meterOf(limited, limit))
    if (unknown.length === 0) return
    const look: Look = { limited, settled: [] }
    this.#looks.add(look)
    try {
      const askedMs = this.#now()
      const fromMs = Math.min(...unknown.map((limit) => newWindow(limit, askedMs).sinceMs))
      const unsettled = Array.from(running()).filter((call) => isOf(call, limited))
      const { spans, recordedCallIds } = await read(
        fromMs,
        unsettled.map(({ request }) => request.callId),
      )
      const recorded = new Set(recordedCallIds)
      const isMissing = ({ request }: RunningCall) => !recorded.has(request.callId)
      const missed = look.settled.filter(({ call }) => isMissing(call))
      const stillRunning = Array.from(running()).filter((call) => isOf(call, limited) && isMissing(call))
      const nowMs = this.#now()
      const meters = this.#metersOf(limited)
      for (const limit of unknown) {
        const { metric } = limit
        const window = newWindow(limit, nowMs)
        const amount = (used: Readonly<Consumption>) => amountOf(metric, limited.subject, used)
        // At its end, so that it counts no shorter than it should.
        for (const { toMs, used } of spans) window.count(nowMs, Math.min(toMs - 1, nowMs), amount(used))
        for (const { call, used } of missed) window.count(nowMs, call.sinceMs, amount(used))
        for (const call of stillRunning) {
          const mayUse = amount(call.request.estimate)
          const place = window.count(nowMs, call.sinceMs, mayUse)
          const holds = limited.subject === 'account' ? call.accountHolds : call.holds
          holds.push({ subject: limited.subject, metric, window, place, amount: mayUse })
        }
        meters.set(this.#nameOf(limit), { metric, window })
      }
    } finally {
      this.#looks.delete(look)
    }
  }

  #meterOf({ subject, id }: Limited, limit: Limit): Meter | undefined {
    return this.#meters[subject].get(id)?.get(this.#nameOf(limit))
  }

  #metersOf({ subject, id }: Limited): Map<string, Meter> {
    const all = this.#meters[subject]
    const meters = all.get(id) ?? new Map<string, Meter>()
    all.delete(id)
    all.set(id, meters)
    for (const oldest of all.keys()) {
      if (all.size <= this.#max) break
      all.delete(oldest)
    }
    return meters
  }

  #nameOf(limit: Limit): string {
    let name = this.#names.get(limit)
    if (name === undefined) {
      name = limitName(limit)
      this.#names.set(limit, name)
    }
    return name
  }
}

function newWindow({ window }: Limit, nowMs: number): Window {
  return window.kind === 'sliding'
    ? new SlidingWindow(window.ms, nowMs)
    : new CalendarWindow(window.unit, window.timeZone, nowMs)
}

function isOf({ request, accountId }: RunningCall, { subject, id }: Limited): boolean {
  switch (subject) {
    case 'key':
      return request.keyId === id
    case 'user':
      return request.userId === id
    case 'group':
      return request.groupId === id
    case 'account':
      return accountId === id
  }
}

/** How long a refusal holds: one that waiting does not end for longest. */
export function waitOf({ retryAfterMs }: LimitRefusal): number {
  return retryAfterMs ?? Number.POSITIVE_INFINITY
}

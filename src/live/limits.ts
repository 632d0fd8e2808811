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
  NO_CONSUMPTION,
} from '../domain/limit.ts'
import type { Clock } from '../lib/clock.ts'
import { patternMatcher } from '../lib/pattern.ts'
import type { RunningCall } from './arrival.ts'
import type { ReadUsage, UsageSpan } from './live-state.ts'
import { newWindow, stepOf, type Window } from './window.ts'

/** Subjects of each kind that are counted at a time; beyond it those silent longest are forgotten, and read again or begun anew. */
const SUBJECTS_MAX = 100_000

/** What one limit of a subject counts. */
interface Meter {
  metric: LimitMetric
  window: Window
  /** Known to the store as well. */
  kept: boolean
}

/** What a running call counts for in one window until it settles: first what it may use, there corrected to the truth. */
export interface Hold {
  readonly subject: LimitSubject
  readonly metric: LimitMetric
  readonly window: Window
  readonly place: number
  amount: number
}

/** What is worked out of a limit once: its name, and which models it covers (null: all). */
interface Facts {
  name: string
  covers: ((model: string) => boolean) | null
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
  /** They live as long as who has the limits is remembered. */
  readonly #facts = new WeakMap<Limit, Facts>()
  readonly #looks = new Set<Look>()
  readonly #learning = new Map<string, Promise<void>>()

  constructor(now: Clock, max = SUBJECTS_MAX) {
    this.#now = now
    this.#max = max
  }

  /** Whether there is a window of which the store has to be asked what is used. `model` is what the call asks an account for. */
  isUnknown(limited: Limited, model: string | null): boolean {
    return limited.limits.some(
      (limit) => isKept(limit.window) && this.covers(limit, model) && !this.#meterOf(limited, limit),
    )
  }

  /** Whether there is none of those. */
  knowsAll(limited: Limited): boolean {
    return limited.limits.every((limit) => !isKept(limit.window) || this.#meterOf(limited, limit))
  }

  /** The limit that is used up, of several the one that is so for longest; null if there is room for one more call. */
  exceeded(limited: Limited, model: string | null): LimitRefusal | null {
    const nowMs = this.#now()
    let worst: LimitRefusal | null = null
    for (const limit of limited.limits) {
      if (!this.covers(limit, model)) continue
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
        ...(limit.models !== undefined && { models: limit.models }),
        limit: limit.max,
        used,
        retryAfterMs: untilMs === null ? null : untilMs - nowMs,
      }
      if (worst === null || waitOf(refusal) > waitOf(worst)) worst = refusal
    }
    return worst
  }

  /** Counts a call at the moment of its admission, and notes in `holds` where. What the subject is limited by no more is forgotten: it would count no further. */
  count(limited: Limited, call: RunningCall, holds: Hold[]): void {
    const { subject, id, limits } = limited
    if (limits.length === 0) {
      this.forget(subject, id)
      return
    }
    const nowMs = this.#now()
    const meters = this.#metersOf(limited)
    let known = 0
    for (const limit of limits) {
      const { name, covers } = this.#factsOf(limit)
      let meter = meters.get(name)
      if (!meter) {
        if (isKept(limit.window)) continue // unknown, and to be learnt with the calls that run now
        meter = newMeter(limit, nowMs)
        meters.set(name, meter)
      }
      known++
      if (covers && !covers(call.model)) continue
      const amount = amountOf(meter.metric, subject, call.estimate)
      const place = meter.window.count(nowMs, call.sinceMs, amount)
      holds.push({ subject, metric: meter.metric, window: meter.window, place, amount })
    }
    if (meters.size === known) return
    const names = new Set(limits.map((limit) => this.#factsOf(limit).name))
    for (const name of meters.keys()) if (!names.has(name)) meters.delete(name)
  }

  /** Drops what is counted of a subject that has no limits any more. */
  forget(subject: LimitSubject, id: string): void {
    const all = this.#meters[subject]
    if (all.size > 0) all.delete(id)
  }

  /** What a subject has used in the windows that the store knows has to be learnt anew. */
  forgetKept(subject: LimitSubject, id: string): void {
    const meters = this.#meters[subject].get(id)
    for (const [name, { kept }] of meters ?? []) if (kept) meters?.delete(name)
  }

  /** Takes back what a call counted for that is not made after all, or not here. */
  giveBack(holds: Hold[]): void {
    for (const { window, place, amount } of holds.splice(0)) window.change(place, -amount)
  }

  /** A running call may use more than was thought, or nothing that anybody knows of: it counts for that from now on. */
  reestimate(call: RunningCall, estimate: Readonly<Consumption>): void {
    call.estimate = estimate
    for (const holds of [call.holds, call.accountHolds]) {
      for (const hold of holds) {
        const amount = amountOf(hold.metric, hold.subject, estimate)
        hold.window.change(hold.place, amount - hold.amount)
        hold.amount = amount
      }
    }
  }

  /** The truth takes the place of what the call might have used; null: it counts for nothing. */
  settle(call: RunningCall, used: Consumption | null): void {
    this.reestimate(call, used ?? NO_CONSUMPTION)
    if (!used) return
    for (const look of this.#looks) if (isOf(call, look.limited)) look.settled.push({ call, used })
  }

  /** See LiveState. `running` lists the calls that have not settled. */
  learn(limited: Limited, read: ReadUsage, running: () => RunningCall[]): Promise<void> {
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

  async #look(limited: Limited, read: ReadUsage, running: () => RunningCall[]): Promise<void> {
    const unknown = limited.limits.filter((limit) => isKept(limit.window) && !this.#meterOf(limited, limit))
    if (unknown.length === 0) return
    const look: Look = { limited, settled: [] }
    this.#looks.add(look)
    try {
      const askedMs = this.#now()
      const windows = unknown.map((limit) => newMeter(limit, askedMs).window)
      const unsettled = running().filter((call) => isOf(call, limited))
      const { spans, recordedCallIds } = await read({
        fromMs: Math.min(...windows.map(({ sinceMs }) => sinceMs)),
        stepMs: stepOf(windows),
        byModel: unknown.some(({ models }) => models !== undefined),
        callIds: unsettled.map(({ request }) => request.callId),
      })
      const recorded = new Set(recordedCallIds)
      const isMissing = ({ request }: RunningCall) => !recorded.has(request.callId)
      const missed = look.settled.filter(({ call }) => isMissing(call))
      const stillRunning = running().filter((call) => isOf(call, limited) && isMissing(call))
      const nowMs = this.#now()
      const meters = this.#metersOf(limited)
      for (const limit of unknown) {
        const { name, covers } = this.#factsOf(limit)
        const meter = newMeter(limit, nowMs)
        const { metric, window } = meter
        const isCovered = ({ model }: Pick<UsageSpan, 'model'>) => !covers || (model !== undefined && covers(model))
        const amount = (used: Readonly<Consumption>) => amountOf(metric, limited.subject, used)
        for (const span of spans) {
          // At its end, so that it counts no shorter than it should.
          if (isCovered(span)) window.count(nowMs, Math.min(span.toMs - 1, nowMs), amount(span.used))
        }
        for (const { call, used } of missed) {
          if (isCovered(call)) window.count(nowMs, call.sinceMs, amount(used))
        }
        for (const call of stillRunning.filter(isCovered)) {
          const mayUse = amount(call.estimate)
          const place = window.count(nowMs, call.sinceMs, mayUse)
          const holds = limited.subject === 'account' ? call.accountHolds : call.holds
          holds.push({ subject: limited.subject, metric, window, place, amount: mayUse })
        }
        meters.set(name, meter)
      }
    } finally {
      this.#looks.delete(look)
    }
  }

  #meterOf({ subject, id }: Limited, limit: Limit): Meter | undefined {
    return this.#meters[subject].get(id)?.get(this.#factsOf(limit).name)
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

  /** Whether a call for the model counts under the limit; null: a call that asks no account. */
  covers(limit: Limit, model: string | null): boolean {
    if (limit.models === undefined) return true
    return model !== null && (this.#factsOf(limit).covers?.(model) ?? true)
  }

  #factsOf(limit: Limit): Facts {
    let facts = this.#facts.get(limit)
    if (!facts) {
      facts = { name: limitName(limit), covers: limit.models === undefined ? null : patternMatcher([limit.models]) }
      this.#facts.set(limit, facts)
    }
    return facts
  }
}

function newMeter({ metric, window }: Limit, nowMs: number): Meter {
  return { metric, window: newWindow(window, nowMs), kept: isKept(window) }
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

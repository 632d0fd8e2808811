import { parseDuration } from '../lib/duration.ts'
import { nearest } from '../lib/pattern.ts'
import { GatewayError } from './errors.ts'
import { formatUsd, parseUsd } from './money.ts'
import type { Usage } from './usage.ts'

/** What has slots. */
export type SlotSubject = 'user' | 'key' | 'account'
/** What a limit is set on. */
export type LimitSubject = SlotSubject | 'group'

/**
 * tokens: uncached input, cache writes and output · input_tokens: the same without output · all_tokens: cache reads as
 * well · usd: nano-USD, of callers what they are charged (in simple mode the cost), of accounts always the cost.
 */
export const LIMIT_METRICS = ['requests', 'input_tokens', 'output_tokens', 'tokens', 'all_tokens', 'usd'] as const
export type LimitMetric = (typeof LIMIT_METRICS)[number]

export const CALENDAR_UNITS = ['day', 'week', 'month'] as const
export type CalendarUnit = (typeof CALENDAR_UNITS)[number]

/** sliding: the last so many ms · calendar: the current day, week (from Monday) or month in a time zone. */
export type LimitWindow = { kind: 'sliding'; ms: number } | { kind: 'calendar'; unit: CalendarUnit; timeZone: string }

/** So much of a metric in a window, at most. */
export interface Limit {
  metric: LimitMetric
  /** Nano-USD for usd; 0 = nothing at all. */
  max: number
  window: LimitWindow
}

/** Somebody or something with limits. */
export interface Limited {
  subject: LimitSubject
  id: string
  limits: readonly Limit[]
}

/** What a call uses of limits, or may use, or what many calls have used. */
export interface Consumption {
  requests: number
  /** Uncached input and cache writes. */
  inputTokens: number
  cacheReadTokens: number
  outputTokens: number
  costNanoUsd: number
  /** Of the caller: charged, or the cost in simple mode. */
  spentNanoUsd: number
}

export const NO_CONSUMPTION: Readonly<Consumption> = {
  requests: 0,
  inputTokens: 0,
  cacheReadTokens: 0,
  outputTokens: 0,
  costNanoUsd: 0,
  spentNanoUsd: 0,
}

/** What one call with this usage consumes. */
export function consumptionOf(usage: Usage, money: Pick<Consumption, 'costNanoUsd' | 'spentNanoUsd'>): Consumption {
  return {
    requests: 1,
    inputTokens: usage.inputTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens,
    cacheReadTokens: usage.cacheReadTokens,
    outputTokens: usage.outputTokens,
    ...money,
  }
}

/** How much of a subject's metric that is. */
export function amountOf(metric: LimitMetric, subject: LimitSubject, used: Readonly<Consumption>): number {
  switch (metric) {
    case 'requests':
      return used.requests
    case 'input_tokens':
      return used.inputTokens
    case 'output_tokens':
      return used.outputTokens
    case 'tokens':
      return used.inputTokens + used.outputTokens
    case 'all_tokens':
      return used.inputTokens + used.cacheReadTokens + used.outputTokens
    case 'usd':
      return subject === 'account' ? used.costNanoUsd : used.spentNanoUsd
  }
}

/** A limit with what is used of it, running calls by what they may use. */
export interface LimitStanding {
  subject: LimitSubject
  subjectId: string
  limit: Limit
  used: number
  /** When nothing of what is used now counts any more, in unix ms; null = nothing is used, or the window never empties. */
  resetAtMs: number | null
}

/** No slot could be had, or the money has run out. */
export interface SlotRefusal {
  subject: SlotSubject
  subjectId: string
  /** concurrent: slots · balance: the user's money · quota: what a key may spend in its lifetime. */
  metric: 'concurrent' | 'balance' | 'quota'
  /** line_full: no place left in line · waited: the call's whole waiting time passed · spent: nothing left. */
  reason: 'line_full' | 'waited' | 'spent'
  /** Slots, or nano-USD. */
  limit: number
  used: number
  /** When trying again may help, in ms; null = not by waiting. */
  retryAfterMs: number | null
}

/** A limit is used up. */
export interface LimitRefusal {
  subject: LimitSubject
  subjectId: string
  metric: LimitMetric
  reason: 'limit'
  window: LimitWindow
  limit: number
  used: number
  /** When there is room again if nothing else is used until then, in ms from now; null = never, for a limit of 0. */
  retryAfterMs: number | null
}

/** What was asked for and could not be had: which limit, of which subject, until when. */
export type Refusal = SlotRefusal | LimitRefusal

// ---- as operators write them ----

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const SLIDING_MIN_MS = 1000
const SLIDING_MAX_MS = 30 * DAY_MS
/** Limits of one subject: each call is checked against all of them. */
export const LIMITS_MAX = 16

/** Shorter windows may be lost on restart; these are rebuilt from the store. */
export function isKept(window: LimitWindow): boolean {
  return window.kind === 'calendar' || window.ms >= HOUR_MS
}

/** A name for metric and window, of which a subject has one limit at most. */
export function limitName({ metric, window }: Pick<Limit, 'metric' | 'window'>): string {
  return `${metric}/${formatWindow(window)}`
}

/** One instruction of an operator: set a limit, or take some away (a null stands for all). */
export type LimitChange =
  | { kind: 'set'; limit: Limit }
  | { kind: 'remove'; metric: LimitMetric | null; window: LimitWindow | null }

const FORM = 'METRIC=N/WINDOW, such as requests=60/1m, tokens=200k/5h or usd=5/month@Europe/Berlin'

/**
 * Reads `requests=60/1m`, or what takes limits away: `requests=none/1m`, `requests=none` or `none`. `timeZone` is that of
 * a calendar window that names none. Throws `invalid_request` that says what is wrong.
 */
export function parseLimitChange(text: string, timeZone: string): LimitChange {
  if (text === 'none') return { kind: 'remove', metric: null, window: null }
  const match = /^([^=/]+)=([^=/]+)(?:\/(.+))?$/.exec(text)
  const [, name = '', amount = '', windowText] = match ?? []
  if (!match || (windowText === undefined && amount !== 'none')) throw invalid(`'${text}' is not ${FORM}`)
  const metric = parseMetric(name)
  const window = windowText === undefined ? null : parseWindow(windowText, timeZone)
  if (amount === 'none') return { kind: 'remove', metric, window }
  return { kind: 'set', limit: { metric, max: parseMax(metric, amount), window: window as LimitWindow } }
}

/** The limits after these changes, one after the other. Throws `invalid_request` if there are too many. */
export function changedLimits(limits: readonly Limit[], changes: readonly LimitChange[]): Limit[] {
  let result = [...limits]
  for (const change of changes) {
    if (change.kind === 'set') {
      const at = result.findIndex((limit) => limitName(limit) === limitName(change.limit))
      if (at < 0) result.push(change.limit)
      else result[at] = change.limit
    } else {
      const { metric, window } = change
      const isGone = (limit: Limit) =>
        (metric === null || limit.metric === metric) &&
        (window === null || formatWindow(limit.window) === formatWindow(window))
      result = result.filter((limit) => !isGone(limit))
    }
  }
  if (result.length > LIMITS_MAX) throw invalid(`that makes ${result.length} limits, and ${LIMITS_MAX} are the most`)
  return result
}

function parseMetric(name: string): LimitMetric {
  const metric = LIMIT_METRICS.find((one) => one === name)
  if (metric) return metric
  const similar = nearest(name, LIMIT_METRICS)
  const meant = similar === null ? '' : `; did you mean ${similar}?`
  throw invalid(`'${name}' is no metric. Possible: ${LIMIT_METRICS.join(', ')}${meant}`)
}

const FACTORS: Record<string, number> = { k: 1e3, m: 1e6, g: 1e9 }

/** `60`, `200k`, `1.5m`; of usd an amount such as `5` or `$0.50`. */
function parseMax(metric: LimitMetric, text: string): number {
  if (metric === 'usd') {
    const max = parseUsd(text)
    if (max < 0) throw invalid(`'${text}' is below 0: a limit is 0 (nothing at all) or more`)
    return max
  }
  const match = /^(\d+(?:\.\d+)?)([kmg]?)$/i.exec(text)
  const value = match ? Number(match[1]) * (FACTORS[(match[2] as string).toLowerCase()] ?? 1) : Number.NaN
  const max = Math.round(value) // 8.2 × 1,000 is 8,199.999999999998
  if (!match || Math.abs(value - max) > 1e-6) throw invalid(`'${text}' is not a whole number such as 60, 200k or 1.5m`)
  if (!Number.isSafeInteger(max)) throw invalid(`'${text}' is too large`)
  return max
}

function parseWindow(text: string, defaultTimeZone: string): LimitWindow {
  const [name = '', ...zone] = text.split('@')
  const unit = CALENDAR_UNITS.find((one) => one === name)
  if (unit)
    return { kind: 'calendar', unit, timeZone: checkedTimeZone(zone.length > 0 ? zone.join('@') : defaultTimeZone) }
  const ms = /^\d+[smhdw]$/.test(name) && zone.length === 0 ? parseDuration(name) : null
  if (ms === null) {
    const zoned = zone.length > 0 ? ' Only day, week and month have a time zone.' : ''
    throw invalid(`'${text}' is not a window: 1s to 30d such as 1m, 5h or 1d, or day, week or month.${zoned}`)
  }
  if (ms < SLIDING_MIN_MS || ms > SLIDING_MAX_MS) {
    throw invalid(`a window of ${name} is too ${ms < SLIDING_MIN_MS ? 'short' : 'long'}: 1s to 30d are possible`)
  }
  return { kind: 'sliding', ms }
}

/** The time zone's name. Throws `invalid_request` if there is none of this name. */
export function checkedTimeZone(name: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone
  } catch {
    throw invalid(`'${name}' is no time zone: name one such as UTC or Europe/Berlin`)
  }
}

function invalid(message: string): GatewayError {
  return new GatewayError('invalid_request', message)
}

const UNITS_MS = [
  ['d', DAY_MS],
  ['h', HOUR_MS],
  ['m', 60_000],
  ['s', 1000],
] as const

/** `1m`, `90s`, `5h`, `day@UTC`: exact, and one text for each window. */
export function formatWindow(window: LimitWindow): string {
  if (window.kind === 'calendar') return `${window.unit}@${window.timeZone}`
  const [unit, unitMs] = UNITS_MS.find(([, unitMs]) => window.ms % unitMs === 0) ?? ['ms', 1]
  return `${window.ms / unitMs}${unit}`
}

/** An amount of a metric: `$5.00`, `60`, `200,000`. */
export function formatAmount(metric: LimitMetric, amount: number): string {
  return metric === 'usd' ? formatUsd(amount) : amount.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',')
}

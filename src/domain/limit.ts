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

/**
 * sliding: the last so many ms · calendar: the current day, week (from Monday) or month in a time zone · anchored: whole
 * windows of so many ms, or months of the UTC calendar, one after the other from a start and back from it.
 */
export type LimitWindow =
  | { kind: 'sliding'; ms: number }
  | { kind: 'calendar'; unit: CalendarUnit; timeZone: string }
  | { kind: 'anchored'; every: number | 'month'; startMs: number }

/** So much of a metric in a window, at most. */
export interface Limit {
  metric: LimitMetric
  /** Nano-USD for usd; 0 = nothing at all. */
  max: number
  window: LimitWindow
  /** Of an account: a pattern such as `claude-opus-*`, whose models alone count and are limited, all together. Absent: all models. */
  models?: string
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
  /** Of the limit; absent: all. */
  models?: string
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
const ANCHORED_MIN_MS = HOUR_MS
const ANCHORED_MAX_MS = 366 * DAY_MS
/** Roll-ups are by quarters of an hour: what begins and ends with one is exact, also after a restart. */
const QUARTER_MS = HOUR_MS / 4
/** Limits of one subject: each call is checked against all of them. */
export const LIMITS_MAX = 16

/** Shorter windows may be lost on restart; these are rebuilt from the store. */
export function isKept(window: LimitWindow): boolean {
  return window.kind !== 'sliding' || window.ms >= HOUR_MS
}

/** A name for metric, models and window, of which a subject has one limit at most. */
export function limitName(limit: Pick<Limit, 'metric' | 'models' | 'window'>): string {
  return `${formatMetric(limit)}/${formatWindow(limit.window)}`
}

/** One instruction of an operator: set a limit, or take some away: all, or those of a metric and its models, of one window or (null) of each. */
export type LimitChange =
  | { kind: 'set'; limit: Limit }
  | { kind: 'remove all' }
  | { kind: 'remove'; of: Pick<Limit, 'metric' | 'models'>; window: LimitWindow | null }

const FORM = 'METRIC=N/WINDOW, such as requests=60/1m, tokens=200k/5h or usd=5/month@Europe/Berlin'

/**
 * Reads `requests=60/1m`, `requests[claude-opus-*]=100/5h`, or what takes limits away: `requests=none/1m`, `requests=none`
 * or `none`. `timeZone` is that of a calendar window, or of a start, that names none. Throws `invalid_request` that says
 * what is wrong.
 */
export function parseLimitChange(text: string, timeZone: string): LimitChange {
  if (text === 'none') return { kind: 'remove all' }
  const match = /^([^=/[\]]+)(?:\[([^[\]]+)\])?=([^=/]+)(?:\/(.+))?$/.exec(text)
  const [, name = '', models, amount = '', windowText] = match ?? []
  if (!match || (windowText === undefined && amount !== 'none')) throw invalid(`'${text}' is not ${FORM}`)
  const of = { metric: parseMetric(name), ...(models !== undefined && { models }) }
  const window = windowText === undefined ? null : parseWindow(windowText, timeZone)
  if (amount === 'none') return { kind: 'remove', of, window }
  return { kind: 'set', limit: { ...of, max: parseMax(of.metric, amount), window: window as LimitWindow } }
}

/** The limits after these changes, one after the other. Throws `invalid_request` if there are too many. */
export function changedLimits(limits: readonly Limit[], changes: readonly LimitChange[]): Limit[] {
  let result = [...limits]
  for (const change of changes) {
    if (change.kind === 'set') {
      const at = result.findIndex((limit) => limitName(limit) === limitName(change.limit))
      if (at < 0) result.push(change.limit)
      else result[at] = change.limit
    } else if (change.kind === 'remove') {
      const { of, window } = change
      const isGone = (limit: Limit) =>
        formatMetric(limit) === formatMetric(of) &&
        (window === null || formatWindow(limit.window) === formatWindow(window))
      result = result.filter((limit) => !isGone(limit))
    } else result = []
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

function parseWindow(text: string, timeZone: string): LimitWindow {
  const at = text.indexOf('@')
  const [name, place] = at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)]
  const unit = CALENDAR_UNITS.find((one) => one === name)
  const ms = /^\d+[smhdw]$/.test(name) ? parseDuration(name) : null
  if (place !== null && /^\d/.test(place) && (unit || ms !== null)) {
    return anchoredWindow(unit === 'month' ? unit : unit ? UNIT_MS[unit] : (ms as number), place, timeZone)
  }
  if (unit) return { kind: 'calendar', unit, timeZone: checkedTimeZone(place ?? timeZone) }
  if (ms === null || place !== null) {
    const zoned =
      place === null ? '' : ' Only day, week and month have a time zone; a start is such as 2026-11-01T00:00Z.'
    throw invalid(`'${text}' is not a window: 1s to 30d such as 1m, 5h or 1d, or day, week or month.${zoned}`)
  }
  if (ms < SLIDING_MIN_MS || ms > SLIDING_MAX_MS) {
    throw invalid(`a window of ${name} is too ${ms < SLIDING_MIN_MS ? 'short' : 'long'}: 1s to 30d are possible`)
  }
  return { kind: 'sliding', ms }
}

const UNIT_MS = { day: DAY_MS, week: 7 * DAY_MS } as const

function anchoredWindow(every: number | 'month', start: string, timeZone: string): LimitWindow {
  const startMs = parseStart(start, timeZone)
  if (every !== 'month') {
    if (every < ANCHORED_MIN_MS || every > ANCHORED_MAX_MS) {
      const wrong = every < ANCHORED_MIN_MS ? 'short' : 'long'
      throw invalid(`windows of ${formatLength(every)} are too ${wrong}: 1h to 366d are possible from a start`)
    }
    if (every % QUARTER_MS !== 0) {
      throw invalid(`windows of ${formatLength(every)} from a start are not of whole quarters of an hour, such as 75m`)
    }
  }
  return { kind: 'anchored', every, startMs }
}

/** `2026-11-01`, `2026-11-01T08:15`, `2026-11-01T08:15Z` or with an offset: unix ms. */
function parseStart(text: string, timeZone: string): number {
  const match = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(Z|[+-]\d\d:\d\d)?)?$/.exec(text)
  const [, day, time = '00:00', zone] = match ?? []
  let startMs: number
  try {
    if (!match) throw new RangeError('no time')
    const local = `${day}T${time}`
    startMs =
      zone === undefined
        ? Temporal.PlainDateTime.from(local).toZonedDateTime(checkedTimeZone(timeZone)).epochMilliseconds
        : Temporal.Instant.from(`${local}${zone}`).epochMilliseconds
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw invalid(`'${text}' is no start: a time such as 2026-11-01 or 2026-11-01T08:15Z`)
  }
  if (startMs % QUARTER_MS !== 0) {
    throw invalid(`a start is at a quarter of an hour, such as 08:00 or 08:15, and '${text}' is not`)
  }
  return startMs
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

/** `1m`, `90s`, `5h`, `day@UTC`, `7d@2026-11-01T00:00Z`: exact, and one text for each window. */
export function formatWindow(window: LimitWindow): string {
  switch (window.kind) {
    case 'sliding':
      return formatLength(window.ms)
    case 'calendar':
      return `${window.unit}@${window.timeZone}`
    case 'anchored':
      return `${window.every === 'month' ? 'month' : formatLength(window.every)}@${formatStart(window.startMs)}`
  }
}

function formatLength(ms: number): string {
  const [unit, unitMs] = UNITS_MS.find(([, unitMs]) => ms % unitMs === 0) ?? ['ms', 1]
  return `${ms / unitMs}${unit}`
}

function formatStart(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16)}Z`
}

/** `requests`, or `requests[claude-opus-*]` for some models only. */
export function formatMetric({ metric, models }: Pick<Limit, 'metric' | 'models'>): string {
  return models === undefined ? metric : `${metric}[${models}]`
}

/** An amount of a metric: `$5.00`, `60`, `200,000`. */
export function formatAmount(metric: LimitMetric, amount: number): string {
  return metric === 'usd' ? formatUsd(amount) : amount.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',')
}

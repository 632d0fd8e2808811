import type { VendorWindow } from '../../domain/account.ts'
import { plausibleReset, textIn, unixSeconds, wholeNumber } from '../head-values.ts'
import type { ResponseHead } from '../provider.ts'
import { type FullWindows, fullUntil } from '../verdicts.ts'

/**
 * Anthropic tells of its windows in two families of headers. API keys: `requests`, `tokens`, `input-tokens` and
 * `output-tokens`, each with `-limit`, `-remaining` and `-reset` (RFC 3339). Subscriptions: `unified-5h`, `unified-7d` and
 * some for a class of models (`unified-7d_oi`), each with `-status`, `-utilization` (a fraction) and `-reset` (unix seconds).
 */
const PREFIX = 'anthropic-ratelimit-'
const COUNTED = ['requests', 'tokens', 'input-tokens', 'output-tokens'] as const
const UNIFIED = `${PREFIX}unified-`
const UNIFIED_RESET = /^anthropic-ratelimit-unified-([1-9]\d{0,2}[hd](?:_[a-z0-9]{1,20}){0,2})-reset$/
const UNIT_MS: Record<string, number> = { h: 3_600_000, d: 86_400_000 }
/** Classes of models that are named after their family. Of others, such as `oi`, no document says what is in them. */
const FAMILIES = ['opus', 'sonnet', 'haiku']

/** Of one answer; vendors have four. */
const WINDOWS_MAX = 16
/** A little over 1 is the last call that overshot; beyond that it is another unit. */
const UTILIZATION_MAX = 2

interface Reading {
  window: VendorWindow
  /** The vendor refuses calls because of it. */
  isFull: boolean
}

export function anthropicWindows(head: ResponseHead, nowMs: number): VendorWindow[] {
  return readings(head, nowMs).map(({ window }) => window)
}

/**
 * Until when a 429 is the doing of windows that are full, and whether they are all of a class of models. Null if none is:
 * then it was a burst, whatever else the headers say.
 */
export function fullWindows(head: ResponseHead, nowMs: number): FullWindows | null {
  const full = readings(head, nowMs).filter(({ isFull, window }) => isFull && window.resetAtMs > nowMs)
  if (full.length === 0) return representativeWindow(head, nowMs)
  return fullUntil(full.map(({ window }) => window))
}

/** The window that the vendor names as the one that refuses, where it says nothing else of it. */
function representativeWindow(head: ResponseHead, nowMs: number): FullWindows | null {
  if (textIn(head, `${UNIFIED}status`) !== 'rejected') return null
  const untilMs = unixSeconds(textIn(head, `${UNIFIED}reset`), nowMs)
  if (untilMs === null || untilMs <= nowMs) return null
  const claim = textIn(head, `${UNIFIED}representative-claim`) ?? ''
  return { untilMs, scope: /^seven_day_[a-z_]+$/.test(claim) ? 'model' : 'account' }
}

function readings(head: ResponseHead, nowMs: number): Reading[] {
  const read: Reading[] = []
  for (const header in head.headers) {
    if (!header.startsWith(PREFIX) || !header.endsWith('-reset') || read.length === WINDOWS_MAX) continue
    const name = header.slice(PREFIX.length, -'-reset'.length)
    const unified = UNIFIED_RESET.exec(header)?.[1]
    const reading = unified
      ? unifiedReading(head, unified, nowMs)
      : (COUNTED as readonly string[]).includes(name)
        ? countedReading(head, name, nowMs)
        : null
    if (reading) read.push(reading)
  }
  return read
}

function countedReading(head: ResponseHead, header: string, nowMs: number): Reading | null {
  const limit = wholeNumber(textIn(head, `${PREFIX}${header}-limit`))
  const remaining = wholeNumber(textIn(head, `${PREFIX}${header}-remaining`))
  const resetAtMs = rfc3339(textIn(head, `${PREFIX}${header}-reset`), nowMs)
  if (!limit || remaining === null || remaining > limit || resetAtMs === null) return null
  return {
    window: {
      ...{ name: header.replaceAll('-', '_'), used: (limit - remaining) / limit, resetAtMs },
      ...{ lengthMs: null, models: null, source: 'headers', sampledAtMs: nowMs },
    },
    isFull: remaining === 0,
  }
}

function unifiedReading(head: ResponseHead, name: string, nowMs: number): Reading | null {
  const resetAtMs = unixSeconds(textIn(head, `${UNIFIED}${name}-reset`), nowMs)
  if (resetAtMs === null) return null
  const status = textIn(head, `${UNIFIED}${name}-status`)
  const overall = textIn(head, `${UNIFIED}status`)
  const used = fraction(textIn(head, `${UNIFIED}${name}-utilization`)) ?? (status === 'rejected' ? 1 : null)
  if (used === null) return null
  // A window can be used up while calls are served all the same, from an allowance beyond it.
  const isServed = status?.startsWith('allowed') || (status === null && overall?.startsWith('allowed'))
  return {
    window: {
      ...{ name, used: status === 'rejected' ? 1 : Math.min(1, used), resetAtMs },
      ...{ ...periodOf(name), source: 'headers', sampledAtMs: nowMs },
    },
    isFull: status === 'rejected' || (used >= 1 && !isServed),
  }
}

/** `5h` and `7d` are of all models; `7d_opus` and `7d_oi` of a class. */
function periodOf(name: string): Pick<VendorWindow, 'lengthMs' | 'models'> {
  const [period = '', ...rest] = name.split('_')
  const family = rest.join('_')
  return {
    lengthMs: Number.parseInt(period, 10) * (UNIT_MS[period.slice(-1)] as number),
    models: family === '' ? null : FAMILIES.includes(family) ? [`*${family}*`] : [],
  }
}

function fraction(text: string | null): number | null {
  if (text === null || !/^\d{1,3}(?:\.\d{1,20})?$/.test(text)) return null
  const value = Number(text)
  return value <= UTILIZATION_MAX ? value : null
}

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/i

function rfc3339(text: string | null, nowMs: number): number | null {
  return text !== null && RFC_3339.test(text) ? plausibleReset(Date.parse(text), nowMs) : null
}

import type { VendorWindow } from '../../domain/account.ts'
import { plausibleReset, textIn, unixSeconds, wholeNumber } from '../head-values.ts'
import type { ResponseHead } from '../provider.ts'

/**
 * Anthropic tells of its windows in two families of headers. API keys: `requests`, `tokens`, `input-tokens` and
 * `output-tokens`, each with `-limit`, `-remaining` and `-reset` (RFC 3339). Subscriptions: `unified-5h`, `unified-7d` and
 * some for a class of models (`unified-7d_oi`), each with `-status`, `-utilization` (a fraction) and `-reset` (unix seconds).
 */
const PREFIX = 'anthropic-ratelimit-'
const COUNTED = ['requests', 'tokens', 'input-tokens', 'output-tokens'] as const
const UNIFIED = `${PREFIX}unified-`
const UNIFIED_RESET = /^anthropic-ratelimit-unified-(\d{1,3}[hd](?:_[a-z0-9]{1,20}){0,2})-reset$/

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
export function fullWindows(head: ResponseHead, nowMs: number): { untilMs: number; scope: 'account' | 'model' } | null {
  const full = readings(head, nowMs).filter(({ isFull, window }) => isFull && window.resetAtMs > nowMs)
  if (full.length === 0) return representativeWindow(head, nowMs)
  const wide = full.filter(({ window }) => !isOfModels(window.name))
  const blocking = wide.length > 0 ? wide : full
  return {
    untilMs: Math.max(...blocking.map(({ window }) => window.resetAtMs)),
    scope: wide.length > 0 ? 'account' : 'model',
  }
}

/** The window that the vendor names as the one that refuses, where it says nothing else of it. */
function representativeWindow(
  head: ResponseHead,
  nowMs: number,
): { untilMs: number; scope: 'account' | 'model' } | null {
  if (textIn(head, `${UNIFIED}status`) !== 'rejected') return null
  const untilMs = unixSeconds(textIn(head, `${UNIFIED}reset`), nowMs)
  if (untilMs === null || untilMs <= nowMs) return null
  const claim = textIn(head, `${UNIFIED}representative-claim`) ?? ''
  return { untilMs, scope: /^seven_day_[a-z_]+$/.test(claim) ? 'model' : 'account' }
}

/** `7d_oi`, `7d_opus`: a class of models has a window of its own. */
function isOfModels(name: string): boolean {
  return name.includes('_') && !(COUNTED as readonly string[]).includes(name.replaceAll('_', '-'))
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
    window: windowOf(header.replaceAll('-', '_'), (limit - remaining) / limit, resetAtMs, nowMs),
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
    window: windowOf(name, status === 'rejected' ? 1 : used, resetAtMs, nowMs),
    isFull: status === 'rejected' || (used >= 1 && !isServed),
  }
}

function windowOf(name: string, used: number, resetAtMs: number, sampledAtMs: number): VendorWindow {
  return { name, used: Math.min(1, used), resetAtMs, source: 'headers', sampledAtMs }
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

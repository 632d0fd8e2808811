import type { ResponseHead } from './provider.ts'

// What stands in the headers of answers; what is not as it should be is null.

/** Vendors' longest window is a month. A reset that is further away than that, or long over, is no reset. */
const RESET_AHEAD_MAX_MS = 32 * 86_400_000
const RESET_BEHIND_MAX_MS = 86_400_000

/** A header that came once; null if it did not. */
export function textIn({ headers }: ResponseHead, name: string): string | null {
  const value = headers[name]
  return typeof value === 'string' ? value.trim() : null
}

export function wholeNumber(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null
}

export function unixSeconds(text: string | null, nowMs: number): number | null {
  return text !== null && /^\d{9,11}$/.test(text) ? plausibleReset(Number(text) * 1000, nowMs) : null
}

/** Null for a time at which no window opens. */
export function plausibleReset(ms: number, nowMs: number): number | null {
  return ms >= nowMs - RESET_BEHIND_MAX_MS && ms <= nowMs + RESET_AHEAD_MAX_MS ? ms : null
}

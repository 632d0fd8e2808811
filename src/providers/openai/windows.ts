import type { VendorWindow } from '../../domain/account.ts'
import { plausibleReset, textIn, unixSeconds, wholeNumber } from '../head-values.ts'
import type { ResponseHead } from '../provider.ts'
import { type FullWindows, fullUntil } from '../verdicts.ts'

/**
 * OpenAI tells of its windows in two families of headers. API keys: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, of the
 * one model that was asked, with a duration for a reset (`6m0s`). ChatGPT's backend for Codex: `x-codex-primary-…` (5 hours) and
 * `x-codex-secondary-…` (7 days), each with `used-percent`, `window-minutes` and `reset-at` (unix seconds), and further pairs for a
 * class of models (`x-codex-bengalfox-primary-…`).
 */
const COUNTED = ['requests', 'tokens'] as const
const USED_PERCENT = /^x-codex-(?:([a-z0-9]{1,20}(?:-[a-z0-9]{1,20})?)-)?(primary|secondary)-used-percent$/

/** Of one answer; the vendor has two, and two for each class of models. */
const WINDOWS_MAX = 16
/** A little over 100 is the last call that overshot; beyond that it is another unit. */
const PERCENT_MAX = 200

interface Reading {
  window: VendorWindow
  isFull: boolean
}

export function openaiWindows(head: ResponseHead, nowMs: number): VendorWindow[] {
  return readings(head, nowMs).map(({ window }) => window)
}

/** Until when a 429 is the doing of windows that are full, and whether they are all of some models only. Null if none is. */
export function fullWindows(head: ResponseHead, nowMs: number): FullWindows | null {
  const full = readings(head, nowMs).filter(({ isFull, window }) => isFull && window.resetAtMs > nowMs)
  if (full.length === 0) return null
  return fullUntil(full.map(({ window }) => window))
}

function readings(head: ResponseHead, nowMs: number): Reading[] {
  const read: Reading[] = []
  for (const header in head.headers) {
    if (read.length === WINDOWS_MAX) break
    const counted = COUNTED.find((name) => header === `x-ratelimit-reset-${name}`)
    const [matched, family, rank] = (!counted && USED_PERCENT.exec(header)) || []
    const reading = counted
      ? countedReading(head, counted, nowMs)
      : matched && rank
        ? codexReading(head, family ?? null, rank, nowMs)
        : null
    if (reading) read.push(reading)
  }
  return read
}

function countedReading(head: ResponseHead, name: string, nowMs: number): Reading | null {
  const limit = wholeNumber(textIn(head, `x-ratelimit-limit-${name}`))
  const remaining = wholeNumber(textIn(head, `x-ratelimit-remaining-${name}`))
  const resetMs = duration(textIn(head, `x-ratelimit-reset-${name}`))
  const resetAtMs = resetMs === null ? null : plausibleReset(nowMs + resetMs, nowMs)
  if (!limit || remaining === null || remaining > limit || resetAtMs === null) return null
  const window = { name, used: (limit - remaining) / limit, resetAtMs, lengthMs: null, models: [] }
  return { window: { ...window, source: 'headers', sampledAtMs: nowMs }, isFull: remaining === 0 }
}

function codexReading(head: ResponseHead, family: string | null, rank: string, nowMs: number): Reading | null {
  const prefix = family === null ? `x-codex-${rank}-` : `x-codex-${family}-${rank}-`
  const percent = percentage(textIn(head, `${prefix}used-percent`))
  const resetAtMs = unixSeconds(textIn(head, `${prefix}reset-at`), nowMs)
  if (percent === null || resetAtMs === null) return null
  const minutes = lengthIn(textIn(head, `${prefix}window-minutes`))
  const period = minutes === null ? rank : periodOf(minutes)
  const window = {
    name: family === null ? period : `${period}_${family.replace('-', '_')}`,
    used: Math.min(1, percent / 100),
    resetAtMs,
    lengthMs: minutes === null ? null : minutes * 60_000,
    models: family === null ? null : [], // no document says which are of a class
  }
  return { window: { ...window, source: 'headers', sampledAtMs: nowMs }, isFull: percent >= 100 }
}

/** A longer window than this is none. */
const MINUTES_MAX = 100_000

function lengthIn(text: string | null): number | null {
  const minutes = wholeNumber(text)
  return minutes && minutes <= MINUTES_MAX ? minutes : null
}

/** `5h`, `7d`, `90m`. */
function periodOf(minutes: number): string {
  if (minutes % 1440 === 0) return `${minutes / 1440}d`
  return minutes % 60 === 0 ? `${minutes / 60}h` : `${minutes}m`
}

function percentage(text: string | null): number | null {
  if (text === null || !/^\d{1,3}(?:\.\d{1,20})?$/.test(text)) return null
  const value = Number(text)
  return value <= PERCENT_MAX ? value : null
}

const DURATION =
  /^(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?$/

/** `6m0s`, `12ms`, `1h2m3.5s`, as Go writes them; in ms. */
function duration(text: string | null): number | null {
  const match = text ? DURATION.exec(text) : null
  if (!match) return null
  const [d, h, m, s, ms] = match.slice(1).map((part) => Number(part ?? 0)) as [number, number, number, number, number]
  return Math.ceil(d * 86_400_000 + h * 3_600_000 + m * 60_000 + s * 1000 + ms)
}

import type { UpstreamFault } from '../../domain/fault.ts'
import { periodAt } from '../../lib/calendar.ts'
import { asObject, isObject, textOf } from '../../protocols/loose-json.ts'
import type { JsonObject } from '../../protocols/neutral.ts'
import type { SseEvent } from '../../protocols/sse.ts'
import { plausibleReset } from '../head-values.ts'
import type { ResponseHead } from '../provider.ts'
import {
  CREDENTIAL,
  DISABLED,
  FUNDS,
  type FullWindows,
  faultOf,
  isMachineWord,
  isPage,
  keptWords,
  NOT_THIS,
  OVERLOAD,
  RATE_LIMIT,
  REQUEST,
  retryAfterOf,
  type Said,
  statusVerdict,
  streamFaultOf,
  unnamedVerdict,
  type Verdict,
  weighed,
} from '../verdicts.ts'

// All of Google's services write their errors alike: google.rpc.Status, with details that say more than its code.

/** By the reason of a google.rpc.ErrorInfo, which says most. A bad API key is a 400. */
const BY_REASON: ReadonlyMap<string, Verdict> = new Map([
  ['API_KEY_INVALID', CREDENTIAL],
  ['API_KEY_SERVICE_BLOCKED', CREDENTIAL],
  ['API_KEY_HTTP_REFERRER_BLOCKED', CREDENTIAL],
  ['API_KEY_IP_ADDRESS_BLOCKED', CREDENTIAL],
  ['ACCESS_TOKEN_EXPIRED', CREDENTIAL],
  ['ACCESS_TOKEN_SCOPE_INSUFFICIENT', CREDENTIAL],
  ['ACCESS_TOKEN_TYPE_UNSUPPORTED', CREDENTIAL],
  ['CREDENTIALS_MISSING', CREDENTIAL],
  ['CONSUMER_INVALID', CREDENTIAL],
  ['SERVICE_DISABLED', CREDENTIAL],
  ['USER_PROJECT_DENIED', CREDENTIAL],
  ['CONSUMER_SUSPENDED', DISABLED],
  ['TOS_VIOLATION', DISABLED],
  ['VALIDATION_REQUIRED', DISABLED],
  ['BILLING_DISABLED', FUNDS],
  ['INSUFFICIENT_G1_CREDITS_BALANCE', FUNDS],
  ['RATE_LIMIT_EXCEEDED', RATE_LIMIT],
  ['QUOTA_EXHAUSTED', RATE_LIMIT],
  ['MODEL_CAPACITY_EXHAUSTED', OVERLOAD],
  ['MODEL_CAPACITY_EXCEEDED', OVERLOAD],
])

/** By the status that is a word. */
const BY_STATUS_WORD: ReadonlyMap<string, Verdict> = new Map([
  ['INVALID_ARGUMENT', REQUEST],
  ['OUT_OF_RANGE', REQUEST],
  ['NOT_FOUND', REQUEST],
  ['ALREADY_EXISTS', REQUEST],
  ['UNIMPLEMENTED', REQUEST],
  ['FAILED_PRECONDITION', NOT_THIS], // where it may be called from, what its project has switched on
  ['PERMISSION_DENIED', NOT_THIS],
  ['UNAUTHENTICATED', CREDENTIAL],
  ['RESOURCE_EXHAUSTED', RATE_LIMIT],
  ['UNAVAILABLE', OVERLOAD],
  ['INTERNAL', OVERLOAD],
  ['UNKNOWN', OVERLOAD],
  ['ABORTED', OVERLOAD],
  ['CANCELLED', OVERLOAD],
  ['DEADLINE_EXCEEDED', OVERLOAD],
])

/**
 * Google's wordings that say more than its details; they live here and nowhere else. Each is the beginning of Google's own
 * sentence: errors also repeat what the client wrote, and no client may take an account out of service by its words.
 */
const BY_WORDING: [RegExp, Verdict][] = [
  [/^api key (?:not valid|expired|not found)\b/i, CREDENTIAL],
  [/^your api key was reported as leaked\b/i, DISABLED],
  [/^(?:please )?verify your account\b/i, DISABLED],
  [/^this service has been disabled in this account\b/i, DISABLED],
  [/^your project has been denied access\b/i, DISABLED],
]

const DAY_ZONE = 'America/Los_Angeles'

export function googleFault(head: ResponseHead, body: Buffer, nowMs: number): UpstreamFault {
  const text = body.toString('utf8')
  const said = errorIn(text)
  const judged = verdictOn(head.status, said, isPage(text))
  const waitMs = said?.waitMs ?? null
  const full = judged.rest === 'rate_limit' && said ? fullWindows(said, nowMs) : null
  return faultOf(head, body, judged, { said, full, retryAfterMs: retryAfterOf(head) ?? waitMs })
}

export function googleStreamFault(event: SseEvent): UpstreamFault {
  const said = errorIn(event.data)
  const fault = streamFaultOf(verdictOn(said?.code ?? 200, said, false), said)
  return { ...fault, retryAfterMs: said?.waitMs ?? null }
}

function verdictOn(status: number, said: GoogleError | null, isHtml: boolean): Verdict {
  const worded = said && BY_WORDING.find(([wording]) => wording.test(said.message))?.[1]
  const byReason = BY_REASON.get(said?.reason ?? '')
  if (worded ?? byReason) return (worded ?? byReason) as Verdict
  return weighed(BY_STATUS_WORD.get(said?.status ?? ''), statusVerdict(status)) ?? unnamedVerdict(status, isHtml)
}

interface GoogleError extends Said {
  /** 0 if it says none. */
  code: number
  status: string
  reason: string | null
  /** How long to stay away, ms; null if it does not say. */
  waitMs: number | null
  /** The ids of the quotas that are used up. */
  quotas: string[]
}

/** Also in an array, which a stream without events is. */
function errorIn(text: string): GoogleError | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  const error = asObject(asObject(Array.isArray(value) ? value[0] : value)?.error)
  if (!error) return null
  const details = Array.isArray(error.details) ? error.details.filter(isObject) : []
  const info = detailOf(details, 'ErrorInfo')
  const status = isMachineWord(error.status) ? error.status : ''
  const reason = isMachineWord(info?.reason) ? info.reason : null
  const type = reason ?? status
  const written = textOf(error.message)
  if (type === '' && written === '') return null
  return {
    type: type || 'error',
    message: keptWords(claudesWords(written) || written || type),
    code: Number.isSafeInteger(error.code) ? (error.code as number) : 0,
    status,
    reason,
    waitMs: waitOf(details, info, written),
    quotas: quotasOf(details),
  }
}

function detailOf(details: JsonObject[], type: string): JsonObject | undefined {
  return details.find((detail) => textOf(detail['@type']).endsWith(`google.rpc.${type}`))
}

/** What Claude says at Antigravity is an error of Anthropic's, written as the message of Google's. */
function claudesWords(written: string): string {
  if (!written.startsWith('{')) return ''
  try {
    return textOf(asObject(asObject(JSON.parse(written))?.error)?.message)
  } catch {
    return ''
  }
}

function waitOf(details: JsonObject[], info: JsonObject | undefined, written: string): number | null {
  return (
    durationMs(textOf(asObject(info?.metadata)?.quotaResetDelay)) ??
    durationMs(textOf(detailOf(details, 'RetryInfo')?.retryDelay)) ??
    durationMs(/please retry in ([\dhms.]+)/i.exec(written)?.[1] ?? '')
  )
}

const PARTS_MS: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** `34.07s`, `3h20m5s`, `512ms`. */
function durationMs(text: string): number | null {
  if (!/^(?:\d{1,9}(?:\.\d{1,12})?(?:ms|[hms]))+\.?$/.test(text)) return null
  let sum = 0
  for (const [, number, unit] of text.matchAll(/([\d.]+)(ms|[hms])/g))
    sum += Number(number) * (PARTS_MS[unit as string] as number)
  return Math.ceil(sum)
}

function quotasOf(details: JsonObject[]): string[] {
  const violations = detailOf(details, 'QuotaFailure')?.violations
  return Array.isArray(violations) ? violations.map((one) => textOf(asObject(one)?.quotaId)).filter(Boolean) : []
}

/** A day's quota is full until midnight at Google; most quotas are of one model. */
function fullWindows({ quotas, reason, waitMs }: GoogleError, nowMs: number): FullWindows | null {
  const scope = quotas.length > 0 && quotas.every((id) => id.includes('PerModel')) ? 'model' : 'account'
  if (quotas.some((id) => /PerDay|Daily/.test(id))) return { untilMs: periodAt('day', DAY_ZONE, nowMs).endMs, scope }
  const untilMs = waitMs === null || waitMs === 0 ? null : plausibleReset(nowMs + waitMs, nowMs)
  if (untilMs === null) return null
  // Antigravity and Code Assist count each model by itself.
  if (reason === 'QUOTA_EXHAUSTED') return { untilMs, scope: 'model' }
  return scope === 'model' ? { untilMs, scope } : null
}

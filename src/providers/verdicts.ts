import type { VendorWindow } from '../domain/account.ts'
import type { Blame, RestKind, UpstreamFault } from '../domain/fault.ts'
import { redact } from '../lib/log.ts'
import type { ResponseHead } from './provider.ts'

// What every provider's table of faults is made of.

/** Whose fault an error is, and what it means for the account. */
export interface Verdict extends Pick<UpstreamFault, 'blame' | 'rest'> {
  disables?: boolean
  strangeThoughts?: true
}

const verdict = (blame: Blame, rest: RestKind | null = null): Verdict => ({ blame, rest })

export const REQUEST = verdict('request')
/** What another organisation's models have thought: nobody else can read it. */
export const STRANGE_THOUGHTS: Verdict = { ...REQUEST, strangeThoughts: true }
export const CREDENTIAL = verdict('account', 'credential')
/** The account may not do this one thing. Another may, and this one may do others: what a client asks for rests nobody. */
export const NOT_THIS = verdict('account')
export const FUNDS = verdict('account', 'funds')
export const RATE_LIMIT = verdict('account', 'rate_limit')
export const OVERLOAD = verdict('upstream', 'overload')
export const DISABLED: Verdict = { ...CREDENTIAL, disables: true }

/** What an upstream says of an error, as far as it can be read. */
export interface Said {
  /** A machine word for records. */
  type: string
  message: string
}

/** The windows that are full, where it is them that refuse. */
export interface FullWindows {
  untilMs: number
  scope: 'account' | 'model'
}

/** Of windows that are full, one or more: those of all models refuse whatever others say. */
export function fullUntil(full: readonly VendorWindow[]): FullWindows {
  const wide = full.filter(({ models }) => models === null)
  const blocking = wide.length > 0 ? wide : full
  return {
    untilMs: Math.max(...blocking.map(({ resetAtMs }) => resetAtMs)),
    scope: wide.length > 0 ? 'account' : 'model',
  }
}

/** Characters of an upstream's words that are kept for records and logs. */
const MESSAGE_MAX = 500

/** What an error's type looks like; anything else is no type. */
export function isMachineWord(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z0-9_]{1,64}$/i.test(value)
}

/** An upstream's words as they may be kept. */
export function keptWords(message: string): string {
  return redact(message).slice(0, MESSAGE_MAX)
}

/** True for what a proxy or a vendor's front door shows to people. */
export function isPage(text: string): boolean {
  return /^\s*</.test(text)
}

/** An answer with an error status, or a 200 that is no answer, as a fault. */
export function faultOf(
  head: ResponseHead,
  body: Buffer,
  { blame, rest, disables = false, strangeThoughts }: Verdict,
  { said, full, retryAfterMs }: { said: Said | null; full: FullWindows | null; retryAfterMs: number | null },
): UpstreamFault {
  return {
    ...{ blame, rest, disables, ...(strangeThoughts && { strangeThoughts }) },
    scope: full?.scope ?? 'account',
    restUntilMs: full?.untilMs ?? null,
    reason: said?.type ?? (head.status < 400 ? 'invalid_answer' : `http_${head.status}`),
    message: said?.message ?? `the upstream answered ${head.status} without an error that it is known to send`,
    retryAfterMs,
    mayBeRunning: false,
    upstreamStatus: head.status,
    upstreamHeaders: head.headers,
    upstreamBody: body,
  }
}

/** An error event inside a stream as a fault. */
export function streamFaultOf(
  { blame, rest, disables = false, strangeThoughts }: Verdict,
  said: Said | null,
): UpstreamFault {
  return {
    ...{ blame, rest, disables, ...(strangeThoughts && { strangeThoughts }) },
    scope: 'account',
    restUntilMs: null,
    reason: said?.type ?? 'error_event',
    message: said?.message ?? 'the upstream ended its stream with an error event',
    retryAfterMs: null,
    mayBeRunning: false,
    upstreamStatus: 200,
    upstreamHeaders: {},
    upstreamBody: null,
  }
}

const BY_STATUS: Record<number, Verdict> = {
  401: CREDENTIAL,
  402: FUNDS,
  408: OVERLOAD,
  413: REQUEST,
  429: RATE_LIMIT,
  499: OVERLOAD, // who gave up was not our client
  501: REQUEST,
}

/** Whose fault a status says it is, also where the error is called something else, or nothing (proxies, HTML pages); null if it does not say. */
export function statusVerdict(status: number): Verdict | null {
  return BY_STATUS[status] ?? (status >= 500 ? OVERLOAD : null)
}

/** Whose fault it is where neither name nor status says. A page, or a 403 without the vendor's own words, comes from something in front of it. */
export function unnamedVerdict(status: number, isHtml: boolean): Verdict {
  return isHtml || status === 403 || status < 400 ? OVERLOAD : REQUEST
}

/** By what the error is called and by its status: what is said of the account counts most, then the status. */
export function weighed(byName: Verdict | undefined, byStatus: Verdict | null): Verdict | null {
  if (byName && byStatus) return byName.blame === 'account' && byName.rest !== null ? byName : byStatus
  return byName ?? byStatus
}

/** Seconds, or a date, which is counted from the answer's own date: its clock, not ours. Null if it says neither. */
export function retryAfterOf({ headers }: ResponseHead): number | null {
  const value = headers['retry-after']
  if (typeof value !== 'string') return null
  if (/^\s*\d{1,9}(?:\.\d+)?\s*$/.test(value)) return Math.ceil(Number(value) * 1000)
  const waitMs = Date.parse(value) - Date.parse(String(headers.date))
  return /[a-z]/i.test(value) && Number.isFinite(waitMs) ? Math.max(0, waitMs) : null
}

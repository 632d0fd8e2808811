import type { Blame, RestKind, UpstreamFault } from '../../domain/fault.ts'
import { redact } from '../../lib/log.ts'
import type { SseEvent } from '../../protocols/sse.ts'
import type { ResponseHead } from '../provider.ts'
import { fullWindows } from './windows.ts'

type Verdict = Pick<UpstreamFault, 'blame' | 'rest'> & { disables?: true }

const verdict = (blame: Blame, rest: RestKind | null = null): Verdict => ({ blame, rest })

const REQUEST = verdict('request')
const CREDENTIAL = verdict('account', 'credential')
/** The account may not do this one thing. Another may, and this one may do others: what a client asks for rests nobody. */
const NOT_THIS = verdict('account')
const FUNDS = verdict('account', 'funds')
const RATE_LIMIT = verdict('account', 'rate_limit')
const OVERLOAD = verdict('upstream', 'overload')
const DISABLED: Verdict = { ...CREDENTIAL, disables: true }

/** By Anthropic's error type, for statuses, bodies and in-stream events alike. */
const BY_TYPE: ReadonlyMap<string, Verdict> = new Map([
  ['invalid_request_error', REQUEST],
  ['not_found_error', REQUEST],
  ['request_too_large', REQUEST],
  ['conflict_error', REQUEST],
  ['not_supported', REQUEST],
  ['authentication_error', CREDENTIAL],
  ['permission_error', NOT_THIS],
  ['billing_error', FUNDS],
  ['rate_limit_error', RATE_LIMIT],
  ['overloaded_error', OVERLOAD],
  ['api_error', OVERLOAD],
  ['timeout_error', OVERLOAD],
])

/** Statuses that say whose fault it is, also where the type says something else, or there is none (proxies, HTML pages). */
const BY_STATUS: Record<number, Verdict> = {
  401: CREDENTIAL,
  402: FUNDS,
  408: OVERLOAD,
  413: REQUEST,
  429: RATE_LIMIT,
  501: REQUEST,
}

/**
 * Vendors' wordings that say more than their type; they live here and nowhere else. Each is the beginning of the vendor's
 * own sentence: errors also repeat what the client wrote, and no client may take an account out of service by its choice
 * of words.
 */
const BY_WORDING: [RegExp, Verdict][] = [
  [/^(?:your |this )?(?:organization|account|api key) has been (?:disabled|revoked)\b/i, DISABLED],
  [/^(?:your )?credit balance is too low|^you have reached your specified api usage limits/i, FUNDS],
  // Which 403s are about the credential, and not about the model, feature or place that was asked for.
  [/^oauth token (?:has (?:been revoked|expired)|is invalid|does not meet scope)\b/i, CREDENTIAL],
  [/^oauth authentication is (?:currently )?not (?:allowed|supported)\b/i, CREDENTIAL],
  [
    /^(?:your |this )?(?:organization|account|api key|credential) (?:is|has been) (?:inactive|invalid|expired|suspended|deactivated|locked|no longer)\b/i,
    CREDENTIAL,
  ],
]
/** What a field's name (`key: Extra inputs…`) or a quotation has in it. */
const REPEATS_THE_CLIENT = /: |[`"]/

/** A 429 with this error code is a monthly cap, not a burst. */
const SPEND_LIMIT_CODE = 'enforced_spend_limit_reached'

/** Characters of an upstream's words that are kept for records and logs. */
const MESSAGE_MAX = 500
/** What an error's type looks like; anything else is no type. */
const MACHINE_WORD = /^[a-z0-9_]{1,64}$/i

export function anthropicFault(head: ResponseHead, body: Buffer, nowMs: number): UpstreamFault {
  const text = body.toString('utf8')
  const said = errorIn(text)
  const judged = judge(head.status, said, /^\s*</.test(text))
  const full = judged.rest === 'rate_limit' ? fullWindows(head, nowMs) : null
  return {
    ...judged,
    scope: full?.scope ?? 'account',
    restUntilMs: full?.untilMs ?? null,
    reason: said?.type ?? (head.status < 400 ? 'invalid_answer' : `http_${head.status}`),
    message: said?.message ?? `the upstream answered ${head.status} without an error that it is known to send`,
    retryAfterMs: retryAfterOf(head),
    mayBeRunning: false,
    upstreamStatus: head.status,
    upstreamHeaders: head.headers,
    upstreamBody: body,
  }
}

export function anthropicStreamFault(event: SseEvent): UpstreamFault {
  const said = errorIn(event.data)
  return {
    ...judge(200, said, false),
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

function judge(
  status: number,
  said: AnthropicError | null,
  isPage: boolean,
): Pick<UpstreamFault, 'blame' | 'rest' | 'disables'> {
  const { blame, rest, disables } = verdictOn(status, said, isPage)
  return { blame, rest, disables: disables ?? false }
}

function verdictOn(status: number, said: AnthropicError | null, isPage: boolean): Verdict {
  if (said && !REPEATS_THE_CLIENT.test(said.message)) {
    const worded = BY_WORDING.find(([wording]) => wording.test(said.message))?.[1]
    if (worded) return worded
  }
  if (said?.errorCode === SPEND_LIMIT_CODE) return FUNDS
  const byType = said && BY_TYPE.get(said.type)
  const byStatus = BY_STATUS[status] ?? (status >= 500 ? OVERLOAD : null)
  if (byType && byStatus) return byType.blame === 'account' && byType.rest !== null ? byType : byStatus
  if (byType || byStatus) return (byType ?? byStatus) as Verdict
  // A page, or a 403 without Anthropic's own words, comes from something in front of it.
  return isPage || status === 403 || status < 400 ? OVERLOAD : REQUEST
}

interface AnthropicError {
  type: string
  message: string
  errorCode: string | null
}

function errorIn(text: string): AnthropicError | null {
  try {
    const { error } = JSON.parse(text) as {
      error?: { type?: unknown; message?: unknown; details?: { error_code?: unknown } | null }
    }
    if (typeof error?.type !== 'string' || !MACHINE_WORD.test(error.type)) return null
    const code = error.details?.error_code
    return {
      type: error.type,
      message: redact(typeof error.message === 'string' && error.message !== '' ? error.message : error.type).slice(
        0,
        MESSAGE_MAX,
      ),
      errorCode: typeof code === 'string' ? code : null,
    }
  } catch {
    return null
  }
}

/** Seconds, or a date, which is counted from the answer's own date: its clock, not ours. Null if it says neither. */
function retryAfterOf({ headers }: ResponseHead): number | null {
  const value = headers['retry-after']
  if (typeof value !== 'string') return null
  if (/^\s*\d{1,9}(?:\.\d+)?\s*$/.test(value)) return Math.ceil(Number(value) * 1000)
  const waitMs = Date.parse(value) - Date.parse(String(headers.date))
  return /[a-z]/i.test(value) && Number.isFinite(waitMs) ? Math.max(0, waitMs) : null
}

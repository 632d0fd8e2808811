import type { Blame, RestKind, UpstreamFault } from '../../domain/fault.ts'
import type { SseEvent } from '../../protocols/sse.ts'
import type { ResponseHead } from '../provider.ts'

type Verdict = Pick<UpstreamFault, 'blame' | 'rest'> & { disables?: true }

const verdict = (blame: Blame, rest: RestKind | null = null): Verdict => ({ blame, rest })

const REQUEST = verdict('request')
const CREDENTIAL = verdict('account', 'credential')
const FUNDS = verdict('account', 'funds')
const RATE_LIMIT = verdict('account', 'rate_limit')
const OVERLOAD = verdict('upstream', 'overload')
const DISABLED: Verdict = { ...CREDENTIAL, disables: true }

/** By Anthropic's error type, for statuses, bodies and in-stream events alike (protocols.md 2.6). */
const BY_TYPE: Record<string, Verdict> = {
  invalid_request_error: REQUEST,
  not_found_error: REQUEST,
  request_too_large: REQUEST,
  conflict_error: REQUEST,
  not_supported: REQUEST,
  authentication_error: CREDENTIAL,
  permission_error: CREDENTIAL,
  billing_error: FUNDS,
  rate_limit_error: RATE_LIMIT,
  overloaded_error: OVERLOAD,
  api_error: OVERLOAD,
  timeout_error: OVERLOAD,
}

/** Where the body names no type: proxies, HTML pages. */
const BY_STATUS: Record<number, Verdict> = { 401: CREDENTIAL, 402: FUNDS, 408: OVERLOAD, 429: RATE_LIMIT }

/** Vendors' wordings that say more than their type; they live here and nowhere else. */
const BY_WORDING: [RegExp, Verdict][] = [
  [/organization has been disabled|account has been disabled|api key has been (?:revoked|disabled)/i, DISABLED],
  [/credit balance is too low/i, FUNDS],
]

/** A 429 with this error code is a monthly cap, not a burst (protocols.md 2.6). */
const SPEND_LIMIT_CODE = 'enforced_spend_limit_reached'

/** Characters of an upstream's words that are kept for records and logs. */
const MESSAGE_MAX = 500

export function anthropicFault(head: ResponseHead, body: Buffer): UpstreamFault {
  const said = errorIn(body.toString('utf8'))
  return {
    ...judge(head.status, said),
    reason: said?.type ?? (head.status < 400 ? 'invalid_answer' : `http_${head.status}`),
    message:
      said?.message.slice(0, MESSAGE_MAX) ??
      `the upstream answered ${head.status} without an error that it is known to send`,
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
    ...judge(200, said),
    reason: said?.type ?? 'error_event',
    message: said?.message.slice(0, MESSAGE_MAX) ?? 'the upstream ended its stream with an error event',
    retryAfterMs: null,
    mayBeRunning: false,
    upstreamStatus: 200,
    upstreamHeaders: {},
    upstreamBody: null,
  }
}

function judge(status: number, said: AnthropicError | null): Pick<UpstreamFault, 'blame' | 'rest' | 'disables'> {
  const { blame, rest, disables } = verdictOn(status, said)
  return { blame, rest, disables: disables ?? false }
}

function verdictOn(status: number, said: AnthropicError | null): Verdict {
  const worded = said && BY_WORDING.find(([wording]) => wording.test(said.message))?.[1]
  if (worded) return worded
  if (said?.errorCode === SPEND_LIMIT_CODE) return FUNDS
  const typed = said && BY_TYPE[said.type]
  // A server error that calls itself something else is still the server's.
  if (typed && !(status >= 500 && typed.blame === 'request')) return typed
  if (BY_STATUS[status]) return BY_STATUS[status]
  // 403 without Anthropic's own words is a page of something in front of it.
  if (status === 403 || status >= 500 || status < 400) return OVERLOAD
  return REQUEST
}

interface AnthropicError {
  type: string
  message: string
  errorCode: string | null
}

function errorIn(text: string): AnthropicError | null {
  try {
    const { error } = JSON.parse(text) as {
      error?: { type?: unknown; message?: unknown; details?: { error_code?: unknown } }
    }
    if (typeof error?.type !== 'string') return null
    const code = error.details?.error_code
    return {
      type: error.type,
      message: typeof error.message === 'string' ? error.message : error.type,
      errorCode: typeof code === 'string' ? code : null,
    }
  } catch {
    return null
  }
}

function retryAfterOf(head: ResponseHead): number | null {
  const value = head.headers['retry-after']
  const seconds = typeof value === 'string' && value.trim() !== '' ? Number(value) : Number.NaN
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : null
}

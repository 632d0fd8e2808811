import type { UpstreamFault } from '../../domain/fault.ts'
import type { SseEvent } from '../../protocols/sse.ts'
import type { ResponseHead } from '../provider.ts'
import {
  CREDENTIAL,
  DISABLED,
  FUNDS,
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
import { fullWindows } from './windows.ts'

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

export function anthropicFault(head: ResponseHead, body: Buffer, nowMs: number): UpstreamFault {
  const text = body.toString('utf8')
  const said = errorIn(text)
  const judged = verdictOn(head.status, said, isPage(text))
  const full = judged.rest === 'rate_limit' ? fullWindows(head, nowMs) : null
  return faultOf(head, body, judged, { said, full, retryAfterMs: retryAfterOf(head) })
}

export function anthropicStreamFault(event: SseEvent): UpstreamFault {
  const said = errorIn(event.data)
  return streamFaultOf(verdictOn(200, said, false), said)
}

function verdictOn(status: number, said: AnthropicError | null, isHtml: boolean): Verdict {
  if (said && !REPEATS_THE_CLIENT.test(said.message)) {
    const worded = BY_WORDING.find(([wording]) => wording.test(said.message))?.[1]
    if (worded) return worded
  }
  if (said?.errorCode === SPEND_LIMIT_CODE) return FUNDS
  return weighed(said ? BY_TYPE.get(said.type) : undefined, statusVerdict(status)) ?? unnamedVerdict(status, isHtml)
}

interface AnthropicError extends Said {
  errorCode: string | null
}

function errorIn(text: string): AnthropicError | null {
  try {
    const { error } = JSON.parse(text) as {
      error?: { type?: unknown; message?: unknown; details?: { error_code?: unknown } | null }
    }
    if (!isMachineWord(error?.type)) return null
    const code = error.details?.error_code
    return {
      type: error.type,
      message: keptWords(typeof error.message === 'string' && error.message !== '' ? error.message : error.type),
      errorCode: typeof code === 'string' ? code : null,
    }
  } catch {
    return null
  }
}

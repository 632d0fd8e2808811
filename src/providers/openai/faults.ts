import type { UpstreamFault } from '../../domain/fault.ts'
import type { SseEvent } from '../../protocols/sse.ts'
import { plausibleReset, textIn } from '../head-values.ts'
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
  STRANGE_THOUGHTS,
  statusVerdict,
  streamFaultOf,
  unnamedVerdict,
  type Verdict,
  weighed,
} from '../verdicts.ts'
import { fullWindows } from './windows.ts'

/** By OpenAI's code, or where that says nothing by its type, for statuses, bodies and in-stream events alike. */
const BY_WORD: ReadonlyMap<string, Verdict> = new Map([
  ['invalid_api_key', CREDENTIAL],
  ['token_expired', CREDENTIAL],
  ['token_invalidated', CREDENTIAL],
  ['token_revoked', CREDENTIAL],
  ['invalid_organization', CREDENTIAL],
  ['account_deactivated', DISABLED],
  ['organization_deactivated', DISABLED],
  ['deactivated_workspace', DISABLED],

  ['insufficient_quota', FUNDS],
  ['credit_balance_exhausted', FUNDS],
  ['billing_hard_limit_reached', FUNDS],
  ['billing_not_active', FUNDS],
  ['organization_spend_limit_exceeded', FUNDS],
  ['usage_not_included', FUNDS],

  ['usage_limit_reached', RATE_LIMIT],
  ['rate_limit_exceeded', RATE_LIMIT],
  ['rate_limit_error', RATE_LIMIT],

  ['server_is_overloaded', OVERLOAD],
  ['server_error', OVERLOAD],
  ['slow_down', OVERLOAD],
  ['vector_store_timeout', OVERLOAD],

  ['unsupported_country_region_territory', NOT_THIS],
  ['permission_error', NOT_THIS],
  ['insufficient_permissions', NOT_THIS],

  ['invalid_encrypted_content', STRANGE_THOUGHTS],
  ['invalid_request_error', REQUEST],
  ['context_length_exceeded', REQUEST],
  ['invalid_prompt', REQUEST],
  ['bio_policy', REQUEST],
  ['cyber_policy', REQUEST],
  ['misalignment_policy_violation', REQUEST],
  ['image_generation_user_error', REQUEST],
])

/** A model, a place or a feature; there is no end of codes that say so. */
const ABOUT_IMAGES = /^(?:invalid_(?:base64_)?image|image_|unsupported_image|empty_image|failed_to_download_image)/

interface OpenaiSaid extends Said {
  /** Its code and its type, as far as they are words. */
  words: string[]
  /** Unix ms at which a plan that is used up opens again. */
  resetAtMs: number | null
}

export function openaiFault(head: ResponseHead, body: Buffer, nowMs: number): UpstreamFault {
  const text = body.toString('utf8')
  const said = saidIn(text, nowMs)
  const judged = judge(head.status, said, isPage(text))
  const full = judged.rest === 'rate_limit' ? fullIn(head, said, nowMs) : null
  return faultOf(head, body, judged, { said, full, retryAfterMs: waitOf(head) })
}

export function openaiStreamFault(event: SseEvent): UpstreamFault {
  const said = saidIn(event.data, 0)
  return streamFaultOf(judge(200, said, false), said)
}

function judge(status: number, said: OpenaiSaid | null, isHtml: boolean): Verdict {
  const known = said?.words.map((word) => (ABOUT_IMAGES.test(word) ? REQUEST : BY_WORD.get(word)))
  const byName = known?.find((one) => one !== undefined)
  const byStatus = statusVerdict(status) ?? (status === 403 && said ? NOT_THIS : null)
  return weighed(byName, byStatus) ?? unnamedVerdict(status, isHtml)
}

/** A plan's own word on when it opens again is the most exact; of which models it is, the active limit says. */
function fullIn(head: ResponseHead, said: OpenaiSaid | null, nowMs: number): FullWindows | null {
  const full = fullWindows(head, nowMs)
  if (!said?.resetAtMs || said.resetAtMs <= nowMs) return full
  const active = textIn(head, 'x-codex-active-limit')
  const isOfModels = active !== null && textIn(head, `x-codex-${active}-primary-used-percent`) !== null
  return { untilMs: said.resetAtMs, scope: isOfModels ? 'model' : 'account' }
}

/** OpenAI tells it in milliseconds too. */
function waitOf(head: ResponseHead): number | null {
  const ms = textIn(head, 'retry-after-ms')
  return ms !== null && /^\d{1,12}(?:\.\d+)?$/.test(ms) ? Math.ceil(Number(ms)) : retryAfterOf(head)
}

interface ErrorFields {
  message?: unknown
  type?: unknown
  code?: unknown
  resets_at?: unknown
  resets_in_seconds?: unknown
}

/** Null if it holds no error. */
function saidIn(text: string, nowMs: number): OpenaiSaid | null {
  try {
    const error = errorFields(JSON.parse(text))
    if (!error) return null
    const words = [error.code, error.type].filter(isMachineWord)
    const message = typeof error.message === 'string' && error.message !== '' ? error.message : words[0]
    if (message === undefined) return null
    return {
      type: words[0] ?? 'error',
      message: keptWords(message),
      words,
      resetAtMs: resetIn(error, nowMs),
    }
  } catch {
    return null
  }
}

/** `{error}` · the event `{type: 'error', …}` · `{type: 'response.failed', response: {error}}` · `{detail}` of ChatGPT's backend. */
function errorFields(value: unknown): ErrorFields | null {
  const { error, response, detail, type } = (value ?? {}) as Record<string, unknown>
  if (error !== null && typeof error === 'object') return error
  if (typeof error === 'string') return { message: error }
  const failed = (response as { error?: unknown } | null | undefined)?.error
  if (failed !== null && typeof failed === 'object') return failed
  if (type === 'error') return { ...(value as ErrorFields), type: undefined }
  if (typeof detail === 'string') return { message: detail }
  return detail !== null && typeof detail === 'object' && !Array.isArray(detail) ? detail : null
}

function resetIn({ resets_at: at, resets_in_seconds: after }: ErrorFields, nowMs: number): number | null {
  if (typeof at === 'number') return plausibleReset(at * 1000, nowMs)
  return typeof after === 'number' ? plausibleReset(nowMs + after * 1000, nowMs) : null
}

import { ERROR_STATUS, type ErrorCode, type GatewayError } from '../../domain/errors.ts'
import type { ErrorKind, NeutralError } from '../neutral.ts'
import type { RenderedError } from '../protocol.ts'

// What errors look like in both of OpenAI's formats.

interface ErrorForm {
  type: string
  code: string | null
  status?: number
}

/**
 * OpenAI's type, code and status for each of our codes. Codex stops at once on 400, 404 and on 429 with a quota's type, and asks
 * again for anything else, up to thirty times.
 */
const FORMS: Record<ErrorCode, ErrorForm> = {
  invalid_request: { type: 'invalid_request_error', code: null },
  unauthenticated: { type: 'invalid_request_error', code: 'invalid_api_key' },
  insufficient_funds: { type: 'insufficient_quota', code: 'insufficient_quota', status: 429 },
  forbidden: { type: 'permission_error', code: 'forbidden' },
  not_found: { type: 'invalid_request_error', code: 'model_not_found' },
  conflict: { type: 'invalid_request_error', code: 'conflict' },
  too_large: { type: 'invalid_request_error', code: 'request_too_large' },
  limited: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  internal: { type: 'server_error', code: 'server_error' },
  not_supported: { type: 'invalid_request_error', code: 'not_supported', status: 404 },
  overloaded: { type: 'server_error', code: 'server_is_overloaded' },
  unavailable: { type: 'server_error', code: 'unavailable' },
  timed_out: { type: 'server_error', code: 'timeout' },
}

/** A limit of the caller's own that opens again later than this is a cap: clients stop. Until then they wait as they are told. */
const WAITED_FOR_MS = 61_000
/** SDKs obey a `retry-after` below a minute and no longer one. Who comes back too early is told the rest. */
const OBEYED_MS = 59_000

/** The body's `error`. */
export interface OpenaiError {
  message: string
  type: string
  param: null
  code: string | null
}

/** An error of ours as OpenAI would write it. */
export function openaiError(error: GatewayError): OpenaiError {
  const { type, code } = isCap(error) ? CAP : FORMS[error.code]
  return { message: error.message, type, param: null, code }
}

/** Codex knows a used-up plan by the type, and tells its user until when; SDKs by the code. */
const CAP: ErrorForm = { type: 'usage_limit_reached', code: 'insufficient_quota' }

export function renderOpenaiError(error: GatewayError, callId: string): RenderedError {
  const cap = isCap(error)
  const { usedUp, shouldRetry = cap ? false : undefined, status } = error.facts
  const retryAfterMs = usedUp && !cap ? Math.min(error.facts.retryAfterMs ?? 0, OBEYED_MS) : error.facts.retryAfterMs
  const seconds = retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000)
  return {
    status: status ?? FORMS[error.code].status ?? ERROR_STATUS[error.code],
    headers: {
      'x-request-id': callId,
      ...(seconds !== undefined && { 'retry-after': String(seconds) }),
      ...(shouldRetry !== undefined && { 'x-should-retry': String(shouldRetry) }),
    },
    body: Buffer.from(JSON.stringify({ error: { ...openaiError(error), ...(cap && { resets_in_seconds: seconds }) } })),
  }
}

function isCap({ facts: { usedUp, retryAfterMs = 0 } }: GatewayError): boolean {
  return usedUp !== undefined && retryAfterMs > WAITED_FOR_MS
}

/** How an upstream's error of each kind is told to OpenAI's clients. */
const KINDS: Record<ErrorKind, ErrorForm & { status: number }> = {
  bad_request: { status: 400, type: 'invalid_request_error', code: null },
  too_long: { status: 400, type: 'invalid_request_error', code: 'context_length_exceeded' },
  forbidden: { status: 403, type: 'permission_error', code: 'forbidden' },
  not_found: { status: 404, type: 'invalid_request_error', code: 'model_not_found' },
  too_large: { status: 413, type: 'invalid_request_error', code: 'request_too_large' },
  rate_limit: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  funds: { status: 429, type: 'insufficient_quota', code: 'insufficient_quota' },
  overloaded: { status: 503, type: 'server_error', code: 'server_is_overloaded' },
  internal: { status: 500, type: 'server_error', code: 'server_error' },
}

/** A neutral error as OpenAI would write it. */
export function openaiErrorOf({ kind, message }: NeutralError): OpenaiError {
  const { type, code } = KINDS[kind]
  return { message, type, param: null, code }
}

export function encodeOpenaiError(_status: number, error: NeutralError, callId: string): RenderedError {
  return {
    status: KINDS[error.kind].status,
    headers: { 'x-request-id': callId },
    body: Buffer.from(JSON.stringify({ error: openaiErrorOf(error) })),
  }
}

/** What OpenAI's codes, and where there is none its types, mean. */
const KIND_BY_WORD: Record<string, ErrorKind> = {
  context_length_exceeded: 'too_long',
  string_above_max_length: 'too_long',
  model_not_found: 'not_found',
  request_too_large: 'too_large',
  rate_limit_exceeded: 'rate_limit',
  slow_down: 'rate_limit',
  rate_limit_error: 'rate_limit',
  insufficient_quota: 'funds',
  credit_balance_exhausted: 'funds',
  billing_hard_limit_reached: 'funds',
  usage_limit_reached: 'funds',
  usage_not_included: 'funds',
  server_is_overloaded: 'overloaded',
  server_error: 'internal',
  permission_error: 'forbidden',
  forbidden: 'forbidden',
  unsupported_country_region_territory: 'forbidden',
  invalid_request_error: 'bad_request',
  invalid_prompt: 'bad_request',
}

const KIND_BY_STATUS: Record<number, ErrorKind> = {
  403: 'forbidden',
  404: 'not_found',
  413: 'too_large',
  429: 'rate_limit',
  503: 'overloaded',
  529: 'overloaded',
}

/** The neutral error in an `error` object; null if it is none. `status` of the answer, where there is one of its own. */
export function errorOf(value: unknown, status = 500): NeutralError | null {
  if (value === null || typeof value !== 'object') return null
  const { message, code, type } = value as { message?: unknown; code?: unknown; type?: unknown }
  const word = [code, type].find((one) => typeof one === 'string' && Object.hasOwn(KIND_BY_WORD, one)) as string
  return {
    kind: KIND_BY_WORD[word] ?? kindOfStatus(status),
    message: typeof message === 'string' && message !== '' ? message : String(code ?? type ?? 'an error without words'),
  }
}

function kindOfStatus(status: number): ErrorKind {
  return KIND_BY_STATUS[status] ?? (status >= 500 ? 'overloaded' : 'bad_request')
}

export function decodeOpenaiError(status: number, body: Buffer): NeutralError {
  try {
    const { error } = JSON.parse(body.toString('utf8')) as { error?: unknown }
    const known = errorOf(typeof error === 'string' ? { message: error } : error, status)
    if (known) return known
  } catch {}
  return { kind: kindOfStatus(status), message: `the upstream answered ${status} without an error that can be read` }
}

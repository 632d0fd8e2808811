import { ERROR_STATUS, type ErrorCode, type GatewayError } from '../../domain/errors.ts'
import type { RenderedError } from '../protocol.ts'
import { retryHeaders, WAITED_FOR_MS } from '../retry-headers.ts'

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
  return { message: error.message, type, param: null, code: error.facts.isAboutObject ? null : code }
}

/** Codex knows a used-up plan by the type, and tells its user until when; SDKs by the code. */
const CAP: ErrorForm = { type: 'usage_limit_reached', code: 'insufficient_quota' }

export function renderOpenaiError(error: GatewayError, callId: string): RenderedError {
  const { status, retryAfterMs = 0 } = error.facts
  const resets = isCap(error) && { resets_in_seconds: Math.ceil(retryAfterMs / 1000) }
  return {
    status: status ?? FORMS[error.code].status ?? ERROR_STATUS[error.code],
    headers: { 'x-request-id': callId, ...retryHeaders(error) },
    body: Buffer.from(JSON.stringify({ error: { ...openaiError(error), ...resets } })),
  }
}

/** The caller's own limit is used up for longer than one waits. */
function isCap({ facts: { usedUp, retryAfterMs = 0 } }: GatewayError): boolean {
  return usedUp !== undefined && retryAfterMs > WAITED_FOR_MS
}

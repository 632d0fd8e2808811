import { ERROR_STATUS, type ErrorCode, type GatewayError } from '../../domain/errors.ts'
import type { RenderedError } from '../protocol.ts'

/** Anthropic's status and error type for each of our codes; a gateway's own money is a billing_error. */
const FORMS: Record<ErrorCode, { type: string; status?: number }> = {
  invalid_request: { type: 'invalid_request_error' },
  unauthenticated: { type: 'authentication_error' },
  insufficient_funds: { type: 'billing_error' },
  forbidden: { type: 'permission_error' },
  not_found: { type: 'not_found_error' },
  conflict: { type: 'conflict_error' },
  too_large: { type: 'request_too_large' },
  limited: { type: 'rate_limit_error' },
  internal: { type: 'api_error' },
  not_supported: { type: 'not_supported' },
  // Claude Code backs off patiently on 529, and reads a 503 as a fault of the server.
  overloaded: { type: 'overloaded_error', status: 529 },
  unavailable: { type: 'api_error' },
  timed_out: { type: 'timeout_error' },
}

export function renderMessagesError(error: GatewayError, callId: string): RenderedError {
  const { retryAfterMs, shouldRetry, status } = error.facts
  return {
    status: status ?? FORMS[error.code].status ?? ERROR_STATUS[error.code],
    headers: {
      'request-id': callId,
      ...(retryAfterMs !== undefined && { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) }),
      ...(shouldRetry !== undefined && { 'x-should-retry': String(shouldRetry) }),
    },
    body: Buffer.from(bodyOf(error, callId)),
  }
}

export function renderMessagesStreamError(error: GatewayError, callId: string): Buffer {
  return Buffer.from(`event: error\ndata: ${bodyOf(error, callId)}\n\n`)
}

function bodyOf(error: GatewayError, callId: string): string {
  return JSON.stringify({
    type: 'error',
    error: { type: FORMS[error.code].type, message: error.message },
    request_id: callId,
  })
}

import { ERROR_STATUS, type ErrorCode, type GatewayError } from '../../domain/errors.ts'
import type { LimitWindow } from '../../domain/limit.ts'
import type { ErrorKind, NeutralError } from '../neutral.ts'
import type { RenderedError } from '../protocol.ts'
import { retryHeaders, WAITED_FOR_MS } from '../retry-headers.ts'
import { renderLimitReached } from './limits.ts'

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
  const cap = capOf(error)
  return {
    status: error.facts.status ?? FORMS[error.code].status ?? ERROR_STATUS[error.code],
    headers: { 'request-id': callId, ...(cap && renderLimitReached(cap)), ...retryHeaders(error) },
    body: Buffer.from(bodyOf(error, callId)),
  }
}

export function renderMessagesStreamError(error: GatewayError, callId: string): Buffer {
  return Buffer.from(`event: error\ndata: ${bodyOf(error, callId)}\n\n`)
}

/** The window of the caller's own limit that the error is about, if it is not over in a moment. */
function capOf({ facts: { usedUp, retryAfterMs = 0 } }: GatewayError): LimitWindow | null {
  return usedUp && retryAfterMs > WAITED_FOR_MS ? usedUp : null
}

function bodyOf(error: GatewayError, callId: string): string {
  return JSON.stringify({
    type: 'error',
    error: { type: capOf(error) ? 'billing_error' : FORMS[error.code].type, message: error.message },
    request_id: callId,
  })
}

// ---- what another vendor says of a call that was translated for it ----

/** Claude Code makes its conversation shorter when it reads this. */
const TOO_LONG = 'prompt is too long'

const FOREIGN_CODES: Record<ErrorKind, ErrorCode> = {
  bad_request: 'invalid_request',
  too_long: 'invalid_request',
  forbidden: 'forbidden',
  not_found: 'not_found',
  too_large: 'too_large',
  rate_limit: 'limited',
  funds: 'insufficient_funds',
  overloaded: 'overloaded',
  internal: 'internal',
}

export function encodeMessagesError(status: number, error: NeutralError, callId: string): RenderedError {
  const form = FORMS[FOREIGN_CODES[error.kind]]
  const isRefusal = error.kind === 'bad_request' || error.kind === 'too_long'
  return {
    status: isRefusal ? 400 : (form.status ?? status),
    headers: { 'request-id': callId },
    body: Buffer.from(foreignBody(error, callId)),
  }
}

/** The error event, as the last of a stream. */
export function renderErrorEvent(error: NeutralError): string {
  return `event: error\ndata: ${foreignBody(error)}\n\n`
}

function foreignBody({ kind, message }: NeutralError, callId?: string): string {
  const { type } = FORMS[FOREIGN_CODES[kind]]
  const isTold = kind !== 'too_long' || message.toLowerCase().includes(TOO_LONG)
  const error = { type, message: isTold ? message : `${TOO_LONG}: ${message}` }
  return JSON.stringify({ type: 'error', error, ...(callId !== undefined && { request_id: callId }) })
}

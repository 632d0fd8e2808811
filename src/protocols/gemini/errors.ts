import { ERROR_STATUS, type ErrorCode, type GatewayError } from '../../domain/errors.ts'
import type { RenderedError } from '../protocol.ts'

/** Google's word for each of our codes. */
const FORMS: Record<ErrorCode, { status: string; http?: number }> = {
  invalid_request: { status: 'INVALID_ARGUMENT' },
  unauthenticated: { status: 'UNAUTHENTICATED' },
  // Gemini CLI stops at a 403 and shows our sentence; at a 402 it would try again.
  insufficient_funds: { status: 'PERMISSION_DENIED', http: 403 },
  forbidden: { status: 'PERMISSION_DENIED' },
  not_found: { status: 'NOT_FOUND' },
  conflict: { status: 'ABORTED' },
  too_large: { status: 'INVALID_ARGUMENT' },
  limited: { status: 'RESOURCE_EXHAUSTED' },
  internal: { status: 'INTERNAL' },
  not_supported: { status: 'UNIMPLEMENTED' },
  overloaded: { status: 'UNAVAILABLE' },
  unavailable: { status: 'UNAVAILABLE' },
  timed_out: { status: 'DEADLINE_EXCEEDED' },
}

export function renderGeminiError(error: GatewayError, _callId: string): RenderedError {
  const { retryAfterMs, shouldRetry } = error.facts
  const code = codeOf(error)
  return {
    status: code,
    headers: {
      ...(retryAfterMs !== undefined && { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) }),
      ...(shouldRetry !== undefined && { 'x-should-retry': String(shouldRetry) }),
    },
    body: Buffer.from(bodyOf(error, code)),
  }
}

export function renderGeminiStreamError(error: GatewayError, _callId: string): Buffer {
  return Buffer.from(`data: ${bodyOf(error, codeOf(error))}\n\n`)
}

function codeOf({ code, facts }: GatewayError): number {
  return facts.status ?? FORMS[code].http ?? ERROR_STATUS[code]
}

/** Gemini CLI waits as RetryInfo says, and stops with our sentence where that is longer than five minutes. */
function bodyOf({ code, message, facts: { retryAfterMs } }: GatewayError, http: number): string {
  const details = retryAfterMs === undefined ? [] : [retryInfo(retryAfterMs)]
  return googleError({ code: http, message, status: FORMS[code].status, details })
}

function retryInfo(waitMs: number) {
  return { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${Math.ceil(waitMs / 1000)}s` }
}

export interface GoogleError {
  /** The HTTP status. */
  code: number
  message: string
  status: string
  details: object[]
}

/** An error as all of Google's services write it. */
export function googleError({ code, message, status, details }: GoogleError): string {
  return JSON.stringify({ error: { code, message, status, ...(details.length > 0 && { details }) } })
}

import { UNREADABLE } from '../answers.ts'
import { asObject, objectOf, textOf } from '../loose-json.ts'
import type { ErrorKind, JsonObject, NeutralError } from '../neutral.ts'
import type { RenderedError } from '../protocol.ts'

// What OpenAI says of a request that was translated for it, and what another vendor says to a client of OpenAI's formats.

/** By code, or where that says nothing by type. */
const KINDS: Record<string, ErrorKind> = {
  context_length_exceeded: 'too_long',
  string_above_max_length: 'too_long',
  invalid_api_key: 'forbidden',
  model_not_found: 'not_found',
  not_found: 'not_found',
  rate_limit_exceeded: 'rate_limit',
  rate_limit_error: 'rate_limit',
  slow_down: 'rate_limit',
  insufficient_quota: 'funds',
  credit_balance_exhausted: 'funds',
  usage_limit_reached: 'funds',
  billing_not_active: 'funds',
  server_is_overloaded: 'overloaded',
  overloaded: 'overloaded',
  server_error: 'internal',
  content_policy_violation: 'bad_request',
  permission_error: 'forbidden',
  request_too_large: 'too_large',
  invalid_request_error: 'bad_request',
}

/** Of a body or an event with an `error` in it. */
export function decodeOpenaiError(body: Buffer): NeutralError {
  return errorOf(objectOf(body.toString('utf8')))
}

/** Of an object that holds the error, or is it. */
export function errorOf(holder: JsonObject | null): NeutralError {
  const error = asObject(holder?.error) ?? holder
  const message = textOf(error?.message)
  if (message === '') return UNREADABLE
  const kind = KINDS[textOf(error?.code)] ?? KINDS[textOf(error?.type)] ?? 'internal'
  return { kind, message }
}

const FORMS: Record<ErrorKind, { status: number; type: string; code: string | null }> = {
  bad_request: { status: 400, type: 'invalid_request_error', code: null },
  too_long: { status: 400, type: 'invalid_request_error', code: 'context_length_exceeded' },
  forbidden: { status: 403, type: 'permission_error', code: null },
  not_found: { status: 404, type: 'invalid_request_error', code: 'model_not_found' },
  too_large: { status: 413, type: 'invalid_request_error', code: 'request_too_large' },
  rate_limit: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  funds: { status: 429, type: 'insufficient_quota', code: 'insufficient_quota' },
  overloaded: { status: 503, type: 'server_error', code: 'server_is_overloaded' },
  internal: { status: 500, type: 'server_error', code: 'server_error' },
}

export function encodeOpenaiError({ kind, message }: NeutralError, callId: string): RenderedError {
  return {
    status: FORMS[kind].status,
    headers: { 'x-request-id': callId },
    body: Buffer.from(JSON.stringify({ error: foreignError({ kind, message }) })),
  }
}

/** The body's `error`. */
export function foreignError({ kind, message }: NeutralError) {
  const { type, code } = FORMS[kind]
  return { message, type, param: null, code }
}

import { UNREADABLE } from '../answers.ts'
import { asObject, objectOf, textOf } from '../loose-json.ts'
import type { ErrorKind, JsonObject, NeutralError } from '../neutral.ts'
import type { RenderedError } from '../protocol.ts'
import { googleError } from './errors.ts'

// What an upstream says that was asked in another format than its client's.

const KINDS: Record<string, ErrorKind> = {
  INVALID_ARGUMENT: 'bad_request',
  FAILED_PRECONDITION: 'bad_request',
  OUT_OF_RANGE: 'bad_request',
  UNIMPLEMENTED: 'bad_request',
  UNAUTHENTICATED: 'forbidden',
  PERMISSION_DENIED: 'forbidden',
  NOT_FOUND: 'not_found',
  RESOURCE_EXHAUSTED: 'rate_limit',
  UNAVAILABLE: 'overloaded',
  DEADLINE_EXCEEDED: 'overloaded',
}
const KINDS_BY_CODE: Record<number, ErrorKind> = {
  400: 'bad_request',
  401: 'forbidden',
  402: 'funds',
  403: 'forbidden',
  404: 'not_found',
  413: 'too_large',
  429: 'rate_limit',
  503: 'overloaded',
  504: 'overloaded',
  529: 'overloaded',
}
/** `The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).`, and Claude's words. */
const TOO_LONG = /token count.*exceeds the maximum|prompt is too long/i

/** What an error body or event says. Google wraps it in an array where a stream was asked for without events. */
export function decodeGeminiError(status: number, body: Buffer): NeutralError {
  const text = body.toString('utf8')
  return errorOf(objectOf(text) ?? asObject(firstOf(text)) ?? {}, status)
}

function firstOf(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value[0] : null
  } catch {
    return null
  }
}

export function errorOf(body: JsonObject, status = 0): NeutralError {
  const error = asObject(body.error)
  const written = textOf(error?.message)
  if (!error || written === '') return UNREADABLE
  // What Claude says at Antigravity is an error of Anthropic's as a text.
  const message = textOf(asObject(objectOf(written)?.error)?.message) || written
  if (TOO_LONG.test(message)) return { kind: 'too_long', message }
  const code = typeof error.code === 'number' ? error.code : status
  return { kind: KINDS[textOf(error.status)] ?? KINDS_BY_CODE[code] ?? 'internal', message }
}

const FORMS: Record<ErrorKind, { code: number; status: string }> = {
  bad_request: { code: 400, status: 'INVALID_ARGUMENT' },
  too_long: { code: 400, status: 'INVALID_ARGUMENT' },
  forbidden: { code: 403, status: 'PERMISSION_DENIED' },
  not_found: { code: 404, status: 'NOT_FOUND' },
  too_large: { code: 413, status: 'INVALID_ARGUMENT' },
  rate_limit: { code: 429, status: 'RESOURCE_EXHAUSTED' },
  funds: { code: 403, status: 'PERMISSION_DENIED' },
  overloaded: { code: 503, status: 'UNAVAILABLE' },
  internal: { code: 500, status: 'INTERNAL' },
}

export function encodeGeminiError(_status: number, error: NeutralError, _callId: string): RenderedError {
  return { status: FORMS[error.kind].code, headers: {}, body: Buffer.from(foreignBody(error)) }
}

/** The error event, as the last of a stream. */
export function renderForeignError(error: NeutralError): string {
  return `data: ${foreignBody(error)}\n\n`
}

function foreignBody({ kind, message }: NeutralError): string {
  return googleError({ ...FORMS[kind], message, details: [] })
}

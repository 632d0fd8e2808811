import type { GatewayError } from '../../domain/errors.ts'
import { type OpenaiError, openaiError } from '../openai/errors.ts'

/** Codes of a failed response on which Codex does something of its own: it compacts, waits, or stops. */
const KNOWN_IN_STREAMS: ReadonlySet<string | null> = new Set([
  'context_length_exceeded',
  'rate_limit_exceeded',
  'insufficient_quota',
])

/**
 * The data of an error event. It has the name `error`, which makes SDKs raise its `error`, and the type `response.failed`, which is
 * all that Codex looks at: SDKs would take a failed response for one that ended, and Codex does not know the other (tried with
 * openai 7.57.0 and Codex 0.169.0). At `invalid_prompt` Codex shows the message and stops, at `server_error` it asks again.
 */
export function failedEventOf(error: OpenaiError): { code: string; error: OpenaiError } {
  const code = error.type === 'server_error' ? 'server_error' : 'invalid_prompt'
  return { code: KNOWN_IN_STREAMS.has(error.code) ? (error.code as string) : code, error }
}

/** Without a sequence number, since nobody here counted the upstream's. */
export function renderResponsesStreamError(gatewayError: GatewayError, callId: string): Buffer {
  const { code, error } = failedEventOf(openaiError(gatewayError))
  const response = {
    id: callId,
    object: 'response',
    status: 'failed',
    error: { code, message: error.message },
    output: [],
    usage: null,
  }
  return Buffer.from(`event: error\ndata: ${JSON.stringify({ type: 'response.failed', response, error })}\n\n`)
}

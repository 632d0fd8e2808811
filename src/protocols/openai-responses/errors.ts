import type { GatewayError } from '../../domain/errors.ts'
import { openaiError } from '../openai/errors.ts'

/**
 * The event `error`, and not `response.failed`: SDKs raise the one, and take the other for an answer that ended. Without a sequence number,
 * since nobody here counted the upstream's.
 */
export function renderResponsesStreamError(error: GatewayError): Buffer {
  const { code, message, param } = openaiError(error)
  return Buffer.from(`event: error\ndata: ${JSON.stringify({ type: 'error', code, message, param })}\n\n`)
}

import { isObject, objectOf } from '../loose-json.ts'

/**
 * A request without the thoughts of earlier turns, which only the organisation that had them can read. Null if it has none, or if what was
 * made of a conversation to shorten it is encrypted too: without that it would be another conversation.
 */
export function withoutThoughts(body: Buffer): Buffer | null {
  const request = objectOf(body.toString('utf8'))
  const input = Array.isArray(request?.input) ? request.input : []
  const kept = input.filter((item) => !isThought(item))
  if (kept.length === input.length || input.some(isShortened)) return null
  return Buffer.from(JSON.stringify({ ...request, input: kept }))
}

function isThought(item: unknown): boolean {
  return isObject(item) && item.type === 'reasoning' && typeof item.encrypted_content === 'string'
}

function isShortened(item: unknown): boolean {
  return isObject(item) && item.type === 'compaction'
}

import { GatewayError } from '../../domain/errors.ts'
import { MODEL_CHARACTERS_MAX } from '../../domain/model-map.ts'
import { JsonScanError, type ScannedObject, scanTopLevel } from '../../lib/json-scan.ts'
import { type Beginning, CONVERSATION_FIELDS, conversationOf } from '../conversation.ts'
import type { CallFacts, Headers } from '../protocol.ts'

const ROUTING_KEYS: ReadonlySet<string> = new Set([
  ...['model', 'stream', 'max_tokens', 'system', 'messages'],
  ...CONVERSATION_FIELDS,
])

/** Reads the routing keys from the whole top level; the rest of the body is not parsed. */
export function parseMessages(headers: Headers, body: Buffer): CallFacts {
  const keys = scanned(body)
  const model = keys.value('model')
  if (typeof model !== 'string' || model === '' || model.length > MODEL_CHARACTERS_MAX) {
    throw new GatewayError('invalid_request', `model: must be a text of 1 to ${MODEL_CHARACTERS_MAX} characters`)
  }
  const stream = keys.value('stream')
  if (keys.raw('stream') !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw new GatewayError('invalid_request', 'stream: must be true or false')
  }
  const maxTokens = keys.value('max_tokens')
  return {
    requestedModel: model,
    modelAt: keys.place('model') ?? null,
    stream: stream === true,
    maxOutputTokens: Number.isSafeInteger(maxTokens) && (maxTokens as number) >= 0 ? (maxTokens as number) : null,
    conversation: () =>
      conversationOf(
        headers,
        (field) => keys.value(field),
        () => beginningOf(keys),
      ),
  }
}

function scanned(body: Buffer): ScannedObject {
  try {
    return scanTopLevel(body, ROUTING_KEYS)
  } catch (error) {
    if (error instanceof JsonScanError) throw new GatewayError('invalid_request', `the request body ${error.message}`)
    throw error
  }
}

function beginningOf(keys: ScannedObject): Beginning | null {
  const messages = keys.value('messages')
  if (!Array.isArray(messages)) return null
  const first = messages.find((message) => message?.role === 'user')
  return first ? { system: textsOf(keys.value('system')), firstUser: textsOf(first.content) } : null
}

function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return [content]
  if (!Array.isArray(content)) return []
  return content.flatMap((block) => (block?.type === 'text' && typeof block.text === 'string' ? [block.text] : []))
}

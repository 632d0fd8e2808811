import type { ScannedObject } from '../../lib/json-scan.ts'
import type { CallFacts, Conversation, Headers } from '../protocol.ts'
import { byFirstWords, requestedModel, scanRequest, signalled, tokensMax, wantsStream } from '../request-facts.ts'

const ROUTING_KEYS: ReadonlySet<string> = new Set([
  'model',
  'stream',
  'max_output_tokens',
  'prompt_cache_key',
  'conversation',
  'instructions',
  'input',
])

/** Reads the routing keys from the whole top level; the rest of the body is not parsed. */
export function parseResponses(headers: Headers, body: Buffer): CallFacts {
  const keys = scanRequest(body, ROUTING_KEYS)
  return {
    requestedModel: requestedModel(keys),
    modelAt: keys.place('model') ?? null,
    stream: wantsStream(keys),
    maxOutputTokens: tokensMax(keys, 'max_output_tokens'),
    conversation: () => sessionSignal(headers, keys) ?? firstWords(keys),
  }
}

/** The first that says something. In Codex they are all the thread's id, and its side agents have their parent's `session-id`. */
function sessionSignal(headers: Headers, keys: ScannedObject): Conversation | null {
  const conversation = keys.value('conversation') as { id?: unknown } | string | null | undefined
  return signalled([
    ['session-id', headers['session-id']],
    ['thread-id', headers['thread-id']],
    ['session_id', headers.session_id],
    ['conversation_id', headers.conversation_id],
    ['x-session-affinity', headers['x-session-affinity']],
    ['prompt_cache_key', keys.value('prompt_cache_key')],
    ['conversation', typeof conversation === 'string' ? conversation : conversation?.id],
  ])
}

/** Instructions and first user text. */
function firstWords(keys: ScannedObject): Conversation | null {
  const input = keys.value('input')
  const instructions = keys.value('instructions')
  const system = typeof instructions === 'string' ? [instructions] : []
  if (typeof input === 'string') return byFirstWords(system, [input])
  if (!Array.isArray(input)) return null
  const first = input.find((item) => item?.role === 'user')
  return first ? byFirstWords(system, textsOf(first.content)) : null
}

function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return [content]
  if (!Array.isArray(content)) return []
  return content.flatMap((part) => (typeof part?.text === 'string' ? [part.text] : []))
}

import type { ScannedObject } from '../../lib/json-scan.ts'
import type { CallFacts, Conversation, Headers } from '../protocol.ts'
import { byFirstWords, requestedModel, scanRequest, signalled, tokensMax, wantsStream } from '../request-facts.ts'

const ROUTING_KEYS: ReadonlySet<string> = new Set([
  'model',
  'stream',
  'max_completion_tokens',
  'max_tokens',
  'prompt_cache_key',
  'messages',
])

const SYSTEM_ROLES: readonly unknown[] = ['system', 'developer']

/** Reads the routing keys from the whole top level; the rest of the body is not parsed. */
export function parseChat(headers: Headers, body: Buffer): CallFacts {
  const keys = scanRequest(body, ROUTING_KEYS)
  return {
    requestedModel: requestedModel(keys),
    modelAt: keys.place('model') ?? null,
    stream: wantsStream(keys),
    maxOutputTokens: tokensMax(keys, 'max_completion_tokens') ?? tokensMax(keys, 'max_tokens'),
    conversation: () => sessionSignal(headers, keys) ?? firstWords(keys),
  }
}

function sessionSignal(headers: Headers, keys: ScannedObject): Conversation | null {
  return signalled([
    ['session-id', headers['session-id']],
    ['thread-id', headers['thread-id']],
    ['session_id', headers.session_id],
    ['conversation_id', headers.conversation_id],
    ['x-session-affinity', headers['x-session-affinity']],
    ['prompt_cache_key', keys.value('prompt_cache_key')],
  ])
}

/** What the operator said before the first user, and what that said. */
function firstWords(keys: ScannedObject): Conversation | null {
  const messages = keys.value('messages')
  if (!Array.isArray(messages)) return null
  const at = messages.findIndex((message) => message?.role === 'user')
  if (at < 0) return null
  const system = messages.slice(0, at).filter((message) => SYSTEM_ROLES.includes(message?.role))
  return byFirstWords(
    system.flatMap(({ content }) => textsOf(content)),
    textsOf(messages[at].content),
  )
}

function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return [content]
  if (!Array.isArray(content)) return []
  return content.flatMap((part) => (typeof part?.text === 'string' ? [part.text] : []))
}

import type { ScannedObject } from '../../lib/json-scan.ts'
import { type Beginning, CONVERSATION_FIELDS } from '../conversation.ts'
import type { CallFacts, Headers } from '../protocol.ts'
import { factsOf, scanRequest, tokensMax } from '../request-facts.ts'
import { anthropicNamed } from './named.ts'

const ROUTING_KEYS: ReadonlySet<string> = new Set([
  ...['model', 'stream', 'max_tokens', 'system', 'messages', 'container'],
  ...CONVERSATION_FIELDS,
])

/** Reads the routing keys from the whole top level; the rest of the body is not parsed. */
export function parseMessages(headers: Headers, body: Buffer): CallFacts {
  const keys = scanRequest(body, ROUTING_KEYS)
  const facts = factsOf(headers, keys, tokensMax(keys, 'max_tokens'), () => beginningOf(keys))
  const namesContainer = (keys.value('container') ?? null) !== null
  return { ...facts, named: namesContainer ? anthropicNamed.all(body) : anthropicNamed.nested(body) }
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

import type { ScannedObject } from '../../lib/json-scan.ts'
import { type Beginning, CONVERSATION_FIELDS } from '../conversation.ts'
import { textsIn } from '../openai/texts.ts'
import type { CallFacts, Headers } from '../protocol.ts'
import { factsOf, scanRequest, tokensMax } from '../request-facts.ts'

const ROUTING_KEYS: ReadonlySet<string> = new Set([
  ...['model', 'stream', 'max_completion_tokens', 'max_tokens', 'messages'],
  ...CONVERSATION_FIELDS,
])

const SYSTEM_ROLES: readonly unknown[] = ['system', 'developer']

/** Reads the routing keys from the whole top level; the rest of the body is not parsed. */
export function parseChat(headers: Headers, body: Buffer): CallFacts {
  const keys = scanRequest(body, ROUTING_KEYS)
  const outputMax = tokensMax(keys, 'max_completion_tokens') ?? tokensMax(keys, 'max_tokens')
  return factsOf(headers, keys, outputMax, () => beginningOf(keys))
}

/** What the operator said before the first user, and what that said. */
function beginningOf(keys: ScannedObject): Beginning | null {
  const messages = keys.value('messages')
  if (!Array.isArray(messages)) return null
  const at = messages.findIndex((message) => message?.role === 'user')
  if (at < 0) return null
  const system = messages.slice(0, at).filter((message) => SYSTEM_ROLES.includes(message?.role))
  return { system: system.flatMap(({ content }) => textsIn(content)), firstUser: textsIn(messages[at].content) }
}

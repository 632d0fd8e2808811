import type { ScannedObject } from '../../lib/json-scan.ts'
import { type Beginning, CONVERSATION_FIELDS } from '../conversation.ts'
import { asObject } from '../loose-json.ts'
import { openaiNamed } from '../openai/named.ts'
import { textsIn } from '../openai/texts.ts'
import type { Headers } from '../protocol.ts'
import { factsOf, scanRequest, tokensMax } from '../request-facts.ts'
import type { ChatFacts } from './hidden-usage.ts'

const ROUTING_KEYS: ReadonlySet<string> = new Set([
  ...['model', 'stream', 'stream_options', 'max_completion_tokens', 'max_tokens', 'messages'],
  ...CONVERSATION_FIELDS,
])

const SYSTEM_ROLES: readonly unknown[] = ['system', 'developer']

/** Reads the routing keys from the whole top level; the rest of the body is not parsed. */
export function parseChat(headers: Headers, body: Buffer): ChatFacts {
  const keys = scanRequest(body, ROUTING_KEYS)
  const outputMax = tokensMax(keys, 'max_completion_tokens') ?? tokensMax(keys, 'max_tokens')
  const options = asObject(keys.value('stream_options'))
  const facts = factsOf(headers, keys, outputMax, () => beginningOf(keys))
  return { ...facts, named: openaiNamed.nested(body), includeUsage: options?.include_usage === true }
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

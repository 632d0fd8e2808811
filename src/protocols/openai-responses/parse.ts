import { GatewayError } from '../../domain/errors.ts'
import type { ScannedObject } from '../../lib/json-scan.ts'
import { type Beginning, CONVERSATION_FIELDS } from '../conversation.ts'
import { openaiNamed } from '../openai/named.ts'
import { textsIn } from '../openai/texts.ts'
import type { CallFacts, Headers } from '../protocol.ts'
import { factsOf, scanRequest, tokensMax } from '../request-facts.ts'

/** What names something that an earlier call has left at its account. */
const STORED = ['previous_response_id', 'conversation'] as const

const ROUTING_KEYS: ReadonlySet<string> = new Set([
  ...['model', 'stream', 'background', 'max_output_tokens', 'instructions', 'input'],
  ...STORED,
  ...CONVERSATION_FIELDS,
])

/** Reads the routing keys from the whole top level; the rest of the body is not parsed. */
export function parseResponses(headers: Headers, body: Buffer): CallFacts {
  const keys = scanRequest(body, ROUTING_KEYS)
  // It would be accepted without a word of what it costs, and nobody could read it here.
  if (keys.value('background') === true) {
    throw new GatewayError('invalid_request', 'background: this gateway answers calls while they last; send false')
  }
  const facts = factsOf(headers, keys, tokensMax(keys, 'max_output_tokens'), () => beginningOf(keys))
  const namesStored = STORED.some((name) => (keys.value(name) ?? null) !== null)
  return { ...facts, named: namesStored ? openaiNamed.all(body) : openaiNamed.nested(body) }
}

function beginningOf(keys: ScannedObject): Beginning | null {
  const input = keys.value('input')
  const system = textsIn(keys.value('instructions'))
  if (typeof input === 'string') return { system, firstUser: [input] }
  if (!Array.isArray(input)) return null
  const first = input.find((item) => item?.role === 'user')
  return first ? { system, firstUser: textsIn(first.content) } : null
}

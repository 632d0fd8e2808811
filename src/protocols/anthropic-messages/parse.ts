import type { ScannedObject } from '../../lib/json-scan.ts'
import type { CallFacts, Conversation, Headers } from '../protocol.ts'
import { byFirstWords, requestedModel, scanRequest, signalled, tokensMax, wantsStream } from '../request-facts.ts'

const ROUTING_KEYS: ReadonlySet<string> = new Set(['model', 'stream', 'max_tokens', 'metadata', 'system', 'messages'])

/** Claude Code's first system block: it changes with every release and so tells nothing about the conversation. */
const ATTRIBUTION = 'x-anthropic-billing-header:'

/** True for the system text that Claude Code puts first for Anthropic's accounting. Nobody else should see it. */
export function isAttribution(text: string): boolean {
  return text.startsWith(ATTRIBUTION)
}

/** Reads the routing keys from the whole top level; the rest of the body is not parsed. */
export function parseMessages(headers: Headers, body: Buffer): CallFacts {
  const keys = scanRequest(body, ROUTING_KEYS)
  return {
    requestedModel: requestedModel(keys),
    modelAt: keys.place('model') ?? null,
    stream: wantsStream(keys),
    maxOutputTokens: tokensMax(keys, 'max_tokens'),
    conversation: () => sessionSignal(headers, keys) ?? firstWords(keys),
  }
}

/** The first that says something: the client's header, then `metadata.user_id` in its JSON form, its older form, or as it is. */
function sessionSignal(headers: Headers, keys: ScannedObject): Conversation | null {
  const metadata = keys.value('metadata') as { user_id?: unknown } | null | undefined
  const userId = metadata?.user_id
  return signalled([
    ['x-claude-code-session-id', headers['x-claude-code-session-id']],
    ['x-session-affinity', headers['x-session-affinity']],
    ['metadata.user_id', typeof userId === 'string' ? sessionOfUserId(userId) : undefined],
  ])
}

function sessionOfUserId(userId: string): string {
  if (userId.startsWith('{')) {
    try {
      const { session_id: session } = JSON.parse(userId) as { session_id?: unknown }
      if (typeof session === 'string') return session
    } catch {}
  }
  return /_session_([0-9a-f-]+)$/i.exec(userId)?.[1] ?? userId
}

/** System text and first user text. */
function firstWords(keys: ScannedObject): Conversation | null {
  const messages = keys.value('messages')
  if (!Array.isArray(messages)) return null
  const first = messages.find((message) => message?.role === 'user')
  if (!first) return null
  const system = textsOf(keys.value('system')).filter((text) => !isAttribution(text))
  return byFirstWords(system, textsOf(first.content))
}

function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return [content]
  if (!Array.isArray(content)) return []
  return content.flatMap((block) => (block?.type === 'text' && typeof block.text === 'string' ? [block.text] : []))
}

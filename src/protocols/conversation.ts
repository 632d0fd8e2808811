import { createHash } from 'node:crypto'
import { SESSION_SIGNALS, type SessionSignal } from '../domain/call.ts'
import type { Conversation, Headers } from './protocol.ts'

/** A longer signal is none. */
const SIGNAL_CHARACTERS_MAX = 512

/** Claude Code's first system block: it changes with every release and so tells nothing about the conversation. */
const ATTRIBUTION = 'x-anthropic-billing-header:'

/** True for the system text that Claude Code puts first for Anthropic's accounting. Nobody else should see it. */
export function isAttribution(text: string): boolean {
  return text.startsWith(ATTRIBUTION)
}

/** Fields of a body in which clients name a conversation. */
export const CONVERSATION_FIELDS = ['metadata', 'prompt_cache_key', 'request'] as const

/** Reads one of these fields; undefined if the body has none. */
export type ReadField = (field: (typeof CONVERSATION_FIELDS)[number]) => unknown

/** What a conversation begins with: the same on every turn, where tools and cache marks change. */
export interface Beginning {
  system: string[]
  firstUser: string[]
}

/**
 * What names a conversation, whatever its protocol: the first signal that any client is known to give, else a hash of its
 * beginning. Null if it has neither. Costs some work.
 */
export function conversationOf(
  headers: Headers,
  read: ReadField,
  beginning: () => Beginning | null,
): Conversation | null {
  for (const source of SESSION_SIGNALS) {
    const name = signalOf(source, headers, read)
    if (typeof name === 'string' && isSignal(name)) return { name, source }
  }
  const begun = beginning()
  if (!begun) return null
  const system = begun.system.filter((text) => !isAttribution(text))
  const hash = createHash('sha256').update(JSON.stringify([system, begun.firstUser]))
  return { name: hash.digest('base64url'), source: 'first words' }
}

function signalOf(source: SessionSignal, headers: Headers, read: ReadField): unknown {
  switch (source) {
    case 'metadata.user_id':
      return sessionOfUserId(memberOf(read('metadata'), 'user_id'))
    case 'request.session_id':
      return memberOf(read('request'), 'session_id')
    case 'prompt_cache_key':
      return read('prompt_cache_key')
    default:
      return headers[source]
  }
}

/** Claude Code's JSON, or its older form. Whatever else a client calls its user is no conversation: an application may have one for all of them. */
function sessionOfUserId(userId: unknown): unknown {
  if (typeof userId !== 'string') return undefined
  if (userId.startsWith('{')) {
    try {
      const session = memberOf(JSON.parse(userId), 'session_id')
      if (typeof session === 'string') return session
    } catch {}
  }
  return /_session_([0-9a-f-]+)$/i.exec(userId)?.[1]
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}

function isSignal(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.length > 0 && text.length <= SIGNAL_CHARACTERS_MAX && !/[\u0000-\u001f\u007f]/.test(text)
}

import { createHash } from 'node:crypto'
import { GatewayError } from '../../domain/errors.ts'
import { JsonScanError, type ScannedObject, scanTopLevel } from '../../lib/json-scan.ts'
import type { CallFacts, Conversation, Headers } from '../protocol.ts'

const ROUTING_KEYS: ReadonlySet<string> = new Set(['model', 'stream', 'max_tokens', 'metadata', 'system', 'messages'])

/** A longer model name is not one. */
const MODEL_CHARACTERS_MAX = 256
/** A longer session signal is none. */
const SESSION_CHARACTERS_MAX = 512

/** Claude Code's first system block: it changes with every release and so tells nothing about the conversation. */
const ATTRIBUTION = 'x-anthropic-billing-header:'

/** True for the system text that Claude Code puts first for Anthropic's accounting. Nobody else should see it. */
export function isAttribution(text: string): boolean {
  return text.startsWith(ATTRIBUTION)
}

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
    stream: stream === true,
    maxOutputTokens: Number.isSafeInteger(maxTokens) && (maxTokens as number) >= 0 ? (maxTokens as number) : null,
    conversation: () => sessionSignal(headers, keys) ?? firstWords(keys),
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

/** The first that says something: the client's header, then `metadata.user_id` in its JSON form, its older form, or as it is. */
function sessionSignal(headers: Headers, keys: ScannedObject): Conversation | null {
  const metadata = keys.value('metadata') as { user_id?: unknown } | null | undefined
  const userId = metadata?.user_id
  const signals = [
    ['x-claude-code-session-id', headers['x-claude-code-session-id']],
    ['x-session-affinity', headers['x-session-affinity']],
    ['metadata.user_id', typeof userId === 'string' ? sessionOfUserId(userId) : undefined],
  ] as const
  for (const [source, name] of signals) if (typeof name === 'string' && isSignal(name)) return { name, source }
  return null
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

function isSignal(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.length > 0 && text.length <= SESSION_CHARACTERS_MAX && !/[\u0000-\u001f\u007f]/.test(text)
}

/** A hash of system text and first user text: the same on every turn (tools and cache marks change, these do not). */
function firstWords(keys: ScannedObject): Conversation | null {
  const messages = keys.value('messages')
  if (!Array.isArray(messages)) return null
  const first = messages.find((message) => message?.role === 'user')
  if (!first) return null
  const system = textsOf(keys.value('system')).filter((text) => !isAttribution(text))
  const hash = createHash('sha256').update(JSON.stringify([system, textsOf(first.content)]))
  return { name: hash.digest('base64url'), source: 'first words' }
}

function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return [content]
  if (!Array.isArray(content)) return []
  return content.flatMap((block) => (block?.type === 'text' && typeof block.text === 'string' ? [block.text] : []))
}

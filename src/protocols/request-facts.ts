import { createHash } from 'node:crypto'
import type { SessionSource } from '../domain/call.ts'
import { GatewayError } from '../domain/errors.ts'
import { MODEL_CHARACTERS_MAX } from '../domain/model-map.ts'
import { JsonScanError, type ScannedObject, scanTopLevel } from '../lib/json-scan.ts'
import type { Conversation } from './protocol.ts'

/** A longer session signal is none. */
const SESSION_CHARACTERS_MAX = 512

/** Reads some keys from the whole top level of a request; the rest of it is not parsed. Throws `invalid_request`. */
export function scanRequest(body: Buffer, keys: ReadonlySet<string>): ScannedObject {
  try {
    return scanTopLevel(body, keys)
  } catch (error) {
    if (error instanceof JsonScanError) throw new GatewayError('invalid_request', `the request body ${error.message}`)
    throw error
  }
}

/** Its `model`. Throws `invalid_request`. */
export function requestedModel(keys: ScannedObject): string {
  const model = keys.value('model')
  if (typeof model !== 'string' || model === '' || model.length > MODEL_CHARACTERS_MAX) {
    throw new GatewayError('invalid_request', `model: must be a text of 1 to ${MODEL_CHARACTERS_MAX} characters`)
  }
  return model
}

/** Its `stream`. Throws `invalid_request`. */
export function wantsStream(keys: ScannedObject): boolean {
  const stream = keys.value('stream')
  if (keys.raw('stream') !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw new GatewayError('invalid_request', 'stream: must be true or false')
  }
  return stream === true
}

/** A number of tokens; null if it is not there or is none. */
export function tokensMax(keys: ScannedObject, name: string): number | null {
  const tokens = keys.value(name)
  return Number.isSafeInteger(tokens) && (tokens as number) >= 0 ? (tokens as number) : null
}

/** The conversation by the first of these signals that says something. */
export function signalled(signals: readonly (readonly [source: SessionSource, name: unknown])[]): Conversation | null {
  for (const [source, name] of signals) if (typeof name === 'string' && isSignal(name)) return { name, source }
  return null
}

function isSignal(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.length > 0 && text.length <= SESSION_CHARACTERS_MAX && !/[\u0000-\u001f\u007f]/.test(text)
}

/** The conversation by what it began with: what is the same on every turn (tools and cache marks change). */
export function byFirstWords(system: readonly string[], user: readonly string[]): Conversation {
  const hash = createHash('sha256').update(JSON.stringify([system, user]))
  return { name: hash.digest('base64url'), source: 'first words' }
}

import { GatewayError } from '../domain/errors.ts'
import { MODEL_CHARACTERS_MAX } from '../domain/model-map.ts'
import { JsonScanError, type ScannedObject, scanTopLevel } from '../lib/json-scan.ts'
import { type Beginning, conversationOf } from './conversation.ts'
import type { CallFacts, Headers } from './protocol.ts'

/** Reads some keys from the whole top level of a request; the rest of it is not parsed. Throws `invalid_request`. */
export function scanRequest(body: Buffer, keys: ReadonlySet<string>): ScannedObject {
  try {
    return scanTopLevel(body, keys)
  } catch (error) {
    if (error instanceof JsonScanError) throw new GatewayError('invalid_request', `the request body ${error.message}`)
    throw error
  }
}

/** The value of a request's `model`, checked. Throws `invalid_request`. */
export function checkedModel(model: unknown): string {
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

/** What routing needs to know of a request that says all of it in its body. Throws `invalid_request`. */
export function factsOf(
  headers: Headers,
  keys: ScannedObject,
  maxOutputTokens: number | null,
  beginning: () => Beginning | null,
): CallFacts {
  return {
    requestedModel: checkedModel(keys.value('model')),
    modelAt: keys.place('model') ?? null,
    stream: wantsStream(keys),
    maxOutputTokens,
    conversation: () => conversationOf(headers, (field) => keys.value(field), beginning),
  }
}

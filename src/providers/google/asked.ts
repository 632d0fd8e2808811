import { GatewayError } from '../../domain/errors.ts'
import { parseGeminiPath, STREAM_METHOD } from '../../protocols/gemini/path.ts'
import { withoutSecrets } from '../forwarded-query.ts'
import type { Forwarded, Operation } from '../provider.ts'

/** What a request in Gemini's format asks for, which stands in its path and not in its body. */
export interface AskedOfGoogle {
  version: string
  model: string
  method: string
  /** With its `?`, or empty. */
  query: string
}

/** Translated requests go to this one. */
const VERSION = 'v1beta'

/** By the client's own path, or where there is none by what the gateway says. Throws `not_supported`. */
export function askedOfGoogle(operation: Operation, { path, query, model, stream }: Forwarded): AskedOfGoogle {
  if (path !== undefined) {
    const asked = parseGeminiPath(path)
    return { ...asked, model: model ?? asked.model, query: withoutSecrets(query) }
  }
  if (model === undefined || (operation !== 'messages' && operation !== 'count_tokens')) {
    throw new GatewayError('not_supported', `Google has nothing like '${operation}'`)
  }
  if (operation === 'count_tokens') return { version: VERSION, model, method: 'countTokens', query: '' }
  const method = stream ? STREAM_METHOD : 'generateContent'
  return { version: VERSION, model, method, query: stream ? '?alt=sse' : '' }
}

import { GatewayError } from '../../domain/errors.ts'

/** A longer model name is not one. */
const MODEL_CHARACTERS_MAX = 256
/** Google's forms: `/v1beta/models/x:generateContent`, and Vertex's with `projects/…/publishers/google/` before `models`. What a query says is no path. */
const PATH = /^[^?]*?\/(v1(?:alpha|beta)?\d*)\/(?:[^?]*\/)?models\/([^/?]+):([a-zA-Z]+)(\?.*)?$/

/** What the path of a request says: in this format the model and the kind of answer stand there. */
export interface GeminiPath {
  /** `v1`, `v1beta`, `v1alpha`. */
  version: string
  model: string
  /** `generateContent`, `streamGenerateContent`, `countTokens`, `embedContent` … */
  method: string
  /** Server-sent events are asked for; without, even a stream is one growing JSON array. */
  sse: boolean
}

/** Vertex's own name for what is `v1beta` elsewhere. */
const VERTEX_VERSION = 'v1beta1'

/** Throws `invalid_request`. */
export function parseGeminiPath(path: string): GeminiPath {
  const [, version, written = '', method, query = ''] = PATH.exec(path) ?? []
  const model = decoded(written)
  if (version === undefined || method === undefined) {
    throw new GatewayError('invalid_request', 'the path must end in models/{model}:{method}')
  }
  if (model === '' || model.length > MODEL_CHARACTERS_MAX) {
    throw new GatewayError(
      'invalid_request',
      `the model in the path must be a text of 1 to ${MODEL_CHARACTERS_MAX} characters`,
    )
  }
  return {
    version: version === VERTEX_VERSION ? 'v1beta' : version,
    model,
    method,
    sse: new URLSearchParams(query).get('alt') === 'sse',
  }
}

/** The client gets its answer as server-sent events. */
export function isEventStream({ method, sse }: GeminiPath): boolean {
  return method === STREAM_METHOD && sse
}

export const STREAM_METHOD = 'streamGenerateContent'

/** Empty if it cannot be decoded. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return ''
  }
}

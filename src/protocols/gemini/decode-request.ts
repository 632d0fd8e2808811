import type { DecodedRequest } from '../codec.ts'
import { badField, Fields } from '../fields.ts'
import type { NeutralRequest, Turn } from '../neutral.ts'
import { readGenerationConfig } from './decode-config.ts'
import { ContentReader } from './decode-contents.ts'
import { readTools } from './decode-tools.ts'
import { isEventStream, parseGeminiPath, STREAM_METHOD } from './path.ts'
import { camelCased } from './spelling.ts'

/** What a client of this format asked for that shows in the form of its answer. */
export interface Asked {
  /** A stream without events: its answer is an array. */
  isArray: boolean
  hidesThoughts: boolean
}

/** A request in Google's format. */
export function decodeGeminiRequest(body: Buffer, path: string): DecodedRequest {
  const asked = parseGeminiPath(path)
  const fields = new Fields(camelCased(Fields.ofBody(body).value), '')
  const dropped = new Set<string>()
  if (fields.has('cachedContent')) {
    throw badField('cachedContent', 'lives on one account of Google’s, and this call goes elsewhere')
  }
  if (fields.has('continuationToken')) {
    throw badField('continuationToken', 'can be read only by the model that gave it')
  }
  const turns = turnsOf(fields, dropped)
  const system = fields.object('systemInstruction')
  const config = readGenerationConfig(fields.object('generationConfig'), dropped)
  const { tools, toolChoice } = readTools(fields, dropped)
  const request: NeutralRequest = {
    model: asked.model,
    stream: isEventStream(asked),
    system: system ? new ContentReader(dropped).texts(system) : [],
    turns,
    tools,
    toolChoice,
    parallelToolCalls: null,
    ...config,
    verbosity: null,
    cacheKey: null,
    caching: 'implicit',
  }
  fields.raw('model') // the path says it
  for (const name of fields.left()) dropped.add(name)
  return {
    request,
    dropped: [...dropped],
    asked: {
      isArray: asked.method === STREAM_METHOD && !asked.sse,
      hidesThoughts: config.reasoning?.shown === false,
    } satisfies Asked,
  }
}

function turnsOf(fields: Fields, dropped: Set<string>): Turn[] {
  if (!fields.has('contents')) throw badField('contents', 'must be given')
  return new ContentReader(dropped).turns(fields.objects('contents'))
}

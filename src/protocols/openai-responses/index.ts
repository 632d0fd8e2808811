import { modelEdit } from '../model-edit.ts'
import { renderOpenaiError } from '../openai/errors.ts'
import { renderOpenaiModel, renderOpenaiModels } from '../openai/models.ts'
import type { Protocol } from '../protocol.ts'
import { responsesCodec } from './codec.ts'
import { renderResponsesStreamError } from './errors.ts'
import { parseResponses } from './parse.ts'
import { withoutThoughts } from './thoughts.ts'
import { responsesMeter } from './usage.ts'

const COMMENT = Buffer.from(': keep-alive\n\n')

/** OpenAI's Responses API: Codex and the OpenAI SDKs. */
export const openaiResponses: Protocol = {
  name: 'openai-responses',
  parse: parseResponses,
  usageMeter: responsesMeter,
  withoutThoughts,
  answerEdit: ({ requestedModel }, upstreamModel, stream) =>
    modelEdit(upstreamModel, requestedModel, stream, { holder: 'response', once: false }),
  keepAlive: () => COMMENT,
  renderError: renderOpenaiError,
  renderStreamError: renderResponsesStreamError,
  limitHeaders: () => ({}), // clients know headers of a vendor's limits, and none of money
  renderModels: renderOpenaiModels,
  renderModel: renderOpenaiModel,
  codec: responsesCodec,
}

import type { GatewayError } from '../../domain/errors.ts'
import { modelEdit } from '../model-edit.ts'
import { openaiError, renderOpenaiError } from '../openai/errors.ts'
import { renderOpenaiModel, renderOpenaiModels } from '../openai/models.ts'
import type { Protocol } from '../protocol.ts'
import { chatCodec } from './codec.ts'
import { parseChat } from './parse.ts'
import { chatMeter } from './usage.ts'

const COMMENT = Buffer.from(': keep-alive\n\n')

/** OpenAI's Chat Completions API: the OpenAI SDKs, and most other clients there are. */
export const openaiChat: Protocol = {
  name: 'openai-chat',
  parse: parseChat,
  usageMeter: chatMeter,
  answerEdit: ({ requestedModel }, upstreamModel, stream) =>
    modelEdit(upstreamModel, requestedModel, stream, { holder: null, once: false }),
  keepAlive: () => COMMENT,
  renderError: renderOpenaiError,
  renderStreamError: (error: GatewayError) => Buffer.from(`data: ${JSON.stringify({ error: openaiError(error) })}\n\n`),
  limitHeaders: () => ({}), // clients know headers of a vendor's limits, and none of money
  renderModels: renderOpenaiModels,
  renderModel: renderOpenaiModel,
  codec: chatCodec,
}

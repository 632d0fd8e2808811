import type { GatewayError } from '../../domain/errors.ts'
import { modelEdit } from '../model-edit.ts'
import { openaiError, renderOpenaiError } from '../openai/errors.ts'
import { renderOpenaiModel, renderOpenaiModels } from '../openai/models.ts'
import type { CallFacts, Protocol } from '../protocol.ts'
import { chatCodec } from './codec.ts'
import { type ChatFacts, hideUsage, withUsageAsked } from './hidden-usage.ts'
import { parseChat } from './parse.ts'
import { chatMeter } from './usage.ts'

/** A stream tells its usage to the gateway, whether its client asked for it or not. */
function hidesUsage(facts: CallFacts): boolean {
  return facts.stream && !(facts as ChatFacts).includeUsage
}

const COMMENT = Buffer.from(': keep-alive\n\n')

/** OpenAI's Chat Completions API: the OpenAI SDKs, and most other clients there are. */
export const openaiChat: Protocol = {
  name: 'openai-chat',
  parse: parseChat,
  usageMeter: chatMeter,
  askedBody: (facts, body) => (hidesUsage(facts) ? withUsageAsked(body) : body),
  answerEdit(facts, upstreamModel, stream) {
    const naming = modelEdit(upstreamModel, facts.requestedModel, stream, { holder: null, once: false })
    if (!stream || !hidesUsage(facts)) return naming
    return naming ? (bytes) => hideUsage(naming(bytes)) : hideUsage
  },
  keepAlive: () => COMMENT,
  renderError: renderOpenaiError,
  renderStreamError: (error: GatewayError) => Buffer.from(`data: ${JSON.stringify({ error: openaiError(error) })}\n\n`),
  limitHeaders: () => ({}), // clients know headers of a vendor's limits, and none of money
  renderModels: renderOpenaiModels,
  renderModel: renderOpenaiModel,
  codec: chatCodec,
}

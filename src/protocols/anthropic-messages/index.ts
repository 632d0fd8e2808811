import { modelEdit } from '../model-edit.ts'
import type { Protocol } from '../protocol.ts'
import { messagesCodec } from './codec.ts'
import { renderMessagesError, renderMessagesStreamError } from './errors.ts'
import { renderLimitHeaders } from './limits.ts'
import { renderMessagesModel, renderMessagesModels } from './models.ts'
import { parseMessages } from './parse.ts'
import { messagesMeter } from './usage.ts'

const PING = Buffer.from('event: ping\ndata: {"type": "ping"}\n\n')

/** Anthropic's Messages API: Claude Code and the Anthropic SDKs. */
export const anthropicMessages: Protocol = {
  name: 'anthropic-messages',
  parse: parseMessages,
  usageMeter: messagesMeter,
  answerEdit: ({ requestedModel }, upstreamModel, stream) =>
    modelEdit(upstreamModel, requestedModel, stream, { holder: 'message', once: true }),
  keepAlive: () => PING,
  renderError: renderMessagesError,
  renderStreamError: renderMessagesStreamError,
  limitHeaders: renderLimitHeaders,
  renderModels: renderMessagesModels,
  renderModel: renderMessagesModel,
  codec: messagesCodec,
}

import type { Codec } from '../codec.ts'
import { objectOf } from '../loose-json.ts'
import { decodeMessagesAnswer, encodeMessagesAnswer, errorOf } from './answers.ts'
import { decodeMessagesRequest } from './decode-request.ts'
import { encodeMessagesRequest } from './encode-request.ts'
import { encodeMessagesError } from './errors.ts'
import { MessagesDecoder, MessagesEncoder } from './streams.ts'

/** Anthropic's Messages ↔ the neutral conversation. */
export const messagesCodec: Codec = {
  decodeRequest: decodeMessagesRequest,
  encodeRequest: encodeMessagesRequest,
  decodeAnswer: decodeMessagesAnswer,
  encodeAnswer: encodeMessagesAnswer,
  decodeStream: (names) => new MessagesDecoder(names),
  encodeStream: (asker) => new MessagesEncoder(asker),
  decodeError: (_status, body) => errorOf(objectOf(body.toString('utf8')) ?? {}),
  encodeError: encodeMessagesError,
}

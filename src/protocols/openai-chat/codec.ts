import type { Codec } from '../codec.ts'
import { decodeOpenaiError, encodeOpenaiError } from '../openai/foreign-errors.ts'
import { decodeChatAnswer, encodeChatAnswer } from './answers.ts'
import { decodeChatRequest } from './decode-request.ts'
import { encodeChatRequest } from './encode-request.ts'
import { ChatDecoder, ChatEncoder } from './streams.ts'

/** OpenAI's Chat Completions ↔ the neutral conversation. */
export const chatCodec: Codec = {
  decodeRequest: decodeChatRequest,
  encodeRequest: encodeChatRequest,
  decodeAnswer: decodeChatAnswer,
  encodeAnswer: encodeChatAnswer,
  decodeStream: (names) => new ChatDecoder(names),
  encodeStream: (asker) => new ChatEncoder(asker),
  decodeError: (_status, body) => decodeOpenaiError(body),
  encodeError: (_status, error, callId) => encodeOpenaiError(error, callId),
}

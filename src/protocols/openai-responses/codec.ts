import type { Codec } from '../codec.ts'
import { decodeOpenaiError, encodeOpenaiError } from '../openai/foreign-errors.ts'
import { decodeResponsesAnswer, encodeResponsesAnswer } from './answers.ts'
import { decodeResponsesRequest } from './decode-request.ts'
import { ResponsesStreamDecoder } from './decode-stream.ts'
import { encodeResponsesRequest } from './encode-request.ts'
import { ResponsesStreamEncoder } from './encode-stream.ts'

export const responsesCodec: Codec = {
  decodeRequest: decodeResponsesRequest,
  encodeRequest: encodeResponsesRequest,
  decodeAnswer: decodeResponsesAnswer,
  encodeAnswer: encodeResponsesAnswer,
  decodeStream: (names) => new ResponsesStreamDecoder(names),
  encodeStream: (asker) => new ResponsesStreamEncoder(asker),
  decodeError: (_status, body) => decodeOpenaiError(body),
  encodeError: (_status, error, callId) => encodeOpenaiError(error, callId),
}

import type { Codec } from '../codec.ts'
import { decodeGeminiAnswer, encodeGeminiAnswer } from './answers.ts'
import { decodeGeminiRequest } from './decode-request.ts'
import { encodeGeminiRequest } from './encode-request.ts'
import { decodeGeminiError, encodeGeminiError } from './foreign-errors.ts'
import { GeminiDecoder, GeminiEncoder } from './streams.ts'

/** Google's format ↔ the neutral conversation. */
export const geminiCodec: Codec = {
  decodeRequest: decodeGeminiRequest,
  encodeRequest: encodeGeminiRequest,
  decodeAnswer: decodeGeminiAnswer,
  encodeAnswer: encodeGeminiAnswer,
  decodeStream: (names) => new GeminiDecoder(names),
  encodeStream: (asker) => new GeminiEncoder(asker),
  decodeError: decodeGeminiError,
  encodeError: encodeGeminiError,
}

import type { ProtocolName } from '../../src/domain/call.ts'
import { messagesCodec } from '../../src/protocols/anthropic-messages/codec.ts'
import type { Codec } from '../../src/protocols/codec.ts'
import { geminiCodec } from '../../src/protocols/gemini/codec.ts'
import type { SignatureVendor } from '../../src/protocols/neutral.ts'
import { chatCodec } from '../../src/protocols/openai-chat/codec.ts'
import { responsesCodec } from '../../src/protocols/openai-responses/codec.ts'

export const CODECS: Record<ProtocolName, Codec> = {
  'anthropic-messages': messagesCodec,
  'openai-responses': responsesCodec,
  'openai-chat': chatCodec,
  gemini: geminiCodec,
}

/** Whose signatures a vendor reads that is called in a format. */
export const SIGNED_BY: Record<ProtocolName, SignatureVendor> = {
  'anthropic-messages': 'anthropic',
  'openai-responses': 'openai',
  'openai-chat': 'openai',
  gemini: 'gemini',
}

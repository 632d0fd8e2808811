import type { ProtocolName } from '../../src/domain/call.ts'
import type { CodecSamples } from '../contract/codec.ts'
import { messagesSamples } from './anthropic-messages/codec-samples.ts'
import { geminiSamples } from './gemini/codec-samples.ts'
import { chatSamples } from './openai-chat/codec-samples.ts'
import { responsesSamples } from './openai-responses/codec-samples.ts'

export const CODEC_SAMPLES: Record<ProtocolName, CodecSamples> = {
  'anthropic-messages': messagesSamples,
  'openai-responses': responsesSamples,
  'openai-chat': chatSamples,
  gemini: geminiSamples,
}

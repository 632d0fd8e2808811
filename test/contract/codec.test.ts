import t from 'tap'
import { messagesSamples } from '../protocols/anthropic-messages/codec-samples.ts'
import { geminiSamples } from '../protocols/gemini/codec-samples.ts'
import { chatSamples } from '../protocols/openai-chat/codec-samples.ts'
import { responsesSamples } from '../protocols/openai-responses/codec-samples.ts'
import { codecContract } from './codec.ts'

t.test('anthropic-messages', async (t) => codecContract(t, messagesSamples))
t.test('openai-chat', async (t) => codecContract(t, chatSamples))
t.test('openai-responses', async (t) => codecContract(t, responsesSamples))
t.test('gemini', async (t) => codecContract(t, geminiSamples))

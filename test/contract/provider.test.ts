import t from 'tap'
import { anthropic } from '../../src/providers/anthropic/index.ts'
import { openai } from '../../src/providers/openai/index.ts'
import { anthropicSamples } from '../providers/anthropic/samples.ts'
import { openaiSamples } from '../providers/openai/samples.ts'
import { providerContract } from './provider.ts'

t.test('anthropic', async (t) => providerContract(t, anthropic, anthropicSamples))
t.test('openai', async (t) => providerContract(t, openai, openaiSamples))

import t from 'tap'
import { anthropic } from '../../src/providers/anthropic/index.ts'
import { antigravity } from '../../src/providers/antigravity/index.ts'
import { gemini } from '../../src/providers/gemini/index.ts'
import { openai } from '../../src/providers/openai/index.ts'
import { anthropicSamples } from '../providers/anthropic/samples.ts'
import { antigravitySamples } from '../providers/antigravity/samples.ts'
import { geminiSamples } from '../providers/gemini/samples.ts'
import { openaiSamples } from '../providers/openai/samples.ts'
import { providerContract } from './provider.ts'

t.test('anthropic', async (t) => providerContract(t, anthropic, anthropicSamples))
t.test('openai', async (t) => providerContract(t, openai, openaiSamples))
t.test('gemini', async (t) => providerContract(t, gemini, geminiSamples))
t.test('antigravity', async (t) => providerContract(t, antigravity, antigravitySamples))

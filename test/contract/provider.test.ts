import t from 'tap'
import { anthropic } from '../../src/providers/anthropic/index.ts'
import { anthropicSamples } from '../providers/anthropic/samples.ts'
import { providerContract } from './provider.ts'

t.test('anthropic', async (t) => providerContract(t, anthropic, anthropicSamples))

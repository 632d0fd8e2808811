import t from 'tap'
import { messagesSamples } from '../protocols/anthropic-messages/codec-samples.ts'
import { codecContract } from './codec.ts'

t.test('anthropic-messages', async (t) => codecContract(t, messagesSamples))

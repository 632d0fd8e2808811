import t from 'tap'
import { anthropicMessages } from '../../src/protocols/anthropic-messages/index.ts'
import { bodies, streams } from '../protocols/anthropic-messages/samples.ts'
import { protocolContract } from './protocol.ts'

t.test('anthropic-messages', async (t) => protocolContract(t, anthropicMessages, [...streams, ...bodies]))

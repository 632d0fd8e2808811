import t from 'tap'
import { anthropicMessages } from '../../src/protocols/anthropic-messages/index.ts'
import { gemini } from '../../src/protocols/gemini/index.ts'
import { openaiChat } from '../../src/protocols/openai-chat/index.ts'
import { openaiResponses } from '../../src/protocols/openai-responses/index.ts'
import * as messages from '../protocols/anthropic-messages/samples.ts'
import * as ofGemini from '../protocols/gemini/samples.ts'
import * as chat from '../protocols/openai-chat/samples.ts'
import * as responses from '../protocols/openai-responses/samples.ts'
import { protocolContract } from './protocol.ts'

t.test('anthropic-messages', async (t) =>
  protocolContract(t, anthropicMessages, [...messages.streams, ...messages.bodies]),
)
t.test('openai-responses', async (t) =>
  protocolContract(t, openaiResponses, [...responses.streams, ...responses.bodies]),
)
t.test('openai-chat', async (t) => protocolContract(t, openaiChat, [...chat.streams, ...chat.bodies]))
t.test('gemini', async (t) => protocolContract(t, gemini, [...ofGemini.streams, ...ofGemini.bodies]))

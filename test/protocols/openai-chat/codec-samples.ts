import { chatBody } from '../../../src/demo/chat.ts'
import { NO_USAGE } from '../../../src/domain/usage.ts'
import { chatCodec } from '../../../src/protocols/openai-chat/codec.ts'
import type { CodecSamples } from '../../contract/codec.ts'

const HEAD = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt-5.5' }
const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const chunk = (delta: object, finish_reason: string | null = null) =>
  data({ ...HEAD, choices: [{ index: 0, delta, finish_reason }], usage: null })
const piece = (index: number, more: object) => chunk({ tool_calls: [{ index, ...more }] })

const USAGE = {
  prompt_tokens: 20,
  completion_tokens: 9,
  total_tokens: 29,
  prompt_tokens_details: { cached_tokens: 5 },
  completion_tokens_details: { reasoning_tokens: 4 },
}
const COUNTED = { ...NO_USAGE, inputTokens: 15, cacheReadTokens: 5, outputTokens: 9, reasoningTokens: 4 }
const START = { type: 'start', id: 'chatcmpl-1', model: 'gpt-5.5', usage: null } as const
const call = (id: string, name: string) =>
  ({ type: 'open', block: { kind: 'tool_call', id, namespace: null, name, tool: 'function' } }) as const
const CLOSE = { type: 'close' } as const

export const chatSamples: CodecSamples = {
  codec: chatCodec,
  says: {
    vendor: 'openai',
    reasoning: false,
    redacted: false,
    namespaces: false,
    customTools: false,
    deferred: false,
    strict: true,
    systemLater: true,
    systemMany: true,
    textsApart: false,
    reasoningFirst: true,
    mediaTypes: ['image/png', 'audio/wav'], // a PDF always has a name here,
    mediaUrls: true,
    mediaNames: false,
    detail: true,
    mediaInResults: false,
    resultErrors: false,
    callIds: true,
    settings: ['temperature', 'topP', 'seed', 'stopSequences', 'verbosity', 'cacheKey', 'parallelToolCalls'],
    efforts: ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'],
    budget: false,
    schemaName: true,
    schemaStrict: true,
    plainJson: true,
    caching: 'implicit',
    stops: ['end', 'max_tokens', 'refusal', 'tool_use'],
    usage: ['inputTokens', 'cacheReadTokens', 'cacheWrite5mTokens', 'outputTokens', 'reasoningTokens'],
  },
  path: () => '/v1/chat/completions',
  streams: [
    {
      name: 'thoughts, words, and two calls whose pieces come in turns',
      bytes: Buffer.from(
        chunk({ role: 'assistant', content: '' }) +
          chunk({ reasoning_content: 'Hm 😀' }) +
          chunk({ content: 'I ' }) +
          chunk({ content: 'look' }) +
          piece(0, { id: 'call_1', type: 'function', function: { name: 'look', arguments: '' } }) +
          piece(0, { function: { arguments: '{"at":' } }) +
          piece(1, { id: 'call_2', type: 'function', function: { name: 'hear', arguments: '{' } }) +
          piece(0, { function: { arguments: '1}' } }) +
          piece(1, { function: { arguments: '}' } }) +
          chunk({}, 'tool_calls') +
          data({ ...HEAD, choices: [], usage: USAGE }) +
          'data: [DONE]\n\n',
      ),
      events: [
        START,
        { type: 'open', block: { kind: 'reasoning', redacted: false } },
        { type: 'delta', text: 'Hm 😀' },
        CLOSE,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'I ' },
        { type: 'delta', text: 'look' },
        CLOSE,
        call('call_1', 'look'),
        { type: 'delta', text: '{"at":' },
        { type: 'delta', text: '1}' },
        CLOSE,
        call('call_2', 'hear'),
        { type: 'delta', text: '{}' },
        CLOSE,
        { type: 'finish', stop: { reason: 'tool_use', sequence: null }, usage: COUNTED },
      ],
    },
    {
      name: 'a call without an id, named late, and words behind it',
      bytes: Buffer.from(
        piece(0, { function: { arguments: '{"at"' } }) +
          piece(0, { function: { name: 'look', arguments: ':1}' } }) +
          chunk({ content: 'there' }) +
          chunk({}, 'stop') +
          'data: [DONE]\n\n',
      ),
      events: [
        START,
        call('call_chatcmpl-1_0', 'look'),
        { type: 'delta', text: '{"at":1}' },
        CLOSE,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'there' },
        CLOSE,
        { type: 'finish', stop: { reason: 'tool_use', sequence: null }, usage: NO_USAGE },
      ],
    },
    {
      name: 'an error in the middle',
      bytes: Buffer.from(chunk({ content: 'a' }) + data({ error: { message: 'busy', code: 'server_is_overloaded' } })),
      events: [
        START,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'a' },
        { type: 'error', error: { kind: 'overloaded', message: 'busy' } },
      ],
    },
  ],
  requests: [
    Buffer.from(
      JSON.stringify({
        model: 'gpt-5.5',
        messages: [
          { role: 'developer', content: 'Be brief.' },
          { role: 'user', content: [{ type: 'text', text: 'hi' }] },
          {
            role: 'assistant',
            content: null,
            tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
          },
          { role: 'tool', tool_call_id: 'a', content: 'seen' },
        ],
        tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
        stream_options: { include_usage: true },
      }),
    ),
  ],
  answers: [
    Buffer.from(
      chatBody(
        { model: 'm', text: ['hi'], toolUse: { id: 'a', name: 'f', input: {} }, usage: { input: 1, output: 2 } },
        '1',
      ),
    ),
  ],
}

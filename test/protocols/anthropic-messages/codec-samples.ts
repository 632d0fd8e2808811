import { NO_USAGE } from '../../../src/domain/usage.ts'
import { messagesCodec } from '../../../src/protocols/anthropic-messages/codec.ts'
import type { CodecSamples } from '../../contract/codec.ts'

function event(type: string, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
}

const USAGE = { input_tokens: 12, cache_creation_input_tokens: 3, cache_read_input_tokens: 5, output_tokens: 1 }

const STREAM =
  event('message_start', {
    message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-opus-5-5', content: [], usage: USAGE },
  }) +
  event('ping', {}) +
  event('content_block_start', { index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } }) +
  event('content_block_delta', { index: 0, delta: { type: 'thinking_delta', thinking: 'Hm 😀' } }) +
  event('content_block_delta', { index: 0, delta: { type: 'signature_delta', signature: 'c2ln' } }) +
  event('content_block_stop', { index: 0 }) +
  event('content_block_start', {
    index: 1,
    content_block: { type: 'server_tool_use', id: 's', name: 'web_search', input: {} },
  }) +
  event('content_block_delta', { index: 1, delta: { type: 'input_json_delta', partial_json: '{"query":1}' } }) +
  event('content_block_stop', { index: 1 }) +
  event('content_block_start', { index: 2, content_block: { type: 'text', text: '' } }) +
  event('content_block_delta', { index: 2, delta: { type: 'text_delta', text: 'Hello' } }) +
  event('content_block_stop', { index: 2 }) +
  event('content_block_start', {
    index: 3,
    content_block: { type: 'tool_use', id: 'toolu_1', name: 'look', input: {} },
  }) +
  event('content_block_delta', { index: 3, delta: { type: 'input_json_delta', partial_json: '' } }) +
  event('content_block_delta', { index: 3, delta: { type: 'input_json_delta', partial_json: '{"at":' } }) +
  event('content_block_delta', { index: 3, delta: { type: 'input_json_delta', partial_json: '1}' } }) +
  event('content_block_stop', { index: 3 }) +
  event('message_delta', {
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 20, output_tokens_details: { thinking_tokens: 8 } },
  }) +
  event('message_stop', {})

const READ = { inputTokens: 12, cacheWrite5mTokens: 3, cacheReadTokens: 5 }

export const messagesSamples: CodecSamples = {
  codec: messagesCodec,
  says: {
    vendor: 'anthropic',
    reasoning: true,
    redacted: true,
    namespaces: false,
    customTools: false,
    deferred: false,
    strict: true,
    systemLater: true,
    systemMany: true,
    textsApart: true,
    reasoningFirst: false,
    mediaTypes: ['image/png', 'application/pdf', 'text/plain'],
    mediaUrls: true,
    mediaNames: true,
    detail: false,
    mediaInResults: true,
    resultErrors: true,
    callIds: true,
    settings: ['stopSequences'],
    efforts: ['low', 'medium', 'high', 'xhigh', 'max'],
    budget: false,
    schemaName: false,
    schemaStrict: false,
    plainJson: false,
    caching: 'explicit',
    stops: ['end', 'max_tokens', 'context_full', 'refusal', 'pause', 'tool_use'],
    usage: [
      'inputTokens',
      'cacheReadTokens',
      'cacheWrite5mTokens',
      'cacheWrite1hTokens',
      'outputTokens',
      'reasoningTokens',
    ],
  },
  path: () => '/v1/messages',
  streams: [
    {
      name: 'thoughts, a vendor’s own tool, words and a call',
      bytes: Buffer.from(STREAM),
      events: [
        { type: 'start', id: 'msg_1', model: 'claude-opus-5-5', usage: { ...NO_USAGE, ...READ, outputTokens: 1 } },
        { type: 'open', block: { kind: 'reasoning', redacted: false } },
        { type: 'delta', text: 'Hm 😀' },
        { type: 'signature', signature: { vendor: 'anthropic', value: 'c2ln' } },
        { type: 'close' },
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'Hello' },
        { type: 'close' },
        {
          type: 'open',
          block: { kind: 'tool_call', id: 'toolu_1', namespace: null, name: 'look', tool: 'function' },
        },
        { type: 'delta', text: '{"at":' },
        { type: 'delta', text: '1}' },
        { type: 'close' },
        {
          type: 'finish',
          stop: { reason: 'tool_use', sequence: null },
          usage: { ...NO_USAGE, ...READ, outputTokens: 20, reasoningTokens: 8 },
        },
      ],
    },
    {
      name: 'an error in the middle',
      bytes: Buffer.from(
        STREAM.slice(0, STREAM.indexOf('event: content_block_stop')) +
          event('error', { error: { type: 'overloaded_error', message: 'Overloaded' } }) +
          event('message_stop', {}),
      ),
      events: [
        { type: 'start', id: 'msg_1', model: 'claude-opus-5-5', usage: { ...NO_USAGE, ...READ, outputTokens: 1 } },
        { type: 'open', block: { kind: 'reasoning', redacted: false } },
        { type: 'delta', text: 'Hm 😀' },
        { type: 'signature', signature: { vendor: 'anthropic', value: 'c2ln' } },
        { type: 'error', error: { kind: 'overloaded', message: 'Overloaded' } },
      ],
    },
  ],
  requests: [
    Buffer.from(
      JSON.stringify({
        model: 'claude-opus-5-5',
        max_tokens: 100,
        system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
        messages: [
          { role: 'user', content: 'hi' },
          { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'look', input: { at: 1 } }] },
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'seen', is_error: true }] },
        ],
        tools: [{ name: 'look', input_schema: { type: 'object' } }],
        thinking: { type: 'enabled', budget_tokens: 1024 },
      }),
    ),
  ],
  answers: [
    Buffer.from(
      JSON.stringify({
        id: 'msg_1',
        type: 'message',
        model: 'claude-opus-5-5',
        content: [
          { type: 'text', text: 'hi' },
          { type: 'tool_use', id: 'a', name: 'b', input: {} },
        ],
        stop_reason: 'end_turn',
        usage: USAGE,
      }),
    ),
  ],
}

import { NO_USAGE } from '../../../src/domain/usage.ts'
import { responsesCodec } from '../../../src/protocols/openai-responses/codec.ts'
import type { CodecSamples } from '../../contract/codec.ts'

/** Numbers the events of a stream as they are made. */
function streamOf(...events: [type: string, data: object][]): Buffer {
  const texts = events.map(
    ([type, data], sequence_number) =>
      `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number, ...data })}\n\n`,
  )
  return Buffer.from(texts.join(''))
}

const RESPONSE = {
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status: 'in_progress',
  model: 'gpt-5.5',
  output: [],
}
const USAGE = {
  input_tokens: 120,
  input_tokens_details: { cached_tokens: 100 },
  output_tokens: 30,
  output_tokens_details: { reasoning_tokens: 12 },
  total_tokens: 150,
}
const COUNTED = { ...NO_USAGE, inputTokens: 20, cacheReadTokens: 100, outputTokens: 30, reasoningTokens: 12 }
const created: [string, object] = ['response.created', { response: RESPONSE }]
const completed = (changes: object = {}): [string, object] => [
  'response.completed',
  { response: { ...RESPONSE, status: 'completed', usage: USAGE, ...changes } },
]
const message = (text: string) => ({
  id: 'msg_1',
  type: 'message',
  status: 'completed',
  role: 'assistant',
  content: [{ type: 'output_text', text, annotations: [] }],
})
const START = { type: 'start', id: 'resp_1', model: 'gpt-5.5', usage: null } as const
const END = { type: 'finish', stop: { reason: 'end', sequence: null }, usage: COUNTED } as const
const CALLED = { ...END, stop: { reason: 'tool_use', sequence: null } } as const
const text = (output_index: number, delta: string): [string, object] => [
  'response.output_text.delta',
  { item_id: `msg_${output_index}`, output_index, content_index: 0, delta, logprobs: [], obfuscation: 'x' },
]

const CALL = { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'exec_command' }
const PATCH = { type: 'custom_tool_call', id: 'ctc_1', call_id: 'call_2', name: 'apply_patch' }

export const responsesSamples: CodecSamples = {
  codec: responsesCodec,
  says: {
    vendor: 'openai',
    reasoning: true,
    redacted: false,
    namespaces: true,
    customTools: true,
    deferred: false, // without a tool that searches for them
    schemaStrict: true,
    strict: false, // that a schema is not strict is not kept apart from that nobody said so
    systemLater: true,
    systemMany: true,
    textsApart: true,
    reasoningFirst: false,
    mediaTypes: ['image/png', 'image/jpeg', 'application/pdf'],
    mediaUrls: true,
    mediaNames: true,
    detail: true,
    mediaInResults: true,
    resultErrors: false,
    callIds: true,
    settings: ['temperature', 'topP', 'verbosity', 'cacheKey', 'parallelToolCalls'],
    efforts: ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'],
    budget: false,
    schemaName: true,
    plainJson: true,
    caching: 'implicit',
    stops: ['end', 'max_tokens', 'refusal'],
    usage: [
      'inputTokens',
      'cacheReadTokens',
      'cacheWrite5mTokens',
      'outputTokens',
      'reasoningTokens',
      'webSearchRequests',
    ],
  },
  path: () => '/v1/responses',
  streams: [
    {
      name: 'text',
      bytes: streamOf(
        created,
        ['response.in_progress', { response: RESPONSE }],
        ['response.output_item.added', { output_index: 0, item: { ...message(''), content: [] } }],
        ['response.content_part.added', { item_id: 'msg_0', output_index: 0, content_index: 0, part: {} }],
        text(0, 'Grüß'),
        text(0, 'e 😀'),
        ['response.output_text.done', { item_id: 'msg_0', output_index: 0, content_index: 0, text: 'Grüße 😀' }],
        ['response.content_part.done', { item_id: 'msg_0', output_index: 0, content_index: 0, part: {} }],
        ['response.output_item.done', { output_index: 0, item: message('Grüße 😀') }],
        completed({ output: [message('Grüße 😀')] }),
      ),
      events: [
        START,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'Grüß' },
        { type: 'delta', text: 'e 😀' },
        { type: 'close' },
        END,
      ],
    },
    {
      name: 'reasoning, a function call and a custom tool that come at the same time',
      bytes: streamOf(
        created,
        ['response.output_item.added', { output_index: 0, item: { type: 'reasoning', id: 'rs_1', summary: [] } }],
        ['response.reasoning_summary_text.delta', { output_index: 0, summary_index: 0, delta: '**One**' }],
        ['response.reasoning_summary_text.delta', { output_index: 0, summary_index: 1, delta: 'Two' }],
        ['response.output_item.added', { output_index: 1, item: { ...CALL, arguments: '' } }],
        ['response.function_call_arguments.delta', { output_index: 1, delta: '{"cmd":' }],
        ['response.output_item.added', { output_index: 2, item: { ...PATCH, input: '' } }],
        ['response.custom_tool_call_input.delta', { output_index: 2, delta: '*** Begin' }],
        [
          'response.output_item.done',
          { output_index: 0, item: { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAA=' } },
        ],
        ['response.function_call_arguments.delta', { output_index: 1, delta: '"ls"}' }],
        ['response.custom_tool_call_input.delta', { output_index: 2, delta: ' Patch' }],
        ['response.output_item.done', { output_index: 2, item: { ...PATCH, input: '*** Begin Patch' } }],
        ['response.output_item.done', { output_index: 1, item: { ...CALL, arguments: '{"cmd":"ls"}' } }],
        completed(),
      ),
      events: [
        START,
        { type: 'open', block: { kind: 'reasoning', redacted: false } },
        { type: 'delta', text: '**One**' },
        { type: 'delta', text: '\n\nTwo' },
        { type: 'signature', signature: { vendor: 'openai', value: 'gAAA=' } },
        { type: 'close' },
        {
          type: 'open',
          block: { kind: 'tool_call', id: 'call_1', namespace: null, name: 'exec_command', tool: 'function' },
        },
        { type: 'delta', text: '{"cmd":' },
        { type: 'delta', text: '"ls"}' },
        { type: 'close' },
        {
          type: 'open',
          block: { kind: 'tool_call', id: 'call_2', namespace: null, name: 'apply_patch', tool: 'custom' },
        },
        { type: 'delta', text: '*** Begin Patch' },
        { type: 'close' },
        CALLED,
      ],
    },
    {
      name: 'whole items only, of which the last stands in the terminal event alone',
      bytes: streamOf(
        created,
        [
          'response.output_item.done',
          { output_index: 0, item: { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAA=' } },
        ],
        ['response.output_item.done', { output_index: 1, item: message('Hi') }],
        completed({
          output: [{ type: 'reasoning', id: 'rs_1', summary: [] }, message('Hi'), { ...CALL, arguments: '{}' }],
        }),
      ),
      events: [
        START,
        { type: 'open', block: { kind: 'reasoning', redacted: false } },
        { type: 'signature', signature: { vendor: 'openai', value: 'gAAA=' } },
        { type: 'close' },
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'Hi' },
        { type: 'close' },
        {
          type: 'open',
          block: { kind: 'tool_call', id: 'call_1', namespace: null, name: 'exec_command', tool: 'function' },
        },
        { type: 'delta', text: '{}' },
        { type: 'close' },
        CALLED,
      ],
    },
    {
      name: 'a call whose name comes late',
      bytes: streamOf(
        created,
        ['response.function_call_arguments.delta', { item_id: 'fc_1', delta: '{"a"' }],
        ['response.function_call_arguments.delta', { item_id: 'fc_1', delta: ':1}' }],
        ['response.function_call_arguments.done', { item_id: 'fc_1', arguments: '{"a":1}' }],
        ['response.output_item.done', { item: { ...CALL, arguments: '{"a":1}' } }],
        text(1, 'late'),
        completed({ output: [{ ...CALL, arguments: '{"a":1}' }, message('late')] }),
        text(1, 'too late'),
        created,
      ),
      events: [
        START,
        {
          type: 'open',
          block: { kind: 'tool_call', id: 'call_1', namespace: null, name: 'exec_command', tool: 'function' },
        },
        { type: 'delta', text: '{"a":1}' },
        { type: 'close' },
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'late' },
        { type: 'close' },
        CALLED,
      ],
    },
    {
      name: 'a refusal',
      bytes: streamOf(
        created,
        ['response.refusal.delta', { item_id: 'msg_1', output_index: 0, content_index: 0, delta: 'I will not.' }],
        ['response.refusal.done', { item_id: 'msg_1', output_index: 0, content_index: 0, refusal: 'I will not.' }],
        completed(),
      ),
      events: [
        START,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'I will not.' },
        { type: 'close' },
        { ...END, stop: { reason: 'refusal', sequence: null } },
      ],
    },
    {
      name: 'an answer that ends at its limit, without anything said before',
      bytes: streamOf([
        'response.incomplete',
        {
          response: {
            ...RESPONSE,
            status: 'incomplete',
            incomplete_details: { reason: 'max_output_tokens' },
            output: [message('Hal')],
          },
        },
      ]),
      events: [
        START,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'Hal' },
        { type: 'close' },
        { type: 'finish', stop: { reason: 'max_tokens', sequence: null }, usage: NO_USAGE },
      ],
    },
    {
      name: 'an image',
      bytes: streamOf(
        created,
        [
          'response.output_item.done',
          { output_index: 0, item: { type: 'image_generation_call', id: 'ig_1', status: 'completed', result: 'iVBO' } },
        ],
        completed(),
      ),
      events: [
        START,
        {
          type: 'open',
          block: {
            kind: 'media',
            mediaType: 'image/png',
            source: { kind: 'base64', data: 'iVBO' },
            name: null,
            detail: null,
          },
        },
        { type: 'close' },
        END,
      ],
    },
    {
      name: 'a failed response',
      bytes: streamOf(created, text(0, 'Ha'), [
        'response.failed',
        { response: { ...RESPONSE, status: 'failed', error: { code: 'rate_limit_exceeded', message: 'Slow down' } } },
      ]),
      events: [
        START,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'Ha' },
        { type: 'error', error: { kind: 'rate_limit', message: 'Slow down' } },
      ],
    },
    {
      name: 'an error event',
      bytes: streamOf(['error', { code: 'context_length_exceeded', message: 'Too long', param: 'input' }]),
      events: [{ type: 'error', error: { kind: 'too_long', message: 'Too long' } }],
    },
    {
      name: 'an error event as other vendors have it',
      bytes: streamOf(created, ['error', { error: { code: 'server_is_overloaded', message: 'Busy' } }]),
      events: [START, { type: 'error', error: { kind: 'overloaded', message: 'Busy' } }],
    },
  ],
  requests: [
    Buffer.from(
      JSON.stringify({
        model: 'gpt-6.1-sol',
        stream: true,
        instructions: 'Be kind.',
        input: [
          {
            type: 'additional_tools',
            role: 'developer',
            tools: [
              {
                type: 'namespace',
                name: 'functions',
                description: '',
                tools: [
                  {
                    type: 'custom',
                    name: 'exec',
                    format: { type: 'grammar', syntax: 'lark', definition: 'start: /x/' },
                  },
                  { type: 'function', name: 'wait', strict: false, parameters: { type: 'object', properties: {} } },
                ],
              },
            ],
          },
          { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
          { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'Hm' }], encrypted_content: 'gAA' },
          { type: 'custom_tool_call', id: 'ctc_1', call_id: 'call_1', name: 'exec', input: 'x', status: 'completed' },
          { type: 'custom_tool_call_output', call_id: 'call_1', output: [{ type: 'input_text', text: 'y' }] },
          {
            role: 'user',
            content: [{ type: 'input_image', image_url: 'data:image/png;base64,iVBO', detail: 'original' }],
          },
        ],
        tools: [{ type: 'web_search' }, { type: 'local_shell' }],
        tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'custom', name: 'exec' }] },
        reasoning: { effort: 'low', summary: 'auto' },
        text: { verbosity: 'low', format: { type: 'json_schema', name: 'a', schema: { type: 'object' } } },
        include: ['reasoning.encrypted_content'],
        store: false,
      }),
    ),
    Buffer.from('{"model":"m","input":"hi"}'),
  ],
  answers: [
    Buffer.from(
      JSON.stringify({
        ...RESPONSE,
        status: 'completed',
        output: [{ type: 'reasoning', summary: [{ text: 'x' }] }, message('Hi'), { ...CALL, arguments: '{}' }],
        usage: USAGE,
      }),
    ),
    Buffer.from('{"error":{"message":"x","type":"invalid_request_error","param":null,"code":null}}'),
  ],
}

import t from 'tap'
import { isGatewayError } from '../../../src/domain/errors.ts'
import type { NeutralRequest } from '../../../src/protocols/neutral.ts'
import { chatCodec } from '../../../src/protocols/openai-chat/codec.ts'

const HI = [{ role: 'user', content: 'hi' }]
const decode = (body: object) =>
  chatCodec.decodeRequest(Buffer.from(JSON.stringify({ model: 'm', messages: HI, ...body })), '/v1/chat/completions')
const encode = (request: Partial<NeutralRequest>) => {
  const { body, dropped } = chatCodec.encodeRequest(
    { ...decode({}).request, ...request },
    { model: 'gpt-5.5', vendor: 'openai' },
  )
  return { body: JSON.parse(body.toString()), dropped }
}

t.test('what a client may write in other ways is read too', async (t) => {
  t.match(decode({ max_tokens: 7, stop: 'END' }).request, { maxOutputTokens: 7, stopSequences: ['END'] })
  const old = decode({
    messages: [
      ...HI,
      { role: 'assistant', content: null, function_call: { name: 'f', arguments: '{}' } },
      { role: 'function', name: 'f', content: 'seen' },
    ],
    functions: [{ name: 'f', parameters: { type: 'object' } }],
    function_call: { name: 'f' },
  }).request
  t.match(old.turns[1], { content: [{ kind: 'tool_call', name: 'f', input: '{}' }] })
  t.match(old.turns[2], { role: 'user', content: [{ kind: 'tool_result', content: [{ text: 'seen' }] }] })
  t.match(old, { tools: [{ name: 'f' }], toolChoice: { kind: 'tool', name: 'f' } })
  const custom = {
    type: 'custom',
    custom: { name: 'patch', format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'x' } } },
  }
  t.match(decode({ tools: [custom] }).request.tools, [
    { kind: 'custom', name: 'patch', format: { type: 'grammar', syntax: 'lark', definition: 'x' } },
  ])
  const tools = ['a', 'b'].map((name) => ({ type: 'function', function: { name } }))
  const some = { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [tools[1]] } }
  t.match(decode({ tools, tool_choice: some }).request, { tools: [{ name: 'b' }], toolChoice: { kind: 'any' } })
})

t.test('what cannot be had elsewhere is refused by name; what can be missed is named', async (t) => {
  const refused: [string, object][] = [
    ['n', { n: 2 }],
    ['logprobs', { logprobs: true }],
    ['logit_bias', { logit_bias: { 1: 5 } }],
    ['modalities', { modalities: ['text', 'audio'] }],
    [
      'messages.0.content.0.file.file_id',
      { messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'f' } }] }] },
    ],
    [
      'messages.0.content.0.image_url.url',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] },
    ],
    ['messages.0.role', { messages: [{ role: 'robot', content: 'x' }] }],
    ['messages', { messages: null }],
    ['tool_choice', { tool_choice: 'sometimes' }],
  ]
  for (const [name, body] of refused) {
    try {
      decode(body)
      t.fail(`${name} was taken`)
    } catch (error) {
      t.ok(isGatewayError(error, 'invalid_request'), name)
      t.ok((error as Error).message.startsWith(`${name}: `), (error as Error).message)
    }
  }
  const { dropped } = decode({
    n: 1,
    logprobs: false,
    store: true,
    metadata: { a: 1 },
    presence_penalty: 0.1,
    novelty: {},
  })
  t.same(dropped.sort(), ['metadata', 'novelty', 'presence_penalty', 'store'])
})

t.test('what the format has another form for is written in that', async (t) => {
  const { body, dropped } = encode({
    topK: 5,
    reasoning: { effort: null, budgetTokens: 5000, shown: null },
    tools: [
      { kind: 'custom', namespace: 'fs', name: 'patch', description: null, format: null },
      { kind: 'hosted', name: 'web_search', settings: {} },
    ],
    turns: [
      { role: 'user', content: [{ kind: 'text', text: 'hi' }] },
      {
        role: 'assistant',
        content: [
          { kind: 'reasoning', text: 'Hm', signature: null, redacted: false },
          { kind: 'tool_call', id: 'a', namespace: 'fs', name: 'patch', tool: 'custom', input: '*** "x"' },
        ],
      },
      {
        role: 'user',
        content: [
          {
            kind: 'tool_result',
            callId: 'a',
            isError: true,
            content: [
              { kind: 'text', text: 'no' },
              {
                kind: 'media',
                mediaType: 'image/png',
                source: { kind: 'base64', data: 'AA==' },
                name: null,
                detail: null,
              },
            ],
          },
        ],
      },
    ],
  })
  t.same(dropped.sort(), ['reasoning', 'tools.web_search', 'top_k'])
  t.equal(body.reasoning_effort, 'medium')
  t.match(body.tools, [{ type: 'function', function: { name: 'fs__patch', parameters: { required: ['input'] } } }])
  t.same(body.messages.slice(1), [
    {
      role: 'assistant',
      content: null,
      tool_calls: [
        { id: 'a', type: 'function', function: { name: 'fs__patch', arguments: '{"input":"*** \\"x\\""}' } },
      ],
    },
    {
      role: 'tool',
      tool_call_id: 'a',
      content: [
        { type: 'text', text: 'Error: no' },
        { type: 'text', text: '[shown in the next message]' },
      ],
    },
    { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }] },
  ])
  t.match(encode({ stream: true }).body, { stream: true, stream_options: { include_usage: true } })
  t.throws(() => encode({ stopSequences: ['1', '2', '3', '4', '5'] }), { code: 'invalid_request' })
})

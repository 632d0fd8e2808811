import t from 'tap'
import { isGatewayError } from '../../../src/domain/errors.ts'
import { decodeResponsesRequest } from '../../../src/protocols/openai-responses/decode-request.ts'

const decode = (body: object) => decodeResponsesRequest(Buffer.from(JSON.stringify({ model: 'm', ...body })))
const turns = (input: unknown) => decode({ input }).request.turns
const part = (text: string) => ({ type: 'input_text', text })
const said = (text: string) => ({ kind: 'text', text })
const exec = {
  type: 'custom',
  name: 'exec',
  description: 'Runs JavaScript',
  format: { type: 'grammar', syntax: 'lark' },
}
const wait = { type: 'function', name: 'wait', strict: false, parameters: { type: 'object', properties: { id: {} } } }

t.test(
  'what Codex sends for its own models: tools among the input, and its prompt as developer messages',
  async (t) => {
    const { request, dropped, asked } = decode({
      model: 'gpt-6.1-sol',
      stream: true,
      input: [
        {
          type: 'additional_tools',
          id: 'at_1',
          role: 'developer',
          tools: [{ type: 'namespace', name: 'functions', description: '', tools: [exec, wait] }, wait],
        },
        { type: 'message', id: 'msg_1', role: 'developer', content: [part('You are Codex.')] },
        { type: 'message', role: 'developer', content: [part('one'), part(''), part('two')] },
        { type: 'message', role: 'user', content: [part('<environment_context>')] },
        { type: 'message', role: 'user', content: [part('run it')] },
        {
          type: 'reasoning',
          id: 'rs_1',
          summary: [
            { type: 'summary_text', text: '**Thinking**' },
            { type: 'summary_text', text: 'about it' },
          ],
          content: null,
          encrypted_content: 'gAAAAmock',
        },
        {
          type: 'custom_tool_call',
          id: 'ctc_1',
          status: 'completed',
          call_id: 'call_1',
          name: 'exec',
          namespace: 'functions',
          input: 'text(1)',
        },
        {
          type: 'custom_tool_call_output',
          id: 'ctco_1',
          call_id: 'call_1',
          output: [part('Script completed'), part('1')],
        },
        { type: 'message', role: 'developer', content: [part('Plan mode is over.')] },
        { type: 'configuration_update', reasoning: { effort: 'high' } },
      ],
      tool_choice: 'auto',
      parallel_tool_calls: false,
      reasoning: { effort: 'low', context: 'all_turns' },
      store: false,
      include: ['reasoning.encrypted_content'],
      prompt_cache_key: 'thread',
      text: { verbosity: 'low' },
      client_metadata: { session_id: 'x' },
    })
    t.match(request, {
      model: 'gpt-6.1-sol',
      stream: true,
      system: ['You are Codex.', 'one', 'two'],
      toolChoice: { kind: 'auto' },
      parallelToolCalls: false,
      reasoning: { effort: 'high', budgetTokens: null, shown: null },
      verbosity: 'low',
      cacheKey: 'thread',
      caching: 'implicit',
      outputFormat: null,
    })
    t.same(request.tools, [
      {
        kind: 'custom',
        namespace: 'functions',
        name: 'exec',
        description: 'Runs JavaScript',
        format: { type: 'grammar', syntax: 'lark' },
      },
      {
        kind: 'function',
        namespace: 'functions',
        name: 'wait',
        description: null,
        parameters: wait.parameters,
        strict: null,
        deferred: false,
      },
      {
        kind: 'function',
        namespace: null,
        name: 'wait',
        description: null,
        parameters: wait.parameters,
        strict: null,
        deferred: false,
      },
    ])
    t.same(request.turns, [
      { role: 'user', content: [said('<environment_context>'), said('run it')] },
      {
        role: 'assistant',
        content: [
          {
            kind: 'reasoning',
            text: '**Thinking**\n\nabout it',
            signature: { vendor: 'openai', value: 'gAAAAmock' },
            redacted: false,
          },
          { kind: 'tool_call', id: 'call_1', namespace: 'functions', name: 'exec', tool: 'custom', input: 'text(1)' },
        ],
      },
      {
        role: 'user',
        content: [
          { kind: 'tool_result', callId: 'call_1', content: [said('Script completed'), said('1')], isError: false },
        ],
      },
      { role: 'system', content: [said('Plan mode is over.')] },
    ])
    t.same(dropped, ['reasoning.context', 'client_metadata'])
    t.match(asked, { echo: { tool_choice: 'auto', text: { verbosity: 'low' } } })
  },
)

t.test('of tools with the same name the later one counts, and a namespace keeps them apart', async (t) => {
  const later = { ...wait, description: 'later', defer_loading: true, strict: true }
  const { tools } = decode({
    tools: [wait, exec, { type: 'web_search', external_web_access: true }],
    input: [{ type: 'additional_tools', role: 'developer', tools: [later] }],
  }).request
  t.match(tools, [
    { name: 'wait', description: 'later', deferred: true, strict: true },
    { name: 'exec' },
    { kind: 'hosted', name: 'web_search', settings: { external_web_access: true } },
  ])
  t.equal(tools.length, 3)
  t.match(decode({ tools: [{ type: 'function', name: 'f', parameters: null }] }).request.tools, [
    { parameters: { type: 'object', properties: {} } },
  ])
  t.match(decode({ tools: [{ type: 'custom', name: 'f', format: { type: 'text' } }] }).request.tools, [
    { format: null },
  ])
})

t.test('what may be called', async (t) => {
  const chosen = (tool_choice: unknown) => {
    const { toolChoice, tools } = decode({ tool_choice, tools: [exec, wait] }).request
    return [toolChoice, tools.map(({ name }) => name)]
  }
  const both = ['exec', 'wait']
  t.same(chosen(undefined), [null, both])
  t.same(chosen('none'), [{ kind: 'none' }, both])
  t.same(chosen('required'), [{ kind: 'any' }, both])
  t.same(chosen({ type: 'function', name: 'wait' }), [{ kind: 'tool', namespace: null, name: 'wait' }, both])
  t.same(chosen({ type: 'custom', name: 'exec' }), [{ kind: 'tool', namespace: null, name: 'exec' }, both])
  const allowed = { type: 'allowed_tools', tools: [{ type: 'function', name: 'wait' }, { type: 'web_search' }] }
  t.same(chosen({ ...allowed, mode: 'required' }), [{ kind: 'any' }, ['wait']])
  t.same(chosen({ ...allowed, mode: 'auto' }), [{ kind: 'auto' }, ['wait']])
})

t.test('tools that clients run under a type of OpenAI’s own are functions to others', async (t) => {
  const action = { type: 'exec', command: ['ls', '-l'], env: {}, timeout_ms: 1000 }
  const { request, asked, dropped } = decode({
    tools: [
      { type: 'local_shell' },
      { type: 'tool_search', execution: 'client', description: 'Finds tools', parameters: { type: 'object' } },
    ],
    input: [
      { role: 'user', content: 'list' },
      { type: 'local_shell_call', id: 'lsh_1', call_id: 'call_1', status: 'completed', action },
      { type: 'local_shell_call_output', id: 'call_1', output: 'a.txt', status: 'completed' },
      {
        type: 'tool_search_call',
        call_id: 'call_2',
        execution: 'client',
        arguments: { query: 'agents' },
        status: 'completed',
      },
      {
        type: 'tool_search_output',
        call_id: 'call_2',
        execution: 'client',
        status: 'completed',
        tools: [{ type: 'namespace', name: 'agents', description: '', tools: [wait] }],
      },
    ],
  })
  t.match(request.tools, [
    { kind: 'function', name: 'local_shell', parameters: { required: ['command'] } },
    { kind: 'function', name: 'tool_search', description: 'Finds tools' },
    { kind: 'function', namespace: 'agents', name: 'wait' },
  ])
  t.match(request.turns, [
    {},
    {
      content: [
        {
          id: 'call_1',
          name: 'local_shell',
          tool: 'function',
          input: '{"command":["ls","-l"],"env":{},"timeout_ms":1000}',
        },
      ],
    },
    { content: [{ callId: 'call_1', content: [said('a.txt')] }] },
    { content: [{ id: 'call_2', name: 'tool_search', input: '{"query":"agents"}' }] },
    { content: [{ callId: 'call_2', content: [said('Available from now on: agents')] }] },
  ])
  t.same(dropped, [])
  t.same([...(asked as { ownItems: Set<string> }).ownItems], ['local_shell', 'tool_search'])
  const plain = decode({ tools: [{ type: 'function', name: 'local_shell', parameters: {} }] }).asked
  t.same([...(plain as { ownItems: Set<string> }).ownItems], [], 'a function of the same name is a function')
})

t.test('what OpenAI itself searched for is there, and what one agent tells another is said', async (t) => {
  const { request, dropped } = decode({
    input: [
      { role: 'user', content: 'x' },
      { type: 'tool_search_call', id: 'ts_1', call_id: null, execution: 'server', arguments: {}, status: 'completed' },
      {
        type: 'tool_search_output',
        id: 'ts_2',
        call_id: null,
        execution: 'server',
        tools: [wait],
        status: 'completed',
      },
      { type: 'agent_message', author: '/root', recipient: '/root/a', content: [part('go')] },
    ],
  })
  t.match(request.tools, [{ name: 'wait' }])
  t.same(request.turns, [{ role: 'user', content: [said('x'), said('Message from /root to /root/a:'), said('go')] }])
  t.same(dropped, ['input.tool_search_call'])
})

t.test('words, images and files', async (t) => {
  t.same(turns('hi'), [{ role: 'user', content: [said('hi')] }])
  t.same(turns(''), [])
  const media = (content: object) => (turns([{ role: 'user', content: [content] }])[0]?.content ?? [])[0]
  const base64 = (data: string) => ({ kind: 'base64', data })
  const cases: [object, object][] = [
    [
      { type: 'input_image', image_url: 'data:image/jpeg;base64,AAAA', detail: 'low' },
      { mediaType: 'image/jpeg', source: base64('AAAA'), name: null, detail: 'low' },
    ],
    [
      { type: 'input_image', image_url: 'https://x.example/a.png' },
      { mediaType: null, source: { kind: 'url', url: 'https://x.example/a.png' }, name: null, detail: null },
    ],
    [
      { type: 'input_image', image_url: 'data:IMAGE/PNG;charset=x;base64,AA', detail: 'original' },
      { mediaType: 'image/png', detail: 'high' },
    ],
    [
      { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' },
      { mediaType: 'application/pdf', source: base64('AAAA'), name: 'a.pdf' },
    ],
    [
      { type: 'input_file', filename: 'a.pdf', file_data: 'AAAA' },
      { mediaType: 'application/pdf', source: base64('AAAA') },
    ],
    [
      { type: 'input_file', file_url: 'https://x.example/d/report.pdf?x=1' },
      { mediaType: 'application/pdf', source: { kind: 'url' }, name: 'report.pdf' },
    ],
    [
      { type: 'input_audio', input_audio: { data: 'AA', format: 'wav' } },
      { mediaType: 'audio/wav', source: base64('AA') },
    ],
    [{ type: 'refusal', refusal: 'no' }, said('no')],
  ]
  for (const [content, expected] of cases) t.match(media(content), expected, JSON.stringify(content))
  t.match(turns([{ type: 'function_call_output', call_id: 'c', output: [part('a'), cases[0]?.[0]] }]), [
    { role: 'user', content: [{ callId: 'c', content: [said('a'), { mediaType: 'image/jpeg' }] }] },
  ])
  t.match(
    turns([{ type: 'image_generation_call', id: 'ig_1', result: 'AAAA', output_format: 'webp', status: 'completed' }]),
    [{ role: 'assistant', content: [{ kind: 'media', mediaType: 'image/webp' }] }],
  )
})

t.test('a signature that came from another vendor is that vendor’s again', async (t) => {
  const reasoning = (encrypted_content: string) =>
    turns([{ type: 'reasoning', id: 'rs_1', summary: [], encrypted_content }])[0]?.content
  t.match(reasoning('subgate.anthropic.EqQB'), [{ signature: { vendor: 'anthropic', value: 'EqQB' }, redacted: false }])
  t.match(reasoning('subgate.anthropic-redacted.EqQB'), [{ signature: { vendor: 'anthropic' }, redacted: true }])
  t.same(turns([{ type: 'reasoning', summary: [], content: [] }]), [], 'nothing without words and signature')
  t.match(turns([{ type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'raw' }] }]), [
    { content: [{ text: 'raw', signature: null }] },
  ])
})

t.test('what is left out without changing the meaning is named, each once', async (t) => {
  const { dropped } = decode({
    input: [
      { role: 'user', content: [{ type: 'input_text', text: 'a', prompt_cache_breakpoint: { mode: 'explicit' } }] },
      {
        role: 'assistant',
        phase: 'final_answer',
        content: [{ type: 'output_text', text: 'b', annotations: [{}], logprobs: [] }],
      },
      { role: 'assistant', phase: 'commentary', content: [{ type: 'output_text', text: 'b', annotations: [] }] },
      { type: 'web_search_call', id: 'ws_1', status: 'completed', action: {} },
    ],
    include: ['reasoning.encrypted_content', 'message.output_text.logprobs'],
    reasoning: { effort: null, mode: 'pro' },
    text: { format: { type: 'json_schema', name: 'a', schema: {}, description: 'x' } },
    metadata: {},
    user: 'u',
    service_tier: null,
    from_next_year: 1,
  })
  t.same(dropped, [
    'input.content.prompt_cache_breakpoint',
    'input.content.annotations',
    'input.phase',
    'input.web_search_call',
    'reasoning.mode',
    'text.format.description',
    'include.message.output_text.logprobs',
    'user',
    'from_next_year',
  ])
})

t.test('what would mean something else elsewhere is refused by its name', async (t) => {
  const item = (type: string, more: object = {}) => ({
    input: [
      { role: 'user', content: 'x' },
      { type, ...more },
    ],
  })
  const cases: [object, RegExp][] = [
    [{ previous_response_id: 'resp_1' }, /^previous_response_id: /],
    [{ conversation: 'conv_1' }, /^conversation: /],
    [{ prompt: { id: 'pmpt_1' } }, /^prompt: /],
    [{ store: true }, /^store: /],
    [{ background: true }, /^background: /],
    [{ moderation: { model: 'm' } }, /^moderation: /],
    [{ model: 7 }, /^model: must be a text/],
    [{ input: 7 }, /^input: /],
    [{ input: [7] }, /^input\.0: /],
    [item('item_reference', { id: 'msg_1' }), /^input\.1: .*stored/],
    [{ input: [{ id: 'msg_1' }] }, /^input\.0: .*item_reference/],
    [item('compaction', { encrypted_content: 'x' }), /^input\.1: .*compacted/],
    [item('compaction_trigger'), /^input\.1: /],
    [item('shell_call', { call_id: 'c' }), /^input\.1: .*shell_call/],
    [item('program', { id: 'x' }), /^input\.1: /],
    [item('from_next_year'), /^input\.1: .*from_next_year/],
    [item('function_call', { name: 'f', arguments: '{}' }), /^input\.1\.call_id: /],
    [item('function_call_output', { output: 'x' }), /^input\.1\.call_id: /],
    [item('message', { role: 'critic', content: 'x' }), /^input\.1\.role: /],
    [
      item('message', { role: 'user', content: [{ type: 'input_image', file_id: 'file_1' }] }),
      /^input\.1\.content\.0\.file_id: /,
    ],
    [
      item('message', { role: 'user', content: [{ type: 'input_image', image_url: 'file:///etc' }] }),
      /^input\.1\.content\.0\.image_url: /,
    ],
    [item('message', { role: 'user', content: [{ type: 'from_next_year' }] }), /^input\.1\.content\.0\.type: /],
    [
      item('message', { role: 'developer', content: [{ type: 'input_image', image_url: 'https://x.example' }] }),
      /^input\.1\.content: /,
    ],
    [{ tools: [{ type: 'computer' }] }, /^tools\.0\.type: /],
    [{ tools: [{ type: 'namespace', name: 'n', tools: [{ type: 'function' }] }] }, /^tools\.0\.tools\.0\.name: /],
    [{ tool_choice: 'maybe' }, /^tool_choice: /],
    [{ tool_choice: { type: 'file_search' } }, /^tool_choice\.type: /],
    [{ reasoning: { effort: 'extreme' } }, /^reasoning\.effort: /],
    [{ text: { verbosity: 'loud' } }, /^text\.verbosity: /],
    [{ text: { format: { type: 'json_schema', name: 'x' } } }, /^text\.format\.schema: /],
    [{ text: { format: { type: 'xml' } } }, /^text\.format\.type: /],
  ]
  for (const [body, words] of cases) {
    try {
      decode(body)
      t.fail(`${JSON.stringify(body)} was taken`)
    } catch (error) {
      if (!isGatewayError(error, 'invalid_request')) throw error
      t.match(error.message, words)
    }
  }
})

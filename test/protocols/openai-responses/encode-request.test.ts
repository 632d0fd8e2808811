import t from 'tap'
import { isGatewayError } from '../../../src/domain/errors.ts'
import type { NeutralRequest, Turn } from '../../../src/protocols/neutral.ts'
import { encodeResponsesRequest } from '../../../src/protocols/openai-responses/encode-request.ts'
import { PLAIN_REQUEST } from '../../support/neutral.ts'

const PLAIN: NeutralRequest = { ...PLAIN_REQUEST, model: 'asked', stream: false, caching: 'explicit' }

const encode = (changes: Partial<NeutralRequest>, vendor: 'openai' | 'anthropic' = 'openai') => {
  const { body, dropped } = encodeResponsesRequest({ ...PLAIN, ...changes }, { model: 'sent', vendor })
  return { body: JSON.parse(body.toString()), dropped }
}
const items = (...turns: Turn[]) => encode({ turns }).body.input
const said = (text: string) => ({ kind: 'text', text }) as const
const fn = (name: string, changes: object = {}) => ({
  kind: 'function' as const,
  namespace: null,
  name,
  description: null,
  parameters: { type: 'object' },
  strict: null,
  deferred: false,
  ...changes,
})

t.test('the least there is to say', async (t) => {
  t.same(encode({}), {
    body: {
      model: 'sent',
      stream: false,
      input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }],
      store: false,
    },
    dropped: [],
  })
})

t.test('what Claude Code asks of one of OpenAI’s models', async (t) => {
  const { body, dropped } = encode({
    stream: true,
    system: ['You are Claude Code.', 'Be brief.'],
    tools: [
      fn('Bash', { description: 'Runs a command' }),
      fn('mcp__a_server_with_a_long_name__and_a_tool_with_a_name_that_is_too_long_for_openai'),
      { kind: 'hosted', name: 'web_search', settings: { max_uses: 8, allowed_domains: ['a.example'] } },
    ],
    toolChoice: { kind: 'auto' },
    maxOutputTokens: 32_000,
    topK: 40,
    seed: 7,
    reasoning: { effort: null, budgetTokens: 31_999, shown: true },
    turns: [
      { role: 'user', content: [said('list')] },
      { role: 'system', content: [said('Plan mode is on.')] },
      {
        role: 'assistant',
        content: [
          { kind: 'reasoning', text: 'Hm', signature: { vendor: 'anthropic', value: 'EqQB' }, redacted: false },
          { kind: 'reasoning', text: 'Ah', signature: { vendor: 'openai', value: 'gAAA' }, redacted: false },
          said('I look.'),
          { kind: 'tool_call', id: 'toolu_1', namespace: null, name: 'Bash', tool: 'function', input: '' },
        ],
      },
      {
        role: 'user',
        content: [
          { kind: 'tool_result', callId: 'toolu_1', content: [said('denied')], isError: true },
          said('go on'),
          { kind: 'media', mediaType: 'image/png', source: { kind: 'base64', data: 'AA' }, name: null, detail: null },
        ],
      },
    ],
  })
  t.same(body.input, [
    {
      type: 'message',
      role: 'developer',
      content: [
        { type: 'input_text', text: 'You are Claude Code.' },
        { type: 'input_text', text: 'Be brief.' },
      ],
    },
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'list' }] },
    { type: 'message', role: 'developer', content: [{ type: 'input_text', text: 'Plan mode is on.' }] },
    { type: 'reasoning', summary: [{ type: 'summary_text', text: 'Ah' }], encrypted_content: 'gAAA' },
    { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'I look.' }] },
    { type: 'function_call', call_id: 'toolu_1', name: 'Bash', arguments: '{}' },
    { type: 'function_call_output', call_id: 'toolu_1', output: 'Error: denied' },
    {
      type: 'message',
      role: 'user',
      content: [
        { type: 'input_text', text: 'go on' },
        { type: 'input_image', image_url: 'data:image/png;base64,AA', detail: 'auto' },
      ],
    },
  ])
  t.match(body, {
    max_output_tokens: 32_000,
    reasoning: { effort: 'high', summary: 'auto' },
    include: ['reasoning.encrypted_content'],
    tool_choice: 'auto',
  })
  t.match(body.tools[0], { type: 'function', name: 'Bash', description: 'Runs a command', strict: false })
  t.match(body.tools[1].name, /^mcp__a_server_with_.{36}_[0-9a-f]{8}$/)
  t.equal(body.tools[1].name.length, 64)
  t.same(body.tools[2], { type: 'web_search', filters: { allowed_domains: ['a.example'] } })
  t.same(dropped, ['top_k', 'seed', 'reasoning'])
})

t.test('tools of a namespace stand together, and a forced one is named with it', async (t) => {
  const inside = (name: string) => fn(name, { namespace: 'ns' })
  const custom = { kind: 'custom', namespace: null, name: 'apply_patch', description: null, format: null } as const
  const tools = [inside('a'), custom, inside('b')]
  const { body } = encode({ tools, toolChoice: { kind: 'tool', namespace: 'ns', name: 'b' } })
  t.match(body.tools, [
    { type: 'namespace', name: 'ns', tools: [{ name: 'a' }, { name: 'b' }] },
    { type: 'custom', name: 'apply_patch' },
  ])
  t.same(body.tool_choice, { type: 'function', name: 'b', namespace: 'ns' })
  t.same(encode({ tools, toolChoice: { kind: 'tool', namespace: null, name: 'apply_patch' } }).body.tool_choice, {
    type: 'custom',
    name: 'apply_patch',
  })
  t.equal(encode({ tools, toolChoice: { kind: 'any' } }).body.tool_choice, 'required')
  t.notOk('tool_choice' in encode({ toolChoice: { kind: 'none' }, parallelToolCalls: true }).body, 'nothing to choose')
})

t.test('tools that have to be looked for are deferred only where there is a search', async (t) => {
  const deferred = fn('a', { deferred: true })
  t.notOk('defer_loading' in encode({ tools: [deferred] }).body.tools[0])
  const search = { kind: 'hosted', name: 'tool_search_tool_regex_20251119', settings: {} } as const
  t.match(encode({ tools: [deferred, search] }).body.tools, [{ defer_loading: true }, { type: 'tool_search' }])
})

t.test('effort by words or by tokens', async (t) => {
  const effort = (effort: 'none' | 'max' | null, budgetTokens: number | null, shown: boolean | null = null) => {
    const { reasoning, include } = encode({ reasoning: { effort, budgetTokens, shown } }).body
    return [reasoning, include !== undefined]
  }
  t.same(effort('max', 100), [{ effort: 'max' }, true])
  t.same(effort(null, 0), [{ effort: 'none' }, false])
  t.same(effort('none', null), [{ effort: 'none' }, false])
  t.same(effort(null, 1024), [{ effort: 'low' }, true])
  t.same(effort(null, 8192), [{ effort: 'medium' }, true])
  t.same(effort(null, 8193), [{ effort: 'high' }, true])
  t.same(effort(null, null, true), [{ summary: 'auto' }, true])
  t.same(effort(null, null, false), [{}, true])
})

t.test(
  'every call has one result, ids that are too long are shortened on both sides, and custom results are custom',
  async (t) => {
    const id = `call_${'x'.repeat(80)}`
    const call = (id: string, tool: 'function' | 'custom') =>
      ({ kind: 'tool_call', id, namespace: null, name: 'f', tool, input: 'i' }) as const
    const input = items(
      { role: 'assistant', content: [call(id, 'custom'), call('lost', 'function')] },
      { role: 'user', content: [{ kind: 'tool_result', callId: id, content: [], isError: false }] },
    )
    t.match(input, [
      { type: 'custom_tool_call', call_id: /^call_[0-9a-f]{32}$/, input: 'i' },
      { type: 'function_call', call_id: 'lost', arguments: 'i' },
      { type: 'custom_tool_call_output', call_id: input[0].call_id, output: '' },
      { type: 'function_call_output', call_id: 'lost', output: '[no output]' },
    ])
    t.equal(input.length, 4)
  },
)

t.test('files, and images that a model made', async (t) => {
  const media = (changes: object) => ({
    kind: 'media' as const,
    mediaType: 'application/pdf',
    source: { kind: 'base64' as const, data: 'AA' },
    name: null,
    detail: null,
    ...changes,
  })
  const part = (changes: object) => items({ role: 'user', content: [media(changes)] })[0].content[0]
  t.same(part({}), { type: 'input_file', file_data: 'data:application/pdf;base64,AA', filename: 'document.pdf' })
  t.same(part({ mediaType: null, name: 'r', source: { kind: 'url', url: 'https://x.example/r' } }), {
    type: 'input_file',
    file_url: 'https://x.example/r',
    filename: 'r',
  })
  t.match(part({ mediaType: null, source: { kind: 'url', url: 'https://x.example/r' } }), { type: 'input_image' })
  t.match(items({ role: 'assistant', content: [said('Here:'), media({ mediaType: 'image/png' })] }), [
    { role: 'assistant' },
    { role: 'user', content: [{ type: 'input_image' }] },
  ])
})

t.test('little output is asked for as the least that may be asked for', async (t) => {
  const { body, dropped } = encode({ maxOutputTokens: 1 })
  t.equal(body.max_output_tokens, 16)
  t.same(dropped, ['max_tokens below 16'])
})

t.test('another vendor’s models that speak this format get no signatures', async (t) => {
  const turns: Turn[] = [
    {
      role: 'assistant',
      content: [{ kind: 'reasoning', text: 'Ah', signature: { vendor: 'openai', value: 'gAAA' }, redacted: false }],
    },
  ]
  t.same(encode({ turns }, 'anthropic').body.input, [])
  t.same(encode({ turns }, 'anthropic').dropped, ['reasoning'])
})

t.test('what the format cannot say is refused', async (t) => {
  const audio = {
    kind: 'media',
    mediaType: 'audio/wav',
    source: { kind: 'base64', data: 'AA' },
    name: null,
    detail: null,
  } as const
  const cases: [Partial<NeutralRequest>, RegExp][] = [
    [{ stopSequences: ['x'] }, /^stop_sequences: /],
    [{ tools: [{ kind: 'hosted', name: 'computer_20251124', settings: {} }] }, /^tools: .*computer_20251124/],
    [{ turns: [{ role: 'user', content: [audio] }] }, /^input: audio\/wav/],
  ]
  for (const [changes, words] of cases) {
    try {
      encode(changes)
      t.fail('it was taken')
    } catch (error) {
      if (!isGatewayError(error, 'invalid_request')) throw error
      t.match(error.message, words)
    }
  }
})

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isGatewayError } from '../../../src/domain/errors.ts'
import { messagesCodec } from '../../../src/protocols/anthropic-messages/codec.ts'
import type { NeutralRequest, Signature } from '../../../src/protocols/neutral.ts'

const HI = [{ role: 'user', content: 'hi' }]
const decode = (body: object) =>
  messagesCodec.decodeRequest(
    Buffer.from(JSON.stringify({ model: 'm', max_tokens: 9, messages: HI, ...body })),
    '/v1/messages',
  )
const encode = (request: Partial<NeutralRequest>, model = 'claude-opus-5-5') => {
  const whole = { ...decode({}).request, ...request }
  const { body, dropped } = messagesCodec.encodeRequest(whole, { model, vendor: 'anthropic' })
  return { body: JSON.parse(body.toString()), dropped }
}
const text = (text: string) => ({ kind: 'text' as const, text })

t.test('all that Claude Code was seen to send is read, and what is left out is named', async (t) => {
  const file = join(import.meta.dirname, '../../fixtures/claude-requests.json')
  // Where a recording is cut, a text stands for what is left out of a list.
  const whole = (_key: string, value: unknown) =>
    Array.isArray(value) ? value.filter((item) => !/^…\[\+\d+ items\]$/.test(String(item))) : value
  const recorded = JSON.parse(readFileSync(file, 'utf8'), whole) as Record<string, { body: Record<string, unknown> }[]>
  for (const [name, requests] of Object.entries(recorded))
    for (const { body } of requests) {
      const { request, dropped } = decode(body)
      t.notOk(
        request.system.some((one) => one.startsWith('x-anthropic-billing-header:')),
        `${name}: the accounting text stays`,
      )
      const known = [
        'cache_control',
        'metadata',
        'context_management',
        'diagnostics',
        'safeguards',
        'eager_input_streaming',
      ]
      t.same(
        dropped.filter((one) => !known.includes(one)),
        [],
        name,
      )
      const said = (body.messages as { role: string; content: unknown }[]).filter(({ content }) => content !== '')
      t.equal(request.turns.length, said.length, `${name}: no message is lost`)
    }
})

t.test('what lives on one account, or is unknown in the middle of a conversation, is refused by name', async (t) => {
  const refused: [string, object][] = [
    ['container', { container: 'c' }],
    ['mcp_servers', { mcp_servers: [{}] }],
    [
      'messages.0.content.0.source.type',
      { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'file', file_id: 'f' } }] }] },
    ],
    ['messages.0.content.0.type', { messages: [{ role: 'user', content: [{ type: 'container_upload' }] }] }],
    ['messages.0.role', { messages: [{ content: 'x' }] }],
    ['system.0.type', { system: [{ type: 'image' }] }],
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
  t.same(decode({ novelty: 1 }).dropped, ['novelty'])
})

t.test('thoughts go back to whoever signed them, and to nobody else', async (t) => {
  const turns = (signature: Signature | null): NeutralRequest['turns'] => [
    { role: 'user', content: [text('hi')] },
    { role: 'assistant', content: [{ kind: 'reasoning', text: 'Hm', signature, redacted: false }, text('yes')] },
  ]
  const own = encode({ turns: turns({ vendor: 'anthropic', value: 'c2ln' }) })
  t.same(own.body.messages[1].content[0], { type: 'thinking', thinking: 'Hm', signature: 'c2ln' })
  for (const signature of [null, { vendor: 'gemini', value: 'x' } as const]) {
    const { body, dropped } = encode({ turns: turns(signature) })
    t.same(body.messages[1].content, [{ type: 'text', text: 'yes' }])
    t.same(dropped, ['reasoning'])
  }
  const foreign = decode({
    messages: [
      ...HI,
      { role: 'assistant', content: [{ type: 'thinking', thinking: '', signature: 'subgate.gemini.a.b' }] },
    ],
  })
  t.match(foreign.request.turns[1], { content: [{ signature: { vendor: 'gemini', value: 'a.b' } }] })
})

t.test('clients that count on a cache get one: what stays the same is marked', async (t) => {
  const turns: NeutralRequest['turns'] = [1, 2, 3].flatMap((n) => [
    { role: 'user', content: [text(`q${n}`)] },
    { role: 'assistant', content: [text(`a${n}`)] },
  ])
  const { body } = encode({ caching: 'implicit', system: ['one', 'two'], turns: turns.slice(0, 5) })
  const marked = JSON.stringify(body).match(/"text":"\w+","cache_control"/g)
  t.same(marked, ['"text":"two","cache_control"', '"text":"q2","cache_control"', '"text":"q3","cache_control"'])
  t.notMatch(JSON.stringify(encode({ caching: 'explicit', system: ['one'], turns }).body), /cache_control/)
})

t.test('older models are asked in the way that they know', async (t) => {
  const turns: NeutralRequest['turns'] = [
    { role: 'user', content: [text('hi')] },
    { role: 'system', content: [text('be brief')] },
  ]
  const request: Partial<NeutralRequest> = {
    turns,
    temperature: 1.5,
    maxOutputTokens: 20_000,
    reasoning: { effort: 'high', budgetTokens: null, shown: null },
  }
  const newer = encode(request)
  t.match(newer.body, {
    thinking: { type: 'adaptive' },
    output_config: { effort: 'high' },
    messages: [{}, { role: 'system' }],
  })
  t.same(newer.dropped, ['temperature'])
  const older = encode(request, 'claude-haiku-4-5-20251001')
  t.match(older.body, {
    thinking: { type: 'enabled', budget_tokens: 16_384 },
    temperature: 1,
    messages: [{ role: 'user' }],
  })
  t.equal(older.body.output_config, undefined)
  t.match(JSON.stringify(older.body.messages), /<system>\\nbe brief\\n<\/system>/)
})

t.test('what the format refuses is put in a form that it takes', async (t) => {
  const { body, dropped } = encode({
    turns: [
      {
        role: 'assistant',
        content: [
          { kind: 'tool_call', id: 'call:1', namespace: 'fs', name: 'read', tool: 'function', input: '{"cut' },
          { kind: 'tool_call', id: 'b', namespace: null, name: 'patch', tool: 'custom', input: 'free' },
        ],
      },
      {
        role: 'user',
        content: [{ kind: 'tool_result', callId: 'b', content: [text(' ')], isError: false }, text('go')],
      },
    ],
    toolChoice: { kind: 'any' },
    parallelToolCalls: false,
    reasoning: { effort: 'high', budgetTokens: null, shown: null },
    tools: [
      {
        kind: 'function',
        namespace: 'fs',
        name: 'read',
        description: null,
        parameters: {},
        strict: null,
        deferred: false,
      },
    ],
    outputFormat: { kind: 'json' },
    seed: 1,
    maxOutputTokens: null,
  })
  t.equal(body.messages[0].role, 'user', 'the user begins')
  t.match(body.messages[1].content, [
    { id: 'call_1', name: 'fs__read', input: { _raw: '{"cut' } },
    { id: 'b', name: 'patch', input: { input: 'free' } },
  ])
  t.same(body.messages[2].content, [
    { type: 'tool_result', tool_use_id: 'call_1', content: [{ type: 'text', text: '[no output]' }] },
    { type: 'tool_result', tool_use_id: 'b', content: [] },
    { type: 'text', text: 'go' },
  ])
  t.match(body, {
    max_tokens: 32_000,
    tool_choice: { type: 'any', disable_parallel_tool_use: true },
    tools: [{ name: 'fs__read', input_schema: { type: 'object' } }],
  })
  t.equal(body.thinking, undefined, 'a forced call and thinking exclude each other')
  t.same(dropped.sort(), ['reasoning', 'response_format', 'seed'])
})

t.test('an answer has all the keys that newer clients take for granted', async (t) => {
  const asker = { model: 'asked', asked: null, nowMs: 0, newId: (prefix: string) => `${prefix}1` }
  const usage = { ...decodeUsage(), inputTokens: 5, cacheWrite5mTokens: 2, outputTokens: 7, reasoningTokens: 3 }
  const stop = { reason: 'end' as const, sequence: null }
  const body = messagesCodec.encodeAnswer({ id: 'x', model: 'm', content: [text('hi')], stop, usage }, asker)
  t.match(JSON.parse(body.toString()), {
    ...{ id: 'msg_1', type: 'message', role: 'assistant', model: 'asked', container: null, diagnostics: null },
    ...{ stop_details: null, stop_reason: 'end_turn', stop_sequence: null },
    usage: {
      input_tokens: 5,
      cache_creation_input_tokens: 2,
      output_tokens_details: { thinking_tokens: 3 },
      speed: null,
    },
  })
  t.match(
    messagesCodec.encodeError(400, { kind: 'too_long', message: 'This model’s maximum is 8' }, 'c').body.toString(),
    /prompt is too long: This model/,
  )
})

function decodeUsage() {
  const answer = messagesCodec.decodeAnswer(Buffer.from('{"type":"message","content":[]}'), {
    toolOf: () => null,
  } as never)
  if (!('usage' in answer)) throw new Error('no answer')
  return answer.usage
}

import t from 'tap'
import { NO_USAGE } from '../../../src/domain/usage.ts'
import { eventsOf } from '../../../src/protocols/answers.ts'
import type { Asker } from '../../../src/protocols/codec.ts'
import type { AssistantBlock, NeutralAnswer, NeutralEvent } from '../../../src/protocols/neutral.ts'
import { encodeResponsesAnswer } from '../../../src/protocols/openai-responses/answers.ts'
import { decodeResponsesRequest } from '../../../src/protocols/openai-responses/decode-request.ts'
import { ResponsesStreamEncoder } from '../../../src/protocols/openai-responses/encode-stream.ts'

function asker(request: object = {}): Asker {
  let ids = 0
  const { asked } = decodeResponsesRequest(Buffer.from(JSON.stringify({ model: 'asked', ...request })))
  return { model: 'asked', asked, nowMs: 1_700_000_000_500, newId: (prefix) => `${prefix}${++ids}` }
}

const USAGE = {
  ...NO_USAGE,
  inputTokens: 20,
  cacheReadTokens: 100,
  cacheWrite5mTokens: 5,
  outputTokens: 30,
  reasoningTokens: 12,
}
const call = (name: string, tool: 'function' | 'custom', input: string) =>
  ({ kind: 'tool_call', id: `call_${name}`, namespace: null, name, tool, input }) as const

const answer = (content: AssistantBlock[], changes: Partial<NeutralAnswer> = {}): NeutralAnswer => ({
  id: 'msg_of_another',
  model: 'claude-opus-5-5',
  content,
  stop: { reason: 'end', sequence: null },
  usage: USAGE,
  ...changes,
})

const CONTENT: AssistantBlock[] = [
  { kind: 'reasoning', text: 'Let me see', signature: { vendor: 'anthropic', value: 'EqQB' }, redacted: false },
  { kind: 'reasoning', text: '', signature: { vendor: 'anthropic', value: 'EqQC' }, redacted: true },
  { kind: 'text', text: 'Grüße\n"x"' },
  call('exec_command', 'function', '{"cmd":"ls"}'),
  { ...call('exec', 'custom', 'text(1)'), namespace: 'functions' },
  { kind: 'media', mediaType: 'image/png', source: { kind: 'base64', data: 'iVBO' }, name: null, detail: null },
]

interface Item {
  id: string
}

interface Told {
  name: string
  data: {
    type: string
    sequence_number: number
    item_id?: string
    output_index?: number
    item: Item
    response: { id: string; output: Item[]; status: string; incomplete_details: unknown }
  }
}

function told(events: NeutralEvent[], of = asker()): Told[] {
  const encoder = new ResponsesStreamEncoder(of)
  const text = events.map((event) => encoder.push(event)).join('')
  return text
    .split('\n\n')
    .slice(0, -1)
    .map((event) => {
      const [name = '', data = ''] = event.split('\n')
      return { name: name.slice('event: '.length), data: JSON.parse(data.slice('data: '.length)) }
    })
}

t.test('the events of each kind of block, in their order', async (t) => {
  const names = (content: AssistantBlock[]) =>
    told(eventsOf(answer(content)))
      .map(({ name }) => name.replace('response.', ''))
      .slice(2, -1)
  t.same(names([CONTENT[0] as AssistantBlock]), [
    'output_item.added',
    'reasoning_summary_part.added',
    'reasoning_summary_text.delta',
    'reasoning_summary_text.done',
    'reasoning_summary_part.done',
    'output_item.done',
  ])
  t.same(names([CONTENT[1] as AssistantBlock]), ['output_item.added', 'output_item.done'])
  t.same(names([CONTENT[2] as AssistantBlock]), [
    'output_item.added',
    'content_part.added',
    'output_text.delta',
    'output_text.done',
    'content_part.done',
    'output_item.done',
  ])
  t.same(names([CONTENT[3] as AssistantBlock]), [
    'output_item.added',
    'function_call_arguments.delta',
    'function_call_arguments.done',
    'output_item.done',
  ])
  t.same(names([CONTENT[4] as AssistantBlock]), [
    'output_item.added',
    'custom_tool_call_input.delta',
    'custom_tool_call_input.done',
    'output_item.done',
  ])
  t.same(names([CONTENT[5] as AssistantBlock]), ['output_item.added', 'output_item.done'])
})

t.test('numbers rise one by one, names are types, and ids and places are the same from first to last', async (t) => {
  const events = told(eventsOf(answer(CONTENT)))
  t.same(
    events.map(({ data }) => data.sequence_number),
    events.map((_, index) => index),
  )
  t.same(
    events.filter(({ name, data }) => name !== data.type),
    [],
  )
  const items = events.filter(({ name }) => name === 'response.output_item.done').map(({ data }) => data.item)
  const { response } = (events.at(-1) as Told).data
  t.same(response.output, items, 'the whole answer holds what was told')
  const ids = items.map(({ id }) => id)
  t.same(ids, ['rs_2', 'rs_3', 'msg_4', 'fc_5', 'ctc_6', 'ig_7'])
  for (const { data } of events) {
    if (data.output_index === undefined) continue
    const id = data.item_id ?? data.item.id
    t.equal(id, ids[data.output_index], data.type)
  }
  t.equal(events[0]?.data.response.id, response.id)
})

t.test('the response itself, whole or at the end of a stream', async (t) => {
  const request = {
    instructions: 'long',
    tools: [{ type: 'custom', name: 'exec' }],
    temperature: 0.5,
    metadata: { a: 'b' },
    text: { verbosity: 'low' },
  }
  const whole = JSON.parse(encodeResponsesAnswer(answer(CONTENT), asker(request)).toString())
  const [first, ...rest] = told(eventsOf(answer(CONTENT)), asker(request))
  const last = rest.at(-1)?.data.response
  t.match(whole, {
    id: /^resp_/,
    object: 'response',
    created_at: 1_700_000_000,
    status: 'completed',
    error: null,
    incomplete_details: null,
    model: 'asked',
    temperature: 0.5,
    metadata: { a: 'b' },
    text: { verbosity: 'low' },
    tools: [],
    usage: {
      input_tokens: 125,
      input_tokens_details: { cached_tokens: 100, cache_write_tokens: 5 },
      output_tokens: 30,
      output_tokens_details: { reasoning_tokens: 12 },
      total_tokens: 155,
    },
  })
  t.same(last, {
    ...whole,
    id: 'resp_1',
    output: whole.output.map((item: object, i: number) => ({
      ...item,
      id: last?.output[i]?.id,
    })),
  })
  t.match(first?.data.response, { status: 'in_progress', output: [], usage: null })
  t.match(whole.output, [
    {
      type: 'reasoning',
      summary: [{ type: 'summary_text', text: 'Let me see' }],
      encrypted_content: 'subgate.anthropic.EqQB',
    },
    { type: 'reasoning', summary: [], encrypted_content: 'subgate.anthropic-redacted.EqQC' },
    { type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: 'Grüße\n"x"' }] },
    { type: 'function_call', call_id: 'call_exec_command', name: 'exec_command', arguments: '{"cmd":"ls"}' },
    { type: 'custom_tool_call', call_id: 'call_exec', name: 'exec', namespace: 'functions', input: 'text(1)' },
    { type: 'image_generation_call', result: 'iVBO', output_format: 'png' },
  ])
})

t.test('how an answer stopped', async (t) => {
  const stopped = (reason: NeutralAnswer['stop']['reason']) => {
    const { name, data } = told(eventsOf(answer([], { stop: { reason, sequence: null } }))).at(-1) as Told
    const { status, incomplete_details } = data.response
    return [name, status, incomplete_details]
  }
  const complete = ['response.completed', 'completed', null]
  for (const reason of ['end', 'tool_use', 'stop_sequence', 'pause'] as const) t.same(stopped(reason), complete, reason)
  const cut = (reason: string) => ['response.incomplete', 'incomplete', { reason }]
  t.same(stopped('max_tokens'), cut('max_output_tokens'))
  t.same(stopped('context_full'), cut('max_output_tokens'))
  t.same(stopped('refusal'), cut('content_filter'))
})

t.test('tools of OpenAI’s own type are called by items of their own, in one piece', async (t) => {
  const request = { tools: [{ type: 'local_shell' }, { type: 'tool_search', execution: 'client' }] }
  const content = [
    call('local_shell', 'function', '{"command":["ls"]}'),
    call('tool_search', 'function', '{"query":"x"}'),
  ]
  const events = told(eventsOf(answer(content)), asker(request))
  t.same(
    events.slice(2, -1).map(({ name }) => name),
    [
      'response.output_item.added',
      'response.output_item.done',
      'response.output_item.added',
      'response.output_item.done',
    ],
  )
  t.match(events.at(-1)?.data.response.output, [
    { type: 'local_shell_call', call_id: 'call_local_shell', action: { type: 'exec', command: ['ls'], env: {} } },
    { type: 'tool_search_call', call_id: 'call_tool_search', execution: 'client', arguments: { query: 'x' } },
  ])
  const cut = told(eventsOf(answer([call('local_shell', 'function', '{"comm')])), asker(request))
  t.match(cut.at(-2)?.data.item, { type: 'function_call', arguments: '{"comm' }, 'cut off it is no action')
})

t.test('an error ends a stream with an event that every client takes for one', async (t) => {
  const events = told([
    ...eventsOf(answer(CONTENT.slice(0, 3))).slice(0, -1),
    { type: 'error', error: { kind: 'overloaded', message: 'busy' } },
  ])
  const { name, data } = events.at(-1) as Told
  t.equal(name, 'error')
  t.match(data, {
    type: 'response.failed',
    sequence_number: events.length - 1,
    response: { status: 'failed', error: { code: 'server_error', message: 'busy' }, model: 'asked' },
    error: { message: 'busy', code: 'server_is_overloaded' },
  })
})

import t from 'tap'
import { isGatewayError } from '../../../src/domain/errors.ts'
import type { Target } from '../../../src/protocols/codec.ts'
import { encodeGeminiRequest } from '../../../src/protocols/gemini/encode-request.ts'
import type {
  FunctionTool,
  NeutralRequest,
  ReasoningWish,
  SignatureVendor,
  ToolResultBlock,
  Turn,
} from '../../../src/protocols/neutral.ts'
import { PLAIN_REQUEST } from '../../support/neutral.ts'

const text = (text: string) => ({ kind: 'text' as const, text })
const user = (...words: string[]): Turn => ({ role: 'user', content: words.map(text) })
const call = (id: string, name = 'look', input = '{}') =>
  ({ kind: 'tool_call', id, namespace: null, name, tool: 'function', input }) as const
const result = (callId: string, output = 'x'): ToolResultBlock => ({
  kind: 'tool_result',
  callId,
  content: [text(output)],
  isError: false,
})
const thoughts = (words: string, vendor: SignatureVendor = 'gemini') =>
  ({ kind: 'reasoning', text: words, signature: { vendor, value: 'c2ln' }, redacted: false }) as const
const picture = {
  kind: 'media',
  mediaType: 'image/png',
  source: { kind: 'base64', data: 'AA' },
  name: null,
  detail: null,
} as const

const GEMINI_3: Target = { model: 'gemini-3.8-flash', vendor: 'gemini' }
const GEMINI_2: Target = { model: 'gemini-2.5-pro', vendor: 'gemini' }
const CLAUDE: Target = { model: 'claude-opus-5-5', vendor: 'antigravity' }

function encode(changes: Partial<NeutralRequest>, target = GEMINI_3) {
  const { body, dropped } = encodeGeminiRequest({ ...PLAIN_REQUEST, ...changes }, target)
  return { ...JSON.parse(body.toString()), dropped }
}
const contents = (turns: Turn[], target?: Target) =>
  encode({ turns }, target).contents.map(({ role, parts }: { role: string; parts: object[] }) => [role, ...parts])

t.test('the user begins, and turns alternate: neighbours are one, and the operator’s words the user’s', async (t) => {
  const turns: Turn[] = [
    { role: 'assistant', content: [text('a')] },
    user('b'),
    { role: 'system', content: [text('c')] },
    user('d'),
  ]
  t.same(contents(turns), [
    ['user', { text: 'Continue.' }],
    ['model', { text: 'a' }],
    ['user', { text: 'b' }, { text: '<system>\nc\n</system>' }, { text: 'd' }],
  ])
})

t.test('every call is answered once, in order, before all else', async (t) => {
  const turns: Turn[] = [
    user('hi'),
    { role: 'assistant', content: [call('1'), call('2', 'listen')] },
    { role: 'system', content: [text('note')] },
    { role: 'user', content: [text('so?'), result('2', 'two'), result('2', 'again'), result('9', 'lost')] },
  ]
  t.same(contents(turns, GEMINI_2).slice(1), [
    [
      'model',
      { functionCall: { id: '1', name: 'look', args: {} } },
      { functionCall: { id: '2', name: 'listen', args: {} } },
    ],
    [
      'user',
      { functionResponse: { id: '1', name: 'look', response: { output: '[no output]' } } },
      { functionResponse: { id: '2', name: 'listen', response: { output: 'two' } } },
      { text: '<system>\nnote\n</system>' },
      { text: 'so?' },
    ],
  ])
})

t.test('a signature goes where Gemini put it, and its lack is told to Gemini 3', async (t) => {
  const answer = (...content: (Turn & { role: 'assistant' })['content']): Turn[] => [
    user('hi'),
    { role: 'assistant', content },
  ]
  const parts = (turns: Turn[], target = GEMINI_3) => contents(turns, target)[1].slice(1)
  const LOOK = { functionCall: { id: '1', name: 'look', args: {} } }
  t.same(parts(answer(thoughts('hm'), call('1'), call('2'))), [
    { text: 'hm', thought: true },
    { ...LOOK, thoughtSignature: 'c2ln' },
    { functionCall: { id: '2', name: 'look', args: {} } },
  ])
  t.same(parts(answer(text('a'), thoughts(''))), [{ text: 'a' }, { text: '', thoughtSignature: 'c2ln' }])
  t.same(parts(answer(thoughts('hm', 'anthropic'), call('1'))), [
    { ...LOOK, thoughtSignature: 'skip_thought_signature_validator' },
  ])
  t.same(parts(answer(call('1')), GEMINI_2), [LOOK])
  t.same(parts(answer(call('1')), CLAUDE), [LOOK])
  t.same(parts(answer(thoughts('hm', 'antigravity'), call('1')), CLAUDE), [
    { text: 'hm', thought: true, thoughtSignature: 'c2ln' },
    LOOK,
  ])
  t.same(parts(answer(thoughts('hm', 'anthropic'), call('1')), CLAUDE), [LOOK])
  t.same(encode({ turns: answer(thoughts('hm', 'openai'), text('a')) }).dropped, ['reasoning'])
})

t.test('pictures of a result stand in it where the model knows that, else behind all results', async (t) => {
  const turns: Turn[] = [
    user('hi'),
    { role: 'assistant', content: [call('1'), call('2')] },
    { role: 'user', content: [{ ...result('1'), content: [text('see'), picture] }, result('2')] },
  ]
  const inline = { inlineData: { mimeType: 'image/png', data: 'AA' } }
  const last = (target: Target) => contents(turns, target)[2].slice(1)
  t.match(last(GEMINI_3), [
    { functionResponse: { response: { output: 'see' }, parts: [inline] } },
    { functionResponse: {} },
  ])
  for (const target of [GEMINI_2, CLAUDE]) {
    t.match(last(target), [
      { functionResponse: { id: '1', parts: undefined } },
      { functionResponse: { id: '2' } },
      inline,
    ])
  }
})

t.test('tools go with their JSON Schemas; a custom tool takes its text as a field', async (t) => {
  const own: FunctionTool = {
    ...{ kind: 'function', namespace: 'ns', name: 'f', description: 'd', strict: true, deferred: true },
    parameters: { type: 'object', $defs: {}, properties: { title: { const: 1 } } },
  }
  const custom = {
    kind: 'custom',
    namespace: null,
    name: 'exec',
    description: null,
    format: { type: 'grammar' },
  } as const
  const hosted = { kind: 'hosted', name: 'web_search', settings: {} } as const
  const both = encode({ tools: [own, custom, hosted], toolChoice: { kind: 'tool', namespace: 'ns', name: 'f' } })
  t.same(both.tools, [
    {
      functionDeclarations: [
        { name: 'ns__f', description: 'd', parametersJsonSchema: own.parameters },
        {
          name: 'exec',
          parametersJsonSchema: {
            type: 'object',
            properties: { input: { type: 'string', description: 'Text of this form: {"type":"grammar"}' } },
            required: ['input'],
          },
        },
      ],
    },
  ])
  t.same(both.toolConfig, { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['ns__f'] } })
  t.same(both.dropped, ['strict', 'tools.web_search'])
  t.match(encode({ tools: [hosted] }), { tools: [{ googleSearch: {} }], dropped: [] })
  t.match(encode({ tools: [hosted], toolChoice: { kind: 'any' } }), { toolConfig: undefined, dropped: ['tool_choice'] })
  t.match(encode({ tools: [{ ...hosted, name: 'image_generation' }] }), {
    tools: undefined,
    dropped: ['tools.image_generation'],
  })
  const turns: Turn[] = [
    user('hi'),
    { role: 'assistant', content: [{ ...call('1', 'exec', 'ls'), tool: 'custom' }, call('2', 'f', '{"cut')] },
  ]
  t.match(encode({ tools: [own, custom], turns }).contents[1].parts, [
    { functionCall: { name: 'exec', args: { input: 'ls' } } },
    { functionCall: { name: 'f', args: { _raw: '{"cut' } } },
  ])
})

t.test('how hard to think is said in the words that the model knows', async (t) => {
  const config = (wish: Partial<ReasoningWish>, model: string) =>
    encode({ reasoning: { effort: null, budgetTokens: null, shown: null, ...wish } }, { model, vendor: 'gemini' })
      .generationConfig?.thinkingConfig
  const shown = { includeThoughts: true }
  t.same(config({ effort: 'max' }, 'gemini-3.8-flash'), { ...shown, thinkingLevel: 'HIGH' })
  t.same(config({ effort: 'none' }, 'gemini-3.8-flash'), { includeThoughts: false, thinkingLevel: 'MINIMAL' })
  t.same(config({ effort: 'none' }, 'gemini-3.1-pro-preview'), { includeThoughts: false, thinkingLevel: 'LOW' })
  t.same(config({ budgetTokens: 1024, shown: false }, 'gemini-3.8-flash'), {
    includeThoughts: false,
    thinkingLevel: 'LOW',
  })
  t.same(config({ budgetTokens: 9000 }, 'gemini-3.8-flash'), { ...shown, thinkingLevel: 'HIGH' })
  t.same(config({}, 'gemini-3.8-flash'), shown)
  t.equal(config({ effort: 'high' }, 'gemma-3-27b-it'), undefined)
  t.same(config({ effort: 'none' }, 'gemini-2.5-flash'), { thinkingBudget: 0 })
  t.same(config({ effort: 'none' }, 'gemini-2.5-pro'), { thinkingBudget: 128 })
  t.same(config({ effort: 'medium' }, 'gemini-2.5-pro'), { ...shown, thinkingBudget: 8192 })
  t.same(config({ budgetTokens: 5000, effort: 'low' }, 'claude-opus-5-5'), { ...shown, thinkingBudget: 5000 })
})

t.test('limits are those that the model has', async (t) => {
  const tokens = (maxOutputTokens: number, model: string) =>
    encode({ maxOutputTokens }, { ...GEMINI_3, model }).generationConfig.maxOutputTokens
  t.equal(tokens(128_000, 'gemini-3.8-flash'), 65_536)
  t.equal(tokens(128_000, 'gemini-2.0-flash'), 8192)
  t.equal(tokens(128_000, 'claude-opus-5-5'), 64_000)
  t.equal(tokens(100, 'gemini-3.8-flash'), 100)
  t.throws(() => encode({ stopSequences: ['1', '2', '3', '4', '5', '6'] }), {
    message: 'stop: this model takes 5 stop sequences at most',
  })
  try {
    encode({ stopSequences: ['1', '2', '3', '4', '5', '6'] })
  } catch (error) {
    t.ok(isGatewayError(error, 'invalid_request'))
  }
})

t.test('what the format has no word for is named', async (t) => {
  const named = { ...picture, name: 'a.png', detail: 'high' } as const
  const { dropped } = encode({
    turns: [{ role: 'user', content: [named] }],
    ...{ parallelToolCalls: false, verbosity: 'low', cacheKey: 'k' },
    outputFormat: { kind: 'json_schema', name: 'n', schema: {}, strict: true },
  })
  t.same(dropped.sort(), ['detail', 'filename', 'parallel_tool_calls', 'prompt_cache_key', 'strict', 'verbosity'])
})

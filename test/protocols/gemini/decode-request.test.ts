import { readFileSync } from 'node:fs'
import t from 'tap'
import { isGatewayError } from '../../../src/domain/errors.ts'
import { decodeGeminiRequest } from '../../../src/protocols/gemini/decode-request.ts'

const PATH = '/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse'
const HI = { role: 'user', parts: [{ text: 'hi' }] }

const decode = (body: object, path = PATH) =>
  decodeGeminiRequest(Buffer.from(JSON.stringify({ contents: [HI], ...body })), path)
const turnsOf = (...contents: object[]) => decode({ contents }).request.turns

function refusal(body: object): string | null {
  try {
    decode(body)
    return null
  } catch (error) {
    if (isGatewayError(error, 'invalid_request')) return error.message
    throw error
  }
}

t.test('nothing of Gemini CLI’s real requests is lost', async (t) => {
  const recorded = JSON.parse(
    readFileSync(new URL('../../fixtures/gemini-requests.json', import.meta.url), 'utf8'),
  ) as Record<string, { url: string; body: { tools?: unknown } }[]>
  for (const { url, body } of Object.values(recorded).flat()) {
    // The recorder cut long lists, and left a text for what was there.
    const whole = JSON.parse(JSON.stringify(body), (_, value) =>
      Array.isArray(value) ? value.filter((item) => typeof item !== 'string' || !item.startsWith('…')) : value,
    )
    t.same(decode(whole, url).dropped, [], url)
  }
  const tool = recorded.tool?.at(-1) as { url: string; body: object }
  const { request } = decodeGeminiRequest(Buffer.from(JSON.stringify({ ...tool.body, tools: [] })), tool.url)
  t.match(request, {
    model: 'gemini-3.8-flash',
    stream: true,
    system: [/^You are Gemini CLI/],
    temperature: 1,
    topP: 0.95,
    topK: 64,
    reasoning: { effort: 'high', budgetTokens: null, shown: true },
  })
  const id = 'fc-0e772672'
  t.match(request.turns, [
    { role: 'user', content: [{ kind: 'text' }, { kind: 'text', text: 'run the echo command' }] },
    {
      role: 'assistant',
      content: [
        { kind: 'reasoning', text: '', signature: { vendor: 'gemini', value: 'bW9jay1zaWc=' } },
        { kind: 'tool_call', id, name: 'run_shell_command', input: /^{"command":"echo mock-tool-ran"/ },
      ],
    },
    { role: 'user', content: [{ kind: 'tool_result', callId: id, isError: false, content: [{ kind: 'text' }] }] },
  ])
})

t.test('both spellings of Google’s names are read, and names of others left alone', async (t) => {
  const { request, dropped } = decode({
    system_instruction: { parts: [{ text: 'Be brief.' }] },
    generation_config: { max_output_tokens: 7, stop_sequences: ['x'], thinking_config: { thinking_budget: 0 } },
    tools: [
      {
        function_declarations: [
          {
            name: 'f',
            parameters: {
              type: 'OBJECT',
              properties: { snake_case: { type: 'STRING', max_length: '9', any_of: [{ type: 'NULL' }] } },
            },
          },
        ],
      },
    ],
    tool_config: { function_calling_config: { mode: 'ANY', allowed_function_names: ['f'] } },
    contents: [HI, { role: 'model', parts: [{ function_call: { name: 'f', args: { snake_case: { a_b: 1 } } } }] }],
  })
  t.match(request, {
    system: ['Be brief.'],
    maxOutputTokens: 7,
    stopSequences: ['x'],
    reasoning: { effort: 'none' },
    toolChoice: { kind: 'tool', name: 'f' },
  })
  t.match(request.tools, [
    {
      parameters: {
        type: 'object',
        properties: { snake_case: { type: 'string', maxLength: 9, anyOf: [{ type: 'null' }] } },
      },
    },
  ])
  t.match(request.turns[1]?.content, [{ kind: 'tool_call', input: '{"snake_case":{"a_b":1}}' }])
  t.same(dropped, [])
})

t.test('calls and results without ids find each other by name, the first call first', async (t) => {
  const call = (name: string, n: number) => ({ functionCall: { name, args: { n } } })
  const result = (name: string, output: unknown) => ({ functionResponse: { name, response: { output } } })
  const contents = [
    HI,
    { role: 'model', parts: [call('a', 1), call('b', 2), call('a', 3)] },
    { role: 'user', parts: [result('b', 'two'), result('a', 'one'), result('a', { three: 3 }), result('c', 'lost')] },
  ]
  const turns = turnsOf(...contents)
  const ids = turns[1]?.content.map((block) => 'id' in block && block.id)
  t.same(ids, ['call_1_0', 'call_1_1', 'call_1_2'])
  t.match(turns[2]?.content, [
    { callId: 'call_1_1', content: [{ text: 'two' }] },
    { callId: 'call_1_0', content: [{ text: 'one' }] },
    { callId: 'call_1_2', content: [{ text: '{"three":3}' }] },
    { callId: 'result_1' },
  ])
  t.same(turnsOf(...contents, HI).slice(0, 3), turns, 'the same ids at the next turn')
})

t.test('what a result says is its output, its error, or all of it', async (t) => {
  const said = (response: object) =>
    turnsOf({ parts: [{ functionResponse: { name: 'f', response } }] })[0]?.content.map((block) => {
      if (block.kind !== 'tool_result') return block
      return [block.content.map((part) => 'text' in part && part.text).join(), block.isError]
    })[0]
  t.same(said({ output: 'x' }), ['x', false])
  t.same(said({ result: 'x' }), ['x', false])
  t.same(said({ error: 'x' }), ['x', true])
  t.same(said({ error: { code: 1 } }), ['{"code":1}', true])
  t.same(said({ output: 'x', more: 1 }), ['{"output":"x","more":1}', false])
  t.same(said({ weather: 'sunny' }), ['{"weather":"sunny"}', false])
  t.same(said({}), ['', false])
})

t.test('texts of a model that follow each other are one text, as a stream’s pieces are kept by clients', async (t) => {
  t.same(turnsOf(HI, { role: 'model', parts: [{ text: 'Hel' }, { text: 'lo' }] })[1]?.content, [
    { kind: 'text', text: 'Hello' },
  ])
})

t.test('a stream that the SDK kept piece by piece is one turn, its signature with its thoughts', async (t) => {
  const pieces = [{ text: 'hm', thought: true }, { text: 'Hel', thoughtSignature: 'c2ln' }, { text: 'lo' }]
  t.same(turnsOf(HI, ...pieces.map((part) => ({ role: 'model', parts: [part] }))).slice(1), [
    {
      role: 'assistant',
      content: [
        { kind: 'reasoning', text: 'hm', signature: { vendor: 'gemini', value: 'c2ln' }, redacted: false },
        { kind: 'text', text: 'Hello' },
      ],
    },
  ])
})

t.test('code that Google ran, and what came of it, is written down', async (t) => {
  const parts = [
    { executableCode: { language: 'PYTHON', code: 'print(1)' } },
    { codeExecutionResult: { outcome: 'OUTCOME_OK', output: '1' } },
  ]
  t.same(turnsOf(HI, { role: 'model', parts })[1]?.content, [
    { kind: 'text', text: '\n```python\nprint(1)\n```\n\n```\n1\n```\n' },
  ])
})

t.test('a signature that another vendor made is told from Gemini’s own, and a stand-in is none', async (t) => {
  const wrapped = (text: string) => Buffer.from(text).toString('base64')
  const blockOf = (thoughtSignature: string) =>
    turnsOf(HI, { role: 'model', parts: [{ text: 'a', thoughtSignature }] })[1]?.content[0]
  t.match(blockOf('c2ln'), { signature: { vendor: 'gemini', value: 'c2ln' }, redacted: false })
  t.match(blockOf(wrapped('subgate.anthropic.EqQB')), {
    signature: { vendor: 'anthropic', value: 'EqQB' },
    redacted: false,
  })
  t.match(blockOf(wrapped('subgate.anthropic-redacted.EqQB')), { signature: { value: 'EqQB' }, redacted: true })
  t.match(blockOf('skip_thought_signature_validator'), { kind: 'text' })
})

t.test('which functions may be called', async (t) => {
  const names = ['f', 'g', 'h']
  const tools = [{ functionDeclarations: names.map((name) => ({ name })) }]
  const chosen = (functionCallingConfig: object) => {
    const { tools: left, toolChoice } = decode({ tools, toolConfig: { functionCallingConfig } }).request
    return [toolChoice, left.map(({ name }) => name)]
  }
  t.same(chosen({}), [null, names])
  t.same(chosen({ mode: 'AUTO' }), [{ kind: 'auto' }, names])
  t.same(chosen({ mode: 'VALIDATED' }), [{ kind: 'auto' }, names])
  t.same(chosen({ mode: 'NONE' }), [{ kind: 'none' }, names])
  t.same(chosen({ mode: 'ANY' }), [{ kind: 'any' }, names])
  t.same(chosen({ mode: 'ANY', allowedFunctionNames: ['g'] }), [{ kind: 'tool', namespace: null, name: 'g' }, names])
  t.same(chosen({ mode: 'ANY', allowedFunctionNames: ['g', 'h'] }), [{ kind: 'any' }, ['g', 'h']])
  t.same(decode({ tools: [{ functionDeclarations: [{ name: 'f' }] }, { googleSearch: { x: 1 } }] }).request.tools, [
    {
      ...{ kind: 'function', namespace: null, name: 'f', description: null, strict: null, deferred: false },
      parameters: { type: 'object', properties: {} },
    },
    { kind: 'hosted', name: 'web_search', settings: { x: 1 } },
  ])
})

t.test('how to think and in what form to answer', async (t) => {
  const config = (generationConfig: object) => decode({ generationConfig }).request
  const wish = (thinkingConfig: object) => config({ thinkingConfig }).reasoning
  t.same(wish({ thinkingLevel: 'low', includeThoughts: false }), { effort: 'low', budgetTokens: null, shown: false })
  t.same(wish({ thinkingBudget: -1 }), { effort: null, budgetTokens: null, shown: null })
  t.same(wish({ thinkingBudget: 2000 }), { effort: null, budgetTokens: 2000, shown: null })
  const format = (form: object) => config({ responseMimeType: 'application/json', ...form }).outputFormat
  t.same(format({}), { kind: 'json' })
  for (const name of ['responseSchema', 'responseJsonSchema']) {
    t.match(format({ [name]: { type: 'STRING', nullable: true } }), { schema: { type: ['string', 'null'] } })
  }
  t.equal(config({ responseMimeType: 'text/plain' }).outputFormat, null)
})

t.test('what shows only in the form of the answer is remembered for it', async (t) => {
  const asked = (path: string, body = {}) => {
    const { request, asked } = decode(body, `/v1beta/models/m:${path}`)
    return [request.stream, asked]
  }
  t.same(asked('generateContent'), [false, { isArray: false, hidesThoughts: false }])
  t.same(asked('streamGenerateContent?alt=sse'), [true, { isArray: false, hidesThoughts: false }])
  t.same(asked('streamGenerateContent'), [false, { isArray: true, hidesThoughts: false }])
  const hidden = { generationConfig: { thinkingConfig: { includeThoughts: false } } }
  t.match(asked('generateContent', hidden)[1], { hidesThoughts: true })
})

t.test('what is left out without harm is named', async (t) => {
  const { dropped } = decode({
    safetySettings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_NONE' }],
    labels: { a: 'b' },
    generationConfig: { presencePenalty: 1, candidateCount: 1, thinkingConfig: { novelty: 1 } },
    toolConfig: { retrievalConfig: {}, functionCallingConfig: { streamFunctionCallArguments: true } },
    tools: [{ functionDeclarations: [{ name: 'f', behavior: 'BLOCKING' }] }],
    contents: [{ parts: [{ text: 'hi', videoMetadata: {} }, { inlineData: { data: 'AA', displayName: 'x' } }] }],
  })
  t.same(dropped.sort(), [
    'behavior',
    'displayName',
    'generationConfig.presencePenalty',
    'generationConfig.thinkingConfig.novelty',
    'labels',
    'safetySettings',
    'toolConfig.functionCallingConfig.streamFunctionCallArguments',
    'toolConfig.retrievalConfig',
    'videoMetadata',
  ])
})

t.test('what would change the meaning is refused with the field', async (t) => {
  const stored = 'https://generativelanguage.googleapis.com/v1beta/files/abc'
  const cases: [object, string][] = [
    [{ contents: null }, 'contents: must be given'],
    [{ contents: 'hi' }, 'contents: must be a list'],
    [{ contents: [{ role: 'system', parts: [] }] }, 'contents.0.role: must be user or model'],
    [{ contents: [{ parts: [{ text: 7 }] }] }, 'contents.0.parts.0.text: must be a text'],
    [{ contents: [{ parts: [{ text: 'a', inlineData: {} }] }] }, 'contents.0.parts.0: has text and inlineData at once'],
    [
      { contents: [{ parts: [{ functionCall: { name: 'f' } }] }] },
      'contents.0.parts.0.functionCall: must be in a content of the model',
    ],
    [
      { contents: [{ role: 'model', parts: [{ functionResponse: {} }] }] },
      'contents.0.parts.0.functionResponse: must be in a content of the user',
    ],
    [{ contents: [{ parts: [{ fileData: { fileUri: stored } }] }] }, 'fileData.fileUri: is a file that only'],
    [{ cachedContent: 'cachedContents/1' }, 'cachedContent: lives on one account'],
    [{ generationConfig: { candidateCount: 2 } }, 'generationConfig.candidateCount: must be 1'],
    [{ generationConfig: { responseModalities: ['TEXT', 'IMAGE'] } }, 'generationConfig.responseModalities'],
    [{ generationConfig: { responseLogprobs: true } }, 'generationConfig.responseLogprobs'],
    [{ generationConfig: { responseMimeType: 'text/x.enum' } }, 'generationConfig.responseMimeType'],
    [{ toolConfig: { functionCallingConfig: { mode: 'SOME' } } }, 'toolConfig.functionCallingConfig.mode'],
    [{ tools: [{ functionDeclarations: [{}] }] }, 'tools.0.functionDeclarations.0.name: must be given'],
    [
      { systemInstruction: { parts: [{ inlineData: { data: 'AA' } }] } },
      'systemInstruction.parts.0.inlineData: is not known here',
    ],
  ]
  for (const [body, message] of cases) t.match(refusal(body), message)
})

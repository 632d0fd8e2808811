import { NO_USAGE } from '../../../src/domain/usage.ts'
import { geminiCodec } from '../../../src/protocols/gemini/codec.ts'
import type { CodecSamples } from '../../contract/codec.ts'
import { chunk } from './samples.ts'

const data = (value: object) => `data: ${JSON.stringify(value)}\n\n`

const COUNTED = {
  promptTokenCount: 50,
  cachedContentTokenCount: 40,
  candidatesTokenCount: 12,
  thoughtsTokenCount: 7,
  totalTokenCount: 69,
}
const FIRST = { promptTokenCount: 50, totalTokenCount: 50 }
const READ = { ...NO_USAGE, inputTokens: 10, cacheReadTokens: 40, outputTokens: 19, reasoningTokens: 7 }
const HEAD = { id: 'rsp-1', model: 'gemini-3.8-flash' }
const START = { type: 'start', ...HEAD, usage: { ...NO_USAGE, inputTokens: 50 } } as const

/** Gemini 3: thoughts in words, then a call that carries what they are signed with, and one more without. */
const STREAM =
  data(chunk({ parts: [{ text: 'Hm ', thought: true }], usage: FIRST })) +
  data(chunk({ parts: [{ text: '😀', thought: true }], usage: FIRST })) +
  data(chunk({ parts: [{ text: 'I ' }], usage: FIRST })) +
  data(chunk({ parts: [{ text: 'look.' }], usage: FIRST })) +
  data(
    chunk({
      parts: [
        { functionCall: { id: 'fc-1', name: 'look', args: { at: 1 } }, thoughtSignature: 'c2ln' },
        { functionCall: { id: 'fc-2', name: 'listen', args: {} } },
      ],
      usage: FIRST,
    }),
  ) +
  data(chunk({ parts: [{ text: '' }], finishReason: 'STOP', usage: COUNTED }))

const TEXT_ONLY =
  data(chunk({ parts: [{ text: 'Hello' }], usage: FIRST })) +
  data(chunk({ parts: [{ text: '', thoughtSignature: 'bGF0ZQ==' }], finishReason: 'MAX_TOKENS', usage: COUNTED }))

export const geminiSamples: CodecSamples = {
  codec: geminiCodec,
  says: {
    vendor: 'gemini',
    reasoning: true,
    redacted: false,
    namespaces: false,
    customTools: false,
    deferred: false,
    strict: false,
    systemLater: false,
    systemMany: true,
    textsApart: false,
    reasoningFirst: false,
    mediaTypes: ['image/png', 'application/pdf', 'audio/wav'],
    mediaUrls: true,
    mediaNames: false,
    detail: false,
    mediaInResults: true,
    resultErrors: true,
    callIds: true,
    settings: ['temperature', 'topP', 'topK', 'seed', 'stopSequences'],
    efforts: ['minimal', 'low', 'medium', 'high'],
    budget: false,
    schemaName: false,
    schemaStrict: false,
    plainJson: true,
    caching: 'implicit',
    stops: ['end', 'max_tokens', 'refusal', 'tool_use'],
    usage: ['inputTokens', 'cacheReadTokens', 'outputTokens', 'reasoningTokens'],
  },
  path: ({ model, stream }) =>
    `/v1beta/models/${encodeURIComponent(model)}:${stream ? 'streamGenerateContent?alt=sse' : 'generateContent'}`,
  streams: [
    {
      name: 'thoughts, text and calls',
      bytes: Buffer.from(STREAM),
      events: [
        START,
        { type: 'open', block: { kind: 'reasoning', redacted: false } },
        { type: 'delta', text: 'Hm ' },
        { type: 'delta', text: '😀' },
        { type: 'close' },
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'I ' },
        { type: 'delta', text: 'look.' },
        { type: 'close' },
        { type: 'open', block: { kind: 'reasoning', redacted: false } },
        { type: 'signature', signature: { vendor: 'gemini', value: 'c2ln' } },
        { type: 'close' },
        { type: 'open', block: { kind: 'tool_call', id: 'fc-1', namespace: null, name: 'look', tool: 'function' } },
        { type: 'delta', text: '{"at":1}' },
        { type: 'close' },
        { type: 'open', block: { kind: 'tool_call', id: 'fc-2', namespace: null, name: 'listen', tool: 'function' } },
        { type: 'delta', text: '{}' },
        { type: 'close' },
        { type: 'finish', stop: { reason: 'tool_use', sequence: null }, usage: READ },
      ],
    },
    {
      name: 'a signature behind the text',
      bytes: Buffer.from(TEXT_ONLY),
      events: [
        START,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'Hello' },
        { type: 'close' },
        { type: 'open', block: { kind: 'reasoning', redacted: false } },
        { type: 'signature', signature: { vendor: 'gemini', value: 'bGF0ZQ==' } },
        { type: 'close' },
        { type: 'finish', stop: { reason: 'max_tokens', sequence: null }, usage: READ },
      ],
    },
    {
      name: 'an error in the middle',
      bytes: Buffer.from(
        data(chunk({ parts: [{ text: 'Hel' }], usage: FIRST })) +
          data({ error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } }) +
          data(chunk({ parts: [{ text: 'lo' }] })),
      ),
      events: [
        START,
        { type: 'open', block: { kind: 'text' } },
        { type: 'delta', text: 'Hel' },
        { type: 'error', error: { kind: 'overloaded', message: 'The model is overloaded.' } },
      ],
    },
  ],
  requests: [
    {
      contents: [
        { role: 'user', parts: [{ text: 'hi' }, { inlineData: { mimeType: 'image/png', data: 'AAAA' } }] },
        {
          role: 'model',
          parts: [
            { text: 'Hm', thought: true },
            { functionCall: { id: 'fc-1', name: 'look', args: { at: 1 } }, thoughtSignature: 'c2ln' },
          ],
        },
        { role: 'user', parts: [{ functionResponse: { id: 'fc-1', name: 'look', response: { output: 'it' } } }] },
      ],
      systemInstruction: { parts: [{ text: 'Be brief.' }], role: 'user' },
      tools: [{ functionDeclarations: [{ name: 'look', parametersJsonSchema: { type: 'object', properties: {} } }] }],
      toolConfig: { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['look'] } },
      generationConfig: {
        temperature: 1,
        maxOutputTokens: 100,
        stopSequences: ['x'],
        responseMimeType: 'application/json',
        responseJsonSchema: { type: 'OBJECT', properties: { a: { type: 'STRING' } } },
        thinkingConfig: { includeThoughts: true, thinkingLevel: 'HIGH' },
      },
    },
    {
      contents: [{ parts: [{ text: 'hi' }] }],
      system_instruction: { parts: [{ text: 'Be brief.' }] },
      tools: [{ function_declarations: [{ name: 'look', parameters: { type: 'OBJECT', nullable: true } }] }],
      generation_config: { max_output_tokens: 7, thinking_config: { thinking_budget: 0 } },
    },
  ].map((request) => Buffer.from(JSON.stringify(request))),
  answers: [
    chunk({ parts: [{ text: 'Hello' }], finishReason: 'STOP', usage: COUNTED }),
    [chunk({ parts: [{ functionCall: { name: 'look' } }] }), chunk({ finishReason: 'STOP' })],
    { error: { code: 400, message: 'API key not valid.', status: 'INVALID_ARGUMENT', details: [] } },
    [{ error: { code: 429, message: 'Quota exceeded.', status: 'RESOURCE_EXHAUSTED' } }],
  ].map((answer) => Buffer.from(JSON.stringify(answer))),
}

import { type Client, clientLines } from '../../src/cli/client-lines.ts'
import { anthropicSdk, googleSdk, openaiSdk } from './install.ts'

// The packages are not there when types are checked, so what they export is untyped here.
// biome-ignore lint/suspicious/noExplicitAny: untyped on purpose
type Untyped = any

const { default: Anthropic }: Untyped = await import(await anthropicSdk())
const { default: OpenAI }: Untyped = await import(await openaiSdk())
const { GoogleGenAI }: Untyped = await import(await googleSdk())

/** The tool that each client brings, and what its result is. */
export const TOOL = {
  name: 'get_weather',
  description: 'Tells the weather',
  schema: {
    type: 'object',
    properties: { city: { type: 'string' }, days: { type: 'array', items: { type: 'integer' } } },
    required: ['city'],
  },
  result: 'rain until noon',
}
/** What a structured answer has to look like. */
export const SHAPE = {
  type: 'object',
  properties: { city: { type: 'string' }, wet: { type: 'boolean' } },
  required: ['city', 'wet'],
  additionalProperties: false,
}
/** A red pixel. */
export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=='

/** What a call of a tool that a model made came to. */
export interface ToolTurn {
  calls: { name: string; input: unknown }[]
  /** What the model said after it got the result. */
  text: string
}

/** An SDK as its users use it. Each takes the first answer that it gets. */
export interface Sdk {
  /** The model that it asks for. */
  model: string
  create(prompt: string): Promise<string>
  /** Text, piece by piece. It throws where the SDK does. */
  stream(prompt: string, signal?: AbortSignal): AsyncIterable<string>
  /** Calls once for a call of the tool, and once more with its result; the first as a stream. */
  toolTurn(prompt: string): Promise<ToolTurn>
  image(prompt: string): Promise<string>
  /** An answer in the form of SHAPE, parsed. */
  structured(prompt: string): Promise<unknown>
  /** The status of what it raised. */
  statusOf(error: unknown): number | undefined
}

export type SdkName = 'anthropic' | 'openai chat' | 'openai responses' | 'google'

/** All at one gateway, with one key each. */
export const SDKS: Record<SdkName, (url: string, key: string) => Sdk> = {
  anthropic: anthropicAt,
  'openai chat': openaiChatAt,
  'openai responses': openaiResponsesAt,
  google: googleAt,
}

/** Makes an SDK's client where the lines of `subgate env` have been said. */
function fromLines(client: Client, url: string, key: string, make: () => Untyped): Untyped {
  for (const line of clientLines(client, url, key)) {
    const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? []
    if (name) process.env[name] = value
  }
  return make()
}

const statusOf = (error: unknown) => (error as { status?: number }).status

function anthropicAt(url: string, key: string): Sdk {
  const client = fromLines('claude-code', url, key, () => new Anthropic({ apiKey: null, maxRetries: 0 }))
  const model = 'claude-sonnet-5-5'
  const asked = { model, max_tokens: 1024 }
  const user = (content: unknown) => ({ role: 'user', content })
  const textOf = (message: Untyped) => message.content.map(({ text = '' }: Untyped) => text).join('')
  return {
    model,
    statusOf,
    create: async (prompt) => textOf(await client.messages.create({ ...asked, messages: [user(prompt)] })),
    async *stream(prompt, signal) {
      const request = { ...asked, messages: [user(prompt)], stream: true }
      for await (const event of await client.messages.create(request, { signal }))
        if (event.type === 'content_block_delta') yield event.delta.text ?? ''
    },
    async toolTurn(prompt) {
      const { name, description, schema } = TOOL
      const tools = [{ name, description, input_schema: schema }]
      const messages = [user(prompt)]
      const first = await client.messages.stream({ ...asked, tools, messages }).finalMessage()
      const calls = first.content.filter(({ type }: Untyped) => type === 'tool_use')
      const results = calls.map(({ id }: Untyped) => ({ type: 'tool_result', tool_use_id: id, content: TOOL.result }))
      const turns = [...messages, { role: 'assistant', content: first.content }, user(results)]
      const second = await client.messages.create({ ...asked, tools, messages: turns })
      return { calls: calls.map(({ name, input }: Untyped) => ({ name, input })), text: textOf(second) }
    },
    async image(prompt) {
      const source = { type: 'base64', media_type: 'image/png', data: PNG }
      const content = [
        { type: 'image', source },
        { type: 'text', text: prompt },
      ]
      return textOf(await client.messages.create({ ...asked, messages: [user(content)] }))
    },
    async structured(prompt) {
      const output_config = { format: { type: 'json_schema', schema: SHAPE } }
      return JSON.parse(textOf(await client.messages.create({ ...asked, output_config, messages: [user(prompt)] })))
    },
  }
}

function openaiChatAt(url: string, key: string): Sdk {
  const client = fromLines('openai', url, key, () => new OpenAI({ maxRetries: 0 }))
  const model = 'gpt-6.1-sol'
  const asked = { model }
  const user = (content: unknown) => ({ role: 'user', content })
  const textOf = ({ choices: [choice] }: Untyped) => choice.message.content
  return {
    model,
    statusOf,
    create: async (prompt) => textOf(await client.chat.completions.create({ ...asked, messages: [user(prompt)] })),
    async *stream(prompt, signal) {
      const request = { ...asked, messages: [user(prompt)], stream: true }
      for await (const { choices } of await client.chat.completions.create(request, { signal }))
        yield choices[0]?.delta.content ?? ''
    },
    async toolTurn(prompt) {
      const { name, description, schema } = TOOL
      const tools = [{ type: 'function', function: { name, description, parameters: schema } }]
      const messages = [{ role: 'system', content: 'Be short.' }, user(prompt)]
      const first = await client.chat.completions.stream({ ...asked, tools, messages }).finalMessage()
      const results = first.tool_calls.map(({ id }: Untyped) => ({
        role: 'tool',
        tool_call_id: id,
        content: TOOL.result,
      }))
      const second = await client.chat.completions.create({
        ...asked,
        tools,
        messages: [...messages, first, ...results],
      })
      const calls = first.tool_calls.map(({ function: { name, arguments: json } }: Untyped) => ({
        name,
        input: JSON.parse(json),
      }))
      return { calls, text: textOf(second) }
    },
    async image(prompt) {
      const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } }
      const content = [image, { type: 'text', text: prompt }]
      return textOf(await client.chat.completions.create({ ...asked, messages: [user(content)] }))
    },
    async structured(prompt) {
      const response_format = { type: 'json_schema', json_schema: { name: 'report', schema: SHAPE, strict: true } }
      const answer = await client.chat.completions.parse({ ...asked, response_format, messages: [user(prompt)] })
      return answer.choices[0].message.parsed
    },
  }
}

function openaiResponsesAt(url: string, key: string): Sdk {
  const client = fromLines('openai', url, key, () => new OpenAI({ maxRetries: 0 }))
  const model = 'gpt-6.1-sol'
  const asked = { model, store: false }
  return {
    model,
    statusOf,
    create: async (prompt) => (await client.responses.create({ ...asked, input: prompt })).output_text,
    async *stream(prompt, signal) {
      const request = { ...asked, input: prompt, stream: true }
      for await (const event of await client.responses.create(request, { signal }))
        if (event.type === 'response.output_text.delta') yield event.delta
    },
    async toolTurn(prompt) {
      const { name, description, schema } = TOOL
      const tools = [{ type: 'function', name, description, parameters: schema, strict: false }]
      const input = [{ role: 'user', content: prompt }]
      const instructions = 'Be short.'
      const first = await client.responses.stream({ ...asked, instructions, tools, input }).finalResponse()
      const made = first.output.filter(({ type }: Untyped) => type === 'function_call')
      const results = made.map(({ call_id }: Untyped) => ({
        type: 'function_call_output',
        call_id,
        output: TOOL.result,
      }))
      const turns = [...input, ...first.output, ...results]
      const second = await client.responses.create({ ...asked, instructions, tools, input: turns })
      const calls = made.map(({ name, arguments: json }: Untyped) => ({ name, input: JSON.parse(json) }))
      return { calls, text: second.output_text }
    },
    async image(prompt) {
      const image = { type: 'input_image', image_url: `data:image/png;base64,${PNG}`, detail: 'auto' }
      const content = [image, { type: 'input_text', text: prompt }]
      return (await client.responses.create({ ...asked, input: [{ role: 'user', content }] })).output_text
    },
    async structured(prompt) {
      const text = { format: { type: 'json_schema', name: 'report', schema: SHAPE, strict: true } }
      return (await client.responses.parse({ ...asked, input: prompt, text })).output_parsed
    },
  }
}

function googleAt(url: string, key: string): Sdk {
  const { models } = fromLines('gemini-cli', url, key, () => new GoogleGenAI({ vertexai: false }))
  const model = 'gemini-3.8-flash'
  return {
    model,
    statusOf,
    create: async (contents) => (await models.generateContent({ model, contents })).text,
    async *stream(contents, abortSignal) {
      for await (const { text } of await models.generateContentStream({ model, contents, config: { abortSignal } }))
        yield text ?? ''
    },
    async toolTurn(prompt) {
      const { name, description, schema } = TOOL
      const tools = [{ functionDeclarations: [{ name, description, parametersJsonSchema: schema }] }]
      const config = { tools, systemInstruction: 'Be short.' }
      const turns: Untyped[] = [{ role: 'user', parts: [{ text: prompt }] }]
      const parts: Untyped[] = []
      for await (const chunk of await models.generateContentStream({ model, contents: turns, config }))
        parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []))
      const made = parts.flatMap(({ functionCall }) => functionCall ?? [])
      const results = made.map(({ id, name }) => ({
        functionResponse: { id, name, response: { output: TOOL.result } },
      }))
      const contents = [...turns, { role: 'model', parts }, { role: 'user', parts: results }]
      const { text } = await models.generateContent({ model, contents, config })
      return { calls: made.map(({ name, args }) => ({ name, input: args })), text }
    },
    async image(prompt) {
      const parts = [{ inlineData: { mimeType: 'image/png', data: PNG } }, { text: prompt }]
      return (await models.generateContent({ model, contents: [{ role: 'user', parts }] })).text
    },
    async structured(contents) {
      const config = { responseMimeType: 'application/json', responseJsonSchema: SHAPE }
      return JSON.parse((await models.generateContent({ model, contents, config })).text)
    },
  }
}

import type { EncodedRequest, Target } from '../codec.ts'
import { badField } from '../fields.ts'
import type {
  AssistantBlock,
  JsonObject,
  MediaBlock,
  NeutralRequest,
  OutputFormat,
  Tool,
  ToolChoice,
  ToolResultBlock,
  Turn,
  UserBlock,
} from '../neutral.ts'
import { isImage, urlOf } from '../openai/media.ts'
import { effortOf, jsonSchemaOut } from '../openai/settings.ts'
import { customParameters } from '../tool-inputs.ts'
import { COMMON_NAMES, ToolNames } from '../tool-names.ts'
import { pairedTurns } from '../turns.ts'

/** More are refused. */
const STOPS_MAX = 4

/** A request in OpenAI's Chat Completions format, as most compatible vendors read it: without tools of free text, and thoughts stay at home. */
export function encodeChatRequest(request: NeutralRequest, { model }: Target): EncodedRequest {
  const names = new ToolNames(request.tools, COMMON_NAMES)
  const dropped = new Set<string>()
  const messages: JsonObject[] = request.system.map((content) => ({ role: 'system', content }))
  for (const turn of pairedTurns(request.turns)) messages.push(...messagesOf(turn, names, dropped))
  const tools = request.tools.flatMap((tool) => toolOf(tool, names, dropped))
  if (request.stopSequences.length > STOPS_MAX) throw badField('stop', `this vendor takes ${STOPS_MAX} at most`)
  if (request.topK !== null) dropped.add('top_k')
  const effort = request.reasoning && effortOf(request.reasoning)
  const body = {
    model,
    messages,
    stream: request.stream,
    ...(request.stream && { stream_options: { include_usage: true } }),
    ...(tools.length > 0 && { tools, ...choiceOf(request, names) }),
    ...given({
      max_completion_tokens: request.maxOutputTokens,
      temperature: request.temperature,
      top_p: request.topP,
      seed: request.seed,
      verbosity: request.verbosity,
      prompt_cache_key: request.cacheKey,
      reasoning_effort: effort,
      response_format: formatOf(request.outputFormat),
      stop: request.stopSequences.length > 0 ? request.stopSequences : null,
    }),
  }
  return { body: Buffer.from(JSON.stringify(body)), dropped: [...dropped], names }
}

function given(settings: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null))
}

function messagesOf(turn: Turn, names: ToolNames, dropped: Set<string>): JsonObject[] {
  switch (turn.role) {
    case 'system':
      return [{ role: 'system', content: contentOf(turn.content.map(partOf)) }]
    case 'user':
      return userMessages(turn.content)
    case 'assistant':
      return assistantMessages(turn.content, names, dropped)
  }
}

/** Results each have a message, and can be text only: what tools show besides is the user's to show. */
function userMessages(content: UserBlock[]): JsonObject[] {
  const messages: JsonObject[] = []
  const parts: JsonObject[] = []
  for (const block of content) {
    if (block.kind !== 'tool_result') continue
    messages.push({ role: 'tool', tool_call_id: block.callId, content: contentOf(resultParts(block)) })
    for (const shown of block.content) if (shown.kind === 'media') parts.push(mediaPart(shown))
  }
  for (const block of content) if (block.kind !== 'tool_result') parts.push(partOf(block))
  if (parts.length > 0) messages.push({ role: 'user', content: contentOf(parts) })
  return messages
}

function resultParts({ content, isError }: ToolResultBlock): JsonObject[] {
  const texts = content.flatMap((block) => (block.kind === 'text' ? [block.text] : []))
  if (content.length > texts.length) texts.push('[shown in the next message]')
  if (isError) texts[0] = `Error: ${texts[0] ?? ''}`
  return texts.map((text) => ({ type: 'text', text }))
}

function assistantMessages(content: AssistantBlock[], names: ToolNames, dropped: Set<string>): JsonObject[] {
  const parts: JsonObject[] = []
  const calls: JsonObject[] = []
  for (const block of content) {
    if (block.kind === 'reasoning') dropped.add('reasoning')
    else if (block.kind === 'media') dropped.add('media of the model')
    else if (block.kind === 'text') parts.push(partOf(block))
    else {
      const input = block.tool === 'custom' ? JSON.stringify({ input: block.input }) : block.input || '{}'
      const fn = { name: names.wireName(block.namespace, block.name), arguments: input }
      calls.push({ id: block.id, type: 'function', function: fn })
    }
  }
  if (parts.length === 0 && calls.length === 0) return []
  const said = parts.length > 0 ? contentOf(parts) : null
  return [{ role: 'assistant', content: said, ...(calls.length > 0 && { tool_calls: calls }) }]
}

/** A text alone is written as such: not every compatible vendor reads lists. */
function contentOf(parts: JsonObject[]): string | JsonObject[] {
  const [only] = parts
  if (parts.length === 0) return ''
  return parts.length === 1 && only?.type === 'text' ? (only.text as string) : parts
}

function partOf(block: Exclude<UserBlock, ToolResultBlock>): JsonObject {
  return block.kind === 'text' ? { type: 'text', text: block.text } : mediaPart(block)
}

function mediaPart(block: MediaBlock): JsonObject {
  const { mediaType, source, name, detail } = block
  if (isImage(block)) return { type: 'image_url', image_url: { url: urlOf(block), ...(detail && { detail }) } }
  if (source.kind === 'url') {
    throw badField('messages', `a document at a URL cannot be sent to this model: send its bytes`)
  }
  const type = mediaType ?? 'application/octet-stream'
  const format = /^audio\/(?:x-)?(wav|mp3|mpeg)$/.exec(type)?.[1]
  if (format)
    return { type: 'input_audio', input_audio: { data: source.data, format: format === 'mpeg' ? 'mp3' : format } }
  if (type === 'application/pdf')
    return { type: 'file', file: { filename: name ?? 'document.pdf', file_data: urlOf(block) } }
  if (type.startsWith('text/')) {
    const text = Buffer.from(source.data, 'base64').toString('utf8')
    return { type: 'text', text: name === null ? text : `${name}\n${text}` }
  }
  throw badField('messages', `'${type}' cannot be sent to this model: images, sound, PDF and text can`)
}

function toolOf(tool: Tool, names: ToolNames, dropped: Set<string>): JsonObject[] {
  if (tool.kind === 'hosted') {
    dropped.add(`tools.${tool.name}`)
    return []
  }
  const { namespace, name, description } = tool
  const head = { name: names.wireName(namespace, name), ...(description !== null && { description }) }
  if (tool.kind === 'function') {
    const strict = tool.strict === null ? {} : { strict: tool.strict }
    return [{ type: 'function', function: { ...head, parameters: tool.parameters, ...strict } }]
  }
  return [{ type: 'function', function: { ...head, parameters: customParameters(tool) } }]
}

function choiceOf({ toolChoice, parallelToolCalls }: NeutralRequest, names: ToolNames): JsonObject {
  return given({
    tool_choice: toolChoice && chosen(toolChoice, names),
    parallel_tool_calls: parallelToolCalls,
  })
}

function chosen(choice: ToolChoice, names: ToolNames): string | JsonObject {
  switch (choice.kind) {
    case 'auto':
    case 'none':
      return choice.kind
    case 'any':
      return 'required'
    case 'tool':
      return { type: 'function', function: { name: names.wireName(choice.namespace, choice.name) } }
  }
}

function formatOf(format: OutputFormat | null): JsonObject | null {
  if (!format) return null
  if (format.kind === 'json') return { type: 'json_object' }
  return { type: 'json_schema', json_schema: jsonSchemaOut(format) }
}

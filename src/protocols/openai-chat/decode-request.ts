import type { DecodedRequest } from '../codec.ts'
import { badField, Fields } from '../fields.ts'
import {
  type AssistantBlock,
  EFFORTS,
  type JsonObject,
  type NeutralRequest,
  type OutputFormat,
  type TextBlock,
  type Tool,
  type ToolChoice,
  type ToolResultBlock,
  type Turn,
  type UserBlock,
} from '../neutral.ts'
import { fileOf, imageOf } from '../openai/media.ts'
import { jsonSchemaIn } from '../openai/settings.ts'

/** What the client wants of its answer beside its content. */
export interface Asked {
  /** A last chunk that tells the usage. */
  includeUsage: boolean
}

/** What is taken as it is or not at all: without it the client would get something else than it asked for. */
const ONLY_NATIVE = ['logit_bias', 'audio', 'logprobs', 'top_logprobs'] as const

const OLD_FUNCTION_ID = 'call_function'

/** A request in OpenAI's Chat Completions format. */
export function decodeChatRequest(body: Buffer): DecodedRequest {
  const fields = Fields.ofBody(body)
  const dropped = new Set<string>()
  for (const name of ONLY_NATIVE) {
    const value = fields.raw(name)
    if (value !== null && value !== false && value !== 0 && !isEmpty(value)) throw notElsewhere(name)
  }
  if ((fields.number('n') ?? 1) > 1) throw notElsewhere('n')
  const modalities = fields.list('modalities') ?? []
  if (modalities.some((one) => one !== 'text')) throw notElsewhere('modalities')
  const { system, turns } = conversationOf(fields, dropped)
  const { toolChoice, allowed } = toolChoiceOf(fields)
  const tools = toolsOf(fields, dropped).filter(({ name }) => !allowed || allowed.has(name))
  const stop = fields.raw('stop')
  const effort = fields.oneOf('reasoning_effort', EFFORTS)
  const maxTokens = fields.number('max_tokens')
  const request: NeutralRequest = {
    model: fields.requiredText('model'),
    stream: fields.boolean('stream') ?? false,
    system,
    turns,
    tools,
    toolChoice,
    parallelToolCalls: fields.boolean('parallel_tool_calls'),
    maxOutputTokens: fields.number('max_completion_tokens') ?? maxTokens,
    temperature: fields.number('temperature'),
    topP: fields.number('top_p'),
    topK: null,
    seed: fields.number('seed'),
    stopSequences: (Array.isArray(stop) ? stop : stop === null ? [] : [stop]).map(String),
    reasoning: effort === null ? null : { effort, budgetTokens: null, shown: null },
    outputFormat: formatOf(fields.object('response_format')),
    verbosity: fields.oneOf('verbosity', ['low', 'medium', 'high']),
    cacheKey: fields.text('prompt_cache_key'),
    caching: 'implicit',
  }
  const options = fields.object('stream_options')
  const asked: Asked = { includeUsage: options?.boolean('include_usage') ?? false }
  for (const name of fields.left()) dropped.add(name)
  return { request, dropped: [...dropped], asked }
}

/** What the operator said before everybody else, and all that followed. */
function conversationOf(fields: Fields, dropped: Set<string>): { system: string[]; turns: Turn[] } {
  if (!fields.has('messages')) throw badField('messages', 'must be given')
  const system: string[] = []
  const turns: Turn[] = []
  for (const message of fields.objects('messages')) {
    const role = message.oneOf('role', ['system', 'developer', 'user', 'assistant', 'tool', 'function'])
    switch (role) {
      case 'system':
      case 'developer': {
        const content = textsOf(message, dropped)
        if (turns.length === 0) system.push(...content.map(({ text }) => text))
        else if (content.length > 0) turns.push({ role: 'system', content })
        break
      }
      case 'user':
        addUser(turns, userBlocks(message, dropped))
        break
      case 'assistant': {
        const content = assistantBlocks(message, dropped)
        if (content.length > 0) turns.push({ role: 'assistant', content })
        break
      }
      case 'tool':
      case 'function':
        addUser(turns, [resultOf(message, role, dropped)])
        break
      case null:
        throw badField(message.where('role'), 'must be given')
    }
    message.raw('name')
    for (const name of message.left()) dropped.add(name.slice(name.lastIndexOf('.') + 1))
  }
  return { system, turns }
}

/** Results, and what the user says behind them, are one turn. */
function addUser(turns: Turn[], content: UserBlock[]): void {
  const last = turns.at(-1)
  const follows = last?.role === 'user' && last.content.every(({ kind }) => kind === 'tool_result')
  if (follows) last.content.push(...content)
  else if (content.length > 0) turns.push({ role: 'user', content })
}

function textsOf(message: Fields, dropped: Set<string>): TextBlock[] {
  return partsOf(message).flatMap((part) => {
    const type = part.text('type')
    if (type !== 'text') throw unknownPart(part, type)
    return textOf(part, dropped)
  })
}

/** The content's parts; a text alone is one. */
function partsOf(message: Fields): Fields[] {
  const value = message.raw('content')
  if (typeof value !== 'string') return message.objects('content')
  return [new Fields({ type: 'text', text: value }, message.where('content'))]
}

function textOf(part: Fields, dropped: Set<string>): TextBlock[] {
  const text = part.requiredText('text')
  noteLeft(part, dropped)
  return text === '' ? [] : [{ kind: 'text', text }]
}

function userBlocks(message: Fields, dropped: Set<string>): UserBlock[] {
  return partsOf(message).flatMap((part): UserBlock[] => {
    const type = part.text('type')
    switch (type) {
      case 'text':
        return textOf(part, dropped)
      case 'image_url': {
        const image = part.object('image_url')
        if (!image) throw badField(part.where('image_url'), 'must be given')
        noteLeft(part, dropped)
        return [imageOf(image.requiredText('url'), image.text('detail'), image.where('url'))]
      }
      case 'input_audio': {
        const audio = part.object('input_audio')
        if (!audio) throw badField(part.where('input_audio'), 'must be given')
        const mediaType = `audio/${audio.requiredText('format')}`
        const source = { kind: 'base64' as const, data: audio.requiredText('data') }
        return [{ kind: 'media', mediaType, source, name: null, detail: null }]
      }
      case 'file': {
        const file = part.object('file')
        if (!file) throw badField(part.where('file'), 'must be given')
        return [fileOf(file)]
      }
      default:
        throw unknownPart(part, type)
    }
  })
}

function assistantBlocks(message: Fields, dropped: Set<string>): AssistantBlock[] {
  if (message.has('audio')) throw notElsewhere(message.where('audio'))
  const blocks: AssistantBlock[] = []
  const thoughts = message.text('reasoning_content') ?? message.text('reasoning')
  if (thoughts) blocks.push({ kind: 'reasoning', text: thoughts, signature: null, redacted: false })
  for (const part of partsOf(message)) {
    const type = part.text('type')
    if (type === 'text') blocks.push(...textOf(part, dropped))
    else if (type === 'refusal') blocks.push({ kind: 'text', text: part.requiredText('refusal') })
    else throw unknownPart(part, type)
  }
  const refusal = message.text('refusal')
  if (refusal) blocks.push({ kind: 'text', text: refusal })
  for (const call of message.objects('tool_calls')) blocks.push(callOf(call))
  const old = message.object('function_call')
  if (old) blocks.push(functionCall(OLD_FUNCTION_ID, old))
  return blocks
}

function callOf(call: Fields): AssistantBlock {
  const id = call.requiredText('id')
  const custom = call.object('custom')
  if (custom) {
    const [name, input] = [custom.requiredText('name'), custom.text('input') ?? '']
    return { kind: 'tool_call', id, namespace: null, name, tool: 'custom', input }
  }
  const fn = call.object('function')
  if (!fn) throw badField(call.where('function'), 'must be given')
  return functionCall(id, fn)
}

function functionCall(id: string, fn: Fields): AssistantBlock {
  const [name, input] = [fn.requiredText('name'), fn.text('arguments') ?? '']
  return { kind: 'tool_call', id, namespace: null, name, tool: 'function', input }
}

function resultOf(message: Fields, role: 'tool' | 'function', dropped: Set<string>): ToolResultBlock {
  const callId = role === 'tool' ? message.requiredText('tool_call_id') : OLD_FUNCTION_ID
  return { kind: 'tool_result', callId, content: textsOf(message, dropped), isError: false }
}

function toolsOf(fields: Fields, dropped: Set<string>): Tool[] {
  const tools = fields.objects('tools').flatMap((tool): Tool[] => {
    const type = tool.text('type')
    const own = type === 'custom' ? tool.object('custom') : type === 'function' ? tool.object('function') : null
    if (!own) throw badField(tool.where('type'), `'${type}' is no tool that can be offered elsewhere`)
    return [type === 'custom' ? customTool(own, dropped) : functionTool(own, dropped)]
  })
  const old = fields.objects('functions').map((fn) => functionTool(fn, dropped))
  const search = fields.json('web_search_options')
  return [...tools, ...old, ...(search ? [{ kind: 'hosted' as const, name: 'web_search', settings: search }] : [])]
}

function functionTool(fn: Fields, dropped: Set<string>): Tool {
  const tool: Tool = {
    kind: 'function',
    namespace: null,
    name: fn.requiredText('name'),
    description: fn.text('description'),
    parameters: fn.json('parameters') ?? { type: 'object', properties: {} },
    strict: fn.boolean('strict'),
    deferred: false,
  }
  noteLeft(fn, dropped)
  return tool
}

function customTool(custom: Fields, dropped: Set<string>): Tool {
  const format = custom.object('format')
  const grammar = format?.json('grammar') ?? null
  const tool: Tool = {
    kind: 'custom',
    namespace: null,
    name: custom.requiredText('name'),
    description: custom.text('description'),
    format: grammar === null ? null : { type: 'grammar', ...grammar },
  }
  noteLeft(custom, dropped)
  return tool
}

/** Where only some tools are allowed the others are not offered at all. */
function toolChoiceOf(fields: Fields): { toolChoice: ToolChoice | null; allowed: Set<string> | null } {
  const value = fields.raw('tool_choice') ?? fields.raw('function_call')
  if (value === null) return { toolChoice: null, allowed: null }
  if (typeof value === 'string') return { toolChoice: modeOf(value, 'tool_choice'), allowed: null }
  const choice = new Fields(value, 'tool_choice')
  const some = choice.object('allowed_tools')
  if (some) {
    const names = some.objects('tools').map((tool) => nameIn(tool))
    return { toolChoice: modeOf(some.text('mode') ?? 'auto', some.where('mode')), allowed: new Set(names) }
  }
  return { toolChoice: { kind: 'tool', namespace: null, name: nameIn(choice) }, allowed: null }
}

/** The tool that a choice names: old ones without saying of what kind it is. */
function nameIn(choice: Fields): string {
  return (choice.object('function') ?? choice.object('custom') ?? choice).requiredText('name')
}

function modeOf(mode: string, where: string): ToolChoice {
  switch (mode) {
    case 'auto':
    case 'none':
      return { kind: mode }
    case 'required':
      return { kind: 'any' }
    default:
      throw badField(where, 'must be one of auto, none, required, or name a tool')
  }
}

function formatOf(format: Fields | null): OutputFormat | null {
  const type = format?.oneOf('type', ['text', 'json_object', 'json_schema']) ?? 'text'
  if (!format || type === 'text') return null
  if (type === 'json_object') return { kind: 'json' }
  const described = format.object('json_schema')
  if (!described) throw badField(format.where('json_schema'), 'must be given')
  return jsonSchemaIn(described)
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && Object.keys(value as JsonObject).length === 0
}

/** A part's fields that nobody asked for, by their names alone, as there may be hundreds. */
function noteLeft(part: Fields, dropped: Set<string>): void {
  for (const name of part.left()) dropped.add(name.slice(name.lastIndexOf('.') + 1))
}

function notElsewhere(where: string): Error {
  return badField(where, 'can only be had from the vendor of this API, and this call goes elsewhere')
}

function unknownPart(part: Fields, type: string | null): Error {
  return badField(part.where('type'), `'${type}' cannot be said to the vendor that this call goes to`)
}

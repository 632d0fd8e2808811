import type { DecodedRequest } from '../codec.ts'
import { isAttribution } from '../conversation.ts'
import { badField, Fields } from '../fields.ts'
import { unwrappedSignature } from '../foreign-signature.ts'
import type {
  AssistantBlock,
  Effort,
  MediaBlock,
  NeutralRequest,
  OutputFormat,
  ReasoningBlock,
  ReasoningWish,
  TextBlock,
  Tool,
  ToolChoice,
  ToolResultBlock,
  Turn,
  UserBlock,
} from '../neutral.ts'

/** Stands in for tools that Claude Code has not loaded yet; it is never called. */
const PLACEHOLDER_TOOL = 'DeferredToolPlaceholder'

/** What only works at the account that the client has in mind. */
const BOUND = ['container', 'mcp_servers'] as const

/** Blocks that tell of tools that Anthropic runs itself; what came of them stands in the text that follows. */
const VENDOR_TOOL_BLOCK = /^server_tool_use$|_tool_result$/

/** A request in Anthropic's Messages format. Its fields are an open list: what is new is dropped by name, not refused. */
export function decodeMessagesRequest(body: Buffer): DecodedRequest {
  const fields = Fields.ofBody(body)
  const dropped = new Set<string>()
  for (const name of BOUND) {
    if (fields.has(name)) throw badField(name, 'lives on one account of Anthropic’s, and this call goes elsewhere')
  }
  const { turns, effort } = turnsOf(fields, dropped)
  const output = fields.object('output_config')
  const effortOfAll = effortOf(output)
  const { toolChoice, parallelToolCalls } = toolChoiceOf(fields.object('tool_choice'))
  const request: NeutralRequest = {
    model: fields.requiredText('model'),
    stream: fields.boolean('stream') ?? false,
    system: textsOf(fields, 'system', dropped).filter((text) => !isAttribution(text)),
    turns,
    tools: fields.objects('tools').flatMap((tool) => toolOf(tool, dropped)),
    toolChoice,
    parallelToolCalls,
    maxOutputTokens: fields.number('max_tokens'),
    temperature: fields.number('temperature'),
    topP: fields.number('top_p'),
    topK: fields.number('top_k'),
    seed: null,
    stopSequences: fields.texts('stop_sequences'),
    reasoning: reasoningOf(fields.object('thinking'), effort ?? effortOfAll),
    outputFormat: formatOf(output),
    verbosity: null,
    cacheKey: null,
    caching: 'explicit',
  }
  for (const name of [...fields.left(), ...(output?.left() ?? [])]) dropped.add(name)
  return { request, dropped: [...dropped], asked: null }
}

/** What the messages say, and the effort that the last of them asks for. */
function turnsOf(fields: Fields, dropped: Set<string>): { turns: Turn[]; effort: Effort | null } {
  if (!fields.has('messages')) throw badField('messages', 'must be given')
  let effort: Effort | null = null
  const turns: Turn[] = []
  for (const message of fields.objects('messages')) {
    effort = effortOf(message.object('output_config')) ?? effort
    const turn = turnOf(message, dropped)
    if (turn.content.length > 0) turns.push(turn)
    for (const name of message.left()) dropped.add(name)
  }
  return { turns, effort }
}

function turnOf(message: Fields, dropped: Set<string>): Turn {
  const role = message.oneOf('role', ['user', 'assistant', 'system'])
  const blocks = blocksOf(message, 'content')
  switch (role) {
    case 'user':
      return { role, content: blocks.flatMap((block) => userBlocks(block, dropped)) }
    case 'assistant':
      return { role, content: blocks.flatMap((block) => assistantBlocks(block, dropped)) }
    case 'system':
      return { role, content: blocks.flatMap((block) => textBlock(block, dropped)) }
    case null:
      throw badField(message.where('role'), 'must be given')
  }
}

/** A list of blocks; a text alone is one. */
function blocksOf(fields: Fields, name: string): Fields[] {
  const value = fields.raw(name)
  if (typeof value !== 'string') return fields.objects(name)
  return [new Fields({ type: 'text', text: value }, fields.where(name))]
}

function textsOf(fields: Fields, name: string, dropped: Set<string>): string[] {
  return blocksOf(fields, name)
    .flatMap((block) => textBlock(block, dropped))
    .map(({ text }) => text)
}

function textBlock(block: Fields, dropped: Set<string>): TextBlock[] {
  const type = block.text('type')
  if (type !== 'text') throw unknownBlock(block, type)
  const text = block.requiredText('text')
  noteLeft(block, dropped)
  return text === '' ? [] : [{ kind: 'text', text }]
}

function userBlocks(block: Fields, dropped: Set<string>): UserBlock[] {
  const type = block.text('type')
  switch (type) {
    case 'text':
      return textBlock(block, dropped)
    case 'tool_result': {
      const result: ToolResultBlock = {
        kind: 'tool_result',
        callId: block.requiredText('tool_use_id'),
        content: blocksOf(block, 'content').flatMap((part) => shownBlocks(part, dropped)),
        isError: block.boolean('is_error') ?? false,
      }
      noteLeft(block, dropped)
      return [result]
    }
    default:
      return shownBlocks(block, dropped)
  }
}

/** What users and tools can show. */
function shownBlocks(block: Fields, dropped: Set<string>): (TextBlock | MediaBlock)[] {
  const type = block.text('type')
  switch (type) {
    case 'text':
      return textBlock(block, dropped)
    case 'image':
    case 'document':
      return documentBlocks(block, type, dropped)
    case 'search_result': {
      const head = [block.text('title'), block.text('source')].filter(Boolean)
      const text = [...head, ...textsOf(block, 'content', dropped)].join('\n')
      noteLeft(block, dropped)
      return text === '' ? [] : [{ kind: 'text', text }]
    }
    case 'tool_reference':
      return [{ kind: 'text', text: `The tool ${block.requiredText('tool_name')} is now available.` }]
    default:
      throw unknownBlock(block, type)
  }
}

function documentBlocks(block: Fields, type: 'image' | 'document', dropped: Set<string>): (TextBlock | MediaBlock)[] {
  const source = block.object('source')
  if (!source) throw badField(block.where('source'), 'must be given')
  const media: Omit<MediaBlock, 'mediaType' | 'source'> = { kind: 'media', name: block.text('title'), detail: null }
  const context = block.text('context')
  const about: TextBlock[] = context ? [{ kind: 'text', text: context }] : []
  noteLeft(block, dropped)
  const mediaType = source.text('media_type')
  switch (source.text('type')) {
    case 'base64':
      return [{ ...media, mediaType, source: { kind: 'base64', data: source.requiredText('data') } }, ...about]
    case 'text': {
      const data = Buffer.from(source.requiredText('data')).toString('base64')
      return [{ ...media, mediaType: mediaType ?? 'text/plain', source: { kind: 'base64', data } }, ...about]
    }
    case 'url': {
      const url = source.requiredText('url')
      return [
        { ...media, mediaType: type === 'document' ? 'application/pdf' : null, source: { kind: 'url', url } },
        ...about,
      ]
    }
    case 'content':
      return [...blocksOf(source, 'content').flatMap((part) => shownBlocks(part, dropped)), ...about]
    default:
      throw badField(source.where('type'), 'names a file that lives on one account, and this call goes elsewhere')
  }
}

function assistantBlocks(block: Fields, dropped: Set<string>): AssistantBlock[] {
  const type = block.text('type')
  switch (type) {
    case 'text':
      return textBlock(block, dropped)
    case 'thinking': {
      const signature = block.text('signature')
      const reasoning: ReasoningBlock = {
        kind: 'reasoning',
        text: block.text('thinking') ?? '',
        signature: signature ? unwrappedSignature(signature, 'anthropic') : null,
        redacted: false,
      }
      return [reasoning]
    }
    case 'redacted_thinking': {
      const signature = unwrappedSignature(block.requiredText('data'), 'anthropic')
      return [{ kind: 'reasoning', text: '', signature, redacted: true }]
    }
    case 'tool_use': {
      const input = JSON.stringify(block.json('input') ?? {})
      const [id, name] = [block.requiredText('id'), block.requiredText('name')]
      block.raw('caller')
      noteLeft(block, dropped)
      return [{ kind: 'tool_call', id, namespace: null, name, tool: 'function', input }]
    }
    default:
      if (!VENDOR_TOOL_BLOCK.test(type ?? '')) return shownBlocks(block, dropped) as AssistantBlock[]
      dropped.add(type as string)
      return []
  }
}

function toolOf(tool: Fields, dropped: Set<string>): Tool[] {
  const type = tool.text('type')
  const name = tool.requiredText('name')
  if (name === PLACEHOLDER_TOOL) return []
  if (type !== null && type !== 'custom') {
    return [{ kind: 'hosted', name: type.replace(/_\d{8}$/, ''), settings: tool.value }]
  }
  const own: Tool = {
    kind: 'function',
    namespace: null,
    name,
    description: tool.text('description'),
    parameters: tool.json('input_schema') ?? { type: 'object', properties: {} },
    strict: tool.boolean('strict'),
    deferred: tool.boolean('defer_loading') ?? false,
  }
  noteLeft(tool, dropped)
  return [own]
}

function toolChoiceOf(choice: Fields | null): { toolChoice: ToolChoice | null; parallelToolCalls: boolean | null } {
  if (!choice) return { toolChoice: null, parallelToolCalls: null }
  const isDisabled = choice.boolean('disable_parallel_tool_use')
  const parallelToolCalls = isDisabled === null ? null : !isDisabled
  const kind = choice.oneOf('type', ['auto', 'any', 'none', 'tool']) ?? 'auto'
  const toolChoice: ToolChoice =
    kind === 'tool' ? { kind, namespace: null, name: choice.requiredText('name') } : { kind }
  return { toolChoice, parallelToolCalls }
}

function reasoningOf(thinking: Fields | null, effort: Effort | null): ReasoningWish | null {
  const type = thinking?.text('type') ?? null
  if (type === 'disabled') return { effort: 'none', budgetTokens: null, shown: null }
  if (type === null && effort === null) return null
  const display = thinking?.text('display') ?? null
  return {
    effort,
    budgetTokens: thinking?.number('budget_tokens') ?? null,
    shown: display === null ? null : display !== 'omitted',
  }
}

function effortOf(output: Fields | null): Effort | null {
  return output?.oneOf('effort', ['low', 'medium', 'high', 'xhigh', 'max']) ?? null
}

function formatOf(output: Fields | null): OutputFormat | null {
  const format = output?.object('format')
  if (!format) return null
  format.oneOf('type', ['json_schema'])
  return { kind: 'json_schema', name: null, schema: format.json('schema') ?? {}, strict: null }
}

/** Marks for a cache and the like: a block's fields that nobody asked for, by their names alone, as there may be hundreds. */
function noteLeft(block: Fields, dropped: Set<string>): void {
  for (const name of block.left()) dropped.add(name.slice(name.lastIndexOf('.') + 1))
}

function unknownBlock(block: Fields, type: string | null): Error {
  return badField(block.where('type'), `'${type}' cannot be said to the vendor that this call goes to`)
}

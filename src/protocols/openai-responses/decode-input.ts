import { badField, Fields } from '../fields.ts'
import { isRedacted, unwrappedSignature } from '../foreign-signature.ts'
import type {
  AssistantBlock,
  MediaBlock,
  ReasoningBlock,
  TextBlock,
  ToolCallBlock,
  Turn,
  UserBlock,
} from '../neutral.ts'
import type { Dropped } from '../openai/dropped.ts'
import { fileOf, imageOf, refuseStored } from '../openai/media.ts'
import { LOCAL_SHELL, TOOL_SEARCH } from './decode-tools.ts'

/** What stands in `input` beside words. */
export interface DecodedInput {
  system: string[]
  turns: Turn[]
  /** In the order in which they came. */
  tools: Fields[]
  /** Changes of settings, which hold from there on. */
  updates: Fields[]
}

/** What the vendor did by itself on the way; the words that it came to are there. */
const DONE_BY_THE_VENDOR: ReadonlySet<string> = new Set([
  'web_search_call',
  'file_search_call',
  'code_interpreter_call',
  'mcp_list_tools',
  'mcp_call',
])

/** Items that mean something to OpenAI alone: a conversation would lose what they stand for. */
const ONLY_OPENAI: Record<string, string> = {
  item_reference: 'what it refers to is stored at OpenAI',
  compaction: 'only OpenAI can read what was compacted there',
  compaction_trigger: 'only OpenAI compacts conversations in this way',
}

/** The conversation in the request's `input`. Throws `invalid_request` that names the item. */
export function decodeInput(request: Fields, dropped: Dropped): DecodedInput {
  const input = new InputReader(dropped)
  const raw = request.raw('input')
  if (typeof raw === 'string') input.say('user', textBlocks(raw))
  else {
    const where = request.where('input')
    if (raw !== null && !Array.isArray(raw)) throw badField(where, 'must be a text or a list')
    for (const [index, item] of (raw ?? []).entries()) input.read(new Fields(item, `${where}.${index}`))
  }
  return input
}

class InputReader implements DecodedInput {
  readonly system: string[] = []
  readonly turns: Turn[] = []
  readonly tools: Fields[] = []
  readonly updates: Fields[] = []
  readonly #dropped: Dropped

  constructor(dropped: Dropped) {
    this.#dropped = dropped
  }

  read(item: Fields): void {
    const type = item.text('type') ?? (item.has('role') ? 'message' : 'item_reference')
    item.raw('id')
    item.raw('status') // neither tells anything that the item does not
    switch (type) {
      case 'message':
        this.#readMessage(item)
        break
      case 'reasoning':
        this.say('assistant', reasoningIn(item, this.#dropped))
        break
      case 'function_call':
        this.say('assistant', [callIn(item, 'function', item.text('arguments') ?? '')])
        break
      case 'custom_tool_call':
        this.say('assistant', [callIn(item, 'custom', item.text('input') ?? '')])
        break
      case 'local_shell_call':
        this.say('assistant', [ownCall(item.requiredText('call_id'), LOCAL_SHELL, withoutType(item.json('action')))])
        break
      case 'tool_search_call':
        this.#readSearch(item)
        break
      case 'function_call_output':
      case 'custom_tool_call_output':
        this.#result(item.requiredText('call_id'), contentIn(item, 'output', this.#dropped))
        break
      case 'local_shell_call_output':
        this.#result(item.text('call_id') ?? String(item.value.id), contentIn(item, 'output', this.#dropped))
        break
      case 'tool_search_output':
        this.#readFoundTools(item)
        break
      case 'agent_message':
        this.#readAgentMessage(item)
        break
      case 'image_generation_call':
        this.say('assistant', generatedImages(item))
        break
      case 'additional_tools':
        item.raw('role')
        this.tools.push(...item.objects('tools'))
        break
      case 'configuration_update':
        this.updates.push(item)
        return // whoever reads it knows what is left
      default:
        if (!DONE_BY_THE_VENDOR.has(type)) {
          const why = ONLY_OPENAI[type] ?? "other vendors' models have nothing like it"
          throw badField(item.path, `an item of type '${type}' can be sent to OpenAI alone: ${why}`)
        }
        this.#dropped.add(`${item.path}.${type}`)
        return
    }
    this.#dropped.rest(item)
  }

  /** Neighbours of the same role are one turn; the first system words stand before all turns. */
  say(role: Turn['role'], blocks: Turn['content']): void {
    if (blocks.length === 0) return
    const last = this.turns.at(-1)
    if (role === 'system' && !last) this.system.push(...(blocks as TextBlock[]).map(({ text }) => text))
    else if (last?.role === role) (last.content as (UserBlock | AssistantBlock)[]).push(...blocks)
    else this.turns.push({ role, content: [...blocks] } as Turn)
  }

  #readMessage(item: Fields): void {
    const role = item.oneOf('role', ['user', 'assistant', 'system', 'developer'] as const)
    if (role === null) throw badField(item.where('role'), 'must be given')
    const content = contentIn(item, 'content', this.#dropped)
    if (role === 'user' || role === 'assistant') this.say(role, content)
    else {
      if (content.some(({ kind }) => kind === 'media')) {
        throw badField(item.where('content'), `a message of role ${role} may hold nothing but text here`)
      }
      this.say('system', content as TextBlock[])
    }
  }

  #result(callId: string, content: (TextBlock | MediaBlock)[]): void {
    this.say('user', [{ kind: 'tool_result', callId, content, isError: false }])
  }

  /** Without an id it was the vendor itself that searched. */
  #readSearch(item: Fields): void {
    const callId = item.text('call_id')
    item.raw('execution')
    const input = item.raw('arguments')
    if (callId !== null) this.say('assistant', [ownCall(callId, TOOL_SEARCH, input)])
    else this.#dropped.add(`${item.path}.${TOOL_SEARCH}_call`)
  }

  /** Tools that were found are tools from there on; where a client found them the model is told which. */
  #readFoundTools(item: Fields): void {
    const found = item.objects('tools')
    this.tools.push(...found)
    item.raw('execution')
    const callId = item.text('call_id')
    if (callId === null) return
    const names = found.map((tool) => tool.text('name') ?? tool.text('type')).join(', ')
    this.#result(callId, [{ kind: 'text', text: `Available from now on: ${names || 'nothing'}` }])
  }

  /** What one of Codex's agents tells another: to others it is a user who says so. */
  #readAgentMessage(item: Fields): void {
    const [author, recipient] = [item.text('author'), item.text('recipient')]
    const content = contentIn(item, 'content', this.#dropped)
    const head = `Message from ${author ?? 'an agent'} to ${recipient ?? 'you'}:`
    if (content.length > 0) this.say('user', [{ kind: 'text', text: head }, ...content])
  }
}

function textBlocks(text: string): TextBlock[] {
  return text === '' ? [] : [{ kind: 'text', text }]
}

/** A text, or a list of parts. Throws `invalid_request`. */
function contentIn(fields: Fields, name: string, dropped: Dropped): (TextBlock | MediaBlock)[] {
  const raw = fields.raw(name)
  if (raw === null) return []
  if (typeof raw === 'string') return textBlocks(raw)
  if (!Array.isArray(raw)) throw badField(fields.where(name), 'must be a text or a list')
  return raw.flatMap((part, index) => {
    const inner = new Fields(part, `${fields.where(name)}.${index}`)
    const blocks = partIn(inner)
    dropped.rest(inner)
    return blocks
  })
}

const AUDIO_TYPES: Record<string, string> = { wav: 'audio/wav', mp3: 'audio/mpeg' }

function partIn(part: Fields): (TextBlock | MediaBlock)[] {
  const type = part.requiredText('type')
  switch (type) {
    case 'input_text':
    case 'output_text':
    case 'text':
      return textBlocks(part.requiredText('text'))
    case 'refusal':
      return textBlocks(part.requiredText('refusal'))
    case 'input_image':
      refuseStored(part)
      return [imageOf(part.requiredText('image_url'), part.text('detail'), part.where('image_url'))]
    case 'input_file':
      return [fileOf(part)]
    case 'input_audio': {
      const audio = part.object('input_audio') ?? part
      const mediaType = AUDIO_TYPES[audio.requiredText('format')] ?? null
      if (mediaType === null) throw badField(audio.where('format'), 'must be wav or mp3')
      const source = { kind: 'base64', data: audio.requiredText('data') } as const
      return [{ kind: 'media', mediaType, source, name: null, detail: null }]
    }
    default:
      throw badField(part.where('type'), `'${type}' can be sent to OpenAI alone`)
  }
}

/** Summaries, or the thoughts themselves where a model tells them; parts are paragraphs. */
function reasoningIn(item: Fields, dropped: Dropped): ReasoningBlock[] {
  const texts = (name: string) => item.objects(name).map((part) => part.requiredText('text'))
  const summary = texts('summary')
  const content = texts('content')
  if (summary.length > 0 && content.length > 0) dropped.add(item.where('content'))
  return reasoningBlock(summary.length > 0 ? summary : content, item.text('encrypted_content'))
}

/** None if there is neither a word nor a signature. */
export function reasoningBlock(paragraphs: string[], encrypted: string | null): ReasoningBlock[] {
  const text = paragraphs.filter((paragraph) => paragraph !== '').join('\n\n')
  if (text === '' && !encrypted) return []
  const signature = encrypted ? unwrappedSignature(encrypted, 'openai') : null
  return [{ kind: 'reasoning', text, signature, redacted: encrypted !== null && isRedacted(encrypted) }]
}

function callIn(item: Fields, tool: ToolCallBlock['tool'], input: string): ToolCallBlock {
  return {
    kind: 'tool_call',
    id: item.requiredText('call_id'),
    namespace: item.text('namespace'),
    name: item.requiredText('name'),
    tool,
    input,
  }
}

function ownCall(id: string, name: string, input: unknown): ToolCallBlock {
  const text = typeof input === 'string' ? input : JSON.stringify(input ?? {})
  return { kind: 'tool_call', id, namespace: null, name, tool: 'function', input: text }
}

function withoutType(action: object | null): object {
  return { ...action, type: undefined }
}

function generatedImages(item: Fields): MediaBlock[] {
  const data = item.text('result')
  const mediaType = `image/${item.text('output_format') ?? 'png'}`
  return data ? [{ kind: 'media', mediaType, source: { kind: 'base64', data }, name: null, detail: null }] : []
}

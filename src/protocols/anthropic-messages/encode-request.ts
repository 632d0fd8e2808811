import type { EncodedRequest, Target } from '../codec.ts'
import { badField } from '../fields.ts'
import type {
  Effort,
  JsonObject,
  MediaBlock,
  NeutralRequest,
  ReasoningBlock,
  TextBlock,
  Tool,
  ToolCallBlock,
  ToolChoice,
  Turn,
} from '../neutral.ts'
import { argumentsOf, customParameters } from '../tool-inputs.ts'
import { COMMON_NAMES, ToolNames } from '../tool-names.ts'
import { mergedTurns, pairedTurns, startedByUser, withoutSystemTurns } from '../turns.ts'

/** The format wants a limit, and clients of others rarely set one: all of Claude's models since 4 can write this much. */
const MAX_TOKENS = 32_000

/** Before 4.6 there are neither `system` messages between turns nor adaptive thinking, and sampling may be set. */
const OLDER = /^claude-(?:[123]\b|instant|(?:opus|sonnet|haiku)-4(?:-[015])?(?:-\d{8})?$)/
/** From 4.7 on a request that sets how to sample is refused. */
const SAMPLES = /^claude-(?:[123]\b|instant|(?:opus|sonnet|haiku)-4(?:-[0156])?(?:-\d{8})?$)/

/** Of thinking, where it is counted in tokens instead of words. */
const BUDGETS: Record<Exclude<Effort, 'none'>, number> = {
  minimal: 1024,
  low: 2048,
  medium: 8192,
  high: 16_384,
  xhigh: 24_576,
  max: 31_999,
}
/** The least that the format takes. */
const BUDGET_MIN = 1024

const IMAGE = /^image\//
const CACHED = { cache_control: { type: 'ephemeral' } }

type Block = JsonObject

/** A request in Anthropic's Messages format. */
export function encodeMessagesRequest(request: NeutralRequest, { model, vendor }: Target): EncodedRequest {
  const names = new ToolNames(request.tools, COMMON_NAMES)
  const dropped = new Set<string>()
  const writer = new TurnWriter(names, dropped, vendor === 'anthropic')
  const isOlder = OLDER.test(model)
  const maxTokens = request.maxOutputTokens ?? MAX_TOKENS
  const messages = mergedTurns(startedByUser(pairedTurns(isOlder ? withoutSystemTurns(request.turns) : request.turns)))
    .map((turn) => ({ role: turn.role, content: writer.blocks(turn) }))
    .filter(({ content }) => content.length > 0)
  const tools = request.tools.flatMap((tool) => toolOf(tool, names, dropped))
  const system: Block[] = request.system.map((text) => ({ type: 'text', text }))
  if (request.caching === 'implicit') markForCache(tools, system, messages)
  const body = {
    model,
    max_tokens: maxTokens,
    ...(system.length > 0 && { system }),
    messages,
    ...(tools.length > 0 && { tools }),
    ...toolChoiceOf(request, tools.length > 0, names),
    ...reasoningOf(request, { isOlder, maxTokens }, dropped),
    ...(request.stopSequences.length > 0 && { stop_sequences: request.stopSequences }),
    ...samplingOf(request, SAMPLES.test(model), dropped),
    stream: request.stream,
  }
  if (request.seed !== null) dropped.add('seed')
  if (request.verbosity !== null) dropped.add('verbosity')
  if (request.cacheKey !== null) dropped.add('prompt_cache_key')
  return { body: Buffer.from(JSON.stringify(body)), dropped: [...dropped], names }
}

class TurnWriter {
  readonly #names: ToolNames
  readonly #dropped: Set<string>
  readonly #readsSignatures: boolean

  constructor(names: ToolNames, dropped: Set<string>, readsSignatures: boolean) {
    this.#names = names
    this.#dropped = dropped
    this.#readsSignatures = readsSignatures
  }

  blocks({ content }: Turn): Block[] {
    return content.flatMap((block) => this.#block(block))
  }

  #block(block: Turn['content'][number]): Block[] {
    switch (block.kind) {
      case 'text':
        return textOf(block)
      case 'media':
        return [this.#media(block)]
      case 'reasoning':
        return this.#reasoning(block)
      case 'tool_call':
        return [this.#call(block)]
      case 'tool_result': {
        const content = block.content.flatMap((part) => this.#block(part))
        const failed = block.isError ? { is_error: true } : {}
        return [{ type: 'tool_result', tool_use_id: idOf(block.callId), content, ...failed }]
      }
    }
  }

  #media({ mediaType, source, name, detail }: MediaBlock): Block {
    if (detail !== null) this.#dropped.add('detail')
    const title = name === null ? {} : { title: name }
    if (source.kind === 'url') {
      const isImage = mediaType === null || IMAGE.test(mediaType)
      return isImage
        ? { type: 'image', source: urlOf(source.url) }
        : { type: 'document', source: urlOf(source.url), ...title }
    }
    const type = mediaType ?? 'application/octet-stream'
    const base64 = { type: 'base64', media_type: type === 'image/jpg' ? 'image/jpeg' : type, data: source.data }
    if (IMAGE.test(type)) return { type: 'image', source: base64 }
    if (type === 'application/pdf') return { type: 'document', source: base64, ...title }
    if (type.startsWith('text/')) {
      const data = Buffer.from(source.data, 'base64').toString('utf8')
      return { type: 'document', source: { type: 'text', media_type: 'text/plain', data }, ...title }
    }
    throw badField('messages', `'${type}' cannot be sent to this model: images, PDF and text can`)
  }

  /** Thoughts that Anthropic has not signed are refused, and so left out. */
  #reasoning({ text, signature, redacted }: ReasoningBlock): Block[] {
    if (!this.#readsSignatures || signature?.vendor !== 'anthropic') {
      this.#dropped.add('reasoning')
      return []
    }
    const { value } = signature
    return [
      redacted ? { type: 'redacted_thinking', data: value } : { type: 'thinking', thinking: text, signature: value },
    ]
  }

  #call({ id, namespace, name, tool, input }: ToolCallBlock): Block {
    const wireName = this.#names.wireName(namespace, name)
    return { type: 'tool_use', id: idOf(id), name: wireName, input: argumentsOf(input, tool) }
  }
}

/** A text without a word is refused. */
function textOf({ text }: TextBlock): Block[] {
  return text.trim() === '' ? [] : [{ type: 'text', text }]
}

function urlOf(url: string): Block {
  return { type: 'url', url }
}

/** Others' ids have characters that are refused here. */
function idOf(id: string): string {
  return id.replace(/[^a-zA-Z0-9_-]/g, '_')
}

function toolOf(tool: Tool, names: ToolNames, dropped: Set<string>): Block[] {
  switch (tool.kind) {
    case 'hosted':
      dropped.add(`tools.${tool.name}`)
      return []
    case 'function': {
      const { namespace, name, description, parameters, strict } = tool
      return [
        {
          name: names.wireName(namespace, name),
          ...(description !== null && { description }),
          input_schema: { type: 'object', ...parameters },
          ...(strict !== null && { strict }),
        },
      ]
    }
    case 'custom': {
      const { namespace, name, description } = tool
      return [
        {
          name: names.wireName(namespace, name),
          ...(description !== null && { description }),
          input_schema: customParameters(tool),
        },
      ]
    }
  }
}

function toolChoiceOf(
  { toolChoice, parallelToolCalls }: NeutralRequest,
  hasTools: boolean,
  names: ToolNames,
): { tool_choice?: Block } {
  if (!hasTools || (toolChoice === null && parallelToolCalls !== false)) return {}
  const choice = chosen(toolChoice ?? { kind: 'auto' }, names)
  if (parallelToolCalls === null || toolChoice?.kind === 'none') return { tool_choice: choice }
  return { tool_choice: { ...choice, disable_parallel_tool_use: !parallelToolCalls } }
}

function chosen(choice: ToolChoice, names: ToolNames): Block {
  return choice.kind === 'tool'
    ? { type: 'tool', name: names.wireName(choice.namespace, choice.name) }
    : { type: choice.kind }
}

/** How to think, how hard, and in what form to answer. A forced call and thinking exclude each other here: the call counts. */
function reasoningOf(
  { reasoning, outputFormat, toolChoice }: NeutralRequest,
  { isOlder, maxTokens }: { isOlder: boolean; maxTokens: number },
  dropped: Set<string>,
): { thinking?: Block; output_config?: Block } {
  const isForced = toolChoice?.kind === 'any' || toolChoice?.kind === 'tool'
  const config: JsonObject = {}
  let thinking: Block | null = null
  if (reasoning?.effort === 'none') thinking = { type: 'disabled' }
  else if (reasoning && isForced) dropped.add('reasoning')
  else if (reasoning) {
    const { effort, budgetTokens, shown } = reasoning
    const display = shown === null ? {} : { display: shown ? 'summarized' : 'omitted' }
    if (isOlder) {
      const budget = Math.min(budgetTokens ?? BUDGETS[effort ?? 'medium'], maxTokens - 1)
      if (budget >= BUDGET_MIN) thinking = { type: 'enabled', budget_tokens: budget }
      else dropped.add('reasoning')
    } else thinking = { type: 'adaptive', ...display }
  }
  const effort = reasoning?.effort
  if (!isOlder && effort && effort !== 'none') config.effort = effort === 'minimal' ? 'low' : effort
  if (outputFormat?.kind === 'json_schema') config.format = { type: 'json_schema', schema: outputFormat.schema }
  else if (outputFormat) dropped.add('response_format')
  return {
    ...(thinking && { thinking }),
    ...(Object.keys(config).length > 0 && { output_config: config }),
  }
}

function samplingOf({ temperature, topP, topK }: NeutralRequest, isAllowed: boolean, dropped: Set<string>): JsonObject {
  const settings: JsonObject = {}
  for (const [name, value] of Object.entries({ temperature, top_p: topP, top_k: topK })) {
    if (value === null) continue
    if (isAllowed) settings[name] = name === 'temperature' ? Math.min(value, 1) : value
    else dropped.add(name)
  }
  return settings
}

/**
 * Anthropic caches what is marked, and clients of other formats count on a cache without marking anything: all of a long conversation would be
 * paid in full at every turn. Marked are what stays the same, and the last two turns of users, so that each call finds the one before.
 */
function markForCache(tools: Block[], system: Block[], messages: { role: string; content: Block[] }[]): void {
  const fixed = system.at(-1) ?? tools.at(-1)
  const users = messages.filter(({ role }) => role === 'user').slice(-2)
  for (const block of [fixed, ...users.map(({ content }) => content.at(-1))]) if (block) Object.assign(block, CACHED)
}

import type { EncodedRequest, Target } from '../codec.ts'
import { badField } from '../fields.ts'
import type { JsonObject, NeutralRequest, ReasoningBlock, Tool, ToolChoice, ToolResultBlock, Turn } from '../neutral.ts'
import { customParameters } from '../tool-inputs.ts'
import { COMMON_NAMES, ToolNames } from '../tool-names.ts'
import { mergedTurns, pairedTurns, startedByUser, withoutSystemTurns } from '../turns.ts'
import { HOSTED } from './decode-tools.ts'
import { mediaPart, PartWriter } from './parts.ts'
import { NO_SIGNATURE } from './signatures.ts'
import { thinkingConfigOf } from './thinking.ts'

/** Before Gemini 3 calls need no signatures, and results hold no pictures. */
const OLDER = /^(?:gemini-[12]\b|gemma)/
/** The format takes no more. */
const STOP_SEQUENCES_MAX = 5
/** What models write at most, by their names: a larger limit is refused, and means the same. */
const OUTPUT_TOKENS_MAX: readonly (readonly [RegExp, number])[] = [
  [/^(?:gemini-(?:1\b|2\.0\b)|gemma)/, 8192],
  [/^gemini-/, 65_536],
  [/^claude-/, 64_000],
]

/** A request in Google's format. Claude at Antigravity is asked in it too, and then is its own vendor of signatures. */
export function encodeGeminiRequest(request: NeutralRequest, { model, vendor }: Target): EncodedRequest {
  const names = new ToolNames(request.tools, COMMON_NAMES)
  const dropped = new Set<string>()
  const writer = new ContentWriter({ names, dropped, vendor, isOlder: vendor !== 'gemini' || OLDER.test(model) })
  const turns = mergedTurns(startedByUser(pairedTurns(withoutSystemTurns(request.turns))))
  const contents = turns.map((turn) => writer.content(turn)).filter(({ parts }) => parts.length > 0)
  const tools = toolsOf(request.tools, names, dropped)
  const config = generationConfig(request, model)
  const body = {
    contents,
    ...(request.system.length > 0 && { systemInstruction: { parts: request.system.map((text) => ({ text })) } }),
    ...(tools && { tools: [tools] }),
    ...(tools?.functionDeclarations &&
      request.toolChoice && { toolConfig: { functionCallingConfig: modeOf(request.toolChoice, names) } }),
    ...(Object.keys(config).length > 0 && { generationConfig: config }),
  }
  if (request.toolChoice && !tools?.functionDeclarations) dropped.add('tool_choice')
  if (request.reasoning && !config.thinkingConfig) dropped.add('reasoning')
  if (request.parallelToolCalls === false) dropped.add('parallel_tool_calls')
  if (request.verbosity !== null) dropped.add('verbosity')
  if (request.cacheKey !== null) dropped.add('prompt_cache_key')
  if (request.outputFormat?.kind === 'json_schema' && request.outputFormat.strict) dropped.add('strict')
  return { body: Buffer.from(JSON.stringify(body)), dropped: [...dropped], names }
}

interface Wire {
  names: ToolNames
  dropped: Set<string>
  vendor: Target['vendor']
  isOlder: boolean
}

class ContentWriter {
  readonly #wire: Wire
  /** Results are known by their calls' ids; the format wants their names as well. */
  readonly #callNames = new Map<string, string>()

  constructor(wire: Wire) {
    this.#wire = wire
  }

  content(turn: Turn): { role: 'user' | 'model'; parts: JsonObject[] } {
    return turn.role === 'assistant'
      ? { role: 'model', parts: this.#modelParts(turn) }
      : { role: 'user', parts: this.#userParts(turn) }
  }

  #modelParts({ content }: Turn & { role: 'assistant' }): JsonObject[] {
    const { names, vendor, isOlder } = this.#wire
    const style = {
      markFor: ({ signature }: ReasoningBlock) => signature?.value ?? null,
      signsThoughts: vendor === 'antigravity',
      nameOf: ({ namespace, name }: { namespace: string | null; name: string }) => names.wireName(namespace, name),
    }
    const writer = new PartWriter(style)
    const parts: JsonObject[] = []
    for (const block of content) {
      if (block.kind === 'reasoning' && block.signature?.vendor !== vendor) {
        this.#wire.dropped.add('reasoning') // nobody can read it but who signed it
        continue
      }
      if (block.kind === 'tool_call') this.#callNames.set(block.id, style.nameOf(block))
      if (block.kind === 'media') this.#note(block)
      parts.push(...writer.parts(block))
    }
    parts.push(...writer.flush())
    const firstCall = parts.find(({ functionCall }) => functionCall !== undefined)
    if (firstCall && !isOlder) firstCall.thoughtSignature ??= NO_SIGNATURE
    return parts
  }

  #userParts({ content }: Turn): JsonObject[] {
    const responses: JsonObject[] = []
    const others: JsonObject[] = []
    for (const block of content) {
      if (block.kind === 'tool_result') {
        const { response, media } = this.#result(block)
        responses.push(response)
        others.push(...media)
      } else if (block.kind === 'media') {
        this.#note(block)
        others.push(mediaPart(block))
      } else if (block.kind === 'text') others.push({ text: block.text })
    }
    return [...responses, ...others]
  }

  #result({ callId, content, isError }: ToolResultBlock): { response: JsonObject; media: JsonObject[] } {
    const text = content.flatMap((block) => (block.kind === 'text' ? [block.text] : [])).join('\n')
    const pictures = content.filter((block) => block.kind === 'media')
    for (const picture of pictures) this.#note(picture)
    const media = pictures.map(mediaPart)
    const isInside = media.length > 0 && !this.#wire.isOlder
    const functionResponse = {
      id: callId,
      name: this.#callNames.get(callId) ?? '',
      response: { [isError ? 'error' : 'output']: text },
      ...(isInside && { parts: media }),
    }
    return { response: { functionResponse }, media: isInside ? [] : media }
  }

  #note({ name, detail }: { name: string | null; detail: string | null }): void {
    if (name !== null) this.#wire.dropped.add('filename')
    if (detail !== null) this.#wire.dropped.add('detail')
  }
}

/** Google's own tools do not go together with functions. */
function toolsOf(
  tools: readonly Tool[],
  names: ToolNames,
  dropped: Set<string>,
): (JsonObject & { functionDeclarations?: JsonObject[] }) | null {
  const functions = tools.flatMap((tool) => {
    if (tool.kind === 'hosted') return []
    if (tool.kind === 'function' && tool.strict) dropped.add('strict')
    const { namespace, name, description } = tool
    const parameters = tool.kind === 'function' ? tool.parameters : customParameters(tool)
    return [
      {
        name: names.wireName(namespace, name),
        ...(description !== null && { description }),
        parametersJsonSchema: parameters,
      },
    ]
  })
  const hosted: JsonObject = {}
  for (const tool of tools) {
    if (tool.kind !== 'hosted') continue
    const own = Object.keys(HOSTED).find((name) => HOSTED[name] === tool.name)
    if (own === undefined || functions.length > 0) dropped.add(`tools.${tool.name}`)
    else hosted[own] = {}
  }
  if (functions.length > 0) return { functionDeclarations: functions }
  return Object.keys(hosted).length > 0 ? hosted : null
}

function modeOf(choice: ToolChoice, names: ToolNames): JsonObject {
  if (choice.kind !== 'tool') return { mode: choice.kind.toUpperCase() }
  return { mode: 'ANY', allowedFunctionNames: [names.wireName(choice.namespace, choice.name)] }
}

function generationConfig(request: NeutralRequest, model: string): JsonObject {
  const { temperature, topP, topK, seed, maxOutputTokens, stopSequences, outputFormat } = request
  if (stopSequences.length > STOP_SEQUENCES_MAX) {
    throw badField('stop', `this model takes ${STOP_SEQUENCES_MAX} stop sequences at most`)
  }
  const thinkingConfig = thinkingConfigOf(request.reasoning, model)
  return {
    ...(temperature !== null && { temperature }),
    ...(topP !== null && { topP }),
    ...(topK !== null && { topK }),
    ...(seed !== null && { seed }),
    ...(maxOutputTokens !== null && { maxOutputTokens: Math.min(maxOutputTokens, outputTokensMax(model)) }),
    ...(stopSequences.length > 0 && { stopSequences }),
    ...(outputFormat && { responseMimeType: 'application/json' }),
    ...(outputFormat?.kind === 'json_schema' && { responseJsonSchema: outputFormat.schema }),
    ...(thinkingConfig && { thinkingConfig }),
  }
}

function outputTokensMax(model: string): number {
  return OUTPUT_TOKENS_MAX.find(([name]) => name.test(model))?.[1] ?? Number.POSITIVE_INFINITY
}

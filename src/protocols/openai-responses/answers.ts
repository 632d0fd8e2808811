import { NO_USAGE, type Usage } from '../../domain/usage.ts'
import type { Asker } from '../codec.ts'
import { asObject, objectOf, textOf } from '../loose-json.ts'
import type {
  AssistantBlock,
  JsonObject,
  MediaBlock,
  NeutralAnswer,
  NeutralError,
  Stop,
  ToolCallBlock,
} from '../neutral.ts'
import { errorOf } from '../openai/foreign-errors.ts'
import type { ToolNames } from '../tool-names.ts'
import { reasoningBlock } from './decode-input.ts'
import { itemOf, newItemId, ResponseWriter, statusOf } from './items.ts'
import { type ReportedUsage, readUsage, searchesOf } from './usage.ts'

export function decodeResponsesAnswer(body: Buffer, names: ToolNames): NeutralAnswer | NeutralError {
  const response = objectOf(body.toString('utf8'))
  if (!response || !Array.isArray(response.output) || response.error || response.status === 'failed') {
    return errorOf(response)
  }
  const items = listOf(response.output)
  const content = items.flatMap((item) => blocksOf(item, names))
  return {
    id: textOf(response.id),
    model: textOf(response.model),
    content,
    stop: stopOf(response, {
      called: content.some(({ kind }) => kind === 'tool_call'),
      refused: items.some(isRefusal),
    }),
    usage: usageIn(response),
  }
}

export function encodeResponsesAnswer({ content, stop, usage }: NeutralAnswer, asker: Asker): Buffer {
  const items = content.map((block) => itemOf(block, newItemId(block, asker), asker))
  return Buffer.from(new ResponseWriter(asker).write(statusOf(stop), items, usage))
}

/** What one item of an answer says; nothing for what the vendor did by itself. */
export function blocksOf(item: JsonObject, names: ToolNames): AssistantBlock[] {
  switch (item.type) {
    case 'message':
      return listOf(item.content).flatMap((part): AssistantBlock[] => {
        const text = textOf(part.text ?? part.refusal)
        return text === '' ? [] : [{ kind: 'text', text }]
      })
    case 'reasoning':
      return reasoningBlock(thoughtsIn(item), textOf(item.encrypted_content) || null)
    case 'function_call':
      return [{ ...callHead(item, names), input: textOf(item.arguments) }]
    case 'custom_tool_call':
      return [{ ...callHead(item, names), input: textOf(item.input) }]
    case 'image_generation_call':
      return generatedImage(item)
    default:
      return []
  }
}

/** Summaries, or the thoughts themselves where a model tells them. */
export function thoughtsIn(item: JsonObject): string[] {
  const texts = (list: unknown) => listOf(list).map(({ text }) => textOf(text))
  const summary = texts(item.summary)
  return summary.length > 0 ? summary : texts(item.content)
}

/** Which tool an item calls. */
export function callHead(item: JsonObject, names: ToolNames): Omit<ToolCallBlock, 'input'> {
  const wireName = textOf(item.name)
  const namespace = textOf(item.namespace) || null
  return {
    kind: 'tool_call',
    id: textOf(item.call_id) || textOf(item.id),
    ...(namespace === null ? names.called(wireName) : { namespace, name: wireName }),
    tool: item.type === 'custom_tool_call' ? 'custom' : 'function',
  }
}

function generatedImage(item: JsonObject): MediaBlock[] {
  const data = textOf(item.result)
  const mediaType = `image/${textOf(item.output_format) || 'png'}`
  return data === '' ? [] : [{ kind: 'media', mediaType, source: { kind: 'base64', data }, name: null, detail: null }]
}

/** True for a message in which the model says that it will not. */
export function isRefusal(item: JsonObject): boolean {
  return item.type === 'message' && listOf(item.content).some(({ type }) => type === 'refusal')
}

/** Why a response ended; that there was a call counts more than what the vendor says. */
export function stopOf(response: JsonObject, { called, refused }: { called: boolean; refused: boolean }): Stop {
  const details = asObject(response.incomplete_details)
  const reason = (): Stop['reason'] => {
    if (details?.reason === 'max_output_tokens') return 'max_tokens'
    if (details?.reason === 'content_filter') return 'refusal'
    if (called) return 'tool_use'
    return refused ? 'refusal' : 'end'
  }
  return { reason: reason(), sequence: null }
}

export function usageIn(response: JsonObject): Usage {
  const usage = { ...NO_USAGE }
  readUsage(usage, response.usage as ReportedUsage | undefined)
  usage.webSearchRequests = searchesOf(response.tool_usage, response.output)
  return usage
}

/** The objects of a list. */
export function listOf(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.map(asObject).filter((item) => item !== null) : []
}

import { isAttribution } from '../../src/protocols/conversation.ts'
import { asObject, isObject } from '../../src/protocols/loose-json.ts'
import type { JsonObject } from '../../src/protocols/neutral.ts'

/** What there is in a request of any of the four formats, found by its shape and not by the codec that is tested. */
export interface Census {
  /** That the client runs. */
  tools: number
  calls: number
  results: number
  media: number
  /** All words of the conversation but thoughts and what calls bring. */
  texts: string[]
}

const CALLS = new Set(['tool_use', 'function_call', 'custom_tool_call', 'tool_search_call', 'local_shell_call'])
const MEDIA = new Set(['image', 'document', 'input_image', 'input_file', 'image_url', 'file', 'input_audio'])
/** Under which names words of the conversation stand. */
const WORDS = new Set(['text', 'content', 'output', 'error', 'system', 'instructions'])
/** Holders of what is no part of the conversation. */
const PASSED_OVER = new Set(['tools', 'arguments', 'args', 'source', 'inlineData', 'summary'])

export function census(request: JsonObject): Census {
  const counted: Census = { tools: toolsOf(request), calls: 0, results: 0, media: 0, texts: [] }
  const { system, instructions, systemInstruction, messages, input, contents } = request
  const text = typeof input === 'string' ? input : undefined
  count({ system, instructions, systemInstruction, messages, text, input, contents }, counted)
  return counted
}

function count(holder: JsonObject, counted: Census): void {
  const type = String(holder.type)
  if (CALLS.has(type) || holder.functionCall) counted.calls++
  if (Array.isArray(holder.tool_calls)) counted.calls += holder.tool_calls.length
  if (/_result$|_output$/.test(type) || holder.role === 'tool' || holder.functionResponse) counted.results++
  if (MEDIA.has(type) || holder.inlineData || holder.fileData) counted.media++
  if (holder.thought) return
  for (const [key, value] of Object.entries(holder)) {
    if (typeof value === 'string') {
      if (WORDS.has(key) && value.trim() !== '' && !isAttribution(value)) counted.texts.push(value)
    } else if (!PASSED_OVER.has(key)) {
      for (const part of Array.isArray(value) ? value : [value]) if (isObject(part)) count(part, counted)
    }
  }
}

/** Those that the client runs, without a stand-in for what it has not loaded yet. */
function toolsOf({ tools, input }: JsonObject): number {
  const more = Array.isArray(input) ? input.filter((item) => item?.type === 'additional_tools') : []
  return [{ tools }, ...more].reduce((sum, { tools }) => sum + countTools(tools), 0)
}

function countTools(tools: unknown): number {
  if (!Array.isArray(tools)) return 0
  return tools.reduce((sum: number, tool: JsonObject) => {
    if (tool.type === 'namespace') return sum + countTools(tool.tools)
    if (Array.isArray(tool.functionDeclarations)) return sum + tool.functionDeclarations.length
    const isOwn = tool.input_schema || asObject(tool.function) || tool.type === 'function' || tool.type === 'custom'
    return isOwn && tool.name !== 'DeferredToolPlaceholder' ? sum + 1 : sum
  }, 0)
}

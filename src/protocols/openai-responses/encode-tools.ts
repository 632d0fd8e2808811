import { badField } from '../fields.ts'
import type { HostedTool, JsonObject, NeutralRequest, Tool } from '../neutral.ts'
import type { ToolNames } from '../tool-names.ts'

/** Settings of a web search that OpenAI knows. */
const SEARCH_SETTINGS = ['filters', 'user_location', 'search_context_size', 'external_web_access'] as const

/** Tools that OpenAI runs, by what it or other vendors call them, and how it wants them. */
const HOSTED: [RegExp, (name: string, settings: JsonObject) => JsonObject][] = [
  [/^(?:web_search|google_?search)/i, (_, settings) => webSearch(settings)],
  [/^code_?execution/i, () => ({ type: 'code_interpreter', container: { type: 'auto' } })],
  [/^tool_search_tool/i, () => ({ type: 'tool_search' })],
  [/^(?:file_search|code_interpreter|image_generation|mcp|tool_search)$/, (type, settings) => ({ ...settings, type })],
]

function webSearch(settings: JsonObject): JsonObject {
  const tool: JsonObject = { type: 'web_search' }
  for (const name of SEARCH_SETTINGS) if (settings[name]) tool[name] = settings[name]
  if (settings.allowed_domains) tool.filters = { allowed_domains: settings.allowed_domains }
  return tool
}

/** Tools in their order, those of a namespace together where its first one is. Throws `invalid_request`. */
export function encodeTools(tools: readonly Tool[], names: ToolNames): JsonObject[] {
  const isSearched = tools.some(({ kind, name }) => kind === 'hosted' && /^tool_search/.test(name))
  const encoded: JsonObject[] = []
  const namespaces = new Map<string, JsonObject[]>()
  for (const tool of tools) {
    const namespace = tool.kind === 'hosted' ? null : tool.namespace
    const object = tool.kind === 'hosted' ? hostedTool(tool) : ownTool(tool, names, isSearched)
    const others = namespace === null ? encoded : namespaces.get(namespace)
    if (others) others.push(object)
    else {
      const inner = [object]
      namespaces.set(namespace as string, inner)
      encoded.push({ type: 'namespace', name: namespace, description: '', tools: inner })
    }
  }
  return encoded
}

/** As a tool is called on this wire: those of a namespace by their own names. */
export function wireName(names: ToolNames, namespace: string | null, name: string): string {
  return namespace === null ? names.wireName(null, name) : name
}

function ownTool(tool: Exclude<Tool, HostedTool>, names: ToolNames, isSearched: boolean): JsonObject {
  const name = wireName(names, tool.namespace, tool.name)
  const head = { name, ...(tool.description !== null && { description: tool.description }) }
  if (tool.kind === 'custom') return { type: 'custom', ...head, ...(tool.format && { format: tool.format }) }
  return {
    type: 'function',
    ...head,
    parameters: tool.parameters,
    strict: tool.strict ?? false, // left out it is true, which few schemas are made for
    ...(tool.deferred && isSearched && { defer_loading: true }), // without a search nobody would find it
  }
}

function hostedTool({ name, settings }: HostedTool): JsonObject {
  const [, made] = HOSTED.find(([pattern]) => pattern.test(name)) ?? []
  if (!made) throw badField('tools', `OpenAI has no tool like '${name}'`)
  return made(name, settings)
}

/** Undefined: not said. */
export function encodeToolChoice({ toolChoice, tools }: NeutralRequest, names: ToolNames): unknown {
  if (toolChoice === null || tools.length === 0) return undefined
  if (toolChoice.kind === 'any') return 'required'
  if (toolChoice.kind !== 'tool') return toolChoice.kind
  const { namespace, name } = toolChoice
  const isIt = (tool: Tool) => tool.kind === 'custom' && tool.namespace === namespace && tool.name === name
  return {
    type: tools.some(isIt) ? 'custom' : 'function',
    name: wireName(names, namespace, name),
    ...(namespace !== null && { namespace }),
  }
}

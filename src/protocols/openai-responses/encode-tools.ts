import { badField } from '../fields.ts'
import type { HostedTool, JsonObject, NeutralRequest, Tool } from '../neutral.ts'
import type { ToolNames } from '../tool-names.ts'

/** OpenAI's own names for tools that it runs. */
const HOSTED: ReadonlySet<string> = new Set([
  'web_search',
  'web_search_2025_08_26',
  'web_search_preview',
  'web_search_preview_2025_03_11',
  'file_search',
  'code_interpreter',
  'image_generation',
  'mcp',
  'tool_search',
])

/** What other vendors call such tools, which ours then are with their defaults. */
const LIKE: [RegExp, (settings: JsonObject) => JsonObject][] = [
  [
    /^(?:web_search(?:_\d{8})?|google_?search)$/i,
    ({ allowed_domains: domains }) => ({
      type: 'web_search',
      ...(domains ? { filters: { allowed_domains: domains } } : {}),
    }),
  ],
  [/^code_?execution/i, () => ({ type: 'code_interpreter', container: { type: 'auto' } })],
  [/^tool_search_tool/i, () => ({ type: 'tool_search' })],
]

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
  if (HOSTED.has(name)) return { type: name, ...settings }
  const like = LIKE.find(([pattern]) => pattern.test(name))?.[1]
  if (!like) throw badField('tools', `OpenAI has no tool like '${name}'`)
  return like(settings)
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

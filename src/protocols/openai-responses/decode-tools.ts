import { badField, Fields } from '../fields.ts'
import type { JsonObject, Tool, ToolChoice } from '../neutral.ts'
import type { Dropped } from '../openai/dropped.ts'

/** Tools that clients run and that have a type, and items, of their own: to others they are functions of this name. */
export const LOCAL_SHELL = 'local_shell'
export const TOOL_SEARCH = 'tool_search'

/** Its call's `action`. */
const LOCAL_SHELL_PARAMETERS: JsonObject = {
  type: 'object',
  properties: {
    command: { type: 'array', items: { type: 'string' } },
    working_directory: { type: 'string' },
    timeout_ms: { type: 'integer' },
    env: { type: 'object', additionalProperties: { type: 'string' } },
    user: { type: 'string' },
  },
  required: ['command'],
}

/** Client tools whose calls no other vendor's models could make. */
const ONLY_OPENAI: ReadonlySet<string> = new Set([
  'shell',
  'apply_patch',
  'computer',
  'computer_use_preview',
  'programmatic_tool_calling',
])

/** Tools in their order, of two with the same name the later one. Throws `invalid_request`. */
export function decodeTools(tools: readonly Fields[], dropped: Dropped): Tool[] {
  const byName = new Map<string, Tool>()
  for (const fields of tools) {
    for (const tool of toolsIn(fields, dropped)) byName.set(keyOf(tool), tool)
  }
  return [...byName.values()]
}

function keyOf(tool: Tool): string {
  return tool.kind === 'hosted' ? `hosted ${tool.name}` : `${tool.namespace ?? ''} ${tool.name}`
}

function toolsIn(fields: Fields, dropped: Dropped): Tool[] {
  const type = fields.requiredText('type')
  if (type !== 'namespace') return [toolIn(fields, type, null, dropped)]
  const namespace = fields.requiredText('name')
  const tools = fields.objects('tools').map((inner) => toolIn(inner, inner.requiredText('type'), namespace, dropped))
  if (fields.text('description')) dropped.add(fields.where('description'))
  dropped.rest(fields)
  return tools
}

/** Which functions of these tools are not functions to the client that offers them. */
export function ownItems(tools: readonly Fields[]): ReadonlySet<string> {
  return new Set([LOCAL_SHELL, TOOL_SEARCH].filter((name) => tools.some((tool) => ownName(tool) === name)))
}

function ownName({ value: { type, execution } }: Fields): string | null {
  if (type === LOCAL_SHELL) return LOCAL_SHELL
  return type === TOOL_SEARCH && execution === 'client' ? TOOL_SEARCH : null
}

function toolIn(fields: Fields, type: string, namespace: string | null, dropped: Dropped): Tool {
  if (ONLY_OPENAI.has(type)) throw badField(fields.where('type'), `${type} can be used with OpenAI's own models alone`)
  if (type === 'function') return functionIn(fields, namespace, fields.requiredText('name'), dropped)
  if (type === 'custom') return customIn(fields, namespace, dropped)
  const own = ownName(fields)
  if (own !== null) {
    fields.raw('execution')
    const tool = functionIn(fields, null, own, dropped)
    return own === LOCAL_SHELL ? { ...tool, parameters: LOCAL_SHELL_PARAMETERS } : tool
  }
  const { type: _, ...settings } = fields.value
  return { kind: 'hosted', name: type, settings }
}

function functionIn(
  fields: Fields,
  namespace: string | null,
  name: string,
  dropped: Dropped,
): Tool & { kind: 'function' } {
  const tool = {
    kind: 'function',
    namespace,
    name,
    description: fields.text('description'),
    parameters: schemaOf(fields.json('parameters')),
    strict: fields.boolean('strict') || null, // not strict is what all others are anyway
    deferred: fields.boolean('defer_loading') ?? false,
  } as const
  dropped.rest(fields)
  return tool
}

function schemaOf(parameters: JsonObject | null): JsonObject {
  if (parameters === null) return { type: 'object', properties: {} }
  return 'type' in parameters ? parameters : { type: 'object', ...parameters }
}

function customIn(fields: Fields, namespace: string | null, dropped: Dropped): Tool {
  const format = fields.json('format')
  const tool = {
    kind: 'custom',
    namespace,
    name: fields.requiredText('name'),
    description: fields.text('description'),
    format: format?.type === 'text' ? null : format,
  } as const
  dropped.rest(fields)
  return tool
}

export interface ChosenTools {
  toolChoice: ToolChoice | null
  tools: Tool[]
}

/** What may or must be called; where only some tools are allowed, these are all there are. Throws `invalid_request`. */
export function decodeToolChoice(request: Fields, tools: Tool[]): ChosenTools {
  const raw = request.raw('tool_choice')
  if (raw === null) return { toolChoice: null, tools }
  const where = request.where('tool_choice')
  if (typeof raw === 'string') {
    const kind = { auto: 'auto', none: 'none', required: 'any' }[raw] as 'auto' | 'none' | 'any' | undefined
    if (!kind) throw badField(where, 'must be auto, none, required, or an object')
    return { toolChoice: { kind }, tools }
  }
  const fields = new Fields(raw, where)
  const type = fields.requiredText('type')
  if (type === 'function' || type === 'custom') {
    const name = fields.requiredText('name')
    return { toolChoice: { kind: 'tool', namespace: fields.text('namespace'), name }, tools }
  }
  if (type !== 'allowed_tools') {
    throw badField(fields.where('type'), `${type} cannot be forced on another vendor's models`)
  }
  const allowed = fields.objects('tools').map((one) => one.text('name') ?? one.text('type'))
  const kind = fields.oneOf('mode', ['auto', 'required'] as const) === 'required' ? 'any' : 'auto'
  return { toolChoice: { kind }, tools: tools.filter(({ name }) => allowed.includes(name)) }
}

import { badField, type Fields } from '../fields.ts'
import type { FunctionTool, HostedTool, JsonObject, Tool, ToolChoice } from '../neutral.ts'
import { jsonSchemaOf } from './schema.ts'

/** What Google runs itself, by the name that others have for it. */
export const HOSTED: Record<string, string> = {
  googleSearch: 'web_search',
  googleSearchRetrieval: 'web_search',
  urlContext: 'web_fetch',
  codeExecution: 'code_execution',
}

/** Throws `invalid_request`. */
export function readTools(fields: Fields, dropped: Set<string>): { tools: Tool[]; toolChoice: ToolChoice | null } {
  const tools = new Map<string, Tool>()
  for (const tool of fields.objects('tools')) {
    for (const declaration of tool.objects('functionDeclarations')) {
      const own = functionOf(declaration, dropped)
      tools.set(own.name, own)
    }
    for (const name in tool.value) {
      if (name !== 'functionDeclarations' && tool.has(name)) tools.set(`hosted ${name}`, hostedOf(tool, name))
    }
  }
  const choice = choiceOf(fields.object('toolConfig'), dropped)
  const all = [...tools.values()]
  if (!choice.allowed) return { tools: all, toolChoice: choice.toolChoice }
  const { allowed } = choice
  return {
    tools: all.filter((tool) => tool.kind === 'hosted' || allowed.includes(tool.name)),
    toolChoice: choice.toolChoice,
  }
}

function functionOf(declaration: Fields, dropped: Set<string>): FunctionTool {
  const parameters = declaration.json('parametersJsonSchema') ?? declaration.json('parameters')
  declaration.raw('parameters')
  const own: FunctionTool = {
    kind: 'function',
    namespace: null,
    name: declaration.requiredText('name'),
    description: declaration.text('description'),
    parameters: parameters ? objectSchema(jsonSchemaOf(parameters)) : { type: 'object', properties: {} },
    strict: null,
    deferred: false,
  }
  for (const name of declaration.left()) dropped.add(name.slice(name.lastIndexOf('.') + 1))
  return own
}

function objectSchema(schema: JsonObject): JsonObject {
  return schema.type === undefined ? { type: 'object', ...schema } : schema
}

function hostedOf(tool: Fields, name: string): HostedTool {
  return { kind: 'hosted', name: HOSTED[name] ?? name, settings: tool.json(name) ?? {} }
}

interface Choice {
  toolChoice: ToolChoice | null
  /** Names of the only functions that may be called; null = all. */
  allowed: string[] | null
}

function choiceOf(config: Fields | null, dropped: Set<string>): Choice {
  const calling = config?.object('functionCallingConfig') ?? null
  const mode = calling?.text('mode') ?? null
  const names = calling?.texts('allowedFunctionNames') ?? []
  for (const name of [...(config?.left() ?? []), ...(calling?.left() ?? [])]) dropped.add(name)
  const allowed = names.length > 0 ? names : null
  switch (mode) {
    case null:
    case 'MODE_UNSPECIFIED':
      return { toolChoice: null, allowed }
    case 'AUTO':
    case 'VALIDATED':
      return { toolChoice: { kind: 'auto' }, allowed }
    case 'NONE':
      return { toolChoice: { kind: 'none' }, allowed: null }
    case 'ANY': {
      const [name, ...others] = names
      if (name !== undefined && others.length === 0) {
        return { toolChoice: { kind: 'tool', namespace: null, name }, allowed: null }
      }
      return { toolChoice: { kind: 'any' }, allowed }
    }
    default:
      throw badField('toolConfig.functionCallingConfig.mode', 'must be one of AUTO, ANY, NONE, VALIDATED')
  }
}

import { asObject, objectOf } from './loose-json.ts'
import type { CustomTool, JsonObject } from './neutral.ts'

// Where a wire format knows only tools that take an object, the free text of a custom tool travels as the one field of it.

/** The JSON Schema of such an object. */
export function customParameters({ format }: CustomTool): JsonObject {
  const grammar = format === null ? {} : { description: `Text of this form: ${JSON.stringify(format)}` }
  return { type: 'object', properties: { input: { type: 'string', ...grammar } }, required: ['input'] }
}

/** What a call brings, as an object. What a model was cut off in is kept as it is. */
export function argumentsOf(input: string, tool: 'function' | 'custom'): JsonObject {
  if (tool === 'custom') return { input }
  if (input === '') return {}
  return objectOf(input) ?? { _raw: input }
}

/** And back: the arguments of a function as JSON, the text of a custom tool. */
export function inputOf(args: unknown, tool: 'function' | 'custom'): string {
  if (tool === 'function') return JSON.stringify(args ?? {})
  return textIn(args) ?? JSON.stringify(args ?? '')
}

/** The same of arguments as they are written. */
export function writtenInputOf(written: string, tool: 'function' | 'custom'): string {
  return tool === 'function' ? written : (textIn(objectOf(written)) ?? written)
}

function textIn(args: unknown): string | null {
  const text = asObject(args)?.input
  return typeof text === 'string' ? text : null
}

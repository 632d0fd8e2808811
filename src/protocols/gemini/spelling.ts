import { isObject } from '../loose-json.ts'

/** What is in them is not Google's, or is read with care of its own. */
const OTHERS: ReadonlySet<string> = new Set([
  'args',
  'response',
  'parameters',
  'parametersJsonSchema',
  'responseSchema',
  'responseJsonSchema',
  'partMetadata',
  'labels',
])

/** Google takes `system_instruction` for `systemInstruction`, and so for every name of its own. */
export function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased)
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const camel = camelName(name)
      return [camel, OTHERS.has(camel) ? inner : camelCased(inner)]
    }),
  )
}

export function camelName(name: string): string {
  return name.includes('_') ? name.replace(/(?<=[a-z0-9])_([a-z])/g, (_, letter: string) => letter.toUpperCase()) : name
}

import { asObject, isObject } from '../loose-json.ts'
import type { JsonObject } from '../neutral.ts'
import { camelName } from './spelling.ts'

// Google's `Schema` is a dialect of JSON Schema: its own names for types, a flag for null, numbers as texts. Both walk real schema
// positions only: a property may well be called `title`, `format` or `type`.

const NUMBERS = ['minItems', 'maxItems', 'minLength', 'maxLength', 'minProperties', 'maxProperties'] as const
const ONE_SCHEMA = ['items', 'additionalProperties', 'not', 'propertyNames', 'contains'] as const
const SCHEMA_LISTS = ['anyOf', 'oneOf', 'allOf', 'prefixItems'] as const
const NAMED_SCHEMAS = ['properties', 'patternProperties', '$defs', 'definitions'] as const

/** JSON Schema of what a client wrote as one or the other, or as something between: Gemini CLI writes JSON Schema with Google's types. */
export function jsonSchemaOf(written: JsonObject): JsonObject {
  const named = Object.entries(written).map(([name, value]) => [camelName(name), value] as const)
  const { nullable, propertyOrdering: _, example, ...schema } = Object.fromEntries(named) as JsonObject
  const types = [schema.type].flat().filter((type) => typeof type === 'string' && type !== 'TYPE_UNSPECIFIED')
  const known = types.map((type) => (type as string).toLowerCase())
  if (nullable === true && known.length > 0 && !known.includes('null')) known.push('null')
  if (known.length === 0) delete schema.type
  else schema.type = known.length === 1 && !Array.isArray(schema.type) ? known[0] : known
  if (example !== undefined && schema.examples === undefined) schema.examples = [example]
  for (const name of NUMBERS) if (typeof schema[name] === 'string') schema[name] = Number(schema[name])
  return mapSchemas(schema, jsonSchemaOf)
}

/** The schema with every schema in it replaced. */
function mapSchemas(schema: JsonObject, replace: (inner: JsonObject) => JsonObject): JsonObject {
  const mapped = { ...schema }
  const one = (value: unknown) => (isObject(value) ? replace(value) : value)
  for (const name of ONE_SCHEMA) if (isObject(schema[name])) mapped[name] = one(schema[name])
  for (const name of SCHEMA_LISTS) {
    const list = schema[name]
    if (Array.isArray(list)) mapped[name] = list.map(one)
  }
  for (const name of NAMED_SCHEMAS) {
    const named = schema[name]
    if (isObject(named))
      mapped[name] = Object.fromEntries(Object.entries(named).map(([key, value]) => [key, one(value)]))
  }
  return mapped
}

/** What Google's dialect has beside structure, with the same meaning. */
const KEPT = ['title', 'description', 'format', 'pattern', 'minimum', 'maximum', ...NUMBERS] as const
const FORMATS: ReadonlySet<unknown> = new Set(['int32', 'int64', 'float', 'double', 'date-time', 'date', 'enum'])
/** Schemas that refer to themselves have no end, and those that refer to others may become very many when it is written out. */
const DEPTH_MAX = 24
const SCHEMAS_MAX = 2000

/**
 * The nearest that Google's dialect has to a JSON Schema: references are written out, alternatives become the first of them,
 * and what it cannot say is left out, or said in the description.
 */
export function googleSchemaOf(schema: JsonObject): JsonObject {
  return converted(schema, { root: schema, left: SCHEMAS_MAX }, 0)
}

interface Whole {
  /** Where references point into. */
  root: JsonObject
  /** How many more schemas may be written. */
  left: number
}

function converted(written: JsonObject, whole: Whole, depth: number): JsonObject {
  if (depth > DEPTH_MAX || whole.left-- <= 0) return { type: 'OBJECT' }
  const inner = (value: unknown) => converted(asObject(value) ?? {}, whole, depth + 1)
  const { schema, isNullable } = flattened(written, whole.root)
  const result: JsonObject = { type: typeOf(schema).toUpperCase() }
  for (const name of KEPT) if (schema[name] !== undefined) result[name] = schema[name]
  if (!FORMATS.has(result.format)) delete result.format
  if (isNullable) result.nullable = true
  addChoices(schema, result)
  if (result.type === 'ARRAY') result.items = isObject(schema.items) ? inner(schema.items) : { type: 'STRING' }
  if (result.type === 'OBJECT' && isObject(schema.properties)) {
    const properties = Object.entries(schema.properties).map(([name, value]) => [name, inner(value)] as const)
    result.properties = Object.fromEntries(properties)
    const names = new Set(properties.map(([name]) => name))
    const required = [schema.required].flat().filter((name) => typeof name === 'string' && names.has(name))
    if (required.length > 0) result.required = required
  }
  return result
}

/** Without references and alternatives. */
function flattened(written: JsonObject, root: JsonObject): { schema: JsonObject; isNullable: boolean } {
  let schema = written
  let isNullable = schema.nullable === true
  for (let steps = 0; steps < DEPTH_MAX; steps++) {
    const { $ref, allOf, anyOf, oneOf, ...rest } = schema
    const alternatives = [anyOf, oneOf].find((list) => Array.isArray(list)) as unknown[] | undefined
    if (typeof $ref === 'string') schema = { ...referred($ref, root), ...rest }
    else if (Array.isArray(allOf))
      schema = allOf
        .filter(isObject)
        .reduce(merged, { ...rest, ...(anyOf !== undefined && { anyOf }), ...(oneOf !== undefined && { oneOf }) })
    else if (alternatives) {
      const real = alternatives.filter(isObject).filter(({ type }) => type !== 'null')
      isNullable ||= real.length < alternatives.length
      schema = merged(rest, asChoices(real) ?? real.find(({ properties }) => properties !== undefined) ?? real[0] ?? {})
    } else break
  }
  if (Array.isArray(schema.type)) isNullable ||= schema.type.includes('null')
  return { schema, isNullable }
}

function referred(ref: string, root: JsonObject): JsonObject {
  const steps = ref.replace(/^#\/?/, '').split('/').filter(Boolean)
  const found = steps.reduce<unknown>(
    (at, step) => asObject(at)?.[step.replaceAll('~1', '/').replaceAll('~0', '~')],
    root,
  )
  return asObject(found) ?? {}
}

/** Both at once: what both have of properties and required ones is joined, of all else the first counts. */
function merged(one: JsonObject, other: JsonObject): JsonObject {
  const properties = { ...asObject(other.properties), ...asObject(one.properties) }
  const required = [...new Set([one.required, other.required].flat().filter((name) => typeof name === 'string'))]
  return {
    ...other,
    ...one,
    ...(Object.keys(properties).length > 0 && { properties }),
    ...(required.length > 0 && { required }),
  }
}

/** Alternatives that are single values are one choice among them. */
function asChoices(alternatives: JsonObject[]): JsonObject | null {
  const values = alternatives.flatMap((one) =>
    one.const !== undefined ? [one.const] : Array.isArray(one.enum) ? one.enum : [undefined],
  )
  return values.length > 0 && values.every((value) => typeof value === 'string')
    ? { type: 'string', enum: values }
    : null
}

/** Only texts can be chosen from; other values are told in the description. */
function addChoices(schema: JsonObject, result: JsonObject): void {
  const values = schema.const !== undefined ? [schema.const] : Array.isArray(schema.enum) ? schema.enum : []
  const choices = values.filter((value) => value !== null)
  if (choices.length === 0) return
  if (result.type === 'STRING' && choices.every((value) => typeof value === 'string')) result.enum = choices
  else
    result.description = [result.description, `One of: ${choices.map((value) => JSON.stringify(value)).join(', ')}`]
      .filter(Boolean)
      .join('\n')
}

function typeOf(schema: JsonObject): string {
  const type = [schema.type].flat().find((one) => typeof one === 'string' && one !== 'null')
  if (typeof type === 'string') return type
  if (isObject(schema.properties)) return 'object'
  return schema.items === undefined ? 'string' : 'array'
}

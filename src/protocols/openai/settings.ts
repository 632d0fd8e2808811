import { badField, type Fields } from '../fields.ts'
import { EFFORTS, type Effort, type JsonObject, type OutputFormat } from '../neutral.ts'

// What both of OpenAI's formats write alike, though in different places.

const VERBOSITIES = ['low', 'medium', 'high'] as const

export function verbosityIn(fields: Fields): (typeof VERBOSITIES)[number] | null {
  return fields.oneOf('verbosity', VERBOSITIES)
}

/** Tokens to think with, for clients that count them: Anthropic's and Gemini's budgets as efforts (a convention). */
const LOW_BUDGET_MAX = 1024
const MEDIUM_BUDGET_MAX = 8192

/** The effort that was asked for, in words or by a budget. */
export function effortOf({
  effort,
  budgetTokens,
}: {
  effort: Effort | null
  budgetTokens: number | null
}): Effort | null {
  if (effort !== null || budgetTokens === null) return effort
  if (budgetTokens === 0) return 'none'
  if (budgetTokens <= LOW_BUDGET_MAX) return 'low'
  return budgetTokens <= MEDIUM_BUDGET_MAX ? 'medium' : 'high'
}

export function effortIn(fields: Fields, name: string): Effort | null {
  return fields.oneOf(name, EFFORTS)
}

/** `described` holds name, schema and strict; the format itself in Responses, its `json_schema` in Chat. */
export function jsonSchemaIn(described: Fields): OutputFormat {
  const schema = described.json('schema')
  if (schema === null) throw badField(described.where('schema'), 'must be given')
  return { kind: 'json_schema', name: described.text('name'), schema, strict: described.boolean('strict') }
}

/** OpenAI wants a name. */
const SCHEMA_NAME = 'answer'

export function jsonSchemaOut({ name, schema, strict }: Extract<OutputFormat, { kind: 'json_schema' }>): JsonObject {
  return { name: name ?? SCHEMA_NAME, schema, ...(strict !== null && { strict }) }
}

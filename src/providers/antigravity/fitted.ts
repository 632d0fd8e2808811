import { createHash } from 'node:crypto'
import { googleSchemaOf } from '../../protocols/gemini/schema.ts'
import { NO_SIGNATURE } from '../../protocols/gemini/signatures.ts'
import { camelCased } from '../../protocols/gemini/spelling.ts'
import { asObject, isObject, objectOf, textOf } from '../../protocols/loose-json.ts'
import type { JsonObject } from '../../protocols/neutral.ts'

/** Claude writes no more here. */
const CLAUDE_TOKENS_MAX = 64_000
/** An object without any field is refused. */
const NO_FIELDS = { type: 'OBJECT', properties: { unused: { type: 'STRING', description: 'Leave this out.' } } }

export function isClaude(model: string): boolean {
  return model.startsWith('claude-')
}

/**
 * A request as Antigravity takes it, which is stricter than Google's public service: without safety settings, for Gemini without a limit of
 * output, for Claude with schemas in Google's own dialect and no thoughts but those that it has signed. Null for what is no JSON object after all.
 */
export function fittedToAntigravity(body: Buffer, model: string): JsonObject | null {
  const written = asObject(camelCased(objectOf(body.toString('utf8'))))
  if (!written) return null
  const { safetySettings: _, ...request } = written
  const config = asObject(request.generationConfig)
  return {
    ...request,
    ...(config && { generationConfig: isClaude(model) ? claudeConfig(config) : withoutLimit(config) }),
    ...(isClaude(model) && forClaude(request)),
    sessionId: sessionOf(request),
  }
}

function withoutLimit({ maxOutputTokens: _, ...config }: JsonObject): JsonObject {
  return config
}

function claudeConfig(config: JsonObject): JsonObject {
  const { maxOutputTokens: limit, thinkingConfig } = config
  if (typeof limit !== 'number') return config
  const maxOutputTokens = Math.min(limit, CLAUDE_TOKENS_MAX)
  const thinking = asObject(thinkingConfig)
  const budget = thinking?.thinkingBudget
  const isTooMuch = typeof budget === 'number' && budget >= maxOutputTokens
  return {
    ...config,
    maxOutputTokens,
    ...(isTooMuch && { thinkingConfig: { ...thinking, thinkingBudget: maxOutputTokens - 1 } }),
  }
}

function forClaude(request: JsonObject): JsonObject {
  const contents = listOf(request.contents).map((content) => ({
    ...content,
    parts: listOf(content.parts).flatMap(claudePart),
  }))
  const tools = listOf(request.tools).map(claudeTool)
  const calling = asObject(asObject(request.toolConfig)?.functionCallingConfig)
  const mode = textOf(calling?.mode)
  const isFree = mode === '' || mode === 'AUTO'
  const toolConfig = { functionCallingConfig: { ...calling, ...(isFree && { mode: 'VALIDATED' }) } }
  return {
    contents: contents.filter(({ parts }) => parts.length > 0),
    ...(tools.length > 0 && { tools, toolConfig }),
  }
}

/** Thoughts that it has not signed are refused, and so is what stands for a signature elsewhere. */
function claudePart(part: JsonObject): JsonObject[] {
  if (part.thoughtSignature === NO_SIGNATURE) {
    const { thoughtSignature: _, ...unsigned } = part
    return [unsigned]
  }
  return part.thought === true && textOf(part.thoughtSignature) === '' ? [] : [part]
}

function claudeTool(tool: JsonObject): JsonObject {
  if (!Array.isArray(tool.functionDeclarations)) return tool
  const functionDeclarations = listOf(tool.functionDeclarations).map(
    ({ parametersJsonSchema, parameters, ...head }) => ({
      ...head,
      parameters: withFields(googleSchemaOf(asObject(parametersJsonSchema) ?? asObject(parameters) ?? {})),
    }),
  )
  return { ...tool, functionDeclarations }
}

function withFields(schema: JsonObject): JsonObject {
  return Object.keys(asObject(schema.properties) ?? {}).length > 0 ? schema : NO_FIELDS
}

function listOf(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}

/** A conversation is a negative number of 63 bits; the same on every turn, by what the user said first. */
function sessionOf(request: JsonObject): string {
  const first = listOf(request.contents).find(({ role }) => (role ?? 'user') === 'user')
  const text = listOf(first?.parts).map((part) => textOf(part.text))
  const hash = createHash('sha256').update(JSON.stringify(text)).digest()
  return `-${hash.readBigUInt64BE() >> 1n}`
}

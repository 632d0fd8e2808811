import type { DecodedRequest } from '../codec.ts'
import { badField, Fields } from '../fields.ts'
import type { JsonObject, OutputFormat, ReasoningWish } from '../neutral.ts'
import { Dropped } from '../openai/dropped.ts'
import { effortIn, jsonSchemaIn, verbosityIn } from '../openai/settings.ts'
import { decodeInput } from './decode-input.ts'
import { decodeToolChoice, decodeTools, ownItems } from './decode-tools.ts'

/** What this codec has to know to answer in the way the client asked for. */
export interface Asked {
  /** Calls of these functions are items of a type of their own. */
  ownItems: ReadonlySet<string>
  /** Settings that a response repeats. */
  echo: JsonObject
}

/** Small settings that every response repeats; tools and instructions, which are long, it leaves out. */
const ECHOED = [
  'max_output_tokens',
  'metadata',
  'parallel_tool_calls',
  'prompt_cache_key',
  'reasoning',
  'safety_identifier',
  'temperature',
  'text',
  'tool_choice',
  'top_p',
  'truncation',
  'user',
] as const

export function decodeResponsesRequest(body: Buffer): DecodedRequest {
  const fields = Fields.ofBody(body)
  const dropped = new Dropped()
  refuseStateful(fields)
  const model = fields.requiredText('model')
  const instructions = fields.text('instructions')
  const { system, turns, tools: laterTools, updates } = decodeInput(fields, dropped)
  const offered = [...fields.objects('tools'), ...laterTools]
  const { tools, toolChoice } = decodeToolChoice(fields, decodeTools(offered, dropped))
  const text = fields.object('text')
  const request = {
    model,
    stream: fields.boolean('stream') ?? false,
    system: instructions ? [instructions, ...system] : system,
    turns,
    tools,
    toolChoice,
    parallelToolCalls: fields.boolean('parallel_tool_calls'),
    maxOutputTokens: fields.number('max_output_tokens'),
    temperature: fields.number('temperature'),
    topP: fields.number('top_p'),
    topK: null,
    seed: null,
    stopSequences: [],
    reasoning: reasoningWish(fields.object('reasoning'), dropped),
    outputFormat: text && outputFormat(text, dropped),
    verbosity: text && verbosityIn(text),
    cacheKey: fields.text('prompt_cache_key'),
    caching: 'implicit' as const,
  }
  if (text) dropped.rest(text)
  readIncluded(fields, dropped)
  for (const update of updates) {
    const reasoning = reasoningWish(update.object('reasoning'), dropped)
    if (reasoning) request.reasoning = { ...reasoning, shown: request.reasoning?.shown ?? null }
    const updatedText = update.object('text')
    if (updatedText) request.outputFormat = outputFormat(updatedText, dropped)
    dropped.rest(update)
  }
  dropped.rest(fields)
  return { request, dropped: dropped.names, asked: askedIn(fields, offered) }
}

function askedIn(fields: Fields, tools: readonly Fields[]): Asked {
  const echo: JsonObject = {}
  for (const name of ECHOED) if (fields.has(name)) echo[name] = fields.value[name]
  return { ownItems: ownItems(tools), echo }
}

/** What lives on one account at OpenAI, so that another vendor's models would answer something else. */
function refuseStateful(fields: Fields): void {
  const stored = ['previous_response_id', 'conversation', 'prompt'] as const
  for (const name of stored) {
    if (fields.has(name)) throw badField(name, 'what it names is stored at OpenAI, and no other vendor has it')
  }
  if (fields.boolean('store')) throw badField('store', 'answers of other vendors cannot be stored; send false')
  if (fields.boolean('background')) throw badField('background', 'other vendors answer at once or not at all')
  if (fields.has('moderation')) throw badField('moderation', 'other vendors cannot moderate by it')
}

function reasoningWish(fields: Fields | null, dropped: Dropped): ReasoningWish | null {
  if (!fields) return null
  const effort = effortIn(fields, 'effort')
  const summary = fields.text('summary') ?? fields.text('generate_summary')
  dropped.rest(fields)
  if (effort === null && summary === null) return null
  return { effort, budgetTokens: null, shown: summary === null ? null : true }
}

function outputFormat(text: Fields, dropped: Dropped): OutputFormat | null {
  const format = text.object('format')
  const type = format?.oneOf('type', ['text', 'json_object', 'json_schema'] as const) ?? 'text'
  if (!format || type === 'text') return null
  const read: OutputFormat = type === 'json_object' ? { kind: 'json' } : jsonSchemaIn(format)
  dropped.rest(format)
  return read
}

/** Encrypted reasoning is always there to bring back. */
function readIncluded(fields: Fields, dropped: Dropped): void {
  for (const included of fields.list('include') ?? []) {
    if (included !== 'reasoning.encrypted_content') dropped.add(`include.${String(included)}`)
  }
}

import { badField, type Fields } from '../fields.ts'
import type { Effort, NeutralRequest, OutputFormat, ReasoningWish } from '../neutral.ts'
import { jsonSchemaOf } from './schema.ts'

type Settings = Pick<
  NeutralRequest,
  'maxOutputTokens' | 'temperature' | 'topP' | 'topK' | 'seed' | 'stopSequences' | 'reasoning' | 'outputFormat'
>

/** What would change the answer into one that the neutral form cannot carry. */
const REFUSED = ['responseLogprobs', 'translationConfig', 'responseFormat'] as const

/** `generationConfig`. Throws `invalid_request`. */
export function readGenerationConfig(config: Fields | null, dropped: Set<string>): Settings {
  if (!config) return NOTHING_SAID
  for (const name of REFUSED) {
    const value = config.raw(name)
    if (value !== null && value !== false) throw badField(config.where(name), 'is known to Gemini’s models only')
  }
  if ((config.number('candidateCount') ?? 1) !== 1) throw badField(config.where('candidateCount'), 'must be 1')
  if (config.texts('responseModalities').some((modality) => modality.toUpperCase() !== 'TEXT')) {
    throw badField(config.where('responseModalities'), 'only text can be answered by the model that this call goes to')
  }
  const settings: Settings = {
    maxOutputTokens: config.number('maxOutputTokens'),
    temperature: config.number('temperature'),
    topP: config.number('topP'),
    topK: config.number('topK'),
    seed: config.number('seed'),
    stopSequences: config.texts('stopSequences'),
    reasoning: reasoningOf(config.object('thinkingConfig'), dropped),
    outputFormat: formatOf(config),
  }
  for (const name of config.left()) dropped.add(name)
  return settings
}

const NOTHING_SAID: Settings = {
  maxOutputTokens: null,
  temperature: null,
  topP: null,
  topK: null,
  seed: null,
  stopSequences: [],
  reasoning: null,
  outputFormat: null,
}

/** A budget of 0 is none, and of -1 what the model thinks right. */
function reasoningOf(thinking: Fields | null, dropped: Set<string>): ReasoningWish | null {
  if (!thinking) return null
  const level = thinking.text('thinkingLevel')?.toUpperCase() ?? null
  const budget = thinking.number('thinkingBudget')
  const shown = thinking.boolean('includeThoughts')
  for (const name of thinking.left()) dropped.add(name)
  const effort = budget === 0 ? 'none' : (LEVELS[level ?? ''] ?? null)
  return { effort, budgetTokens: budget !== null && budget > 0 ? budget : null, shown }
}

const LEVELS: Record<string, Effort> = { MINIMAL: 'minimal', LOW: 'low', MEDIUM: 'medium', HIGH: 'high' }

function formatOf(config: Fields): OutputFormat | null {
  const mimeType = config.text('responseMimeType')
  const schema = config.json('responseJsonSchema') ?? config.json('responseSchema')
  config.raw('responseSchema')
  if (mimeType === null || mimeType === 'text/plain') return null
  if (mimeType !== 'application/json') {
    throw badField(config.where('responseMimeType'), `'${mimeType}' is known to Gemini’s models only`)
  }
  return schema ? { kind: 'json_schema', name: null, schema: jsonSchemaOf(schema), strict: null } : { kind: 'json' }
}

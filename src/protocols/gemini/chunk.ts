import { NO_USAGE, type Usage } from '../../domain/usage.ts'
import { isObject } from '../loose-json.ts'
import { countOf } from '../metering.ts'

// One piece of an answer, which is also a whole one: what Google calls GenerateContentResponse, of which only what we read.

export interface Chunk {
  candidates?: unknown
  usageMetadata?: unknown
  modelVersion?: unknown
  responseId?: unknown
  promptFeedback?: { blockReason?: unknown } | null
  error?: unknown
}

export interface Candidate {
  content?: { parts?: unknown } | null
  finishReason?: unknown
  finishMessage?: unknown
  index?: unknown
  groundingMetadata?: { webSearchQueries?: unknown } | null
}

export interface Part {
  text?: unknown
  thought?: unknown
  thoughtSignature?: unknown
  functionCall?: { id?: unknown; name?: unknown; args?: unknown } | null
  inlineData?: { mimeType?: unknown; data?: unknown } | null
  fileData?: { mimeType?: unknown; fileUri?: unknown } | null
  executableCode?: { language?: unknown; code?: unknown } | null
  codeExecutionResult?: { outcome?: unknown; output?: unknown } | null
}

/** The chunks of a body: an answer is one, and a stream that was not asked for as events an array of them. Empty if it is neither. */
export function chunksOf(body: Buffer): Chunk[] {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    const chunks = Array.isArray(value) ? value : [value]
    return chunks.every(isObject) ? chunks : []
  } catch {
    return []
  }
}

export function candidatesOf({ candidates }: Chunk): Candidate[] {
  return Array.isArray(candidates) ? candidates.filter(isObject) : []
}

export function partsOf({ content }: Candidate): Part[] {
  const parts = content?.parts
  return Array.isArray(parts) ? parts.filter(isObject) : []
}

/** Why a candidate has ended; null while it goes on. */
export function finishReasonOf({ finishReason }: Candidate): string | null {
  return typeof finishReason === 'string' && finishReason !== '' && finishReason !== 'FINISH_REASON_UNSPECIFIED'
    ? finishReason
    : null
}

/** Why the prompt was not answered at all; null if it was. */
export function blockReasonOf({ promptFeedback }: Chunk): string | null {
  const reason = promptFeedback?.blockReason
  return typeof reason === 'string' && reason !== '' ? reason : null
}

const COUNTS = [
  'promptTokenCount',
  'cachedContentTokenCount',
  'candidatesTokenCount',
  'thoughtsTokenCount',
  'toolUsePromptTokenCount',
] as const

/**
 * What was used so far. Nearly every chunk reports totals, of which the last count; zeros are also sent where nothing is
 * known yet, and say nothing against a number.
 */
export class ReportedUsage {
  readonly #counts = {
    ...(Object.fromEntries(COUNTS.map((name) => [name, 0])) as Record<(typeof COUNTS)[number], number>),
  }
  #searches = 0

  read(chunk: Chunk): void {
    const reported = chunk.usageMetadata
    if (isObject(reported)) {
      for (const name of COUNTS) this.#counts[name] = countOf(reported[name]) || this.#counts[name]
    }
    for (const { groundingMetadata } of candidatesOf(chunk)) {
      const queries = groundingMetadata?.webSearchQueries
      if (Array.isArray(queries)) this.#searches = queries.length
    }
  }

  /** Google counts cached tokens within the prompt, but thoughts beside the candidates and what tools fetched beside the prompt. */
  get usage(): Usage {
    const counts = this.#counts
    const cached = counts.cachedContentTokenCount
    return {
      ...NO_USAGE,
      inputTokens: Math.max(0, counts.promptTokenCount - cached) + counts.toolUsePromptTokenCount,
      cacheReadTokens: cached,
      outputTokens: counts.candidatesTokenCount + counts.thoughtsTokenCount,
      reasoningTokens: counts.thoughtsTokenCount,
      webSearchRequests: this.#searches,
    }
  }
}

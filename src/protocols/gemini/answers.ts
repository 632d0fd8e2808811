import { createHash } from 'node:crypto'
import type { Usage } from '../../domain/usage.ts'
import { AnswerGatherer, UNREADABLE } from '../answers.ts'
import type { Asker } from '../codec.ts'
import { textOf } from '../loose-json.ts'
import type {
  JsonObject,
  NeutralAnswer,
  NeutralError,
  NeutralEvent,
  SignatureVendor,
  Stop,
  ToolCallBlock,
} from '../neutral.ts'
import { inputOf } from '../tool-inputs.ts'
import type { ToolNames } from '../tool-names.ts'
import {
  blockReasonOf,
  type Candidate,
  type Chunk,
  candidatesOf,
  chunksOf,
  finishReasonOf,
  type Part,
  partsOf,
  ReportedUsage,
} from './chunk.ts'
import type { Asked } from './decode-request.ts'
import { errorOf } from './foreign-errors.ts'
import { PartReader, PartWriter } from './parts.ts'
import { markForClient } from './signatures.ts'

const REFUSAL = [
  'SAFETY',
  'RECITATION',
  'LANGUAGE',
  'BLOCKLIST',
  'PROHIBITED_CONTENT',
  'SPII',
  'IMAGE_SAFETY',
  'IMAGE_PROHIBITED_CONTENT',
  'IMAGE_RECITATION',
]
const STOPS: ReadonlyMap<string, Stop['reason']> = new Map<string, Stop['reason']>([
  ['MAX_TOKENS', 'max_tokens'],
  ['CONTINUATION', 'pause'],
  ...REFUSAL.map((reason) => [reason, 'refusal'] as const),
])
/** The model meant to call a tool and failed. */
const BROKEN: ReadonlySet<string> = new Set([
  'MALFORMED_FUNCTION_CALL',
  'UNEXPECTED_TOOL_CALL',
  'TOO_MANY_TOOL_CALLS',
  'MALFORMED_RESPONSE',
])

/** Reads the chunks of one answer, whether they come one by one or all at once. Other candidates than the first are passed over. */
export class ChunkDecoder {
  readonly #usage = new ReportedUsage()
  readonly #parts: PartReader
  readonly #names: ToolNames
  #head = { id: '', model: '' }
  #calls = 0
  started = false
  over = false

  constructor(names: ToolNames) {
    this.#names = names
    this.#parts = new PartReader({
      markOf: (value) => (value === '' ? null : { signature: { vendor: this.#vendor(), value }, redacted: false }),
      callOf: (call) => this.#call(call),
    })
  }

  read(chunk: Chunk, said: NeutralEvent[]): void {
    if (this.over) return
    if (chunk.error) {
      this.fail(errorOf(chunk as JsonObject), said)
      return
    }
    const blocked = blockReasonOf(chunk)
    const candidate = candidatesOf(chunk).find(({ index }) => (index ?? 0) === 0)
    if (!candidate && blocked === null && !chunk.usageMetadata) return // something that is new
    this.#usage.read(chunk)
    this.#start(chunk, said)
    if (candidate) for (const part of partsOf(candidate)) this.#parts.read(part, said)
    const reason = candidate ? finishReasonOf(candidate) : blocked && 'SAFETY'
    if (reason !== null) this.finish(reason, candidate, said)
  }

  finish(reason: string, candidate: Candidate | undefined, said: NeutralEvent[]): void {
    this.#parts.close(said)
    if (BROKEN.has(reason) && !this.#parts.spoke) {
      const message = textOf(candidate?.finishMessage) || `the model ended its answer with ${reason}`
      this.fail({ kind: 'internal', message }, said)
      return
    }
    const stop = STOPS.get(reason) ?? (this.#parts.called ? 'tool_use' : 'end')
    said.push({ type: 'finish', stop: { reason: stop, sequence: null }, usage: this.#usage.usage })
    this.over = true
  }

  fail(error: NeutralError, said: NeutralEvent[]): void {
    said.push({ type: 'error', error })
    this.over = true
  }

  #start({ responseId, modelVersion, usageMetadata }: Chunk, said: NeutralEvent[]): void {
    if (this.started) return
    this.started = true
    this.#head = { id: textOf(responseId), model: textOf(modelVersion) }
    said.push({ type: 'start', ...this.#head, usage: usageMetadata ? this.#usage.usage : null })
  }

  /** Claude answers in this format at Antigravity only. */
  #vendor(): SignatureVendor {
    return this.#head.model.startsWith('claude-') ? 'antigravity' : 'gemini'
  }

  /** A call without an id gets one that no other answer's call has, the same however the answer comes. */
  #call({ id, name, args }: NonNullable<Part['functionCall']>): ToolCallBlock {
    const wireName = textOf(name)
    const called = this.#names.called(wireName)
    const place = this.#calls++
    return {
      kind: 'tool_call',
      id: textOf(id) || `call_${hashOf([this.#head.id, wireName, args])}_${place}`,
      ...called,
      input: inputOf(args, called.tool),
    }
  }
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16)
}

export function decodeGeminiAnswer(body: Buffer, names: ToolNames): NeutralAnswer | NeutralError {
  const decoder = new ChunkDecoder(names)
  const said: NeutralEvent[] = []
  for (const chunk of chunksOf(body)) decoder.read(chunk, said)
  if (!decoder.over && decoder.started) decoder.finish('STOP', undefined, said) // it is whole, whatever it leaves unsaid
  const gatherer = new AnswerGatherer()
  for (const event of said) {
    if (event.type === 'error') return event.error
    gatherer.push(event)
  }
  return gatherer.answer ?? UNREADABLE
}

// ---- for clients ----

const FINISH_REASONS: Record<Stop['reason'], string> = {
  end: 'STOP',
  stop_sequence: 'STOP',
  tool_use: 'STOP',
  pause: 'STOP',
  max_tokens: 'MAX_TOKENS',
  context_full: 'MAX_TOKENS',
  refusal: 'SAFETY',
}

export function encodeGeminiAnswer({ content, stop, usage }: NeutralAnswer, asker: Asker): Buffer {
  const { isArray } = asker.asked as Asked
  const writer = clientWriter()
  const parts = [...content.flatMap((block) => shownParts(writer.parts(block), asker)), ...writer.flush()]
  const chunk = { ...candidate(parts, stop), usageMetadata: usageFor(usage), ...headFor(asker) }
  return Buffer.from(JSON.stringify(isArray ? [chunk] : chunk))
}

/** Who did not want to see thoughts gets none. */
export function shownParts(parts: JsonObject[], { asked }: Asker): JsonObject[] {
  return (asked as Asked).hidesThoughts ? parts.filter(({ thought }) => thought !== true) : parts
}

export function clientWriter(): PartWriter {
  return new PartWriter({ markFor: markForClient, signsThoughts: false, nameOf: ({ name }) => name })
}

export function candidate(parts: JsonObject[], stop: Stop): JsonObject {
  const said = parts.length > 0 ? parts : [{ text: '' }]
  return {
    candidates: [{ content: { parts: said, role: 'model' }, finishReason: FINISH_REASONS[stop.reason], index: 0 }],
  }
}

export function headFor(asker: Asker): JsonObject {
  return { modelVersion: asker.model, responseId: asker.newId('rsp_') }
}

export function usageFor(usage: Usage): JsonObject {
  const { cacheReadTokens, reasoningTokens } = usage
  const prompt = usage.inputTokens + cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
  return {
    promptTokenCount: prompt,
    ...(cacheReadTokens > 0 && { cachedContentTokenCount: cacheReadTokens }),
    candidatesTokenCount: Math.max(0, usage.outputTokens - reasoningTokens),
    ...(reasoningTokens > 0 && { thoughtsTokenCount: reasoningTokens }),
    totalTokenCount: prompt + usage.outputTokens,
  }
}

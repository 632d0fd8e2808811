import type { Usage } from '../../domain/usage.ts'
import type { ScannedObject } from '../../lib/json-scan.ts'
import { BodyMeter, countOf, type EventReader, newReading, readEventBytes } from '../metering.ts'
import type { MeterReading, UsageMeter } from '../protocol.ts'
import { readEvents } from '../sse.ts'

/** What Anthropic reports: totals so far, each of which a later report may replace. */
export interface ReportedUsage {
  input_tokens?: unknown
  cache_creation_input_tokens?: unknown
  cache_read_input_tokens?: unknown
  cache_creation?: { ephemeral_5m_input_tokens?: unknown; ephemeral_1h_input_tokens?: unknown } | null
  output_tokens?: unknown
  output_tokens_details?: { thinking_tokens?: unknown } | null
  server_tool_use?: { web_search_requests?: unknown } | null
}

export function messagesMeter(stream: boolean): UsageMeter {
  return stream ? new StreamMeter() : new BodyMeter(BODY_KEYS, readBody)
}

const QUOTE = 0x22
const DELTA_HEAD = 'event: content_block_delta\ndata: '

/** Where the text deltas of a block keep what, counted from the beginning of their data; learnt from the first one. */
interface DeltaForm {
  /** The delta's type: one with another first character is no text but a signature or a citation. */
  typeAt: number
  typeInitial: number
  /** The text, as it is written; it ends before the last quote. */
  textAt: number
}

/** Reads the events of a stream. */
class StreamMeter implements UsageMeter, EventReader {
  readonly reading = newReading()
  #deltaForm: DeltaForm | null = null

  read(bytes: Buffer): number {
    return readEventBytes(bytes, this)
  }

  end(): void {}

  /**
   * Counts a text delta in the usual form without parsing it, once the block's form is known; most events are such. False
   * for any other event: nothing was counted then.
   */
  countUsual(text: string, start: number, blank: number): boolean {
    const form = this.#deltaForm
    if (!form || !looksLikeDelta(text, start)) return false
    const dataStart = start + DELTA_HEAD.length
    if (text.charCodeAt(dataStart + form.typeAt) !== form.typeInitial) return false
    const textStart = dataStart + form.textAt
    let textEnd = blank
    while (textEnd > textStart && text.charCodeAt(textEnd) !== QUOTE) textEnd--
    this.reading.textBytes += Math.max(0, textEnd - textStart)
    return true
  }

  /** The general way, for any event in any form that SSE allows. Returns where the terminal event begins, or -1. */
  readOthers(text: string): number {
    for (const event of readEvents(text)) {
      const data = Buffer.from(event.data, 'latin1').toString('utf8')
      const fields = parseObject(data)
      if (!event.whole && !fields) break // torn: nobody can read it
      this.#readEvent(event.name === 'message' ? String(fields?.type) : event.name, fields, data)
      if (this.reading.ended) return event.start
    }
    return -1
  }

  #readEvent(type: string, data: Record<string, unknown> | null, raw: string): void {
    const { reading } = this
    switch (type) {
      case 'message_start': {
        const message = data?.message as { model?: unknown; usage?: ReportedUsage } | undefined
        if (typeof message?.model === 'string') reading.reportedModel = message.model
        mergeUsage(reading.usage, message?.usage)
        return
      }
      case 'content_block_start':
        reading.contentSeen = true
        this.#deltaForm = null
        return
      case 'content_block_delta':
        reading.contentSeen = true
        this.#readDelta(data, raw)
        return
      case 'message_delta': {
        reading.contentSeen = true
        const delta = data?.delta as { stop_reason?: unknown; container?: unknown } | undefined
        if (typeof delta?.stop_reason === 'string') reading.stopReason = delta.stop_reason
        readContainer(delta?.container, reading)
        mergeUsage(reading.usage, data?.usage as ReportedUsage | undefined)
        return
      }
      case 'message_stop':
        reading.ended = 'complete'
        return
      case 'error':
        reading.ended = 'error'
        reading.error = { name: 'error', data: raw }
        return
      default: // ping, and whatever is invented next
    }
  }

  #readDelta(data: Record<string, unknown> | null, raw: string): void {
    const text = textOf(data)
    if (!text) return
    this.#deltaForm ??= formOf(raw, text)
    const form = this.#deltaForm
    const isUsual = form && raw.charCodeAt(form.typeAt) === form.typeInitial
    this.reading.textBytes += Buffer.byteLength(isUsual ? raw.slice(form.textAt, raw.lastIndexOf('"')) : text.value)
  }
}

const DELTA_TYPE = '"delta":{"type":"'

/** Null for data that is not written as Anthropic does: then every delta of the block is parsed. */
function formOf(raw: string, { key, value }: DeltaText): DeltaForm | null {
  const typeAt = raw.indexOf(DELTA_TYPE) + DELTA_TYPE.length
  const textAt = raw.indexOf(`"${key}":"`, typeAt) + key.length + 4
  const written = raw.slice(textAt - 1, raw.lastIndexOf('"') + 1)
  return raw.includes(DELTA_TYPE) && parsed(written) === value
    ? { typeAt, typeInitial: raw.charCodeAt(typeAt), textAt }
    : null
}

/**
 * True for an event that begins as DELTA_HEAD does. Most events do, so only the places are looked at in which it differs
 * from every other event there is: comparing all of it took half of the meter's time.
 */
function looksLikeDelta(text: string, start: number): boolean {
  return (
    text.charCodeAt(start + 26) === 0x0a && // the end of the name's line
    text.charCodeAt(start + 21) === 0x64 && // d of _delta
    text.charCodeAt(start + 7) === 0x63 && // c of content_
    text.charCodeAt(start) === 0x65 && // e of event:
    text.charCodeAt(start + 27) === 0x64 // d of data:
  )
}

const BODY_KEYS: ReadonlySet<string> = new Set(['type', 'model', 'stop_reason', 'usage', 'container', 'error'])

function readBody(answer: ScannedObject, reading: MeterReading): void {
  const model = answer.value('model')
  const stopReason = answer.value('stop_reason')
  if (typeof model === 'string') reading.reportedModel = model
  if (typeof stopReason === 'string') reading.stopReason = stopReason
  readContainer(answer.value('container'), reading)
  mergeUsage(reading.usage, answer.value('usage') as ReportedUsage | undefined)
  const isError = answer.value('type') === 'error'
  reading.ended = isError ? 'error' : 'complete'
  if (isError) reading.error = { name: 'error', data: `{"type":"error","error":${answer.raw('error') ?? 'null'}}` }
}

/** What code of the call has run in is kept for a while, for the next call. */
function readContainer(container: unknown, reading: MeterReading): void {
  const id = (container as { id?: unknown } | null | undefined)?.id
  if (typeof id === 'string') reading.storedAs = id
}

/** A later number replaces the earlier one; nothing is added. What is no count says nothing. */
export function mergeUsage(usage: Usage, reported: ReportedUsage | null | undefined): void {
  if (!reported) return
  usage.inputTokens = countOf(reported.input_tokens) ?? usage.inputTokens
  usage.cacheReadTokens = countOf(reported.cache_read_input_tokens) ?? usage.cacheReadTokens
  usage.outputTokens = countOf(reported.output_tokens) ?? usage.outputTokens
  usage.reasoningTokens = countOf(reported.output_tokens_details?.thinking_tokens) ?? usage.reasoningTokens
  usage.webSearchRequests = countOf(reported.server_tool_use?.web_search_requests) ?? usage.webSearchRequests
  mergeCacheWrites(usage, reported)
}

/** The split by lifetime comes only in message_start, the sum perhaps again later; what no split explains is of the default lifetime. */
function mergeCacheWrites(usage: Usage, { cache_creation_input_tokens, cache_creation }: ReportedUsage): void {
  const all = countOf(cache_creation_input_tokens)
  const fiveMinutes = countOf(cache_creation?.ephemeral_5m_input_tokens)
  const oneHour = countOf(cache_creation?.ephemeral_1h_input_tokens)
  usage.cacheWrite1hTokens = oneHour ?? Math.min(usage.cacheWrite1hTokens, all ?? Number.POSITIVE_INFINITY)
  if (fiveMinutes !== null) usage.cacheWrite5mTokens = fiveMinutes
  if (all !== null) usage.cacheWrite5mTokens = Math.max(fiveMinutes ?? 0, all - usage.cacheWrite1hTokens)
}

interface DeltaText {
  key: 'text' | 'thinking' | 'partial_json'
  value: string
}

/** What a delta generated: text, thinking, or a piece of a tool's input; null for signatures and whatever else there is. */
function textOf(data: Record<string, unknown> | null): DeltaText | null {
  const delta = data?.delta as Record<string, unknown> | null | undefined
  for (const key of ['text', 'thinking', 'partial_json'] as const) {
    const value = delta?.[key]
    if (typeof value === 'string') return { key, value }
  }
  return null
}

function parseObject(text: string): Record<string, unknown> | null {
  const value = parsed(text)
  return value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : null
}

/** Undefined if it is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

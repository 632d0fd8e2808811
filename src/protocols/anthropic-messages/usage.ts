import { NO_USAGE, type Usage } from '../../domain/usage.ts'
import { JsonScanError, type ScannedObject, scanTopLevel } from '../../lib/json-scan.ts'
import type { MeterReading, UsageMeter } from '../protocol.ts'
import { readEvents } from '../sse.ts'

/** What Anthropic reports (protocols.md 2.5): totals so far, each of which a later report may replace. */
interface ReportedUsage {
  input_tokens?: unknown
  cache_creation_input_tokens?: unknown
  cache_read_input_tokens?: unknown
  cache_creation?: { ephemeral_5m_input_tokens?: unknown; ephemeral_1h_input_tokens?: unknown } | null
  output_tokens?: unknown
  output_tokens_details?: { thinking_tokens?: unknown } | null
  server_tool_use?: { web_search_requests?: unknown } | null
}

export function messagesMeter(stream: boolean): UsageMeter {
  return stream ? new StreamMeter() : new BodyMeter()
}

function newReading(): MeterReading {
  return {
    usage: { ...NO_USAGE },
    reportedModel: null,
    stopReason: null,
    contentSeen: false,
    textBytes: 0,
    ended: null,
    error: null,
  }
}

const BLANK_LINE = '\n\n'
const DELTA_HEAD = 'event: content_block_delta\ndata: '

/** Reads the events of a stream. */
class StreamMeter implements UsageMeter {
  readonly reading = newReading()
  /** Cache writes in all; the split by lifetime comes only in message_start. */
  #cacheWrites = 0
  /** Bytes of a delta event around its text, learnt from the first delta of each block; -1 = not learnt yet. */
  #envelopeBytes = -1

  read(bytes: Buffer): number {
    const text = bytes.toString('latin1') // one character per byte: offsets are those of the bytes
    let start = 0
    while (start < text.length) {
      const isDelta = looksLikeDelta(text, start)
      const blank = text.indexOf(BLANK_LINE, isDelta ? start + DELTA_HEAD.length : start)
      const end = blank < 0 ? text.length : blank + BLANK_LINE.length
      if (isDelta && blank >= 0) this.#countDelta(bytes, start, end)
      else {
        const terminal = this.#readOthers(text.slice(start, end))
        if (terminal >= 0) return start + terminal
      }
      start = end
    }
    return -1
  }

  end(): void {}

  /** The general way, for any event in any form that SSE allows. Returns where the terminal event begins, or -1. */
  #readOthers(text: string): number {
    for (const event of readEvents(text)) {
      const data = Buffer.from(event.data, 'latin1').toString('utf8')
      const parsed = parseObject(data)
      this.#readEvent(event.name === 'message' ? String(parsed?.type) : event.name, parsed, data)
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
        this.#report(message?.usage)
        return
      }
      case 'content_block_start':
        reading.contentSeen = true
        this.#envelopeBytes = -1
        return
      case 'content_block_delta':
        reading.contentSeen = true
        reading.textBytes += textBytesOf(data)
        return
      case 'message_delta': {
        reading.contentSeen = true
        const delta = data?.delta as { stop_reason?: unknown } | undefined
        if (typeof delta?.stop_reason === 'string') reading.stopReason = delta.stop_reason
        this.#report(data?.usage as ReportedUsage | undefined)
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

  #countDelta(bytes: Buffer, start: number, end: number): void {
    this.reading.contentSeen = true
    if (this.#envelopeBytes < 0) {
      const data = parseObject(bytes.toString('utf8', start + DELTA_HEAD.length, end))
      this.#envelopeBytes = end - start - textBytesOf(data)
    }
    this.reading.textBytes += Math.max(0, end - start - this.#envelopeBytes)
  }

  #report(reported: ReportedUsage | null | undefined): void {
    this.#cacheWrites = mergeUsage(this.reading.usage, reported, this.#cacheWrites)
  }
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
    text.charCodeAt(start) === 0x65 // e of event:
  )
}

const BODY_KEYS: ReadonlySet<string> = new Set(['type', 'model', 'stop_reason', 'usage', 'error'])

/** Reads one JSON answer, when all of it is there. */
class BodyMeter implements UsageMeter {
  readonly reading = newReading()
  #chunks: Buffer[] = []

  read(bytes: Buffer): number {
    this.reading.contentSeen = true
    this.#chunks.push(bytes)
    return -1
  }

  end(): void {
    const { reading } = this
    const chunks = this.#chunks
    this.#chunks = []
    const answer = scanned(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
    if (!answer) return // not a JSON object: no answer
    const model = answer.value('model')
    const stopReason = answer.value('stop_reason')
    if (typeof model === 'string') reading.reportedModel = model
    if (typeof stopReason === 'string') reading.stopReason = stopReason
    mergeUsage(reading.usage, answer.value('usage') as ReportedUsage | undefined, 0)
    const isError = answer.value('type') === 'error'
    reading.ended = isError ? 'error' : 'complete'
    if (isError) reading.error = { name: 'error', data: `{"type":"error","error":${answer.raw('error') ?? 'null'}}` }
  }
}

function scanned(body: Buffer): ScannedObject | null {
  try {
    return scanTopLevel(body, BODY_KEYS)
  } catch (error) {
    if (error instanceof JsonScanError) return null
    throw error
  }
}

/** No call has more tokens of a kind; a larger number is not a count. */
const TOKENS_MAX = 1_000_000_000

/** A later number replaces the earlier one; nothing is added (protocols.md 2.5). Returns the cache writes in all. */
function mergeUsage(usage: Usage, reported: ReportedUsage | null | undefined, cacheWritesBefore: number): number {
  if (!reported) return cacheWritesBefore
  const later = (value: unknown, before: number) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= TOKENS_MAX ? value : before
  usage.inputTokens = later(reported.input_tokens, usage.inputTokens)
  usage.cacheReadTokens = later(reported.cache_read_input_tokens, usage.cacheReadTokens)
  usage.outputTokens = later(reported.output_tokens, usage.outputTokens)
  usage.reasoningTokens = later(reported.output_tokens_details?.thinking_tokens, usage.reasoningTokens)
  usage.webSearchRequests = later(reported.server_tool_use?.web_search_requests, usage.webSearchRequests)
  const cacheWrites = later(reported.cache_creation_input_tokens, cacheWritesBefore)
  usage.cacheWrite1hTokens = later(reported.cache_creation?.ephemeral_1h_input_tokens, usage.cacheWrite1hTokens)
  // Without the split, writes are of the default lifetime; with it, both parts are what they say.
  const fiveMinutes = later(reported.cache_creation?.ephemeral_5m_input_tokens, cacheWrites - usage.cacheWrite1hTokens)
  usage.cacheWrite5mTokens = Math.max(0, fiveMinutes)
  return cacheWrites
}

/** UTF-8 bytes of what a delta generated: text, thinking, or a piece of a tool's input. */
function textBytesOf(data: Record<string, unknown> | null): number {
  const delta = data?.delta as { text?: unknown; thinking?: unknown; partial_json?: unknown } | undefined
  const text = delta?.text ?? delta?.thinking ?? delta?.partial_json
  return typeof text === 'string' ? Buffer.byteLength(text) : 0
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(text) as unknown
    return value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

import type { Usage } from '../../domain/usage.ts'
import { closingQuote, type ScannedObject, scannedOrNull } from '../../lib/json-scan.ts'
import { BodyMeter, countOf, type EventReader, newReading, readEventBytes } from '../metering.ts'
import type { MeterReading, UsageMeter } from '../protocol.ts'
import { readEvents } from '../sse.ts'

/** What OpenAI reports, once, with the whole response: totals that include what is told in the details. */
export interface ReportedUsage {
  input_tokens?: unknown
  input_tokens_details?: {
    cached_tokens?: unknown
    cache_write_tokens?: unknown
    cache_write_tokens_details?: { ttl_12h_tokens?: unknown } | null
  } | null
  output_tokens?: unknown
  output_tokens_details?: { reasoning_tokens?: unknown } | null
}

/** Each kind of token once. Writes that are kept for hours count as the longer of the two lifetimes that we know. */
export function readUsage(usage: Usage, reported: ReportedUsage | null | undefined): void {
  const input = countOf(reported?.input_tokens)
  const output = countOf(reported?.output_tokens)
  if (input !== null) {
    const details = reported?.input_tokens_details
    const read = countOf(details?.cached_tokens) ?? 0
    const written = countOf(details?.cache_write_tokens) ?? 0
    const forHours = Math.min(written, countOf(details?.cache_write_tokens_details?.ttl_12h_tokens) ?? 0)
    usage.inputTokens = Math.max(0, input - read - written)
    usage.cacheReadTokens = read
    usage.cacheWrite5mTokens = written - forHours
    usage.cacheWrite1hTokens = forHours
  }
  if (output !== null) {
    usage.outputTokens = output
    usage.reasoningTokens = Math.min(output, countOf(reported?.output_tokens_details?.reasoning_tokens) ?? 0)
  }
}

export function responsesMeter(stream: boolean): UsageMeter {
  return stream ? new StreamMeter() : new BodyMeter(RESPONSE_KEYS, readBody)
}

/** Of a response; those that count tokens, or compact, answer with some of them. */
const RESPONSE_KEYS: ReadonlySet<string> = new Set([
  'id',
  'store',
  'model',
  'status',
  'incomplete_details',
  'error',
  'usage',
  'tool_usage',
  'output',
])

const EVENT_KEYS: ReadonlySet<string> = new Set(['type', 'response', 'delta'])

const EVENT_FIELD = 'event: '
const DELTA_NAME_END = '.delta\ndata: '
const DELTA_KEY = '"delta":"'
const QUOTE = 0x22

/** Events before any content. */
const PREAMBLE: ReadonlySet<string> = new Set(['response.created', 'response.in_progress', 'response.queued'])

/** Reads the events of a stream. Only those that may tell more than that there is content are looked into. */
class StreamMeter implements UsageMeter, EventReader {
  readonly reading = newReading()

  read(bytes: Buffer): number {
    return readEventBytes(bytes, this)
  }

  end(): void {}

  /** Counts a delta in the usual form without parsing it; most events are such. False for any other event: nothing was counted then. */
  countUsual(text: string, start: number, blank: number): boolean {
    if (!text.startsWith(EVENT_FIELD, start)) return false
    const nameEnd = text.indexOf('\n', start)
    const dataAt = nameEnd - '.delta'.length + DELTA_NAME_END.length
    if (!text.startsWith(DELTA_NAME_END, nameEnd - '.delta'.length) || dataAt > blank) return false
    // Within a string the quotes would be escaped, so this is a key.
    const keyAt = text.indexOf(DELTA_KEY, dataAt)
    if (keyAt < 0 || keyAt > blank) return false
    const textAt = keyAt + DELTA_KEY.length
    const textEnd = closingQuote(text, textAt)
    if (textEnd < 0 || textEnd > blank) return false
    this.reading.contentSeen = true
    this.reading.textBytes += textEnd - textAt
    return true
  }

  /** The general way, for any event in any form that SSE allows. Returns where the terminal event begins, or -1. */
  readOthers(text: string): number {
    for (const event of readEvents(text)) {
      const isNamed = event.name !== 'message'
      // Most of these events repeat what the deltas said: they are not scanned.
      const data = event.whole && isNamed && !isTelling(event.name) ? null : Buffer.from(event.data, 'latin1')
      const fields = data && scannedOrNull(data, EVENT_KEYS)
      if (!event.whole && !fields) break // torn: nobody can read it
      this.#readEvent(isNamed ? event.name : String(fields?.value('type')), fields, data)
      if (this.reading.ended) return event.start
    }
    return -1
  }

  #readEvent(type: string, fields: ScannedObject | null, data: Buffer | null): void {
    const { reading } = this
    switch (type) {
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
      case 'response.created': {
        const response = fields?.bytes('response')
        const answer = response && scannedOrNull(response, RESPONSE_KEYS)
        if (answer) readResponse(answer, reading)
        if (type === 'response.created') return
        reading.contentSeen = true
        reading.ended = type === 'response.failed' ? 'error' : 'complete'
        if (type === 'response.failed') reading.error = { name: type, data: String(data) }
        return
      }
      case 'error':
        reading.ended = 'error'
        reading.error = { name: type, data: String(data) }
        return
      default:
        if (!type.startsWith('response.') || PREAMBLE.has(type)) return
        reading.contentSeen = true
        if (type.endsWith('.delta')) reading.textBytes += writtenBytes(fields)
    }
  }
}

/** True for events that say more by their data than by their name. */
function isTelling(name: string): boolean {
  return (
    name === 'error' ||
    name === 'response.completed' ||
    name === 'response.incomplete' ||
    name === 'response.failed' ||
    name === 'response.created' ||
    name.endsWith('.delta')
  )
}

/** Of a delta, as it is written. */
function writtenBytes(fields: ScannedObject | null): number {
  const raw = fields?.raw('delta')
  return raw !== undefined && raw.charCodeAt(0) === QUOTE ? Buffer.byteLength(raw) - 2 : 0
}

function readBody(answer: ScannedObject, reading: MeterReading): void {
  readResponse(answer, reading)
  const error = answer.value('error')
  const isError = answer.value('status') === 'failed' || (error !== undefined && error !== null)
  reading.ended = isError ? 'error' : 'complete'
  if (isError) reading.error = { name: 'error', data: `{"error":${answer.raw('error') ?? 'null'}}` }
}

function readResponse(answer: ScannedObject, reading: MeterReading): void {
  const id = answer.value('id')
  const model = answer.value('model')
  const status = answer.value('status')
  const incomplete = answer.value('incomplete_details') as { reason?: unknown } | null | undefined
  if (typeof model === 'string') reading.reportedModel = model
  if (typeof id === 'string' && answer.value('store') === true) reading.storedAs = id
  if (typeof incomplete?.reason === 'string') reading.stopReason = incomplete.reason
  else if (typeof status === 'string' && status !== 'in_progress') reading.stopReason = status
  readUsage(reading.usage, answer.value('usage') as ReportedUsage | undefined)
  reading.usage.webSearchRequests = searchesIn(answer)
}

/** Uses of web search, which is billed per use: as reported, else as many as stand in the output. */
export function searchesOf(toolUsage: unknown, output: unknown): number {
  const reported = toolUsage as { web_search?: { num_requests?: unknown } | null } | null | undefined
  const count = countOf(reported?.web_search?.num_requests)
  if (count !== null) return count
  return Array.isArray(output) ? output.filter((item) => item?.type === SEARCH_CALL).length : 0
}

const SEARCH_CALL = 'web_search_call'

/** The output is long, and only parsed if the word is in it. */
function searchesIn(answer: ScannedObject): number {
  const mayHave = answer.bytes('output')?.includes(`"${SEARCH_CALL}"`)
  return searchesOf(answer.value('tool_usage'), mayHave ? answer.value('output') : null)
}

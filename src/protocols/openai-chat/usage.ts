import type { Usage } from '../../domain/usage.ts'
import { closingQuote, type ScannedObject } from '../../lib/json-scan.ts'
import { asObject, objectOf } from '../loose-json.ts'
import { BodyMeter, countOf, type EventReader, newReading, readError, readEventBytes } from '../metering.ts'
import type { JsonObject } from '../neutral.ts'
import type { MeterReading, UsageMeter } from '../protocol.ts'
import { readEvents } from '../sse.ts'

/** Each kind of token once: cached and written tokens stand inside of the prompt, thoughts inside of the completion. */
export function readUsage(usage: Usage, value: unknown): void {
  const reported = asObject(value)
  const prompt = countOf(reported?.prompt_tokens)
  const completion = countOf(reported?.completion_tokens)
  if (prompt !== null) {
    const details = asObject(reported?.prompt_tokens_details)
    const read = Math.min(prompt, countOf(details?.cached_tokens) ?? 0)
    const written = Math.min(prompt - read, countOf(details?.cache_write_tokens) ?? 0)
    usage.inputTokens = prompt - read - written
    usage.cacheReadTokens = read
    usage.cacheWrite5mTokens = written
  }
  if (completion !== null) {
    const details = asObject(reported?.completion_tokens_details)
    usage.outputTokens = completion
    usage.reasoningTokens = Math.min(completion, countOf(details?.reasoning_tokens) ?? 0)
  }
}

export function chatMeter(stream: boolean): UsageMeter {
  return stream ? new StreamMeter() : new BodyMeter(BODY_KEYS, readBody)
}

const BODY_KEYS: ReadonlySet<string> = new Set(['model', 'choices', 'data', 'usage', 'error'])

const DONE = '[DONE]'
const OPEN_BRACKET = 0x5b
/**
 * What a chunk says that is neither the last one of its choice nor the one that tells the usage. Within a text its quotes would be escaped. They are
 * sought without their first quotes, of which a chunk is full.
 */
const UNFINISHED = 'finish_reason":null'
const USAGE = 'usage":{'
/** Texts that a model generates, `reasoning_content` too. */
const TEXTS = ['content":"', 'arguments":"'] as const

/**
 * Reads the chunks of a stream. The usage comes behind the last choice's end, in a chunk without choices; some vendors send it with that end. Either
 * is the terminal event, or `[DONE]` where none is sent; with neither the body's end is, if a choice has ended.
 */
class StreamMeter implements UsageMeter, EventReader {
  readonly reading = newReading()

  read(bytes: Buffer): number {
    return readEventBytes(bytes, this)
  }

  end(): void {
    if (this.reading.ended === null && this.reading.stopReason !== null) this.reading.ended = 'complete'
  }

  /** Counts a chunk in the middle without parsing it; most are such. False for any other event: nothing was counted then. */
  countUsual(text: string, start: number, blank: number): boolean {
    if (this.reading.reportedModel === null) return false // the first chunk tells it
    const event = text.slice(start, blank)
    if (!event.includes(UNFINISHED) || event.includes(USAGE)) return false
    let bytes = 0
    for (const key of TEXTS) bytes += writtenBytes(event, key)
    if (bytes === 0) return false
    this.reading.textBytes += bytes
    this.reading.contentSeen = true
    return true
  }

  /** The general way, for any event in any form that SSE allows. Returns where the terminal event begins, or -1. */
  readOthers(text: string): number {
    for (const event of readEvents(text)) {
      const raw = event.data
      if (raw === DONE) this.reading.ended = 'complete'
      else {
        const data = Buffer.from(raw, 'latin1').toString('utf8')
        const chunk = objectOf(data)
        if (!event.whole && !chunk) break // torn: nobody can read it
        if (chunk) this.#readChunk(chunk, data)
      }
      if (this.reading.ended) return event.start
    }
    return -1
  }

  #readChunk(chunk: JsonObject, data: string): void {
    const { reading } = this
    if (asObject(chunk.error)) {
      reading.ended = 'error'
      reading.error = { name: 'error', data }
      return
    }
    if (typeof chunk.model === 'string' && chunk.model !== '') reading.reportedModel = chunk.model
    const choices = Array.isArray(chunk.choices) ? chunk.choices : []
    for (const choice of choices) this.#readChoice(asObject(choice))
    if (!asObject(chunk.usage)) return
    readUsage(reading.usage, chunk.usage)
    if (reading.stopReason !== null) reading.ended = 'complete'
  }

  #readChoice(choice: JsonObject | null): void {
    const { reading } = this
    const delta = asObject(choice?.delta)
    const calls = Array.isArray(delta?.tool_calls) ? delta.tool_calls : []
    const texts = [delta?.content, delta?.reasoning_content, delta?.reasoning, delta?.refusal]
    texts.push(choice?.text) // of a legacy completion
    for (const call of calls)
      texts.push(asObject(asObject(call)?.function)?.arguments, asObject(asObject(call)?.custom)?.input)
    for (const text of texts)
      if (typeof text === 'string') reading.textBytes += Buffer.byteLength(JSON.stringify(text)) - 2
    if (calls.length > 0 || texts.some((text) => typeof text === 'string' && text !== '')) reading.contentSeen = true
    if (typeof choice?.finish_reason === 'string') {
      reading.stopReason = choice.finish_reason
      reading.contentSeen = true
    }
  }
}

/** Of all texts under a key, as they are written. */
function writtenBytes(event: string, key: string): number {
  let bytes = 0
  for (let at = event.indexOf(key); at >= 0; ) {
    const from = at + key.length
    const quote = closingQuote(event, from)
    const to = quote < 0 ? event.length : quote
    bytes += to - from
    at = event.indexOf(key, to)
  }
  return bytes
}

function readBody(answer: ScannedObject, reading: MeterReading): void {
  const model = answer.value('model')
  const choices = answer.value('choices')
  if (typeof model === 'string') reading.reportedModel = model
  readUsage(reading.usage, answer.value('usage'))
  if (readError(answer, reading)) return
  if (Array.isArray(choices)) {
    const reason = asObject(choices[0])?.finish_reason
    if (typeof reason === 'string') reading.stopReason = reason
    reading.ended = 'complete'
  } else if (answer.bytes('data')?.[0] === OPEN_BRACKET) reading.ended = 'complete' // embeddings, whose requests and usage are of this format
}

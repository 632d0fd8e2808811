import { isObject, objectOf } from '../loose-json.ts'
import { newReading } from '../metering.ts'
import type { MeterReading, UsageMeter } from '../protocol.ts'
import { EVENT_BYTES_MAX, EventTooLarge, PIECE_BYTES, readEvents } from '../sse.ts'
import {
  blockReasonOf,
  type Candidate,
  type Chunk,
  candidatesOf,
  chunksOf,
  finishReasonOf,
  partsOf,
  ReportedUsage,
} from './chunk.ts'

export function geminiMeter(stream: boolean): UsageMeter {
  return stream ? new StreamMeter() : new BodyMeter()
}

/** What chunks have told so far. */
class ChunkReader {
  readonly reading = newReading()
  readonly #reported = new ReportedUsage()
  /** By index: whether it has ended. */
  readonly #candidates = new Map<number, boolean>()

  read(chunk: Chunk): void {
    const { reading } = this
    if (typeof chunk.modelVersion === 'string') reading.reportedModel = chunk.modelVersion
    this.#reported.read(chunk)
    reading.usage = this.#reported.usage
    for (const candidate of candidatesOf(chunk)) {
      const parts = partsOf(candidate)
      if (parts.length > 0) reading.contentSeen = true
      for (const { text, functionCall } of parts) {
        if (typeof text === 'string') reading.textBytes += Buffer.byteLength(text)
        else if (functionCall?.args) reading.textBytes += Buffer.byteLength(JSON.stringify(functionCall.args))
      }
      const stopReason = finishReasonOf(candidate)
      reading.stopReason ??= stopReason
      const index = indexOf(candidate)
      this.#candidates.set(index, stopReason !== null || this.#candidates.get(index) === true)
    }
    const blocked = blockReasonOf(chunk)
    reading.stopReason ??= blocked
    if (blocked !== null || this.#haveAllEnded()) {
      reading.contentSeen = true
      reading.ended = 'complete'
    }
  }

  fail(data: string): void {
    this.reading.ended = 'error'
    this.reading.error = { name: 'error', data }
  }

  #haveAllEnded(): boolean {
    if (this.#candidates.size === 0) return false
    for (const ended of this.#candidates.values()) if (!ended) return false
    return true
  }
}

/** Google makes no more candidates than this. */
const CANDIDATES_MAX = 8

/** Left out, it is 0. */
function indexOf({ index }: Candidate): number {
  return Number.isInteger(index) && (index as number) > 0 && (index as number) < CANDIDATES_MAX ? (index as number) : 0
}

/**
 * Reads the events of a stream. Each is parsed whole: it brings a good deal of text and the totals so far, which no other event
 * repeats if the stream ends there.
 */
class StreamMeter implements UsageMeter {
  readonly #reader = new ChunkReader()

  get reading(): MeterReading {
    return this.#reader.reading
  }

  read(bytes: Buffer): number {
    const text = bytes.toString('latin1') // one character per byte: offsets are those of the bytes
    for (const event of readEvents(text)) {
      const data = Buffer.from(event.data, 'latin1').toString('utf8')
      const chunk = objectOf(data)
      if (!chunk) {
        if (event.whole) continue // `[DONE]`, or whatever somebody else invents
        break // torn: nobody can read it
      }
      if (isObject(chunk.error)) this.#reader.fail(data)
      else this.#reader.read(chunk)
      if (this.reading.ended) return event.start
    }
    return -1
  }

  end(): void {}
}

/** Reads one JSON answer, when all of it is there: an object, or (of a stream without events) an array of chunks. */
class BodyMeter implements UsageMeter {
  readonly #reader = new ChunkReader()
  #pieces: Buffer[] = []
  #bytes = 0

  get reading(): MeterReading {
    return this.#reader.reading
  }

  read(bytes: Buffer): number {
    this.reading.contentSeen = true
    this.#pieces.push(bytes)
    this.#bytes += bytes.length + PIECE_BYTES
    if (this.#bytes > EVENT_BYTES_MAX) throw new EventTooLarge()
    return -1
  }

  end(): void {
    const chunks = chunksOf(Buffer.concat(this.#pieces))
    this.#pieces = []
    if (chunks.length === 0) return // no answer
    for (const chunk of chunks) {
      if (isObject(chunk.error)) {
        this.#reader.fail(JSON.stringify({ error: chunk.error }))
        return
      }
      this.#reader.read(chunk)
    }
    this.reading.ended = 'complete'
  }
}

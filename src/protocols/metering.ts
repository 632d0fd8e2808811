import { NO_USAGE } from '../domain/usage.ts'
import { type ScannedObject, scannedOrNull } from '../lib/json-scan.ts'
import type { MeterReading, UsageMeter } from './protocol.ts'
import { EVENT_BYTES_MAX, EventTooLarge, PIECE_BYTES } from './sse.ts'

/** What a meter has read before anything came. */
export function newReading(): MeterReading {
  return {
    usage: { ...NO_USAGE },
    unmetered: false,
    reportedModel: null,
    stopReason: null,
    storedAs: null,
    contentSeen: false,
    textBytes: 0,
    ended: null,
    error: null,
  }
}

/** No call has more tokens of a kind; a larger number is not a count. */
const TOKENS_MAX = 1_000_000_000

/** Null for what is no count. */
export function countOf(value: unknown): number | null {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= TOKENS_MAX ? (value as number) : null
}

/** How a meter takes the events of a stream, whose texts have one character for each byte. */
export interface EventReader {
  /** Counts an event in the form that most have without parsing it. False for any other: nothing was counted then. */
  countUsual(text: string, start: number, blankAt: number): boolean
  /** The general way, for any event in any form that SSE allows. Returns where the terminal event begins, or -1. */
  readOthers(text: string): number
}

const BLANK_LINE = '\n\n'

/** Reads whole events. Returns where in them the terminal event begins, or -1. */
export function readEventBytes(bytes: Buffer, reader: EventReader): number {
  const text = bytes.toString('latin1')
  if (text.includes('\r')) return reader.readOthers(text)
  for (let start = 0; start < text.length; ) {
    const blankAt = text.indexOf(BLANK_LINE, start)
    const end = blankAt < 0 ? text.length : blankAt + BLANK_LINE.length
    if (blankAt < 0 || !reader.countUsual(text, start, blankAt)) {
      const terminal = reader.readOthers(text.slice(start, end))
      if (terminal >= 0) return start + terminal
    }
    start = end
  }
  return -1
}

/** An error in place of an answer, in a 200. True if there is one. */
export function readError(answer: ScannedObject, reading: MeterReading): boolean {
  const error = answer.raw('error')
  if (error === undefined || error === 'null') return false
  reading.ended = 'error'
  reading.error = { name: 'error', data: `{"error":${error}}` }
  return true
}

/** Reads one JSON answer, when all of it is there. */
export class BodyMeter implements UsageMeter {
  readonly reading = newReading()
  readonly #keys: ReadonlySet<string>
  readonly #readAnswer: (answer: ScannedObject, reading: MeterReading) => void
  #chunks: Buffer[] = []
  #bytes = 0

  /** `readAnswer` is not called for what is no JSON object: that is no answer, and has not ended. */
  constructor(keys: ReadonlySet<string>, readAnswer: (answer: ScannedObject, reading: MeterReading) => void) {
    this.#keys = keys
    this.#readAnswer = readAnswer
  }

  read(bytes: Buffer): number {
    this.reading.contentSeen = true
    this.#chunks.push(bytes)
    this.#bytes += bytes.length + PIECE_BYTES
    if (this.#bytes > EVENT_BYTES_MAX) throw new EventTooLarge()
    return -1
  }

  end(): void {
    const chunks = this.#chunks
    this.#chunks = []
    const answer = scannedOrNull(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks), this.#keys)
    if (answer) this.#readAnswer(answer, this.reading)
  }
}

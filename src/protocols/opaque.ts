import { type ScannedObject, scannedOrNull } from '../lib/json-scan.ts'
import { newReading, readError } from './metering.ts'
import type { MeterReading, UsageMeter } from './protocol.ts'
import { readEvents } from './sse.ts'

// Meters for answers that are passed on without being understood: sounds, images, texts. What they used is not told in tokens that have prices,
// or only sometimes, and so they begin as `unmetered`.

/** Where an answer tells what it used, if it does; clears `unmetered` if that is all of it. */
export type ReadUsage = (usage: unknown, reading: MeterReading) => void

export interface OpaqueAnswer {
  /** A whole body is one JSON object; else it may be anything but empty. */
  isJson: boolean
  /** Types of the event with which a stream is finished. */
  finishedBy: readonly string[]
  /** Nothing of the answer comes behind that event: it waits for the charge. Else the end of the body does. */
  isTerminal: boolean
  /** Null: its usage is not of tokens that have prices. */
  readUsage: ReadUsage | null
}

export function opaqueMeter(answer: OpaqueAnswer): (stream: boolean) => UsageMeter {
  return (stream) => (stream ? new OpaqueStreamMeter(answer) : new OpaqueBodyMeter(answer))
}

function unmeteredReading(): MeterReading {
  return { ...newReading(), unmetered: true }
}

const KEYS: ReadonlySet<string> = new Set(['type', 'usage', 'error'])
/** Of a body that may tell its usage; so much of an answer is held until its end anyway. */
const KEPT_BYTES_MAX = 1024 * 1024
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** The body's end is the answer's, whatever it is; of a large one nothing is kept. */
class OpaqueBodyMeter implements UsageMeter {
  readonly reading = unmeteredReading()
  readonly #answer: OpaqueAnswer
  /** Null once it is too much. */
  #kept: Buffer[] | null = []
  #bytes = 0
  /** Of those that are no white space. */
  #firstByte: number | undefined
  #lastByte: number | undefined

  constructor(answer: OpaqueAnswer) {
    this.#answer = answer
  }

  read(bytes: Buffer): number {
    this.reading.contentSeen = true
    this.#bytes += bytes.length
    if (this.#bytes > KEPT_BYTES_MAX) this.#kept = null
    this.#kept?.push(bytes)
    this.#firstByte ??= bytes.find(isNoSpace)
    this.#lastByte = bytes.findLast(isNoSpace) ?? this.#lastByte
    return -1
  }

  end(): void {
    const { isJson, readUsage } = this.#answer
    const kept = this.#kept && scannedOrNull(Buffer.concat(this.#kept), KEYS)
    const looksWhole = this.#firstByte === OPEN_BRACE && this.#lastByte === CLOSE_BRACE
    const isWhole = isJson ? (this.#kept ? kept !== null : looksWhole) : this.#bytes > 0
    this.#kept = null
    if (!isWhole || (kept && readError(kept, this.reading))) return
    this.reading.ended = 'complete'
    if (kept) readUsage?.(kept.value('usage'), this.reading)
  }
}

function isNoSpace(byte: number): boolean {
  return byte > 0x20
}

const DONE = '[DONE]'

/** Of the events only their type, their usage and errors are looked at. */
class OpaqueStreamMeter implements UsageMeter {
  readonly reading = unmeteredReading()
  readonly #answer: OpaqueAnswer
  #isFinished = false

  constructor(answer: OpaqueAnswer) {
    this.#answer = answer
  }

  read(bytes: Buffer): number {
    const { reading } = this
    const { isTerminal } = this.#answer
    for (const { name, data, start, whole } of readEvents(bytes.toString('latin1'))) {
      if (data === DONE) this.#isFinished = true
      const object = scannedOrNull(Buffer.from(data, 'latin1'), KEYS)
      if (!object && !whole) break // torn: nobody can read it
      reading.contentSeen = true
      if (object) this.#readEvent(object, name)
      if (this.#isFinished && (isTerminal || data === DONE)) reading.ended ??= 'complete'
      if (reading.ended) return start
    }
    return -1
  }

  end(): void {
    if (this.#isFinished) this.reading.ended ??= 'complete'
  }

  #readEvent(object: ScannedObject, name: string): void {
    const { finishedBy, readUsage } = this.#answer
    const type = object.value('type') ?? name
    if (readError(object, this.reading) || !finishedBy.includes(type as string)) return
    this.#isFinished = true
    readUsage?.(object.value('usage'), this.reading)
  }
}

/** A server-sent event: its name (`message` where none is given) and its data lines joined. */
export interface SseEvent {
  name: string
  data: string
}

/** A longer event, or JSON answer, is taken for a broken upstream. */
export const EVENT_BYTES_MAX = 64 * 1024 * 1024
/** What a piece costs beside its bytes: an event that comes byte by byte must not hold gigabytes. */
export const PIECE_BYTES = 128

const LF = 0x0a
const CR = 0x0d
const BLANK_LINE = Buffer.from('\n\n')

/** An event, or a JSON answer, grew beyond what one may have. */
export class EventTooLarge extends Error {}

/**
 * Cuts a byte stream at event boundaries, in whatever pieces it comes: gives back only whole events, as the same bytes in
 * the same order, and keeps a partial event until its rest is there. Line ends may be LF, CRLF or CR.
 */
export class SseSplitter {
  #partial: Buffer[] = []
  #partialBytes = 0
  /** The next byte begins a line; a line end there makes the blank line that ends an event. */
  #atLineStart = true
  /** The last byte was a CR, which may be half of a CRLF: 'blank' if it ended an empty line. */
  #pendingCr: 'blank' | 'line' | null = null
  readonly #eventBytesMax: number

  constructor(eventBytesMax = EVENT_BYTES_MAX) {
    this.#eventBytesMax = eventBytesMax
  }

  /** Takes the next bytes and returns the events that they complete (several in one buffer), or null. Throws EventTooLarge. */
  push(chunk: Buffer): Buffer | null {
    if (chunk.length === 0) return null
    const boundary = this.#pendingCr || chunk.includes(CR) ? this.#scanWithCr(chunk) : this.#scan(chunk)
    if (boundary < 0) {
      this.#keep(chunk)
      return null
    }
    const whole = chunk.subarray(0, boundary)
    const events = this.#partialBytes === 0 ? whole : Buffer.concat([...this.#partial, whole])
    this.#partial = []
    this.#partialBytes = 0
    if (boundary < chunk.length) this.#keep(chunk.subarray(boundary))
    return events
  }

  /** What is left when the stream ends: an event without its blank line. */
  rest(): Buffer | null {
    if (this.#partialBytes === 0) return null
    const rest = Buffer.concat(this.#partial)
    this.#partial = []
    this.#partialBytes = 0
    return rest
  }

  #keep(bytes: Buffer): void {
    this.#partial.push(bytes)
    this.#partialBytes += bytes.length + PIECE_BYTES
    if (this.#partialBytes > this.#eventBytesMax) throw new EventTooLarge()
  }

  /** Behind the last blank line in `chunk`, or -1: the usual case, with LF only, by native searches. */
  #scan(chunk: Buffer): number {
    const blank = chunk.lastIndexOf(BLANK_LINE)
    const boundary = blank >= 0 ? blank + 2 : this.#atLineStart && chunk[0] === LF ? 1 : -1
    this.#atLineStart = chunk[chunk.length - 1] === LF
    return boundary
  }

  #scanWithCr(chunk: Buffer): number {
    let boundary = -1
    let i = 0
    let atLineStart = this.#atLineStart
    if (this.#pendingCr) {
      if (chunk[0] === LF) i = 1
      if (this.#pendingCr === 'blank') boundary = i
      atLineStart = true
      this.#pendingCr = null
    }
    while (i < chunk.length) {
      const byte = chunk[i++] as number
      if (byte !== LF && byte !== CR) {
        atLineStart = false
        continue
      }
      if (byte === CR && i === chunk.length) {
        this.#pendingCr = atLineStart ? 'blank' : 'line'
        break
      }
      if (byte === CR && chunk[i] === LF) i++
      if (atLineStart) boundary = i
      atLineStart = true
    }
    this.#atLineStart = atLineStart
    return boundary
  }
}

/** An event where it stands in a text. */
export interface PlacedEvent extends SseEvent {
  start: number
  /** Its blank line is there too. */
  whole: boolean
}

const BLANK = '\n\n'

/** The events of a piece of text, in order: line ends may be LF, CRLF or CR; comments and fields that nobody needs are skipped. */
export function* readEvents(text: string): Generator<PlacedEvent> {
  if (text.includes('\r')) {
    yield* readAnyEvents(text, 0)
    return
  }
  for (let start = 0; start < text.length; ) {
    const blank = text.indexOf(BLANK, start)
    const end = blank < 0 ? text.length : blank + BLANK.length
    const usual = blank < 0 ? null : readUsualEvent(text, start, blank)
    if (usual) yield usual
    else yield* readAnyEvents(text.slice(start, end), start)
    start = end
  }
}

/** One event in a form that vendors send: perhaps a line with its name, a line with its data, a blank line. */
function readUsualEvent(text: string, start: number, blank: number): PlacedEvent | null {
  const isNamed = text.startsWith('event: ', start)
  const dataLine = isNamed ? text.indexOf('\n', start) + 1 : start
  if (!text.startsWith('data: ', dataLine) || text.indexOf('\n', dataLine) !== blank) return null
  const name = isNamed ? text.slice(start + 'event: '.length, dataLine - 1) : ''
  return { name: name || 'message', data: text.slice(dataLine + 'data: '.length, blank), start, whole: true }
}

/** A line, and what ends it. */
const LINES = /(.*?)(\r\n|\r|\n|$)/gsy

function fieldOf(line: string): { field: string; valueAt: number } {
  const colon = line.indexOf(':')
  if (colon < 0) return { field: line, valueAt: line.length }
  return { field: line.slice(0, colon), valueAt: line[colon + 1] === ' ' ? colon + 2 : colon + 1 }
}

/**
 * Where in a text the `at`-th character of the data is that belongs to the event beginning at `start`: data of several
 * lines is joined by one character, whatever ends the lines.
 */
export function placeOfData(text: string, start: number, at: number): number {
  let before = 0
  for (const { index, 1: line = '' } of text.slice(start).matchAll(LINES)) {
    const { field, valueAt } = fieldOf(line)
    if (field !== 'data') continue
    const after = before + line.length - valueAt
    if (at <= after) return start + index + valueAt + at - before
    before = after + 1
  }
  throw new RangeError('the event has no such data')
}

/** The general way. `offset` is where the text begins. */
function* readAnyEvents(text: string, offset: number): Generator<PlacedEvent> {
  let name = ''
  let data: string[] = []
  let start = offset
  for (const match of text.matchAll(LINES)) {
    const [matched, line = '', lineEnd] = match
    const after = match.index + matched.length
    if (line === '' && lineEnd !== '') {
      if (name || data.length > 0) yield { name: name || 'message', data: data.join('\n'), start, whole: true }
      name = ''
      data = []
      start = offset + after
    } else {
      const { field, valueAt } = fieldOf(line)
      if (field === 'event') name = line.slice(valueAt)
      else if (field === 'data') data.push(line.slice(valueAt))
    }
    if (after >= text.length) break
  }
  if (name || data.length > 0) yield { name: name || 'message', data: data.join('\n'), start, whole: false }
}

import type { AnswerEdit, MeterReading, Protocol, UsageMeter } from '../protocols/protocol.ts'
import { EVENT_BYTES_MAX, EventTooLarge, SseSplitter } from '../protocols/sse.ts'

/** A token is about this many bytes of text, where output has to be estimated. */
const BYTES_PER_TOKEN = 4

/** Output tokens of an answer that has not ended: as reported, or by its text where that is more. */
export function outputSoFar({ usage, textBytes }: MeterReading): number {
  return Math.max(usage.outputTokens, Math.ceil(textBytes / BYTES_PER_TOKEN))
}

/**
 * Reads one upstream answer as it comes: cuts a stream at its events, meters it, and tells apart what may go to the
 * client at once and what must wait until the call is charged (the terminal event and all after it; of a JSON body all
 * that is left when it ends, which is at least its last piece). The bytes pass unchanged, unless there is an edit, which
 * they go through behind the meter, as whole events or as a whole body; where a vendor puts answers into an envelope they are taken
 * out of it before.
 */
export class AnswerReader {
  readonly #meter: UsageMeter
  readonly #splitter: SseSplitter | null
  readonly #unwrap: AnswerEdit | null
  readonly #edit: AnswerEdit | null
  /** May go out now, in order. */
  ready: Buffer[] = []
  /** Goes out after the charge. */
  held: Buffer[] = []
  /** All that were ever read, also those that have gone out since or lie in an unfinished event. */
  bytes = 0
  /** Bytes that an edit, or the way out of an envelope, has made of them for the client. */
  #editedBytes = 0

  constructor(protocol: Protocol, streams: boolean, edit: AnswerEdit | null = null, unwrap: AnswerEdit | null = null) {
    this.#meter = protocol.usageMeter(streams)
    this.#splitter = streams ? new SseSplitter() : null
    this.#edit = edit
    this.#unwrap = unwrap
  }

  get streams(): boolean {
    return this.#splitter !== null
  }

  get reading(): MeterReading {
    return this.#meter.reading
  }

  /** As many as the client would get if it got all that has been read. */
  get bytesForClient(): number {
    return this.#edit || this.#unwrap ? this.#editedBytes : this.bytes
  }

  /** Takes the next bytes. Throws EventTooLarge. */
  push(chunk: Buffer): void {
    this.bytes += chunk.length
    if (this.#splitter) {
      const events = this.#splitter.push(chunk)
      if (events) this.#passEvents(this.#unwrap ? this.#unwrap(events) : events)
      return
    }
    if (this.#unwrap) {
      if (this.bytes > EVENT_BYTES_MAX) throw new EventTooLarge()
      this.held.push(chunk)
      return
    }
    this.#meter.read(chunk)
    if (this.#edit) {
      this.held.push(chunk) // no more than the meter holds, which cannot read a body in pieces either
      return
    }
    this.ready.push(...this.held)
    this.held = [chunk]
  }

  /**
   * The body has ended, perhaps within an event. What has not gone out of a JSON body by then goes out after the charge, in
   * one piece. Behind the terminal event everything is passed on. Before it an event
   * that lacks its blank line counts if it is the terminal one; any other is torn and dropped.
   */
  end(): void {
    if (this.#splitter) this.#endStream(this.#splitter)
    else this.#endBody()
  }

  #endStream(splitter: SseSplitter): void {
    const torn = splitter.rest()
    const rest = torn && this.#unwrap ? this.#unwrap(torn) : torn
    if (rest && (this.reading.ended !== null || this.#meter.read(rest) >= 0)) this.held.push(this.#edited(rest))
    this.#meter.end()
    if (this.#edit?.end && this.reading.ended !== null) this.held.push(this.#counted(this.#edit.end()))
  }

  #endBody(): void {
    let body = this.ready.concat(this.held)
    if (this.#unwrap) {
      body = [this.#unwrap(Buffer.concat(body))]
      this.#meter.read(body[0] as Buffer)
    }
    this.#meter.end()
    // What is no answer stays as it came: somebody has to find out what it is.
    const isEdited = this.#edit !== null && this.reading.ended !== null
    this.held = isEdited ? [this.#edited(Buffer.concat(body))] : body
    this.ready = []
  }

  #edited(bytes: Buffer): Buffer {
    if (this.#edit) return this.#counted(this.#edit(bytes))
    return this.#unwrap ? this.#counted(bytes) : bytes
  }

  #counted(bytes: Buffer): Buffer {
    this.#editedBytes += bytes.length
    return bytes
  }

  #passEvents(events: Buffer): void {
    if (this.reading.ended !== null) {
      this.held.push(this.#edited(events))
      return
    }
    const terminal = this.#meter.read(events)
    if (terminal < 0) this.ready.push(this.#edited(events))
    else {
      if (terminal > 0) this.ready.push(this.#edited(events.subarray(0, terminal)))
      this.held.push(this.#edited(events.subarray(terminal)))
    }
  }
}

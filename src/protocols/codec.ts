import type { NeutralAnswer, NeutralError, NeutralEvent, NeutralRequest, SignatureVendor } from './neutral.ts'
import type { RenderedError } from './protocol.ts'
import type { ToolNames } from './tool-names.ts'

/**
 * One wire format ↔ the neutral conversation. Pure. Decoding a request throws `invalid_request` that names the field; decoding what an
 * upstream answers never throws: what cannot be read is an error of the upstream, as a value.
 */
export interface Codec {
  /** The model may stand in the path (`/v1beta/models/…:streamGenerateContent`), and what is said there counts. */
  decodeRequest(body: Buffer, path: string): DecodedRequest
  /** Throws `invalid_request` that names what this format cannot express where leaving it out would change the meaning. */
  encodeRequest(request: NeutralRequest, target: Target): EncodedRequest
  decodeAnswer(body: Buffer, names: ToolNames): NeutralAnswer | NeutralError
  encodeAnswer(answer: NeutralAnswer, asker: Asker): Buffer
  decodeStream(names: ToolNames): StreamDecoder
  encodeStream(asker: Asker): StreamEncoder
  /** What an error answer says. */
  decodeError(status: number, body: Buffer): NeutralError
  encodeError(status: number, error: NeutralError, callId: string): RenderedError
}

export interface DecodedRequest {
  request: NeutralRequest
  /** Fields of the format's own that the neutral form has no place for and whose loss does not change the meaning, by their names in the body. */
  dropped: string[]
  /** What this codec has to know to answer in the way the client asked for; nobody else looks into it. */
  asked: unknown
}

/** Whom a request is made for. */
export interface Target {
  /** As the upstream is to be asked for it. */
  model: string
  /** Whose signatures its models can read; others are left out. */
  vendor: SignatureVendor
}

export interface EncodedRequest {
  body: Buffer
  dropped: string[]
  /** How the tools are called on this wire. */
  names: ToolNames
}

/** Whom an answer is for. */
export interface Asker {
  /** The model as the client asked for it: an answer names no other. */
  model: string
  /** As `decodeRequest` returned it. */
  asked: unknown
  /** Unix ms. */
  nowMs: number
  /** A new identifier behind a prefix, such as `msg_`. */
  newId(prefix: string): string
}

/** Takes whole events of a stream as they come. */
export interface StreamDecoder {
  /** Several events in one buffer. Returns what they mean, in order. */
  push(events: Buffer): NeutralEvent[]
  /** The stream has ended: what was still owed. Without a terminal event that is an `error`. */
  end(): NeutralEvent[]
}

/** Writes a stream. Every way to end it is its protocol's own: `finish` the terminal event, `error` the error event. */
export interface StreamEncoder {
  /** Whole events; empty if there is nothing to say yet. */
  push(event: NeutralEvent): string
}

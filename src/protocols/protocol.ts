import type { ProtocolName, SessionSource } from '../domain/call.ts'
import type { GatewayError } from '../domain/errors.ts'
import type { LimitStanding } from '../domain/limit.ts'
import type { Usage } from '../domain/usage.ts'
import type { Place } from '../lib/json-scan.ts'
import type { Codec } from './codec.ts'
import type { Named } from './named-objects.ts'
import type { SseEvent } from './sse.ts'

/** Request headers as node:http gives them: lower-case names. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** A wire format that clients speak. */
export interface Protocol {
  readonly name: ProtocolName
  /** What routing needs to know of a request, some of which may stand in its path (with its query). Throws `invalid_request`. */
  parse(headers: Headers, body: Buffer, path: string): CallFacts
  /** A meter for one answer: a stream of events, or one JSON body. */
  usageMeter(stream: boolean): UsageMeter
  /** The body as accounts are asked, where that is for more than the client wants to see; absent, or the same = as it came. */
  askedBody?(facts: CallFacts, body: Buffer): Buffer
  /** A request without the thoughts of earlier turns; absent, or null = it has none, or would mean something else without them. */
  withoutThoughts?(body: Buffer): Buffer | null
  /** How an answer has to be changed for whoever asked so; null = its bytes pass, as they do unless there is a reason. */
  answerEdit(facts: CallFacts, upstreamModel: string, stream: boolean): AnswerEdit | null
  /** Bytes that mean nothing to a client and show that the stream lives; only between whole events. */
  keepAlive(): Buffer
  /** An error of ours before anything was sent. */
  renderError(error: GatewayError, callId: string): RenderedError
  /** An error of ours inside a stream whose head is out: the protocol's error event. */
  renderStreamError(error: GatewayError, callId: string): Buffer
  /** What an answer's head says of the caller's own limit of money, by lower-case names; empty where clients know no way to say it. */
  limitHeaders(standing: LimitStanding): Record<string, string>
  /** A model list, or one page of it as the query (with its `?`, or empty) asks. */
  renderModels(models: ServedModel[], query: string): Buffer
  renderModel(model: ServedModel): Buffer
  /** To and from the neutral conversation, for accounts that speak another format. */
  readonly codec: Codec
}

/** A model that a caller can be served. */
export interface ServedModel {
  id: string
  displayName: string | null
  /** RFC 3339; null = unknown. */
  createdAt: string | null
  /** Its entry in Codex's catalogue, as its vendor has it: with prompts, so nobody else can make one up. Absent = there is none. */
  catalogueEntry?: object
}

export interface RenderedError {
  status: number
  /** Beside content-type and content-length. */
  headers: Record<string, string>
  body: Buffer
}

export interface CallFacts {
  requestedModel: string
  /** Where in the body the model's name is written, which a map may change; null where it is written in the path. */
  modelAt: Place | null
  /** Writes another model's name into the body, where that is more than another JSON text at `modelAt`. */
  withModel?(body: Buffer, model: string): Buffer
  /** The client asked for a stream. */
  stream: boolean
  maxOutputTokens: number | null
  /** Bytes of the body that can be text for the model; absent = all of them. */
  textBytes?: number
  /** What the vendor takes for it, where that does not follow from tokens that have prices; absent = it does. */
  costs?: 'nothing' | 'unknown'
  /** The stream that it asks for begins when most of the work is done: it is waited for like a whole answer. */
  startsLate?: true
  /** What it names of what vendors keep at one account each; absent = nothing. */
  named?: readonly Named[]
  /** What identifies the conversation: a signal of the client's, else derived from its first words. Costs some work, so only on demand. */
  conversation(): Conversation | null
}

export interface Conversation {
  name: string
  source: SessionSource
}

/** Reads usage from an answer's bytes as they pass and never changes them. */
export interface UsageMeter {
  /**
   * Takes the next bytes; of a stream only whole events, or at its end what is left. Returns where in them the terminal
   * event begins, or -1. Throws EventTooLarge for a JSON answer that is longer than may be held.
   */
  read(bytes: Buffer): number
  /** The body ended. For a JSON answer that is its terminal event. */
  end(): void
  readonly reading: MeterReading
}

/**
 * Changes one answer on its way to the client, behind the meter, which reads it as it came. Of a stream it is given every
 * event in order, whole and with its blank line (one buffer may hold several; only the last of the stream may be torn), of
 * a JSON body all of it at once. It gives back what goes out in their place: the same buffer where nothing is to change,
 * an empty one for what the client is not to see. Never throws: what it cannot read it leaves alone.
 */
export interface AnswerEdit {
  (bytes: Buffer): Buffer
  /** The answer has ended well: what of it is still to be said. */
  end?: () => Buffer
}

export interface MeterReading {
  usage: Usage
  /** It used something, perhaps, that `usage` does not say: no tokens are told, or some of a kind that has no price. */
  unmetered: boolean
  /** The model that the answer names. */
  reportedModel: string | null
  stopReason: string | null
  /** The id under which the vendor keeps the answer, or what its code has run in; null = it has not said that it keeps anything. */
  storedAs: string | null
  /** The first event with content has passed, after which an account can no longer be exchanged unseen. */
  contentSeen: boolean
  /** Bytes of generated text so far, for an estimate where output is reported only at the end. */
  textBytes: number
  /** The protocol's own end, or an error in the answer. */
  ended: 'complete' | 'error' | null
  /** The error event, or an error body inside a 200. */
  error: SseEvent | null
}

import type { ServerResponse } from 'node:http'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import { type Logger, redact } from '../lib/log.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { UpstreamRefusal } from './upstream-refusal.ts'

/** The three states of an answer (gateway.md). Each allows less than the one before. */
export type AnswerState = 'nothing sent' | 'head sent' | 'upstream relayed'

/** The name under which our call id goes to every client. */
export const CALL_ID_HEADER = 'x-subgate-call-id'

/** Times of an answer that keep-alives and stalls are measured by, in ms. */
export interface AnswerTimes {
  keepAliveFirstMs: number
  keepAliveIntervalMs: number
  clientStallTimeoutMs: number
}

/**
 * The answer to one client request, and the only one who writes to it. Everything else says what to send; this knows
 * what may still be sent.
 */
export class ClientAnswer {
  readonly #res: ServerResponse
  readonly #protocol: Protocol
  readonly #callId: string
  readonly #log: Logger
  #state: AnswerState = 'nothing sent'
  #left = false
  #onLeave: (() => void) | null = null
  #onDrain: (() => void) | null = null
  #blockedSinceMs: number | null = null
  #lastWriteMs: number
  #lastBug: unknown = null
  /** The client asked for a stream, so that a head and keep-alives may go out before there is anything to say. */
  streams = false
  /** The status that the client got; 0 while there is none. */
  status = 0
  /** The client's socket has taken this many bytes or is about to. */
  sentBytes = 0

  constructor(options: {
    res: ServerResponse
    protocol: Protocol
    callId: string
    log: Logger
    nowMs: number
  }) {
    this.#res = options.res
    this.#protocol = options.protocol
    this.#callId = options.callId
    this.#log = options.log
    this.#lastWriteMs = options.nowMs
    options.res.once('close', () => this.#closed())
    options.res.on('drain', () => this.#drained())
  }

  get state(): AnswerState {
    return this.#state
  }

  /** The client closed its connection before the answer was whole. */
  get left(): boolean {
    return this.#left
  }

  /** The client has to read before more can be written. */
  get blocked(): boolean {
    return this.#blockedSinceMs !== null
  }

  /** Bytes that were written and that the client's socket has not taken yet. */
  get unsentBytes(): number {
    return this.#res.writableLength
  }

  /** Calls back when the client leaves; at once if it has. One listener at a time. */
  onLeave(callback: () => void): void {
    this.#onLeave = callback
    if (this.#left) callback()
  }

  /** Relays bytes of the upstream under the head that came with them. Returns false if the client has to read first. */
  relay(bytes: Buffer, head: { status: number; headers: string[] }, nowMs: number): boolean {
    if (this.#left) return true
    if (this.#state === 'nothing sent') this.#writeHead(head.status, head.headers)
    this.#state = 'upstream relayed'
    return this.#write(bytes, nowMs)
  }

  /** Calls back once the client has read enough to go on; relay() returned false before. */
  onDrain(callback: () => void): void {
    this.#onDrain = callback
  }

  /** Ends the answer with the last bytes of the upstream; a whole answer goes out in one piece with its length. */
  end(bytes: Buffer, head: { status: number; headers: string[] }): void {
    if (this.#left) return
    if (this.#state === 'nothing sent') {
      this.#writeHead(head.status, [...head.headers, 'content-length', String(bytes.length)])
    }
    this.#state = 'upstream relayed'
    this.sentBytes += bytes.length
    if (bytes.length > 0) this.#res.end(bytes)
    else this.#res.end()
  }

  /**
   * Tells the client that something went wrong, in the way that its state still allows: a status and a body; the
   * protocol's error event; or, where a JSON body has begun, a reset, because any clean end would look whole.
   */
  sendError(error: unknown): void {
    if (this.#left || this.#res.writableEnded) return
    if (this.#state === 'nothing sent') {
      const { status, headers, body } = this.#rendered(error)
      this.#writeHead(status, [...headers, 'content-length', String(body.length)])
      this.#res.end(body)
    } else if (this.streams) this.#res.end(this.#protocol.renderStreamError(this.#known(error), this.#callId))
    else this.#res.destroy()
  }

  /** The status that the client has got, or will get with this error; 0 if it left without one. */
  statusWith(error: unknown): number {
    return this.status || (this.#left ? 0 : this.#rendered(error).status)
  }

  #rendered(error: unknown): { status: number; headers: string[]; body: Buffer } {
    if (error instanceof UpstreamRefusal) return error
    const { status, headers, body } = this.#protocol.renderError(this.#known(error), this.#callId)
    return { status, headers: [...Object.entries(headers).flat(), 'content-type', 'application/json'], body }
  }

  #known(error: unknown): GatewayError {
    if (isGatewayError(error)) return error
    if (error instanceof UpstreamRefusal) return new GatewayError('invalid_request', error.message)
    if (error !== this.#lastBug) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#log.error({ callId: this.#callId, error: redact(text) }, 'a bug')
      this.#lastBug = error
    }
    return new GatewayError('internal', 'the gateway made a mistake; its log tells more under this call id')
  }

  /** Keep-alives in silence, and an end to clients that do not read. Called about ten times a second. */
  tick(nowMs: number, times: AnswerTimes): void {
    if (this.#left || this.#res.writableEnded) return
    if (this.#blockedSinceMs !== null) {
      if (nowMs - this.#blockedSinceMs >= times.clientStallTimeoutMs) this.#res.destroy()
      return
    }
    if (!this.streams) return
    const silence = this.#state === 'nothing sent' ? times.keepAliveFirstMs : times.keepAliveIntervalMs
    if (nowMs - this.#lastWriteMs < silence) return
    if (this.#state === 'nothing sent') {
      this.#writeHead(200, ['content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache'])
      this.#state = 'head sent'
    }
    this.#write(this.#protocol.keepAlive(), nowMs)
  }

  #writeHead(status: number, headers: string[]): void {
    this.status = status
    this.#res.writeHead(status, [...headers, CALL_ID_HEADER, this.#callId])
  }

  #write(bytes: Buffer, nowMs: number): boolean {
    this.#lastWriteMs = nowMs
    this.sentBytes += bytes.length
    const more = this.#res.write(bytes)
    if (!more) this.#blockedSinceMs ??= nowMs
    return more
  }

  #drained(): void {
    this.#blockedSinceMs = null
    const callback = this.#onDrain
    this.#onDrain = null
    callback?.()
  }

  #closed(): void {
    if (this.#res.writableFinished) return
    this.#left = true
    this.#onLeave?.()
    this.#drained()
  }
}

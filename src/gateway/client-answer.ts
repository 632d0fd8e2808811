import type { ServerResponse } from 'node:http'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import { redact } from '../lib/log.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { booksClosed } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { UpstreamRefusal } from './upstream-refusal.ts'

/** The three states of an answer. Each allows less than the one before. */
export type AnswerState = 'nothing sent' | 'head sent' | 'upstream relayed'

/** The name under which our call id goes to every client. */
export const CALL_ID_HEADER = 'x-subgate-call-id'

/** Status and headers, names and values in turn. */
export interface AnswerHead {
  status: number
  headers: string[]
}

/**
 * The answer to one client request, and the only one who writes to it. Everything else says what to send; this knows
 * what may still be sent. It also sends keep-alives into silence, and gives up on clients that do not read.
 */
export class ClientAnswer {
  readonly #gateway: Gateway
  readonly #res: ServerResponse
  readonly #protocol: Protocol
  readonly #callId: string
  #state: AnswerState = 'nothing sent'
  #left = false
  #onLeave: (() => void) | null = null
  #onDrain: (() => void) | null = null
  #blocked = false
  #unsentBytes = 0
  /** When the client last took something, or had nothing to take. */
  #progressMs: number
  #lastWriteMs: number
  #endRelayed = false
  /** What the log has been told of already: an error is put into words for the row and for the client. */
  #lastLogged: unknown = null
  /**
   * The answer is a stream of events: there may be keep-alives between them, and an error can be one of them. As the
   * client asked, until an upstream's answer says otherwise.
   */
  streams = false
  /** The status that the client got; 0 while there is none. */
  status = 0
  /** Whether `deliveredBytes` is kept; it costs a little for each piece. */
  countsDelivered = false
  /** So many bytes were written to the client's socket; without the head. */
  deliveredBytes = 0

  constructor(
    gateway: Gateway,
    protocol: Protocol,
    res: ServerResponse,
    { callId, arrivedMs }: { callId: string; arrivedMs: number },
  ) {
    this.#gateway = gateway
    this.#res = res
    this.#protocol = protocol
    this.#callId = callId
    this.#lastWriteMs = arrivedMs
    this.#progressMs = arrivedMs
    const unwatch = gateway.ticker.watch((now) => this.#tick(now))
    res.on('drain', () => this.#drained())
    res.once('close', () => {
      unwatch()
      this.#closed()
    })
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
    return this.#blocked
  }

  /** Calls back when the client leaves; at once if it has. One listener at a time. */
  onLeave(callback: () => void): void {
    this.#onLeave = callback
    if (this.#left) callback()
  }

  /** Calls back once the client has read enough to go on; relay() returned false before. */
  onDrain(callback: () => void): void {
    this.#onDrain = callback
  }

  /** Relays bytes of the upstream under the head that came with them. Returns false if the client has to read first. */
  relay(bytes: Buffer, head: AnswerHead, nowMs: number): boolean {
    if (this.#left) return true
    if (this.#state === 'nothing sent') this.#writeHead(head)
    this.#state = 'upstream relayed'
    return this.#write(bytes, nowMs)
  }

  /** Relays the terminal event. More of the upstream may follow it, but nothing of ours. */
  relayEnd(bytes: Buffer, head: AnswerHead, nowMs: number): void {
    this.#endRelayed = true
    this.relay(bytes, head, nowMs)
  }

  /** Ends the answer with the last bytes of the upstream; a whole answer goes out in one piece with its length. */
  end(bytes: Buffer, head: AnswerHead): void {
    if (this.#left) return
    if (this.#state === 'nothing sent') {
      this.#writeHead({ ...head, headers: [...head.headers, 'content-length', String(bytes.length)] })
    }
    this.#state = 'upstream relayed'
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
      this.#writeHead({ status, headers: [...headers, 'content-length', String(body.length)] })
      this.#res.end(body)
    } else if (this.#endRelayed) this.#res.end()
    else if (this.streams) this.#res.end(this.#protocol.renderStreamError(this.#known(error), this.#callId))
    else this.#reset()
  }

  /** The status that the client has got, or will get with this error; 0 if it left without one. */
  statusWith(error: unknown): number {
    return this.status || (this.#left ? 0 : this.#rendered(error).status)
  }

  #rendered(error: unknown): AnswerHead & { body: Buffer } {
    if (error instanceof UpstreamRefusal) return error
    const { status, headers, body } = this.#protocol.renderError(this.#known(error), this.#callId)
    return { status, headers: [...Object.entries(headers).flat(), 'content-type', 'application/json'], body }
  }

  /**
   * The error in words that were made for a client. A bug, or one whose remedy is the operator's (the store's words name
   * files and what is wrong with them), is for the log.
   */
  #known(error: unknown): GatewayError {
    if (error instanceof UpstreamRefusal) return new GatewayError('invalid_request', error.message)
    if (isGatewayError(error) && error.facts.hint === undefined) return error
    if (error !== this.#lastLogged) this.#tellLog(error)
    this.#lastLogged = error
    if (isGatewayError(error)) return booksClosed()
    return new GatewayError('internal', 'the gateway made a mistake; its log tells more under this call id')
  }

  #tellLog(error: unknown): void {
    const callId = this.#callId
    if (isGatewayError(error)) {
      this.#gateway.log.error({ callId, reason: error.message, remedy: error.facts.hint }, 'a call could not be served')
    } else {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#gateway.log.error({ callId, error: redact(text) }, 'a bug')
    }
  }

  /** About ten times a second. */
  #tick(nowMs: number): void {
    const { clientStallTimeoutMs, keepAliveFirstMs, keepAliveIntervalMs } = this.#gateway.config.gateway
    if (this.#isStalled(nowMs, clientStallTimeoutMs)) {
      this.#reset()
      return
    }
    if (!this.streams || this.#blocked || this.#endRelayed || this.#res.writableEnded) return
    const silenceMs = this.#state === 'nothing sent' ? keepAliveFirstMs : keepAliveIntervalMs
    if (nowMs - this.#lastWriteMs < silenceMs) return
    if (this.#state === 'nothing sent') {
      this.#writeHead({
        status: 200,
        headers: ['content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache'],
      })
      this.#state = 'head sent'
    }
    this.#write(this.#protocol.keepAlive(), nowMs)
  }

  /** There is something for the client to take, and it has taken nothing for so long. */
  #isStalled(nowMs: number, timeoutMs: number): boolean {
    const unsent = this.#res.writableLength
    if (unsent === 0 || unsent < this.#unsentBytes) this.#progressMs = nowMs
    this.#unsentBytes = unsent
    return nowMs - this.#progressMs >= timeoutMs
  }

  #writeHead({ status, headers }: AnswerHead): void {
    this.status = status
    this.#res.writeHead(status, [...headers, CALL_ID_HEADER, this.#callId])
  }

  #write(bytes: Buffer, nowMs: number): boolean {
    this.#lastWriteMs = nowMs
    const more = this.countsDelivered
      ? this.#res.write(bytes, (error) => {
          if (!error) this.deliveredBytes += bytes.length
        })
      : this.#res.write(bytes)
    if (!more) this.#blocked = true
    return more
  }

  /** Not only closed: an HTTP/1.0 client would take that for the end of the answer. */
  #reset(): void {
    this.#res.socket?.resetAndDestroy()
  }

  #drained(): void {
    this.#blocked = false
    this.#progressMs = this.#gateway.clock()
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

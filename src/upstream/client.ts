import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type LookupAddress, type LookupOptions, lookup } from 'node:dns'
import { isIP, type Socket } from 'node:net'
import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import { buildConnector, type Dispatcher, Pool } from 'undici'
import { isGatewayError } from '../domain/errors.ts'
import { checkBaseUrl, hostOf, isPrivateAddress, privateHost, type UrlRules } from './urls.ts'

/** Idle connections are kept this long; a peer that closes earlier is the `reused` case of a failure. */
const KEEP_ALIVE_MS = 60_000
/** Of an upstream's answer. */
const HEADER_BYTES_MAX = 64 * 1024
/** Body bytes held while nobody reads; then the upstream has to wait. */
const HELD_BYTES_MAX = 256 * 1024
/** Announced by undici when a request's head is written, with the socket that it goes out on. */
const SEND_HEADERS = 'undici:client:sendHeaders'

/** One request to an upstream, ready to send. */
export interface OutgoingRequest {
  method: 'GET' | 'POST'
  baseUrl: string
  path: string
  headers: string[]
  body: Buffer | null
}

export interface AnswerHead {
  status: number
  headers: Record<string, string | string[] | undefined>
}

/**
 * Why there is no (whole) answer. refused: the address is not allowed · connect: no connection · reset: it closed or
 * broke · invalid: not HTTP, or not what its own head says · cancelled: by us.
 */
export interface UpstreamFailure {
  kind: 'refused' | 'connect' | 'reset' | 'invalid' | 'cancelled'
  message: string
  /** The connection had answered before: it may have been closed by the peer just before we wrote. */
  reused: boolean
}

/** Where an answer's body goes. Nothing is called after `end` or `fail`. */
export interface AnswerSink {
  data(chunk: Buffer): void
  end(): void
  fail(failure: UpstreamFailure): void
}

/** Sends requests to upstreams: pools per base URL, address checks at connect time, no redirects, no retries of its own. */
export class UpstreamClient implements AsyncDisposable {
  readonly #pools = new Map<string, { pool: Pool; prefix: string }>()
  readonly #rules: () => UrlRules
  readonly #connectTimeoutMs: number
  /** The exchange whose request undici is writing at this moment; it announces the socket before it returns. */
  #writing: UpstreamExchange | null = null
  readonly #onSendHeaders = (message: unknown) => {
    if (this.#writing) this.#writing.reused = (message as { socket: Socket }).socket.bytesRead > 0
    this.#writing = null
  }

  constructor(options: { rules: () => UrlRules; connectTimeoutMs: number }) {
    this.#rules = options.rules
    this.#connectTimeoutMs = options.connectTimeoutMs
    subscribe(SEND_HEADERS, this.#onSendHeaders)
  }

  /** Starts a request. What becomes of it is told by the exchange; this never throws. */
  send(request: OutgoingRequest): UpstreamExchange {
    const exchange = new UpstreamExchange((starting) => {
      this.#writing = starting
    })
    try {
      const { pool, prefix } = this.#poolOf(request.baseUrl)
      const { method, headers, body } = request
      pool.dispatch({ path: prefix + request.path, method, headers, body, headersTimeout: 0, bodyTimeout: 0 }, exchange)
    } catch (error) {
      exchange.onResponseError(null, error as Error)
    }
    return exchange
  }

  /** Forgets pools and with them what their URLs were checked against; running exchanges go on. */
  reload(): void {
    for (const { pool } of this.#pools.values()) void pool.close()
    this.#pools.clear()
  }

  #poolOf(baseUrl: string): { pool: Pool; prefix: string } {
    let entry = this.#pools.get(baseUrl)
    if (!entry) {
      const url = new URL(checkBaseUrl(baseUrl, this.#rules()))
      const pool = new Pool(url.origin, {
        connect: guardedConnector(this.#rules, this.#connectTimeoutMs),
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: HEADER_BYTES_MAX,
      })
      entry = { pool, prefix: url.pathname === '/' ? '' : url.pathname }
      this.#pools.set(baseUrl, entry)
    }
    return entry
  }

  async [Symbol.asyncDispose](): Promise<void> {
    unsubscribe(SEND_HEADERS, this.#onSendHeaders)
    await Promise.all(Array.from(this.#pools.values(), ({ pool }) => pool.destroy()))
    this.#pools.clear()
  }
}

/**
 * Connects only where the rules allow: on the literal before connecting (`lookup` is not asked for one), on every
 * address that a name resolves to, and once more on the address that was really connected.
 */
function guardedConnector(rules: () => UrlRules, timeoutMs: number): buildConnector.connector {
  const guardedLookup = (hostname: string, options: LookupOptions, callback: LookupCallback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, [])
      const allowed = rules().privateHosts ? addresses : addresses.filter(({ address }) => !isPrivateAddress(address))
      if (allowed.length === 0) return callback(privateHost(hostname), [])
      if (options.all) return callback(null, allowed)
      const [first] = allowed as [LookupAddress]
      callback(null, first.address, first.family)
    })
  }
  const connect = buildConnector({ timeout: timeoutMs, allowH2: false, lookup: guardedLookup as never })
  return (options, callback) => {
    const host = hostOf(new URL(`http://${options.hostname}`))
    if (isIP(host) !== 0 && !rules().privateHosts && isPrivateAddress(host)) return callback(privateHost(host), null)
    connect(options, (error, socket) => {
      if (error || !socket) return callback(error as Error, null)
      const address = socket.remoteAddress
      if (!rules().privateHosts && (address === undefined || isPrivateAddress(address))) {
        socket.destroy()
        return callback(privateHost(address ?? host), null)
      }
      callback(null, socket)
    })
  }
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void

/**
 * One request and its answer. The head is a promise of either a head or a failure; the body is held until a sink is
 * attached, and then handed on as it comes.
 */
export class UpstreamExchange implements Dispatcher.DispatchHandler {
  /** Resolves exactly once and never rejects. */
  readonly head: Promise<AnswerHead | UpstreamFailure>
  /** The request went out on a connection that had answered before. */
  reused = false
  readonly #onStart: (exchange: UpstreamExchange) => void
  #resolveHead: (head: AnswerHead | UpstreamFailure) => void
  #controller: Dispatcher.DispatchController | null = null
  #started = false
  #cancelled: string | null = null
  #sink: AnswerSink | null = null
  #held: Buffer[] = []
  #heldBytes = 0
  #paused = false
  #result: UpstreamFailure | 'ended' | null = null
  #decoder: Transform | null = null
  #onEnded: (() => void) | null = null

  constructor(onStart: (exchange: UpstreamExchange) => void) {
    const { promise, resolve } = Promise.withResolvers<AnswerHead | UpstreamFailure>()
    this.head = promise
    this.#resolveHead = resolve
    this.#onStart = onStart
  }

  /** The upstream may have begun to work: its request was written to a connection. */
  get started(): boolean {
    return this.#started
  }

  /** Calls back once nothing of this exchange runs at the upstream any more: at once, if that is so already. */
  onEnded(callback: () => void): void {
    if (this.#result !== null) callback()
    else this.#onEnded = callback
  }

  /** Hands over what is held and everything that follows. Another sink may take over later. */
  attach(sink: AnswerSink): void {
    this.#sink = sink
    const held = this.#held
    this.#held = []
    this.#heldBytes = 0
    for (const chunk of held) sink.data(chunk)
    if (this.#result === 'ended') sink.end()
    else if (this.#result) sink.fail(this.#result)
    else if (this.#paused) this.resume()
  }

  /** From here on chunks are held until the next sink. */
  detach(): void {
    this.#sink = null
  }

  pause(): void {
    this.#paused = true
    this.#controller?.pause()
  }

  resume(): void {
    this.#paused = false
    this.#controller?.resume()
  }

  /** Stops the upstream call at once. The sink, if any, is told `cancelled`. */
  cancel(reason: string): void {
    if (this.#result !== null || this.#cancelled !== null) return
    this.#cancelled = reason
    if (this.#controller) this.#controller.abort(new Error(reason))
    // Still queued or connecting: nothing was sent, and onRequestStart will stop it should it come to that.
    else this.#fail({ kind: 'cancelled', message: reason, reused: false })
  }

  // ---- undici's side ----

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#cancelled !== null) {
      controller.abort(new Error(this.#cancelled))
      return
    }
    this.#started = true
    this.#onStart(this)
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return
    const decoder = decoderFor(headers['content-encoding'])
    if (decoder) this.#decodeWith(decoder, controller)
    this.#resolveHead({ status, headers })
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#decoder) {
      if (!this.#decoder.write(chunk)) this.#controller?.pause()
    } else this.#data(chunk)
  }

  onResponseEnd(): void {
    if (this.#decoder) this.#decoder.end()
    else this.#end()
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    this.#fail(this.#failureOf(error))
    this.#decoder?.destroy()
  }

  // ---- both sides meet ----

  #data(chunk: Buffer): void {
    if (this.#sink) {
      this.#sink.data(chunk)
      return
    }
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    if (this.#heldBytes > HELD_BYTES_MAX && !this.#paused) this.pause()
  }

  #end(): void {
    if (this.#result !== null) return
    this.#result = 'ended'
    this.#sink?.end()
    this.#onEnded?.()
  }

  #fail(failure: UpstreamFailure): void {
    if (this.#result !== null) return
    this.#result = failure
    this.#resolveHead(failure) // a no-op if the head is in
    this.#sink?.fail(failure)
    this.#onEnded?.()
  }

  #decodeWith(decoder: Transform, controller: Dispatcher.DispatchController): void {
    this.#decoder = decoder
    decoder.on('data', (chunk: Buffer) => this.#data(chunk))
    decoder.on('drain', () => {
      if (!this.#paused) controller.resume()
    })
    decoder.on('end', () => this.#end())
    decoder.on('error', (error) => {
      this.#fail({
        kind: 'invalid',
        message: `the answer's compression is broken: ${error.message}`,
        reused: this.reused,
      })
      controller.abort(error)
    })
  }

  #failureOf(error: Error & { code?: string }): UpstreamFailure {
    const { reused } = this
    if (this.#cancelled !== null) return { kind: 'cancelled', message: this.#cancelled, reused }
    if (isGatewayError(error)) return { kind: 'refused', message: error.message, reused }
    const message =
      error.code && !error.message.includes(error.code) ? `${error.message} (${error.code})` : error.message
    if (!this.#started) return { kind: 'connect', message, reused }
    const broken = error.code?.startsWith('HPE_') || error.code === 'UND_ERR_HEADERS_OVERFLOW'
    return { kind: broken ? 'invalid' : 'reset', message, reused }
  }
}

/** We ask for identity; an upstream that compresses all the same is decoded, and goes on as identity. */
function decoderFor(encoding: string | string[] | undefined): Transform | null {
  switch (typeof encoding === 'string' ? encoding.trim().toLowerCase() : '') {
    case 'gzip':
    case 'x-gzip':
      return createGunzip()
    case 'deflate':
      return createInflate()
    case 'br':
      return createBrotliDecompress()
    case 'zstd':
      return createZstdDecompress()
    default:
      return null
  }
}

/** True for a failure, false for a head. */
export function isFailure(result: AnswerHead | UpstreamFailure): result is UpstreamFailure {
  return 'kind' in result
}

/** Reads a whole body of at most `maxBytes`; what is beyond is cut off. Resolves with what came, also if the answer broke. */
export function collectBody(
  exchange: UpstreamExchange,
  maxBytes: number,
): Promise<{ body: Buffer; failure: UpstreamFailure | null }> {
  const { promise, resolve } = Promise.withResolvers<{ body: Buffer; failure: UpstreamFailure | null }>()
  const chunks: Buffer[] = []
  let bytes = 0
  const done = (failure: UpstreamFailure | null) =>
    resolve({ body: Buffer.concat(chunks).subarray(0, maxBytes), failure })
  exchange.attach({
    data(chunk) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes < maxBytes) return
      done(null)
      exchange.cancel('the body is longer than is read')
    },
    end: () => done(null),
    fail: done,
  })
  return promise
}

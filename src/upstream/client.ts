import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type LookupAddress, type LookupAllOptions, type LookupOptions, lookup } from 'node:dns'
import { isIP, type Socket } from 'node:net'
import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import { buildConnector, type Dispatcher, Pool } from 'undici'
import { isGatewayError } from '../domain/errors.ts'
import { checkBaseUrl, isPrivateAddress, privateHost, type UrlRules } from './urls.ts'

/** Idle connections are kept this long; a peer that closes earlier is the `reused` case of a failure. */
const KEEP_ALIVE_MS = 60_000
/** Of an upstream's answer. */
const HEADER_BYTES_MAX = 64 * 1024
/** Body bytes held while nobody reads; then the upstream has to wait. */
const HELD_BYTES_MAX = 256 * 1024
/**
 * Connections to one base URL. A call has its own connection for as long as it runs, so this bounds open streams; what
 * bounds them first are the slots of users, keys and accounts, and server.max_connections. It is a backstop far above
 * those, which a machine still has the ports for (about 28,000 per destination). A request beyond it waits in undici for
 * a connection to come free, its attempt's deadline running.
 */
const CONNECTIONS_MAX = 20_000
/** Announced by undici when a request's head is written, with the socket that it goes out on. */
const SEND_HEADERS = 'undici:client:sendHeaders'

/** One request to an upstream, ready to send. */
export interface OutgoingRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
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
 * Why there is no (whole) answer. refused: the address is not allowed · connect: no connection, or a request that cannot
 * be sent · reset: it closed or broke · invalid: not HTTP, or in a compression that cannot be read · cancelled: by us.
 */
export interface UpstreamFailure {
  kind: 'refused' | 'connect' | 'reset' | 'invalid' | 'cancelled'
  message: string
  /** How to allow what was refused. */
  hint?: string | undefined
  /** The connection had answered before: it may have been closed by the peer just before we wrote. */
  reused: boolean
}

/** Asks the system for the addresses of a name, as node:dns does. */
export type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/** Where an answer's body goes. Nothing is called after `end` or `fail`. */
export interface AnswerSink {
  data(chunk: Buffer): void
  end(): void
  fail(failure: UpstreamFailure): void
}

/** Where connections go, and the way under it. */
interface Target {
  pool: Pool
  prefix: string
}

/** Sends requests to upstreams: pools per base URL, address checks at connect time, no redirects, no retries of its own. */
export class UpstreamClient implements AsyncDisposable {
  /** By base URL, and by how long connecting may take. */
  readonly #targets = new Map<number, Map<string, Target>>()
  /** Forgotten, but with exchanges that are still running. */
  readonly #closing = new Set<Pool>()
  readonly #rules: () => UrlRules
  readonly #connectTimeoutMs: () => number
  readonly #resolve: Resolve
  /** Connections that carried a request before. */
  readonly #used = new WeakSet<Socket>()
  /** The exchange whose request undici is writing at this moment; it announces the socket before it returns. */
  #writing: UpstreamExchange | null = null
  readonly #onSendHeaders = (message: unknown) => {
    if (!this.#writing) return
    const { socket } = message as { socket: Socket }
    this.#writing.reused = this.#used.has(socket)
    this.#used.add(socket)
    this.#writing = null
  }

  constructor(options: { rules: () => UrlRules; connectTimeoutMs: () => number; resolve?: Resolve }) {
    this.#rules = options.rules
    this.#connectTimeoutMs = options.connectTimeoutMs
    this.#resolve = options.resolve ?? lookup
    subscribe(SEND_HEADERS, this.#onSendHeaders)
  }

  /** Starts a request. What becomes of it is told by the exchange; this never throws. */
  send(request: OutgoingRequest, connectTimeoutMs = this.#connectTimeoutMs()): UpstreamExchange {
    const exchange = new UpstreamExchange((starting) => {
      this.#writing = starting
    })
    try {
      const { pool, prefix } = this.#targetOf(request.baseUrl, connectTimeoutMs)
      const { method, headers, body } = request
      pool.dispatch({ path: prefix + request.path, method, headers, body, headersTimeout: 0, bodyTimeout: 0 }, exchange)
    } catch (error) {
      exchange.onResponseError(null, error as Error)
    }
    return exchange
  }

  /** Forgets pools and with them what their URLs were checked against; running exchanges go on. */
  reload(): void {
    for (const pool of this.#pools()) {
      this.#closing.add(pool)
      const forget = () => this.#closing.delete(pool)
      pool.close().then(forget, forget)
    }
    this.#targets.clear()
  }

  #targetOf(baseUrl: string, connectTimeoutMs: number): Target {
    let targets = this.#targets.get(connectTimeoutMs)
    if (!targets) {
      targets = new Map()
      this.#targets.set(connectTimeoutMs, targets)
    }
    let target = targets.get(baseUrl)
    if (!target) {
      const url = new URL(checkBaseUrl(baseUrl, this.#rules()))
      const pool = new Pool(url.origin, {
        connect: guardedConnector(this.#rules, connectTimeoutMs, this.#resolve),
        connections: CONNECTIONS_MAX,
        // Else undici holds all calls to a host back until the first connection has told which protocol it speaks.
        allowH2: false,
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: HEADER_BYTES_MAX,
      })
      target = { pool, prefix: url.pathname === '/' ? '' : url.pathname }
      targets.set(baseUrl, target)
    }
    return target
  }

  #pools(): Pool[] {
    return Array.from(this.#targets.values(), (targets) => Array.from(targets.values(), ({ pool }) => pool)).flat()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    unsubscribe(SEND_HEADERS, this.#onSendHeaders)
    const pools = [...this.#pools(), ...this.#closing]
    this.#targets.clear()
    await Promise.all(pools.map((pool) => pool.destroy()))
  }
}

/**
 * Connects only where the rules allow: on the literal before connecting (`lookup` is not asked for one), on every
 * address that a name resolves to, and once more on the address that was really connected.
 */
function guardedConnector(rules: () => UrlRules, timeoutMs: number, resolve: Resolve): buildConnector.connector {
  const guardedLookup = (hostname: string, options: LookupOptions, callback: LookupCallback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, [])
      const allowed = rules().privateHosts ? addresses : addresses.filter(({ address }) => !isPrivateAddress(address))
      const [first] = allowed
      if (!first) return callback(privateHost(hostname), [])
      if (options.all) callback(null, allowed)
      else callback(null, first.address, first.family)
    })
  }
  const connect = buildConnector({ timeout: timeoutMs, allowH2: false, lookup: guardedLookup as never })
  return (options, callback) => {
    const { hostname } = options
    if (isIP(hostname) !== 0 && !rules().privateHosts && isPrivateAddress(hostname)) {
      return callback(privateHost(hostname), null)
    }
    connect(options, (error, socket) => {
      if (error || !socket) return callback(error as Error, null)
      const address = socket.remoteAddress
      if (!rules().privateHosts && (address === undefined || isPrivateAddress(address))) {
        socket.destroy()
        return callback(privateHost(address ?? hostname), null)
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
  /** The request went out on a connection that had carried one before. */
  reused = false
  readonly #onStart: (exchange: UpstreamExchange) => void
  #resolveHead: (head: AnswerHead | UpstreamFailure) => void
  #controller: Dispatcher.DispatchController | null = null
  /** Its request was written to a connection: the upstream may have begun to work. */
  #started = false
  #headIsIn = false
  #cancelled: string | null = null
  #sink: AnswerSink | null = null
  #held: Buffer[] = []
  #heldBytes = 0
  #pausedBySink = false
  #result: UpstreamFailure | 'ended' | null = null
  #decoder: Transform | null = null

  constructor(onStart: (exchange: UpstreamExchange) => void) {
    const { promise, resolve } = Promise.withResolvers<AnswerHead | UpstreamFailure>()
    this.head = promise
    this.#resolveHead = resolve
    this.#onStart = onStart
  }

  /**
   * Hands over what is held and everything that follows. Another sink may take over later. A pause from before stays: what
   * is held is handed over all the same, and nothing more.
   */
  attach(sink: AnswerSink): void {
    this.#sink = sink
    while (this.#held.length > 0 && this.#sink === sink) {
      const chunk = this.#held.shift() as Buffer
      this.#heldBytes -= chunk.length
      sink.data(chunk)
    }
    if (this.#sink !== sink) return // it was told the end, or has let go, while it took what was held
    if (this.#result !== null) this.#tellResult()
    else this.#regulate()
  }

  /** From here on chunks are held until the next sink, which is not bound by the pause of this one. */
  detach(): void {
    this.#sink = null
    this.#pausedBySink = false
  }

  /** The upstream is to wait. What was read already still comes: at most a few chunks. */
  pause(): void {
    this.#pausedBySink = true
    this.#regulate()
  }

  resume(): void {
    this.#pausedBySink = false
    this.#regulate()
  }

  /** Stops the upstream call at once. The sink, if any, is told `cancelled`, and nothing else any more. */
  cancel(reason: string): void {
    if (this.#result !== null || this.#cancelled !== null) return
    this.#cancelled = reason
    this.#held = []
    this.#heldBytes = 0
    // Without a controller it is still queued or connecting: nothing was sent, and onRequestStart will stop it in time.
    this.#controller?.abort(new Error(reason))
    this.#fail({ kind: 'cancelled', message: reason, reused: this.reused })
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
    const encoding = encodingOf(headers)
    if (encoding !== 'identity') {
      const decoder = DECODERS.get(encoding)?.()
      if (!decoder) {
        this.#fail({
          kind: 'invalid',
          message: `the answer's compression is unknown: ${encoding}`,
          reused: this.reused,
        })
        controller.abort(new Error('unknown compression'))
        return
      }
      this.#decodeWith(decoder, controller)
    }
    this.#headIsIn = true
    this.#resolveHead({ status, headers })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#decoder) this.#data(chunk)
    else if (!this.#decoder.write(chunk)) controller.pause()
  }

  onResponseEnd(): void {
    if (this.#decoder) this.#decoder.end()
    else this.#end()
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    const failure = this.#failureOf(error)
    // What came before the break is still being decoded.
    if (this.#decoder?.writable) this.#decoder.write(NOTHING, () => this.#fail(failure))
    else this.#fail(failure)
  }

  // ---- both sides meet ----

  #data(chunk: Buffer): void {
    if (this.#sink && this.#held.length === 0) {
      this.#sink.data(chunk)
      return
    }
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    this.#regulate()
  }

  /** Lets the upstream go on, or wait: for the sink, or for somebody to take what is held. */
  #regulate(): void {
    const flow = this.#decoder ?? this.#controller
    if (this.#pausedBySink || this.#heldBytes > HELD_BYTES_MAX) flow?.pause()
    else flow?.resume()
  }

  #end(): void {
    if (this.#result !== null) return
    this.#result = 'ended'
    if (this.#held.length === 0) this.#tellResult() // else attach does, behind what is held
  }

  #fail(failure: UpstreamFailure): void {
    if (this.#result !== null) return
    this.#result = failure
    this.#decoder?.destroy()
    this.#resolveHead(failure) // a no-op if the head is in
    if (this.#held.length === 0) this.#tellResult()
  }

  #tellResult(): void {
    const sink = this.#sink
    this.#sink = null
    if (this.#result === 'ended') sink?.end()
    else if (this.#result) sink?.fail(this.#result)
  }

  #decodeWith(decoder: Transform, controller: Dispatcher.DispatchController): void {
    this.#decoder = decoder
    decoder.on('data', (chunk: Buffer) => this.#data(chunk))
    decoder.on('drain', () => controller.resume())
    decoder.on('end', () => this.#end())
    decoder.on('error', (error) => {
      this.#fail({
        kind: 'invalid',
        message: `the answer's compression is broken: ${error.message}`,
        reused: this.reused,
      })
      controller.abort(error)
    })
    this.#regulate()
  }

  #failureOf(error: Error & { code?: string }): UpstreamFailure {
    const { reused } = this
    if (this.#cancelled !== null) return { kind: 'cancelled', message: this.#cancelled, reused }
    if (isGatewayError(error)) return { kind: 'refused', message: error.message, hint: error.facts.hint, reused }
    const message =
      error.code && !error.message.includes(error.code) ? `${error.message} (${error.code})` : error.message
    if (!this.#started) return { kind: 'connect', message, reused }
    return { kind: isNotHttp(error, this.#headIsIn) ? 'invalid' : 'reset', message, reused }
  }
}

/**
 * True for bytes that are no HTTP answer. undici gives its parser's errors no code, and complains of a length both where
 * a head has two and where a connection is closed before a body has all of it.
 */
function isNotHttp({ name, code }: Error & { code?: string }, headIsIn: boolean): boolean {
  if (code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') return !headIsIn
  return name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW'
}

const NOTHING = Buffer.alloc(0)

/** We ask for identity; an upstream that compresses all the same is decoded, and goes on as identity. */
const DECODERS: ReadonlyMap<string, () => Transform> = new Map<string, () => Transform>([
  ['gzip', createGunzip],
  ['x-gzip', createGunzip],
  ['deflate', createInflate],
  ['br', createBrotliDecompress],
  ['zstd', createZstdDecompress],
])

function encodingOf(headers: Record<string, string | string[] | undefined>): string {
  return (
    String(headers['content-encoding'] ?? '')
      .trim()
      .toLowerCase() || 'identity'
  )
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

import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type ErrorCode, GatewayError } from '../domain/errors.ts'
import { CALL_ID_HEADER } from '../gateway/client-answer.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { newCallId } from '../lib/id.ts'
import { redact } from '../lib/log.ts'
import { protocols } from '../protocols/index.ts'
import { allowCrossOrigin } from './cors.ts'
import { findRoute } from './routes.ts'

/** How long a connection may take; all in ms. None covers an answer, which has deadlines of its own. */
export interface ConnectionTimeouts {
  /** To receive a request's head. */
  headMs: number
  /** To receive all of a request. */
  requestMs: number
  /** Between two requests: longer than clients keep idle connections, so that they close first. */
  keepAliveMs: number
  /** How often the first two are looked at. */
  checkMs: number
  /** Once all calls were told to end: for their last words to reach their clients, beside the time for their charges. */
  lastWordsMs: number
}

const TIMEOUTS: ConnectionTimeouts = {
  headMs: 20_000,
  requestMs: 120_000,
  keepAliveMs: 90_000,
  checkMs: 2000,
  lastWordsMs: 5000,
}
const HEADER_BYTES_MAX = 64 * 1024

/** The gateway's HTTP server. */
export class GatewayServer implements AsyncDisposable {
  readonly #gateway: Gateway
  readonly #server: Server
  readonly #timeouts: ConnectionTimeouts
  /** Answers that are not over: their handler still works, or their client has not got all of it. */
  #open = 0
  #onIdle: () => void = () => {}
  /** The answer that a connection's bytes belong to now. */
  readonly #answers = new WeakMap<Socket, ServerResponse>()

  constructor(gateway: Gateway, timeouts: Partial<ConnectionTimeouts> = {}) {
    this.#gateway = gateway
    this.#timeouts = { ...TIMEOUTS, ...timeouts }
    const { headMs, requestMs, keepAliveMs, checkMs } = this.#timeouts
    this.#server = createServer(
      {
        headersTimeout: headMs,
        requestTimeout: requestMs,
        keepAliveTimeout: keepAliveMs,
        connectionsCheckingInterval: checkMs,
        maxHeaderSize: HEADER_BYTES_MAX,
        noDelay: true,
      },
      (req, res) => this.#take(req, res),
    )
    this.#server.maxConnections = gateway.config.server.maxConnections
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      this.#refuseConnection(error, socket as Socket),
    )
  }

  /** Resolves with the port once connections are taken; `shared`: with other processes on the same address. Throws `conflict` if the address is in use, `invalid_request` if it cannot be. */
  listen(host: string, port: number, shared = false): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.#server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)))
    const listening = () => resolve((this.#server.address() as AddressInfo).port)
    this.#server.listen({ port, host, reusePort: shared }, listening)
    return promise
  }

  /**
   * Takes no new calls (it goes on listening, to say so) and resolves when the answers that were under way are over.
   * After `graceMs` it ends those that still run with their protocol's error.
   */
  async drain(graceMs: number): Promise<void> {
    const { running, config } = this.#gateway
    running.draining = true
    const grace = setTimeout(() => running.stopAll(), graceMs)
    const lastWords = setTimeout(
      () => this.#server.closeAllConnections(),
      graceMs + config.gateway.chargeWaitMs + this.#timeouts.lastWordsMs,
    )
    if (this.#open > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
    clearTimeout(grace)
    clearTimeout(lastWords)
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #take(req: IncomingMessage, res: ServerResponse): void {
    // Sent before the answer to an earlier request of its connection is over: it waits for that.
    if (!res.socket) {
      res.once('socket', () => this.#take(req, res))
      return
    }
    this.#answers.set(res.socket, res)
    if (this.#gateway.running.draining) {
      res.shouldKeepAlive = false // the next request would come to a server that is about to go
      void this.#answer(req, res)
      return
    }
    this.#open++
    let parts = 2
    const over = () => {
      if (--parts === 0 && --this.#open === 0) this.#onIdle()
    }
    res.once('close', over)
    void this.#answer(req, res, over)
  }

  /** Never rejects. */
  async #answer(req: IncomingMessage, res: ServerResponse, over?: () => void): Promise<void> {
    try {
      await this.#route(req, res)
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#gateway.log.error({ error: redact(text) }, 'a bug')
      res.destroy()
    }
    over?.()
  }

  #route(req: IncomingMessage, res: ServerResponse): Promise<void> | void {
    if (allowCrossOrigin(req, res, this.#gateway.config.server.corsOrigins)) return
    const path = pathOf(req.url ?? '/')
    const found = findRoute(path, req.method ?? 'GET')
    if (found?.handle) return found.handle(this.#gateway, req, res, found.parameter)
    if (found) {
      const { methods } = found
      const { status, headers, body } = this.#refusal(405, 'invalid_request', `use ${methods.join(' or ')} here`)
      res.writeHead(status, { ...headers, allow: methods.join(', ') }).end(body)
    } else {
      const { status, headers, body } = this.#refusal(404, 'not_found', `this gateway has no ${req.method} ${path}`)
      res.writeHead(status, headers).end(body)
    }
  }

  /** What cannot be understood as HTTP, or did not come in time. Nothing of ours may get between the bytes of an answer. */
  #refuseConnection({ code }: NodeJS.ErrnoException, socket: Socket): void {
    const answer = this.#answers.get(socket)
    const isAnswering = answer?.headersSent && !answer.writableFinished
    if (code === 'ECONNRESET' || !socket.writable || isAnswering) {
      socket.destroy()
      return
    }
    const { status, headers, body } = this.#refusal(...(NOT_HTTP[code ?? ''] ?? MALFORMED))
    const lines = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
    socket.destroySoon()
  }

  #refusal(status: number, code: ErrorCode, message: string) {
    this.#gateway.counters.refused(code)
    const callId = newCallId(this.#gateway.clock())
    const error = new GatewayError(code, message, { shouldRetry: false })
    const { headers, body } = protocols['anthropic-messages'].renderError(error, callId)
    const all: Record<string, string> = {
      ...headers,
      [CALL_ID_HEADER]: callId,
      'content-type': 'application/json',
      'content-length': String(body.length),
    }
    return { status, headers: all, body }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }
}

type Refusal = [status: number, code: ErrorCode, message: string]

const MALFORMED: Refusal = [400, 'invalid_request', 'this is not a valid HTTP request']

/** By Node's error code. */
const NOT_HTTP: Record<string, Refusal> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'timed_out', 'the request did not come in time'],
  HPE_HEADER_OVERFLOW: [431, 'too_large', `the request's headers are larger than ${HEADER_BYTES_MAX / 1024} KiB`],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'too_large', "the request's chunk extensions are too large"],
}

/** Without query, and with doubled slashes (from a base URL that ends in one) made single. */
function pathOf(url: string): string {
  const end = url.indexOf('?')
  const path = end < 0 ? url : url.slice(0, end)
  return path.includes('//') ? path.replace(/\/{2,}/g, '/') : path
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  switch (error.code) {
    case 'EADDRINUSE':
      return new GatewayError('conflict', `${host}:${port} is in use by another program`, {
        hint: 'Choose another port: subgate serve --listen 127.0.0.1:8081, or server.port in the configuration.',
      })
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new GatewayError('invalid_request', `${host} is not an address of this machine`)
    case 'EACCES':
      return new GatewayError('forbidden', `this user may not listen on port ${port}`, {
        hint: 'Ports below 1024 need root.',
      })
    default:
      return error
  }
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { GatewayError } from '../domain/errors.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { newCallId } from '../lib/id.ts'
import { redact } from '../lib/log.ts'
import { protocols } from '../protocols/index.ts'
import { allowCrossOrigin } from './cors.ts'
import { findRoute } from './routes.ts'

/** Receiving a request's head; its body has until REQUEST_TIMEOUT_MS. Neither covers the answer. */
const HEADERS_TIMEOUT_MS = 20_000
const REQUEST_TIMEOUT_MS = 120_000
/** Longer than clients keep idle connections, so that they close first (protocols.md 7). */
const KEEP_ALIVE_MS = 90_000
const HEADER_BYTES_MAX = 64 * 1024

/** The gateway's HTTP server. */
export class GatewayServer implements AsyncDisposable {
  readonly #gateway: Gateway
  readonly #server: Server
  #active = 0
  #onIdle: () => void = () => {}

  constructor(gateway: Gateway) {
    this.#gateway = gateway
    this.#server = createServer(
      {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: HEADER_BYTES_MAX,
        noDelay: true,
      },
      (req, res) => void this.#take(req, res),
    )
    this.#server.maxConnections = gateway.config.server.maxConnections
  }

  /** Resolves with the port once connections are taken. Throws `conflict` if the address is in use, `invalid_request` if it cannot be. */
  listen(host: string, port: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.#server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)))
    this.#server.listen(port, host, () => resolve((this.#server.address() as AddressInfo).port))
    return promise
  }

  /** Takes no new calls, lets the running ones end, and after `graceMs` ends those that still run with their protocol's error. */
  async drain(graceMs: number): Promise<void> {
    this.#gateway.running.draining = true
    this.#server.close()
    const timer = setTimeout(() => this.#gateway.running.stopAll(), graceMs)
    if (this.#active > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
    clearTimeout(timer)
    this.#server.closeAllConnections()
  }

  async #take(req: IncomingMessage, res: ServerResponse): Promise<void> {
    this.#active++
    try {
      await this.#handle(req, res)
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#gateway.log.error({ error: redact(text) }, 'a bug')
      res.destroy()
    }
    if (--this.#active === 0) this.#onIdle()
  }

  #handle(req: IncomingMessage, res: ServerResponse): Promise<void> | void {
    // On a connection that is kept, the next request would come to a server that is about to go.
    if (this.#gateway.running.draining) res.shouldKeepAlive = false
    if (allowCrossOrigin(req, res, this.#gateway.config.server.corsOrigins)) return
    const found = findRoute(pathOf(req.url ?? '/'), req.method ?? 'GET')
    if (found?.allowed) return found.route.handle(this.#gateway, req, res, found.parameter)
    this.#gateway.counters.add('no_such_path')
    const error = found
      ? new GatewayError(
          'invalid_request',
          `${req.method} is not possible here: use ${found.route.methods.join(' or ')}`,
        )
      : new GatewayError('not_found', `this gateway has no ${req.method} ${pathOf(req.url ?? '/')}`, {
          shouldRetry: false,
        })
    sendPlainError(error, req, res, found ? 405 : 404)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** Without query, and with doubled slashes (from a base URL that ends in one) made single. */
function pathOf(url: string): string {
  const end = url.indexOf('?')
  const path = end < 0 ? url : url.slice(0, end)
  return path.includes('//') ? path.replace(/\/{2,}/g, '/') : path
}

function sendPlainError(error: GatewayError, req: IncomingMessage, res: ServerResponse, status: number): void {
  req.resume()
  const { headers, body } = protocols['anthropic-messages'].renderError(error, newCallId(Date.now()))
  res.writeHead(status, { ...headers, 'content-type': 'application/json', 'content-length': body.length }).end(body)
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

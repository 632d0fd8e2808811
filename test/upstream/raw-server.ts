import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

/** A request as its bytes came, and where it stands among all. */
export interface RawRequest {
  /** Request line and headers. */
  head: string
  body: string
  socket: Socket
  /** Of all connections, and on this one: both count from 1. */
  connection: number
  request: number
}

/** A server that speaks no protocol by itself: each request is handed to the test, which writes bytes of its own. */
export class RawServer implements AsyncDisposable {
  readonly #server: Server
  readonly sockets = new Set<Socket>()
  readonly requests: RawRequest[] = []
  connections = 0

  private constructor(answer: (request: RawRequest) => void) {
    this.#server = createServer({ noDelay: true }, (socket) => {
      this.sockets.add(socket)
      const connection = ++this.connections
      let request = 0
      let received = ''
      socket.on('error', () => {}) // a reset is what some tests are about
      socket.on('close', () => this.sockets.delete(socket))
      socket.on('data', (chunk) => {
        received += chunk.toString('latin1')
        for (;;) {
          const headEnd = received.indexOf('\r\n\r\n')
          if (headEnd < 0) return
          const head = received.slice(0, headEnd)
          const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
          const end = headEnd + 4 + length
          if (received.length < end) return
          const body = received.slice(headEnd + 4, end)
          received = received.slice(end)
          const seen = { head, body, socket, connection, request: ++request }
          this.requests.push(seen)
          answer(seen)
        }
      })
    })
  }

  static async start(answer: (request: RawRequest) => void): Promise<RawServer> {
    const server = new RawServer(answer)
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** A whole answer with its length. */
export function answer(body: string | Buffer, headers: Record<string, string> = {}, status = 200): Buffer {
  const bytes = Buffer.from(body)
  const lines = Object.entries({ 'content-length': String(bytes.length), ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} Whatever\r\n${lines.join('')}\r\n`), bytes])
}

/** The head of an answer that ends when its connection does. */
export function openAnswer(headers: Record<string, string> = {}): string {
  const lines = Object.entries({ connection: 'close', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 200 OK\r\n${lines.join('')}\r\n`
}

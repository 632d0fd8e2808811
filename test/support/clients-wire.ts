import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A request as a client sent it, and the status of its answer (0 while there is none). */
export interface SentRequest {
  method: string
  path: string
  headers: Record<string, string>
  status: number
}

/** Passes bytes between clients and a server unchanged, and notes every request: what clients did is counted outside of the gateway. */
export class Wire implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly requests: SentRequest[] = []

  private constructor(url: string) {
    const { hostname, port } = new URL(url)
    this.#server = createServer((client) => {
      const server = connect(Number(port), hostname)
      for (const socket of [client, server]) {
        this.#sockets.add(socket)
        socket.setNoDelay(true)
        socket.on('close', () => this.#sockets.delete(socket))
      }
      const requests = new RequestReader()
      let current: SentRequest | undefined
      client.on('data', (chunk: Buffer) => {
        for (const request of requests.read(chunk)) {
          this.requests.push(request)
          current = request
        }
      })
      server.on('data', (chunk: Buffer) => {
        const status = /^HTTP\/1\.1 ([2-5]\d\d) /.exec(chunk.toString('latin1', 0, 16))?.[1]
        if (current?.status === 0 && status) current.status = Number(status)
      })
      join(client, server)
      join(server, client)
    })
  }

  static async start(url: string): Promise<Wire> {
    const wire = new Wire(url)
    wire.#server.listen(0, '127.0.0.1')
    await once(wire.#server, 'listening')
    return wire
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** What one side sends goes to the other; so do its end and its breaking off. */
function join(from: Socket, to: Socket): void {
  from.pipe(to)
  from.on('error', () => to.resetAndDestroy())
  from.on('close', () => to.destroySoon())
}

/** Finds the heads of requests in what a client sends on one connection. */
class RequestReader {
  #rest = Buffer.alloc(0)
  #bodyBytes = 0

  read(chunk: Buffer): SentRequest[] {
    const found: SentRequest[] = []
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (;;) {
      const inBody = Math.min(this.#bodyBytes, this.#rest.length)
      this.#rest = this.#rest.subarray(inBody)
      this.#bodyBytes -= inBody
      const end = this.#rest.indexOf('\r\n\r\n')
      if (this.#bodyBytes > 0 || end < 0) return found
      const [first = '', ...lines] = this.#rest.toString('latin1', 0, end).split('\r\n')
      const [method = '', path = ''] = first.split(' ')
      const headers = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
      )
      if (headers['transfer-encoding']) throw new Error('no client was expected to send a body in chunks')
      this.#rest = this.#rest.subarray(end + 4)
      this.#bodyBytes = Number(headers['content-length'] ?? 0)
      found.push({ method, path, headers, status: 0 })
    }
  }
}

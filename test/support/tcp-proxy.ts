import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** A way to a server that can be cut, and that can swallow everything without a word. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #stalled = new Set<Socket>()
  #isCut = false
  #isStalled = false

  private constructor(server: Server) {
    this.#server = server
  }

  static async to(port: number): Promise<TcpProxy> {
    const server = createServer((client) => {
      const upstream = connect(port, '127.0.0.1')
      proxy.#add(client, upstream)
    })
    const proxy = new TcpProxy(server)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return proxy
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  #add(client: Socket, upstream: Socket): void {
    const pair = [client, upstream] as const
    for (const [socket, other] of [pair, [upstream, client] as const]) {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('data', (bytes) => {
        if (this.#isStalled || this.#stalled.has(socket)) this.#stalled.add(socket).add(other)
        else other.write(bytes)
      })
      socket.on('close', () => {
        this.#sockets.delete(socket)
        if (!this.#stalled.has(socket)) other.destroy()
      })
    }
    if (this.#isCut) for (const socket of pair) socket.destroy()
  }

  /** Breaks every connection, and new ones until it is mended. */
  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Whatever is sent from now on arrives nowhere; the connections stay. Those that were used meanwhile are dead for ever. */
  stall(): void {
    this.#isStalled = true
  }

  mend(): void {
    this.#isCut = false
    this.#isStalled = false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { ClientCall, messageRequest } from './client.ts'

/** After a connection that could not be made, so that a gateway that is starting is not flooded, in ms. */
const BREATH_MS = 5

/** Clients that ask again and again, half of them for streams, and remember every answer whose end they have seen. */
export class Load {
  /** Calls whose terminal event, or whole body, a client has received. */
  readonly complete: string[] = []
  /** Calls that were answered, but not to their end. */
  readonly broken: string[] = []
  /** Answers of other statuses, by status. */
  readonly others = new Map<number, number>()
  running = 0
  readonly #key: string
  #url: string
  #stopped = false
  readonly #clients: Promise<void>[]

  constructor(options: { url: string; key: string; clients: number }) {
    this.#url = options.url
    this.#key = options.key
    this.#clients = Array.from({ length: options.clients }, (_, index) => this.#client(index % 2 === 0))
  }

  /** Where clients ask from now on. */
  moveTo(url: string): void {
    this.#url = url
  }

  /** Lets the running calls end, and asks no more. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#clients)
  }

  async #client(streams: boolean): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (!this.#stopped) {
      this.running++
      const call = new ClientCall(this.#url, { key: this.#key, agent, body: messageRequest(streams) })
      const { status, headers, ended, text } = await call.over
      this.running--
      const callId = String(headers['x-subgate-call-id'])
      if (status === 0) await sleep(BREATH_MS)
      else if (status !== 200) this.others.set(status, (this.others.get(status) ?? 0) + 1)
      else if (streams ? text.includes('event: message_stop\n') : ended === 'whole') this.complete.push(callId)
      else this.broken.push(callId)
    }
    agent.destroy()
  }
}

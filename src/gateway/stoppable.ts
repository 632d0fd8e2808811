import type { StopReason } from './attempt.ts'
import type { ClientAnswer } from './client-answer.ts'
import type { Gateway } from './gateway.ts'

type Stop = (reason: StopReason) => void

/** What runs for a request that takes no slot: it ends when the client leaves, and when the daemon has to stop. */
export class Stoppable implements Disposable {
  readonly #gateway: Gateway
  readonly #client: ClientAnswer
  readonly #stops = new Set<Stop>()
  readonly #running = { stop: () => this.#stop('stopped') }

  constructor(gateway: Gateway, client: ClientAnswer) {
    this.#gateway = gateway
    this.#client = client
    gateway.running.addWaiting(this.#running)
    client.onLeave(() => this.#stop('client_left'))
  }

  get clientLeft(): boolean {
    return this.#client.left
  }

  /** How to end one of the things that run; gives back the way to take that off. */
  add(stop: Stop): () => void {
    this.#stops.add(stop)
    return () => this.#stops.delete(stop)
  }

  #stop(reason: StopReason): void {
    for (const stop of [...this.#stops]) stop(reason)
  }

  [Symbol.dispose](): void {
    this.#gateway.running.deleteWaiting(this.#running)
  }
}

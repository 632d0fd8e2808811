import type { StopReason } from './attempt.ts'
import type { ClientAnswer } from './client-answer.ts'
import type { Gateway } from './gateway.ts'

type Stop = (reason: StopReason) => void

/** What runs for a request that takes no slot: it ends when the daemon has to stop, and when the client leaves, unless it has to be seen through. */
export class Stoppable implements Disposable {
  readonly #gateway: Gateway
  readonly #stops = new Set<Stop>()
  readonly #running = { stop: () => this.#stop('stopped') }
  #clientLeft = false

  constructor(gateway: Gateway, client: ClientAnswer, { staysForClient = true } = {}) {
    this.#gateway = gateway
    gateway.running.addWaiting(this.#running)
    if (staysForClient) client.onLeave(() => this.#leave())
  }

  /** The client has left, and nobody wants what would still be begun. */
  get clientLeft(): boolean {
    return this.#clientLeft
  }

  /** How to end one of the things that run; gives back the way to take that off. */
  add(stop: Stop): () => void {
    this.#stops.add(stop)
    return () => this.#stops.delete(stop)
  }

  #leave(): void {
    this.#clientLeft = true
    this.#stop('client_left')
  }

  #stop(reason: StopReason): void {
    for (const stop of [...this.#stops]) stop(reason)
  }

  [Symbol.dispose](): void {
    this.#gateway.running.deleteWaiting(this.#running)
  }
}

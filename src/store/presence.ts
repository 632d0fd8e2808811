import type { SetTimer } from '../lib/clock.ts'
import type { Logger } from '../lib/log.ts'
import type { Store } from './store.ts'

/** How often a process says that it lives, in ms. */
const BEAT_MS = 10_000
/** So many beats of our own without one of another's, and it counts as dead: a minute in which the database answered us. */
const SILENT_BEATS = 6

/**
 * Tells other gateway processes on the same database that this one lives, and closes the calls of those that have died.
 * Nobody's clock is compared with another's: what counts is whether somebody's beats go on while ours do. So an outage of
 * the database makes nobody look dead. Who is only out of reach for so long loses nothing: what its calls come to takes
 * the place of what was written for them.
 */
export class Presence implements AsyncDisposable {
  readonly #store: Store
  readonly #setTimer: SetTimer
  readonly #log: Logger
  /** How many beats each of the others has made, and how many of ours ago that was. */
  readonly #others = new Map<string, { beats: number; silentFor: number }>()
  #cancelTimer: (() => void) | null = null
  #turn: Promise<void> = Promise.resolve()
  #closing = false

  constructor(options: { store: Store; setTimer: SetTimer; log: Logger }) {
    this.#store = options.store
    this.#setTimer = options.setTimer
    this.#log = options.log
  }

  /** Makes this process known. Throws `unavailable`. */
  async start(): Promise<void> {
    await this.#beat()
    this.#next()
  }

  #next(): void {
    if (this.#closing) return
    this.#cancelTimer = this.#setTimer(BEAT_MS, () => {
      this.#turn = this.#beat()
        .catch((error: Error) => this.#log.debug({ reason: error.message }, 'no sign of life could be given'))
        .then(() => this.#next())
    })
  }

  async #beat(): Promise<void> {
    const known = await this.#store.processes.beat()
    const ids = new Set(known.map(({ id }) => id))
    for (const id of this.#others.keys()) if (!ids.has(id)) this.#others.delete(id)
    for (const { id, beats } of known) {
      const before = this.#others.get(id)
      const silentFor = before?.beats === beats ? before.silentFor + 1 : 0
      this.#others.set(id, { beats, silentFor })
      if (silentFor >= SILENT_BEATS) await this.#giveUp(id)
    }
  }

  async #giveUp(processId: string): Promise<void> {
    const calls = await this.#store.usage.closeInterrupted({ processId })
    this.#others.delete(processId)
    if (calls.length > 0) this.#log.warn({ processId, calls }, 'calls were interrupted when their gateway was killed')
  }

  /** Says farewell, so that nobody has to find out. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    this.#cancelTimer?.()
    await this.#turn
    await this.#store.processes
      .leave()
      .catch((error: Error) => this.#log.debug({ reason: error.message }, 'no farewell could be said'))
  }
}

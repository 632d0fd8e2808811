import { GatewayError } from '../domain/errors.ts'
import type { Clock } from '../lib/clock.ts'
import type { RedisConnection } from './redis-connection.ts'
import type { StepName } from './redis-library.ts'
import type { WireOutcome } from './redis-wire.ts'

/** What could not be told while Redis was away, to be told later; beyond it the oldest are left to the time when this process ends. */
const OWED_MAX = 10_000

/** How waits of a process ended: pairs of call id and outcome. */
export type WireOutcomes = [string, WireOutcome][] | object

/** What a step replies: its answer, how waits of this process ended, and Redis's time. */
type Reply = [answer: unknown, outcomes: WireOutcomes, nowMs: number]

/** Whose steps they are, and what they go by. */
export interface StepsOptions {
  processId: string
  clock: Clock
  /** Keeps several live states of one Redis apart. */
  space: string
  /** Steps go by `clock`, for tests; otherwise by Redis's own. */
  tellsTime: boolean
  /** Hears how waits ended that a reply tells of. */
  hear: (outcomes: WireOutcomes) => void
}

/** The steps that one process has Redis take. */
export class RedisSteps {
  readonly #connection: RedisConnection
  readonly #options: StepsOptions
  /** What has to be told still, by what it is about. */
  readonly #owed = new Map<string, { step: StepName; body: string }>()

  constructor(connection: RedisConnection, options: StepsOptions) {
    this.#connection = connection
    this.#options = options
  }

  /**
   * Takes a step; `take` sees its answer, and by how many ms this process's clock is ahead of Redis's, before anything else
   * is heard. Throws `unavailable`: then nobody knows whether the step was taken.
   */
  async ask<T = unknown>(
    step: StepName,
    body: string | object,
    take: (answer: unknown, aheadMs: number) => T = (answer) => answer as T,
  ): Promise<T> {
    const { processId, clock, space, tellsTime, hear } = this.#options
    const sentMs = clock()
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const nowMs = tellsTime ? sentMs : null
    const [answer, outcomes, atMs] = (await this.#connection.take(step, space, nowMs, processId, text)) as Reply
    const taken = take(answer, sentMs - atMs)
    hear(outcomes)
    return taken
  }

  /** Takes a step that must not be lost: if not now, then when `settleUp` is called. */
  async tell(about: string, step: StepName, body: string): Promise<void> {
    try {
      await this.ask(step, body)
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      this.owe(about, step, body)
    }
  }

  /** The same, not now. */
  owe(about: string, step: StepName, body: string): void {
    this.#owed.set(about, { step, body })
    for (const oldest of this.#owed.keys()) {
      if (this.#owed.size <= OWED_MAX) return
      this.#owed.delete(oldest)
    }
  }

  /** Tells what is owed. Throws `unavailable`, and owes the rest. */
  async settleUp(): Promise<void> {
    for (const [about, owed] of [...this.#owed]) {
      await this.ask(owed.step, owed.body)
      if (this.#owed.get(about) === owed) this.#owed.delete(about)
    }
  }
}

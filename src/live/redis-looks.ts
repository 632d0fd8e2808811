import type { Limited } from '../domain/limit.ts'
import type { Clock } from '../lib/clock.ts'
import type { ReadStanding, ReadUsage, StandingCaller } from './live-state.ts'
import type { RedisSteps } from './redis-steps.ts'
import { limitedToWire, limitsOf, list, spanToWire } from './redis-wire.ts'
import { newWindow, stepOf } from './window.ts'

/** Looks into the store for one caller, if its standing changes again and again while it is looked at. */
const LOOKS_MAX = 5

/** Looks into the store, in two steps each: what settles in between, in any process, is noted in Redis. */
export class RedisLooks {
  readonly #steps: RedisSteps
  readonly #clock: Clock
  readonly #underWay = new Map<string, Promise<void>>()

  constructor(steps: RedisSteps, clock: Clock) {
    this.#steps = steps
    this.#clock = clock
  }

  /** See LiveState. */
  learn(caller: StandingCaller, read: ReadStanding): Promise<void> {
    return this.#untilFresh(`standing ${caller.userId} ${caller.keyId}`, () => this.#lookAtStanding(caller, read))
  }

  /** See LiveState. */
  learnUsage(limited: Limited, read: ReadUsage): Promise<void> {
    return this.#untilFresh(`usage ${limited.subject} ${limited.id}`, () => this.#lookAtUsage(limited, read))
  }

  /** One look of a name at a time, again while its answer is out of date when it comes. */
  #untilFresh(name: string, look: () => Promise<boolean>): Promise<void> {
    const underWay = this.#underWay.get(name)
    if (underWay) return underWay
    const lookUntilFresh = async () => {
      try {
        for (let looks = 0; looks < LOOKS_MAX; looks++) if (await look()) return
      } finally {
        this.#underWay.delete(name)
      }
    }
    const looking = lookUntilFresh()
    this.#underWay.set(name, looking)
    return looking
  }

  /** Returns false if the answer was out of date when it came: then nothing is taken over. */
  async #lookAtStanding({ userId, keyId }: StandingCaller, read: ReadStanding): Promise<boolean> {
    const [look, callIds] = (await this.#steps.ask('begin_look', { user: userId })) as [string, string[] | object]
    const stored = await this.#readOrDrop(look, () => read(list(callIds) as string[]))
    const money = { balance: stored.balanceNanoUsd, spent: stored.keySpentNanoUsd, recorded: stored.recordedCallIds }
    return (await this.#steps.ask('end_look', { look, user: userId, key: keyId, ...money })) as boolean
  }

  async #lookAtUsage(limited: Limited, read: ReadUsage): Promise<boolean> {
    type Begun = false | [look: string, limits: string[], callIds: string[] | object]
    const [begun, askedMs] = await this.#steps.ask(
      'begin_usage_look',
      limitedToWire(limited, this.#clock()),
      (answer, aheadMs) => [answer as Begun, this.#clock() - aheadMs] as const,
    )
    if (begun === false) return true
    const [look, names, callIds] = begun
    const unknown = limitsOf(limited, names)
    const windows = unknown.map(({ window }) => newWindow(window, askedMs))
    const { spans, recordedCallIds: recorded } = await this.#readOrDrop(look, () =>
      read({
        fromMs: Math.min(...windows.map(({ sinceMs }) => sinceMs)),
        stepMs: stepOf(windows),
        byModel: unknown.some(({ models }) => models !== undefined),
        callIds: list(callIds) as string[],
      }),
    )
    const wire = limitedToWire(limited, this.#clock())
    return (await this.#steps.ask('end_usage_look', {
      look,
      limited: wire,
      spans: spans.map(spanToWire),
      recorded,
    })) as boolean
  }

  async #readOrDrop<T>(look: string, read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      await this.#steps.ask('drop_look', look).catch(() => {}) // it falls by itself
      throw error
    }
  }
}

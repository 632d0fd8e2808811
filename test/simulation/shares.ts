import type { ServingAccount } from '../../src/gateway/directory.ts'
import { effectiveWeight } from '../../src/gateway/rank.ts'
import { type Finding, percent } from './scenario.ts'
import type { World } from './world.ts'

/** How far a share may be from its effective weight's: of the share itself. */
export const TOLERANCE = 0.02

/**
 * Counts where calls without a conversation go, and what share of each an account was due by its effective weight at the
 * moment when the call came: of the accounts in service that do not rest, those of the best priority.
 */
export class Shares {
  readonly #world: World
  readonly #counts = new Map<string, { due: number; variance: number; got: number }>()
  #calls = 0

  constructor(world: World) {
    this.#world = world
  }

  /** A call comes now; the returned function says where it went. */
  arrives(): (accountId: string) => void {
    const due = this.#dueNow()
    return (accountId) => {
      this.#calls++
      for (const [id, share] of due) {
        const count = this.#of(id)
        count.due += share
        count.variance += share * (1 - share)
      }
      this.#of(accountId).got++
    }
  }

  #of(id: string) {
    const count = this.#counts.get(id) ?? { due: 0, variance: 0, got: 0 }
    this.#counts.set(id, count)
    return count
  }

  #dueNow(): Map<string, number> {
    const { gateway } = this.#world
    const nowMs = gateway.clock()
    const servings = gateway.directory
      .accounts()
      .filter(({ account }) => account.status === 'active' && (account.rest === null || account.rest.untilMs <= nowMs))
    const best = Math.min(...servings.map(({ account }) => account.priority))
    const weights = servings
      .filter(({ account }) => account.priority === best)
      .map((serving) => [serving.account.id, this.#weightOf(serving, nowMs)] as const)
    const sum = weights.reduce((total, [, weight]) => total + weight, 0)
    return new Map(weights.map(([id, weight]) => [id, weight / sum]))
  }

  /** The definition of what is due, by what is known of its windows. All of them count for the model that is asked for. */
  #weightOf(serving: ServingAccount, nowMs: number): number {
    return effectiveWeight(serving.account.weight, this.#world.gateway.windows.lately(serving), nowMs)
  }

  /** For each account that was due anything; and for those that were not, that they got nothing. */
  findings(claim: string): Finding[] {
    return [...this.#counts].map(([id, { due, variance, got }]) => {
      const noise = due > 0 ? Math.sqrt(variance) / due : 0
      const off = due > 0 ? got / due - 1 : got
      return {
        claim: `${claim}: ${id}`,
        figure: `${percent(got / this.#calls)}, due ${percent(due / this.#calls)}: ${percent(off)} off (sigma ${percent(noise)}, ${this.#calls} calls)`,
        allowed: `± ${percent(TOLERANCE)}`,
        holds: Math.abs(off) <= TOLERANCE,
      }
    })
  }
}

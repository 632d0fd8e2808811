import { type Consumption, consumptionOf, NO_CONSUMPTION } from '../domain/limit.ts'
import type { PriceRow } from '../domain/price.ts'
import { NO_USAGE, type Usage } from '../domain/usage.ts'
import { costOf } from '../pricing/cost.ts'
import type { MeterReading } from '../protocols/protocol.ts'
import { outputSoFar } from './answer-reader.ts'
import type { Call } from './call.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { multiplierOf } from './record.ts'
import { upstreamModelFor } from './upstream-model.ts'

/** Text is about this many bytes a token; images and documents in base64 are far more, so a guess is never too low by them. */
const BYTES_PER_TOKEN = 4
/** A call that outgrows its guess reserves this share of it more, and so again: a few times in a long answer, never in an ordinary one. */
const STEP = 0.25

const ONE_CALL: Readonly<Consumption> = { ...NO_CONSUMPTION, requests: 1 }

/** Whether a balance pays for the call, which then has to be there. */
export function needsBalance(gateway: Gateway, call: Call): boolean {
  return gateway.config.runMode === 'saas' && multiplierOf(gateway, call) > 0
}

/** What a call may come to, as far as limits and its user's balance ask for it until it settles: first a guess, and more as its answer outgrows that. */
export class Reservation {
  readonly #gateway: Gateway
  readonly #call: Call
  readonly #stepTokens: number
  /** A balance pays for it. */
  readonly #isPaid: boolean
  /** Null: there is no limit and no balance that it could count for, or it has no tokens that count. */
  #usage: Usage | null
  #estimate: Readonly<Consumption> = ONE_CALL

  /** The body counts as uncached input, and the output as what the call asks for, but no more than `reserve_output_max`. */
  constructor(gateway: Gateway, call: Call, ranked: readonly ServingAccount[]) {
    this.#gateway = gateway
    this.#call = call
    const { reserveOutputMax } = gateway.config.gateway
    const outputTokens = Math.min(call.facts.maxOutputTokens ?? reserveOutputMax, reserveOutputMax)
    const inputTokens = Math.ceil((call.facts.textBytes ?? call.body?.length ?? 0) / BYTES_PER_TOKEN)
    // Any account that the call may come to: one that fails may be followed by one that is no candidate now.
    const mayServe = gateway.directory.accountsOf(call.caller.group.id)
    const hasLimits = call.caller.limits.length > 0 || mayServe.some(({ account }) => account.limits.length > 0)
    this.#isPaid = needsBalance(gateway, call)
    const usesTokens = call.facts.costs === undefined
    this.#usage = (hasLimits || this.#isPaid) && usesTokens ? { ...NO_USAGE, inputTokens, outputTokens } : null
    this.#stepTokens = Math.max(1, Math.ceil(outputTokens * STEP))
    if (this.#usage) this.#estimate = this.#consumptionOf(this.#usage, ranked)
  }

  /** What it counts for in limits. */
  get estimate(): Readonly<Consumption> {
    return this.#estimate
  }

  /** Of the user's balance: what it would be charged for that. */
  get reservedNanoUsd(): number {
    return this.#isPaid ? this.#estimate.spentNanoUsd : 0
  }

  /** Takes in how far the answer has come. True if that is more than was reserved: the estimate is larger now. */
  isOutgrownBy(reading: MeterReading, serving: ServingAccount): boolean {
    const usage = this.#usage
    if (!usage) return false
    const outputTokens = outputSoFar(reading)
    if (outputTokens <= usage.outputTokens) return false
    this.#usage = { ...usage, outputTokens: outputTokens + this.#stepTokens }
    this.#estimate = this.#consumptionOf(this.#usage, [serving])
    return true
  }

  /**
   * Money at the dearest of the models that the call may be sent to; where a price is unknown that is nothing, as the call will
   * be recorded at nothing.
   */
  #consumptionOf(usage: Usage, accounts: readonly ServingAccount[]): Consumption {
    const { config } = this.#gateway
    const money = { costNanoUsd: 0, spentNanoUsd: 0 }
    for (const price of this.#pricesOf(accounts)) {
      const { costNanoUsd, chargedNanoUsd } = costOf(usage, price, multiplierOf(this.#gateway, this.#call))
      const spentNanoUsd = config.runMode === 'saas' ? chargedNanoUsd : costNanoUsd
      money.costNanoUsd = Math.max(money.costNanoUsd, costNanoUsd)
      money.spentNanoUsd = Math.max(money.spentNanoUsd, spentNanoUsd)
    }
    return consumptionOf(usage, money)
  }

  /** What the call may be priced by, each once. */
  #pricesOf(accounts: readonly ServingAccount[]): Set<PriceRow | null> {
    const { prices, clock } = this.#gateway
    const nowMs = clock()
    const priceAt = (serving: ServingAccount) =>
      prices.find(serving.provider.name, upstreamModelFor(serving, this.#call), nowMs)
    return new Set(accounts.map(priceAt))
  }
}

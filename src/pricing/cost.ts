import type { PriceState } from '../domain/call.ts'
import type { PriceRow, Rates } from '../domain/price.ts'
import { hasUsage, type Usage } from '../domain/usage.ts'

/** What a call costs, in integer nano-USD. */
export interface Cost {
  /** At list price. */
  costNanoUsd: number
  /** × multiplier. */
  chargedNanoUsd: number
  priceState: PriceState
}

const UNKNOWN: Cost = { costNanoUsd: 0, chargedNanoUsd: 0, priceState: 'unknown' }
const NOTHING: Cost = { costNanoUsd: 0, chargedNanoUsd: 0, priceState: 'known' }

const PICO_PER_NANO = 1000n
/** Pico-USD × a multiplier in steps of 1e-6, per nano-USD. */
const PICO_MICRO_PER_NANO = 1_000_000_000n

const KINDS = [
  ['inputTokens', 'input'],
  ['outputTokens', 'output'],
  ['cacheReadTokens', 'cacheRead'],
  ['cacheWrite5mTokens', 'cacheWrite5m'],
  ['cacheWrite1hTokens', 'cacheWrite1h'],
] as const satisfies [keyof Usage, keyof Rates][]

/**
 * Usage × price. The sum over all kinds is exact; cost and charged are each rounded once, half up, from that sum. Kinds
 * without a price are left out and flagged; what used nothing costs nothing, whatever its model. Nothing else in the program computes money.
 */
export function costOf(usage: Usage, price: PriceRow | null, multiplierMicro: number): Cost {
  if (!price) return hasUsage(usage) ? UNKNOWN : NOTHING
  const rates = ratesFor(usage, price)
  let sum = 0n
  let missing = usage.webSearchRequests > 0 // billed per use; no source gives its price yet
  for (const [kind, rate] of KINDS) {
    const tokens = usage[kind]
    if (tokens === 0) continue
    const pico = rates[rate]
    if (pico === null) missing = true
    else sum += BigInt(tokens) * BigInt(pico)
  }
  const costNanoUsd = Number((sum + PICO_PER_NANO / 2n) / PICO_PER_NANO)
  const chargedNanoUsd = Number((sum * BigInt(multiplierMicro) + PICO_MICRO_PER_NANO / 2n) / PICO_MICRO_PER_NANO)
  // Counts that make a call cost over $9 million are a broken upstream's: flagged, not charged.
  if (!Number.isSafeInteger(costNanoUsd) || !Number.isSafeInteger(chargedNanoUsd)) return UNKNOWN
  return { costNanoUsd, chargedNanoUsd, priceState: missing ? 'partly_unknown' : 'known' }
}

/** The cost of a call that used more than its usage tells: what is told is charged, and flagged as not all. */
export function costOfPart(told: Usage, price: PriceRow | null, multiplierMicro: number): Cost {
  const cost = costOf(told, price, multiplierMicro)
  return {
    ...cost,
    priceState: price && hasUsage(told) && cost.priceState !== 'unknown' ? 'partly_unknown' : 'unknown',
  }
}

/** The rates of the tier that the prompt's length puts the whole call into. */
export function ratesFor(usage: Usage, price: PriceRow): Rates {
  const { base, long } = price
  const prompt = usage.inputTokens + usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
  if (!long || prompt <= long.abovePromptTokens) return base
  const derived = (rate: keyof Rates) => long.rates[rate] ?? scaled(base[rate], long.rates.input, base.input)
  return {
    input: derived('input'),
    output: derived('output'),
    cacheRead: derived('cacheRead'),
    cacheWrite5m: derived('cacheWrite5m'),
    cacheWrite1h: derived('cacheWrite1h'),
  }
}

/** A kind that the long tier leaves out grows as its input does: rate × to / from, half up; unknown if that is absurd. */
function scaled(rate: number | null, to: number | null, from: number | null): number | null {
  if (rate === null || to === null || !from) return null
  const grown = Number((BigInt(rate) * BigInt(to) * 2n + BigInt(from)) / (BigInt(from) * 2n))
  return Number.isSafeInteger(grown) ? grown : null
}

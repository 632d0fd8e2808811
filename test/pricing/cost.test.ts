import fc from 'fast-check'
import t from 'tap'
import type { PriceRow, Rates } from '../../src/domain/price.ts'
import { NO_USAGE, type Usage } from '../../src/domain/usage.ts'
import { costOf, costOfPart, ratesFor } from '../../src/pricing/cost.ts'

const NONE: Rates = { input: null, output: null, cacheRead: null, cacheWrite5m: null, cacheWrite1h: null }
/** $3 and $15 per million tokens, with Anthropic's usual factors. */
const SONNET: Rates = { input: 3e6, output: 15e6, cacheRead: 0.3e6, cacheWrite5m: 3.75e6, cacheWrite1h: 6e6 }
const ONE = 1_000_000

const price = (base: Rates, long: PriceRow['long'] = null): PriceRow => ({
  provider: 'anthropic',
  model: 'm',
  effectiveFromMs: 0,
  base,
  long,
  source: 'test',
})
const used = (usage: Partial<Usage>): Usage => ({ ...NO_USAGE, ...usage })

const KINDS = [
  ['inputTokens', 'input'],
  ['outputTokens', 'output'],
  ['cacheReadTokens', 'cacheRead'],
  ['cacheWrite5mTokens', 'cacheWrite5m'],
  ['cacheWrite1hTokens', 'cacheWrite1h'],
] as const

const rate = fc.option(fc.oneof(fc.nat(1000), fc.nat(1_000_000_000)), { freq: 6 })
const rates = fc.record({ input: rate, output: rate, cacheRead: rate, cacheWrite5m: rate, cacheWrite1h: rate })
const tokens = fc.oneof(fc.constant(0), fc.nat(10), fc.nat(2_000_000), fc.nat(1_000_000_000))
const usages = fc.record({
  inputTokens: tokens,
  outputTokens: tokens,
  cacheReadTokens: tokens,
  cacheWrite5mTokens: tokens,
  cacheWrite1hTokens: tokens,
  reasoningTokens: tokens,
  webSearchRequests: fc.nat(1),
})
const rows = fc
  .record({ base: rates, long: fc.option(fc.record({ abovePromptTokens: fc.nat(1_000_000), rates })) })
  .map(({ base, long }) => price(base, long))
const multipliers = fc.oneof(fc.constant(0), fc.constant(ONE), fc.nat(10 * ONE))

/** Half up, by quotient and remainder. */
function rounded(numerator: bigint, denominator: bigint): bigint {
  return numerator / denominator + (2n * (numerator % denominator) >= denominator ? 1n : 0n)
}

/** Slow and obviously right: a sum of fractions, each money rounded once at its end. */
function model(usage: Usage, { base, long }: PriceRow, multiplierMicro: number) {
  const prompt = usage.inputTokens + usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
  const isLong = long !== null && prompt > long.abovePromptTokens
  let sum = 0n
  let complete = usage.webSearchRequests === 0
  for (const [kind, name] of KINDS) {
    if (usage[kind] === 0) continue
    let pico: bigint | null = base[name] === null ? null : BigInt(base[name])
    if (isLong && long.rates[name] !== null) pico = BigInt(long.rates[name])
    else if (isLong)
      pico =
        pico !== null && long.rates.input !== null && base.input
          ? rounded(pico * BigInt(long.rates.input), BigInt(base.input))
          : null
    if (pico === null || pico > BigInt(Number.MAX_SAFE_INTEGER)) complete = false
    else sum += BigInt(usage[kind]) * pico
  }
  const cost = rounded(sum, 1000n)
  const charged = rounded(sum * BigInt(multiplierMicro), 1_000_000_000n)
  const tooMuch = cost > BigInt(Number.MAX_SAFE_INTEGER) || charged > BigInt(Number.MAX_SAFE_INTEGER)
  return tooMuch
    ? { costNanoUsd: 0, chargedNanoUsd: 0, priceState: 'unknown' }
    : { costNanoUsd: Number(cost), chargedNanoUsd: Number(charged), priceState: complete ? 'known' : 'partly_unknown' }
}

t.test('cost and charge are the exact sum, each rounded once, half up', async () => {
  fc.assert(
    fc.property(usages, rows, multipliers, (usage, row, multiplier) => {
      return JSON.stringify(costOf(usage, row, multiplier)) === JSON.stringify(model(usage, row, multiplier))
    }),
    { numRuns: 5000 },
  )
})

t.test('a real call costs what its invoice says', async (t) => {
  const usage = used({
    inputTokens: 25,
    outputTokens: 15,
    cacheReadTokens: 5000,
    cacheWrite5mTokens: 100,
    cacheWrite1hTokens: 200,
    reasoningTokens: 12,
  })
  // 25 × 3 + 15 × 15 + 5000 × 0.3 + 100 × 3.75 + 200 × 6 = 3375 millionths of a dollar; reasoning is part of output.
  t.same(costOf(usage, price(SONNET), ONE), { costNanoUsd: 3_375_000, chargedNanoUsd: 3_375_000, priceState: 'known' })
  t.equal(costOf(usage, price(SONNET), 850_000).chargedNanoUsd, 2_868_750)
  t.match(costOf(usage, price(SONNET), 0), { costNanoUsd: 3_375_000, chargedNanoUsd: 0, priceState: 'known' })
  t.same(costOf(NO_USAGE, price(SONNET), ONE), { costNanoUsd: 0, chargedNanoUsd: 0, priceState: 'known' })
})

t.test('halves of a nano-USD are rounded up, and only at the end', async (t) => {
  const cost = (pico: number, count: number) =>
    costOf(used({ inputTokens: count }), price({ ...NONE, input: pico }), ONE).costNanoUsd
  t.same([cost(499, 1), cost(500, 1), cost(499, 2), cost(499, 3), cost(1, 1000), cost(1, 499)], [0, 1, 1, 1, 1, 0])
  const both = costOf(used({ inputTokens: 1, outputTokens: 1 }), price({ ...NONE, input: 400, output: 400 }), ONE)
  t.equal(both.costNanoUsd, 1, 'not 0 + 0')
  const charged = costOf(used({ inputTokens: 1 }), price({ ...NONE, input: 1400 }), 500_000)
  t.match(charged, { costNanoUsd: 1, chargedNanoUsd: 1 }, 'half of 1.4, not half of 1')
})

t.test('a model without a price costs nothing and says so', async (t) => {
  t.same(costOf(used({ inputTokens: 5 }), null, ONE), { costNanoUsd: 0, chargedNanoUsd: 0, priceState: 'unknown' })
})

t.test('what used nothing costs nothing, whatever its model', async (t) => {
  t.same(costOf(NO_USAGE, null, ONE), { costNanoUsd: 0, chargedNanoUsd: 0, priceState: 'known' })
  t.match(costOf(used({ webSearchRequests: 1 }), null, ONE), { priceState: 'unknown' })
})

t.test('what used more than it tells is charged for what it tells, and says so', async (t) => {
  const nothing = { costNanoUsd: 0, chargedNanoUsd: 0, priceState: 'unknown' }
  t.same(costOfPart(NO_USAGE, price(SONNET), ONE), nothing, 'nothing is told: not free, but unknown')
  t.same(costOfPart(NO_USAGE, null, ONE), nothing)
  t.same(costOfPart(used({ inputTokens: 5 }), null, ONE), nothing)
  // 4 × $3 + 45 × $15 a million.
  t.same(costOfPart(used({ inputTokens: 4, outputTokens: 45 }), price(SONNET), 2 * ONE), {
    costNanoUsd: 687_000,
    chargedNanoUsd: 1_374_000,
    priceState: 'partly_unknown',
  })
  const absurd = price({ ...NONE, input: 9_007_199_254_740 })
  t.same(costOfPart(used({ inputTokens: 1_000_001 }), absurd, ONE), nothing)
})

t.test('a kind without a price is left out and flagged, but only if it was used', async (t) => {
  const row = price({ ...SONNET, cacheRead: null })
  t.match(costOf(used({ inputTokens: 1000 }), row, ONE), { costNanoUsd: 3_000_000, priceState: 'known' })
  t.match(costOf(used({ inputTokens: 1000, cacheReadTokens: 1 }), row, ONE), {
    costNanoUsd: 3_000_000,
    priceState: 'partly_unknown',
  })
  t.match(costOf(used({ outputTokens: 1, webSearchRequests: 1 }), price(SONNET), ONE), {
    costNanoUsd: 15_000,
    priceState: 'partly_unknown',
  })
  t.match(
    costOf(used({ cacheReadTokens: 1 }), price({ ...SONNET, cacheRead: 0 }), ONE),
    { costNanoUsd: 0, priceState: 'known' },
    'free is not unknown',
  )
})

t.test('a call of more than nine million dollars is a mistake, flagged and not charged', async (t) => {
  const row = price({ ...NONE, input: 9_007_199_254_740 })
  t.match(costOf(used({ inputTokens: 1_000_000 }), row, ONE), {
    costNanoUsd: 9_007_199_254_740_000,
    priceState: 'known',
  })
  t.same(costOf(used({ inputTokens: 1_000_001 }), row, ONE), {
    costNanoUsd: 0,
    chargedNanoUsd: 0,
    priceState: 'unknown',
  })
  t.match(costOf(used({ inputTokens: 1_000_000 }), row, 2 * ONE), { priceState: 'unknown' })
})

t.test('a long prompt puts the whole call into its tier, and missing rates grow as input does', async (t) => {
  const long = { abovePromptTokens: 200_000, rates: { ...NONE, input: 6e6, output: 22.5e6 } }
  const row = price(SONNET, long)
  const at = (usage: Partial<Usage>) => ratesFor(used(usage), row)
  t.equal(at({ inputTokens: 200_000 }), SONNET, 'not longer than the limit')
  const derived = { input: 6e6, output: 22.5e6, cacheRead: 0.6e6, cacheWrite5m: 7.5e6, cacheWrite1h: 12e6 }
  t.same(at({ inputTokens: 200_001 }), derived)
  t.same(
    at({ inputTokens: 1, cacheReadTokens: 100_000, cacheWrite5mTokens: 50_000, cacheWrite1hTokens: 50_000 }),
    derived,
  )
  t.equal(at({ outputTokens: 1_000_000, inputTokens: 200_000 }), SONNET, 'output is not prompt')
  const halves = price({ ...NONE, input: 2, cacheRead: 1 }, { abovePromptTokens: 0, rates: { ...NONE, input: 3 } })
  t.equal(ratesFor(used({ inputTokens: 1 }), halves).cacheRead, 2, '1.5 is rounded up')
  const unknown = price({ ...NONE, input: 0, output: 5 }, { abovePromptTokens: 0, rates: { ...NONE, input: 3 } })
  t.equal(ratesFor(used({ inputTokens: 1 }), unknown).output, null, 'nothing grows from a free input')
  const absurd = price({ ...NONE, input: 1, cacheRead: 1e9 }, { abovePromptTokens: 0, rates: { ...NONE, input: 1e9 } })
  t.equal(ratesFor(used({ inputTokens: 1 }), absurd).cacheRead, null, 'a rate beyond exact integers is no rate')
})

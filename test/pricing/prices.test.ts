import t from 'tap'
import { NO_USAGE, type Usage } from '../../src/domain/usage.ts'
import { costOf } from '../../src/pricing/cost.ts'
import { builtInPrices } from '../../src/pricing/open.ts'
import { priceList } from '../../src/pricing/price-list.ts'

const prices = builtInPrices()
const NOW = Date.parse('2026-11-25')

t.test(
  'every row of the list that comes with the program says what it costs, from when, and who says so',
  async (t) => {
    t.ok(prices.length > 50)
    const lacking = prices.filter(({ base, long, source, effectiveFromMs }) => {
      const rates = [base.input, base.output, ...(long ? [long.rates.input, long.rates.output] : [])]
      return rates.some((rate) => rate === null || rate <= 0) || !/^[DRL]$/.test(source) || effectiveFromMs > NOW
    })
    t.same(lacking, [])
  },
)

t.test('no model has two prices from the same day', async (t) => {
  const keys = prices.map(({ provider, model, effectiveFromMs }) => `${provider}/${model} ${effectiveFromMs}`)
  t.equal(new Set(keys).size, keys.length)
})

t.test('prices stand in the usual relation to each other, so that a slipped digit shows', async (t) => {
  const odd = prices.filter(({ base, long }) => {
    const input = base.input as number
    const isOdd = (rate: number | null, least: number, most: number) =>
      rate !== null && (rate < input * least || rate > input * most)
    return (
      isOdd(base.output, 3, 10) ||
      isOdd(base.cacheRead, 0.04, 0.6) ||
      isOdd(base.cacheWrite5m, 1.2, 1.3) ||
      isOdd(base.cacheWrite1h, 2, 2) ||
      (long !== null && (isOdd(long.rates.input, 1.5, 5) || long.abovePromptTokens < 100_000))
    )
  })
  t.same(odd, [])
})

t.test('a call with every kind of token to a current Claude is priced in full', async (t) => {
  const list = priceList(prices, [])
  const one = 1000
  const usage: Usage = {
    ...NO_USAGE,
    ...{ inputTokens: one, outputTokens: one, cacheReadTokens: one, cacheWrite5mTokens: one, cacheWrite1hTokens: one },
  }
  for (const model of ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5', 'claude-haiku-5-5-20261007']) {
    const cost = costOf(usage, list.find('anthropic', model, NOW), 1_000_000)
    t.ok(cost.priceState === 'known' && cost.costNanoUsd > 0, model)
  }
  t.equal(list.find('anthropic', 'claude-opus-6', NOW), null)
})

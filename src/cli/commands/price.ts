import { readFileSync } from 'node:fs'
import { InvalidArgumentError } from 'commander'
import type { PriceRow, Rates } from '../../domain/price.ts'
import { patternMatcher } from '../../lib/pattern.ts'
import { looksLikeLiteLlm, readLiteLlm } from '../../pricing/litellm.ts'
import { builtInPrices } from '../../pricing/open.ts'
import { parseDay, parsePrice, parsePriceFile, priceList } from '../../pricing/price-list.ts'
import { providers } from '../../providers/index.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { formatPrice } from '../format.ts'
import { flag } from '../options.ts'
import type { Fill } from '../program.ts'

export const fill: Fill = (price, act) => {
  price
    .command('list')
    .summary('prices in USD per million tokens')
    .option('--model <pattern>', 'only these, such as claude-*')
    .option('--all', 'also prices that are past or still to come')
    .addHelpText('after', examples('subgate price list --model "claude-*"'))
    .action(act(list))
  price
    .command('set <model> <key=value...>')
    .summary('set prices of a model; what is not named stays')
    .addHelpText(
      'after',
      `
Keys: input, output, cache_read, cache_write_5m, cache_write_1h, in USD per million tokens; long.above (a prompt longer
than so many tokens is priced by long.input, long.output, …); from (a day or time; now if left out); provider; source.
'none' makes a kind unknown, which is not the same as free.

Examples:
  subgate price set claude-opus-5-5 input=4 output=20 cache_read=0.2
  subgate price set claude-next input=3 output=15 long.above=200000 long.input=6 from=2026-12-01`,
    )
    .action(act(set))
  price
    .command('import <file>')
    .summary("set prices from a file: our YAML, or LiteLLM's JSON list; - = standard input")
    .option('--from <when>', 'in force from this day on, for LiteLLM lists; now if left out')
    .option('--dry-run', 'only say what would be set')
    .addHelpText(
      'after',
      examples(
        'subgate price import prices.yaml --dry-run',
        'subgate price import model_prices_and_context_window.json --from 2026-12-01',
      ),
    )
    .action(act(importFile))
}

async function list(context: Context, flags: { model?: string; all?: boolean }): Promise<void> {
  const { out, nowMs } = context
  const store = await context.store()
  const prices = priceList(builtInPrices(), await store.prices.list())
  const wanted = flags.model === undefined ? () => true : patternMatcher([flags.model])
  const rows = prices
    .rows()
    .filter((row) => wanted(row.model) && (flags.all || prices.find(row.provider, row.model, nowMs) === row))
  const rate = (read: (rates: Rates) => number | null) => (row: PriceRow) => {
    const pico = read(row.base)
    return pico === null ? null : formatPrice(pico)
  }
  out.list(
    rows,
    [
      { title: 'provider', value: (row) => row.provider },
      { title: 'model', value: (row) => row.model },
      {
        title: 'from',
        value: (row) => (row.effectiveFromMs === 0 ? 'always' : out.time(row.effectiveFromMs).slice(0, 10)),
      },
      { title: 'input', align: 'right', value: rate((rates) => rates.input) },
      { title: 'output', align: 'right', value: rate((rates) => rates.output) },
      { title: 'cache read', align: 'right', value: rate((rates) => rates.cacheRead) },
      { title: 'write 5m', align: 'right', value: rate((rates) => rates.cacheWrite5m) },
      { title: 'write 1h', align: 'right', value: rate((rates) => rates.cacheWrite1h) },
      {
        title: 'long prompts',
        value: ({ long }) =>
          long &&
          `>${long.abovePromptTokens / 1000}k: ${[long.rates.input, long.rates.output].map((pico) => (pico === null ? '?' : formatPrice(pico))).join(' / ')}`,
      },
      { title: 'source', value: (row) => SOURCES[row.source] ?? row.source, shrinks: true },
    ],
    'No model fits.',
  )
}

/** What the built-in list cites by one letter each. */
const SOURCES: Record<string, string> = { D: "vendor's documentation", R: 'release notes', L: 'community list' }

const RATE_NAMES: Record<string, keyof Rates> = {
  input: 'input',
  output: 'output',
  cache_read: 'cacheRead',
  cache_write_5m: 'cacheWrite5m',
  cache_write_1h: 'cacheWrite1h',
}

const UNKNOWN_RATES: Rates = { input: null, output: null, cacheRead: null, cacheWrite5m: null, cacheWrite1h: null }

async function set(context: Context, _flags: object, model: string, ...rest: unknown[]): Promise<void> {
  const { out, nowMs } = context
  const values = readPairs(rest.flat() as string[])
  const store = await context.store()
  const prices = priceList(builtInPrices(), await store.prices.list())
  const provider = values.get('provider') ?? providerOf(model, prices.rows())
  const from = values.get('from')
  const effectiveFromMs = from === undefined ? nowMs : flag(parseDay)(from)
  const before = prices
    .rows()
    .findLast((row) => row.provider === provider && row.model === model && row.effectiveFromMs <= effectiveFromMs)
  const row: PriceRow = {
    provider,
    model,
    effectiveFromMs,
    base: changed(before?.base ?? UNKNOWN_RATES, values, ''),
    long: longOf(before?.long ?? null, values),
    source: values.get('source') ?? `set by ${context.actor}`,
  }
  if (row.base.input === null && row.base.output === null) {
    throw new InvalidArgumentError('a price needs at least input=… or output=…, in USD per million tokens')
  }
  await store.prices.set({ rows: [row], by: context.actor })
  out.data(row, () => `${provider}/${model}`)
  out.say(`Calls of ${model} are priced so from ${from ?? 'now'} on; calls before keep their price.`)
}

function readPairs(pairs: string[]): Map<string, string> {
  const known = [
    ...Object.keys(RATE_NAMES),
    'long.above',
    ...Object.keys(RATE_NAMES).map((name) => `long.${name}`),
    'from',
    'provider',
    'source',
  ]
  return new Map(
    pairs.map((pair) => {
      const [name = '', ...value] = pair.split('=')
      if (value.length === 0 || !known.includes(name)) {
        throw new InvalidArgumentError(`'${pair}' is not KEY=VALUE with one of ${known.join(', ')}`)
      }
      return [name, value.join('=')]
    }),
  )
}

function changed(before: Rates, values: Map<string, string>, prefix: string): Rates {
  const rates = { ...before }
  for (const [name, rate] of Object.entries(RATE_NAMES)) {
    const text = values.get(prefix + name)
    if (text !== undefined) rates[rate] = text === 'none' ? null : flag(parsePrice)(text)
  }
  return rates
}

function longOf(before: PriceRow['long'], values: Map<string, string>): PriceRow['long'] {
  const above = values.get('long.above')
  if (above === 'none') return null
  const abovePromptTokens = above === undefined ? before?.abovePromptTokens : Number(above)
  const rates = changed(before?.rates ?? UNKNOWN_RATES, values, 'long.')
  if (abovePromptTokens === undefined) {
    if (Object.values(rates).some((rate) => rate !== null))
      throw new InvalidArgumentError('long.above=TOKENS is missing')
    return null
  }
  if (!Number.isSafeInteger(abovePromptTokens) || abovePromptTokens <= 0)
    throw new InvalidArgumentError(`long.above: '${above}' is not a number of tokens`)
  return { abovePromptTokens, rates }
}

/** Whose model it is: by the price list, else by the patterns that providers serve. */
function providerOf(model: string, rows: PriceRow[]): string {
  const known = rows.find((row) => row.model === model)?.provider
  const serving = Object.values(providers).find(({ defaultModels }) => patternMatcher(defaultModels)(model))?.name
  const provider = known ?? serving
  if (!provider) throw new InvalidArgumentError(`whose model is '${model}'? Add provider=NAME`)
  return provider
}

async function importFile(context: Context, flags: { from?: string; dryRun?: boolean }, file: string): Promise<void> {
  const { out, nowMs } = context
  const { rows, skipped } = readPrices(file, flags.from === undefined ? nowMs : flag(parseDay)(flags.from))
  const store = await context.store()
  if (!flags.dryRun) await store.prices.set({ rows, by: context.actor })
  out.data({ rows: rows.length, skipped, dryRun: flags.dryRun ?? false }, () => String(rows.length))
  const also = skipped > 0 ? `; ${skipped} entries of other providers, or without a price per token, were skipped` : ''
  out.say(`${flags.dryRun ? 'Nothing was set. It would be' : 'Set'} ${rows.length} prices${also}.`)
}

function readPrices(file: string, fromMs: number): { rows: PriceRow[]; skipped: number } {
  const text = readFileSync(file === '-' ? 0 : file, 'utf8')
  const document = jsonOf(text)
  if (looksLikeLiteLlm(document)) return readLiteLlm(document, fromMs, `imported from ${file}`)
  return { rows: parsePriceFile(text, `imported from ${file}`), skipped: 0 }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

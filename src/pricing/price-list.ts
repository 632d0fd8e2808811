import { parse } from 'yaml'
import { z } from 'zod'
import { GatewayError } from '../domain/errors.ts'
import { parseDecimal } from '../domain/money.ts'
import type { PriceRow, Rates } from '../domain/price.ts'

/** Prices in force at any time: the operator's rows over those that come with the program. */
export interface PriceList {
  /** The row for a model at a moment (unix ms); null = its price is unknown. Never the price of a model that is merely similar. */
  find(provider: string, upstreamModel: string, atMs: number): PriceRow | null
  rows(): PriceRow[]
}

/** What a provider hangs onto a model's name to mean one release of it: such a name has its model's price. */
const VERSION_SUFFIX: Record<string, RegExp> = {
  anthropic: /-\d{8}$/,
  openai: /-\d{4}-\d{2}-\d{2}$/,
  gemini: /-(?:\d{3}|latest)$/,
}

export function priceList(builtIn: readonly PriceRow[], overrides: readonly PriceRow[]): PriceList {
  const keyOf = (row: PriceRow) => `${row.provider}/${row.model}`
  const ours = Map.groupBy(overrides, keyOf)
  const theirs = Map.groupBy(builtIn, keyOf)
  return {
    find(provider, upstreamModel, atMs) {
      const withoutVersion = upstreamModel.replace(VERSION_SUFFIX[provider] ?? /$^/, '')
      for (const model of withoutVersion === upstreamModel ? [upstreamModel] : [upstreamModel, withoutVersion]) {
        const key = `${provider}/${model}`
        const row = inForce(ours.get(key), atMs) ?? inForce(theirs.get(key), atMs)
        if (row) return row
      }
      return null
    },
    rows() {
      const replaced = new Set(overrides.map((row) => `${keyOf(row)} ${row.effectiveFromMs}`))
      return [...overrides, ...builtIn.filter((row) => !replaced.has(`${keyOf(row)} ${row.effectiveFromMs}`))].sort(
        (a, b) => keyOf(a).localeCompare(keyOf(b)) || a.effectiveFromMs - b.effectiveFromMs,
      )
    },
  }
}

function inForce(rows: readonly PriceRow[] | undefined, atMs: number): PriceRow | null {
  let best: PriceRow | null = null
  for (const row of rows ?? []) {
    if (row.effectiveFromMs <= atMs && (!best || row.effectiveFromMs > best.effectiveFromMs)) best = row
  }
  return best
}

const usdPerMillion = z.union([z.number(), z.string()]).transform((value, context) => {
  try {
    return parsePrice(String(value))
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message })
    return z.NEVER
  }
})

const rates = {
  input: usdPerMillion.optional(),
  output: usdPerMillion.optional(),
  cache_read: usdPerMillion.optional(),
  cache_write_5m: usdPerMillion.optional(),
  cache_write_1h: usdPerMillion.optional(),
}

const priceEntry = z.strictObject({
  model: z.string().min(1),
  from: z.union([z.string(), z.date()]).optional(),
  ...rates,
  long: z.strictObject({ above: z.number().int().positive(), ...rates }).optional(),
  source: z.string().optional(),
})

const priceFile = z.record(z.string(), z.array(priceEntry))

/** Reads a price file: per provider a list of rows in USD per million tokens. Throws `invalid_request` that names the place. */
export function parsePriceFile(text: string, defaultSource: string): PriceRow[] {
  let document: unknown
  try {
    document = parse(text)
  } catch (error) {
    throw new GatewayError('invalid_request', `not valid YAML: ${(error as Error).message.split(':\n')[0]}`)
  }
  const result = priceFile.safeParse(document)
  if (!result.success) {
    const [issue] = result.error.issues
    throw new GatewayError('invalid_request', `${issue?.path.join('.') || 'the price list'}: ${issue?.message}`)
  }
  const rows = Object.entries(result.data).flatMap(([provider, entries]) =>
    entries.map((entry) => ({
      provider,
      model: entry.model,
      effectiveFromMs: entry.from === undefined ? 0 : parseDay(entry.from),
      base: ratesOf(entry),
      long: entry.long ? { abovePromptTokens: entry.long.above, rates: ratesOf(entry.long) } : null,
      source: entry.source ?? defaultSource,
    })),
  )
  refuseTwice(rows)
  return rows
}

function refuseTwice(rows: readonly PriceRow[]): void {
  const seen = new Set<string>()
  for (const { provider, model, effectiveFromMs } of rows) {
    const row = `${provider}/${model} ${effectiveFromMs}`
    if (seen.has(row))
      throw new GatewayError('invalid_request', `${provider}: ${model} has two prices from the same day`)
    seen.add(row)
  }
}

/** `3` USD per million tokens → 3,000,000 pico-USD per token. Throws `invalid_request`. */
export function parsePrice(text: string): number {
  const price = parseDecimal(text, 6, 'a price in USD per million tokens, such as 2.50')
  if (price < 0) throw new GatewayError('invalid_request', `'${text}' is below 0`)
  return price
}

/** `2026-11-23`, or a moment as `2026-11-23T10:00:00Z` */
const DAY = /^(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/

/** A day, or a moment in ISO form with its zone, as unix ms (UTC). Throws `invalid_request`. */
export function parseDay(value: string | Date): number {
  const text = value instanceof Date ? value.toISOString() : value
  const day = DAY.exec(text)?.[1]
  const ms = Date.parse(text.replace(' ', 'T'))
  // Without the forms above Date.parse reads local time and turns the 31st of February into the 3rd of March.
  if (!day || Number.isNaN(ms) || new Date(day).toISOString().slice(0, 10) !== day) {
    throw new GatewayError('invalid_request', `'${text}' is not a day such as 2026-11-23`)
  }
  return ms
}

interface WrittenRates {
  input?: number | undefined
  output?: number | undefined
  cache_read?: number | undefined
  cache_write_5m?: number | undefined
  cache_write_1h?: number | undefined
}

function ratesOf(written: WrittenRates): Rates {
  return {
    input: written.input ?? null,
    output: written.output ?? null,
    cacheRead: written.cache_read ?? null,
    cacheWrite5m: written.cache_write_5m ?? null,
    cacheWrite1h: written.cache_write_1h ?? null,
  }
}

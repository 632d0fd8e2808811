import { GatewayError } from '../domain/errors.ts'
import type { PriceRow, Rates } from '../domain/price.ts'

/** Providers of the public list that are ours; it calls them as we do. */
const PROVIDERS: ReadonlySet<unknown> = new Set(['anthropic', 'openai', 'gemini'])

const RATE_KEYS: Record<keyof Rates, string> = {
  input: 'input_cost_per_token',
  output: 'output_cost_per_token',
  cacheRead: 'cache_read_input_token_cost',
  cacheWrite5m: 'cache_creation_input_token_cost',
  cacheWrite1h: 'cache_creation_input_token_cost_above_1hr',
}

/** `input_cost_per_token_above_200k_tokens` */
const LONG_TIER = /^input_cost_per_token_above_(\d+)k_tokens$/

/**
 * Reads LiteLLM's public price list (a JSON object of models, in USD per token). Models of providers that we do not call,
 * and those without a price per token, are skipped and counted. Throws `invalid_request` for a price finer than 1e-12 USD.
 */
export function readLiteLlm(
  document: Record<string, unknown>,
  effectiveFromMs: number,
  source: string,
): { rows: PriceRow[]; skipped: number } {
  const rows = new Map<string, PriceRow>()
  const entries = Object.entries(document)
  for (const [name, entry] of entries) {
    const fields = entry !== null && typeof entry === 'object' ? (entry as Record<string, unknown>) : {}
    const provider = fields.litellm_provider
    if (typeof provider !== 'string' || !PROVIDERS.has(provider)) continue
    const base = ratesOf(name, fields, '')
    if (base.input === null && base.output === null) continue
    const model = name.startsWith(`${provider}/`) ? name.slice(provider.length + 1) : name
    const key = `${provider}/${model}`
    // Some models are listed with and without their provider; the plain name is what is asked for.
    if (rows.has(key) && model !== name) continue
    const above = Object.keys(fields).flatMap((field) => LONG_TIER.exec(field)?.[1] ?? [])[0]
    const long =
      above === undefined
        ? null
        : { abovePromptTokens: Number(above) * 1000, rates: ratesOf(name, fields, `_above_${above}k_tokens`) }
    rows.set(key, { provider, model, effectiveFromMs, base, long, source })
  }
  return { rows: [...rows.values()], skipped: entries.length - rows.size }
}

/** True for a document in this form. */
export function looksLikeLiteLlm(document: unknown): document is Record<string, unknown> {
  if (document === null || typeof document !== 'object' || Array.isArray(document)) return false
  return Object.values(document).some(
    (entry) => entry !== null && typeof entry === 'object' && 'litellm_provider' in entry,
  )
}

function ratesOf(model: string, fields: Record<string, unknown>, suffix: string): Rates {
  const rates = Object.entries(RATE_KEYS).map(([rate, key]) => {
    const value = fields[key + suffix]
    return [rate, typeof value === 'number' ? picoOf(model, value) : null]
  })
  return Object.fromEntries(rates) as Rates
}

/** JSON numbers such as 3e-06 are the nearest double: the whole pico-USD that it means is at most rounding noise away. */
function picoOf(model: string, usd: number): number {
  const pico = Math.round(usd * 1e12)
  if (usd < 0 || !Number.isSafeInteger(pico) || Math.abs(usd * 1e12 - pico) > 1e-3) {
    throw new GatewayError('invalid_request', `${model}: ${usd} USD per token is not a price of whole 1e-12 USD`)
  }
  return pico
}

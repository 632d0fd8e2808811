/** Pico-USD (1e-12 USD) per token of each kind; null = not known, which is not the same as free. */
export interface Rates {
  input: number | null
  output: number | null
  cacheRead: number | null
  cacheWrite5m: number | null
  cacheWrite1h: number | null
}

/** What one model costs from a day on. */
export interface PriceRow {
  provider: string
  model: string
  /** Unix ms; 0 = always. A call is priced by the row that is in force at its admission. */
  effectiveFromMs: number
  base: Rates
  /** For the whole call when its prompt (input, cache reads and writes) is longer; null = no such tier. */
  long: { abovePromptTokens: number; rates: Rates } | null
  /** Where the figures come from, with the date they were read. */
  source: string
}

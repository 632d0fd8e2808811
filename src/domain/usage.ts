/** Tokens of one call, each kind counted once: `inputTokens` are the uncached ones, `reasoningTokens` are part of `outputTokens`. */
export interface Usage {
  inputTokens: number
  cacheWrite5mTokens: number
  cacheWrite1hTokens: number
  cacheReadTokens: number
  outputTokens: number
  reasoningTokens: number
  /** Uses of a tool that the vendor bills per use. */
  webSearchRequests: number
}

export const NO_USAGE: Readonly<Usage> = {
  inputTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
  cacheReadTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  webSearchRequests: 0,
}

/** The names of all kinds, in the order of columns and reports. */
export const USAGE_KINDS = Object.keys(NO_USAGE) as (keyof Usage)[]

/** True if anything was reported at all. */
export function hasUsage(usage: Usage): boolean {
  return USAGE_KINDS.some((kind) => usage[kind] > 0)
}

/** The kinds that were used at all, for where room matters. */
export function usedKinds(usage: Usage): Partial<Usage> {
  return Object.fromEntries(USAGE_KINDS.filter((kind) => usage[kind] > 0).map((kind) => [kind, usage[kind]]))
}

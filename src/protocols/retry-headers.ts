import type { GatewayError } from '../domain/errors.ts'

/**
 * What helps within this is waited for: a limit of a minute always opens by then, its last sixtieth included. Who has to
 * wait longer is told to stop: Claude Code does so anyway, Anthropic's SDK (1.12) would sleep without a word for as long as it is
 * told, hours and days, and OpenAI's and older ones would be back at once.
 */
export const WAITED_FOR_MS = 61_000
/** OpenAI's and older SDKs obey a `retry-after` only below a minute. Who comes back too early is told the rest. */
const OBEYED_MS = 59_000

/** When to come back, and whether to. */
export function retryHeaders({ facts }: GatewayError): Record<string, string> {
  const { retryAfterMs } = facts
  const isTooLong = retryAfterMs !== undefined && retryAfterMs > WAITED_FOR_MS
  const { shouldRetry = isTooLong ? false : undefined } = facts
  return {
    ...(retryAfterMs !== undefined && {
      'retry-after': String(Math.ceil((isTooLong ? retryAfterMs : Math.min(retryAfterMs, OBEYED_MS)) / 1000)),
    }),
    ...(shouldRetry !== undefined && { 'x-should-retry': String(shouldRetry) }),
  }
}

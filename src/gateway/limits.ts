import { GatewayError } from '../domain/errors.ts'
import {
  type Consumption,
  consumptionOf,
  formatAmount,
  type Limited,
  type LimitRefusal,
  type LimitStanding,
  type LimitWindow,
  NO_CONSUMPTION,
} from '../domain/limit.ts'
import type { PriceRow } from '../domain/price.ts'
import { NO_USAGE } from '../domain/usage.ts'
import { formatDuration } from '../lib/duration.ts'
import type { UnknownStanding, UnknownUsage } from '../live/live-state.ts'
import { costOf } from '../pricing/cost.ts'
import { learnStanding } from './allowance.ts'
import type { Call } from './call.ts'
import type { Caller, ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { multiplierOf } from './record.ts'
import { upstreamModelFor } from './upstream-model.ts'

/** Text is about this many bytes a token; images and documents in base64 are far more, so a guess is never too low by them. */
const BYTES_PER_TOKEN = 4
/** What is to be learnt can change again between being learnt and being asked for; more often than this is no chance. */
const LOOKS_MAX = 5

const ONE_CALL: Readonly<Consumption> = { ...NO_CONSUMPTION, requests: 1 }

/**
 * What a call may use, as far as limits ask for it: its body as uncached input, and the output that it asks for, but no
 * more than `reserve_output_max`. Money at the dearest of the models that it may be sent to; where a price is unknown that
 * is nothing, as the call will be recorded at nothing.
 */
export function estimateOf(gateway: Gateway, call: Call, ranked: readonly ServingAccount[]): Readonly<Consumption> {
  const hasLimits = call.caller.limits.length > 0 || ranked.some(({ account }) => account.limits.length > 0)
  if (!hasLimits) return ONE_CALL
  const { reserveOutputMax } = gateway.config.gateway
  const usage = {
    ...NO_USAGE,
    inputTokens: Math.ceil((call.body?.length ?? 0) / BYTES_PER_TOKEN),
    outputTokens: Math.min(call.facts.maxOutputTokens ?? reserveOutputMax, reserveOutputMax),
  }
  const money = { costNanoUsd: 0, spentNanoUsd: 0 }
  for (const price of pricesOf(gateway, call, ranked)) {
    const { costNanoUsd, chargedNanoUsd } = costOf(usage, price, multiplierOf(gateway, call))
    const spentNanoUsd = gateway.config.runMode === 'saas' ? chargedNanoUsd : costNanoUsd
    money.costNanoUsd = Math.max(money.costNanoUsd, costNanoUsd)
    money.spentNanoUsd = Math.max(money.spentNanoUsd, spentNanoUsd)
  }
  return consumptionOf(usage, money)
}

/** What the call may be priced by, each once. */
function pricesOf({ prices, clock }: Gateway, call: Call, ranked: readonly ServingAccount[]): Set<PriceRow | null> {
  const nowMs = clock()
  return new Set(ranked.map((serving) => prices.find(serving.provider.name, upstreamModelFor(serving, call), nowMs)))
}

/** Asks live state, and lets it learn what it answers that it does not know. Throws `unavailable` if that cannot be learnt. */
export async function askKnowing<T>(
  gateway: Gateway,
  caller: Caller,
  ask: () => Promise<T | UnknownStanding | UnknownUsage>,
): Promise<T> {
  for (let looks = 0; ; looks++) {
    const answer = await ask()
    if (!isUnknown(answer)) return answer
    if (looks === LOOKS_MAX) throw new GatewayError('unavailable', 'what this caller may use could not be found out')
    if (answer.kind === 'unknown') await learnStanding(gateway, caller)
    else await Promise.all(answer.of.map((limited) => learnUsage(gateway, limited)))
  }
}

function isUnknown(answer: unknown): answer is UnknownStanding | UnknownUsage {
  const kind = (answer as { kind?: unknown } | null)?.kind
  return kind === 'unknown' || kind === 'unknown_usage'
}

/** What is used of each limit of somebody, be it known already or not. */
export async function standingsOf(gateway: Gateway, limited: Limited): Promise<LimitStanding[]> {
  if (limited.limits.length === 0) return []
  for (let looks = 0; looks < LOOKS_MAX; looks++) {
    const answer = await gateway.live.standings(limited)
    if (Array.isArray(answer)) return answer
    await learnUsage(gateway, limited)
  }
  throw new GatewayError('unavailable', 'what is used of these limits could not be found out')
}

function learnUsage(gateway: Gateway, limited: Limited): Promise<void> {
  const spending = gateway.config.runMode === 'simple' ? 'cost' : 'charged'
  const { subject, id } = limited
  return gateway.live.learnUsage(limited, (fromMs, callIds) =>
    gateway.store.usage.consumption({ subject, id, fromMs, spending, callIds }),
  )
}

/** Whose limit is used up, how far, and when it opens again. */
export function limitError(refusal: LimitRefusal, call: Call, nowMs: number): GatewayError {
  const { subject, metric, limit, used, window, retryAfterMs } = refusal
  if (subject === 'account') {
    return new GatewayError(
      'limited',
      `every upstream account that could serve this call has reached a limit of its own; the one that is back first has used ${amounts(refusal)}${opening(retryAfterMs, nowMs)}`,
      retryAfterMs === null ? { shouldRetry: false } : { retryAfterMs },
    )
  }
  const owner = { key: 'this API key', user: 'this user', group: `group '${call.caller.group.name}'` }[subject]
  if (retryAfterMs === null) {
    return new GatewayError('forbidden', `${owner} may use no ${NOUNS[metric]} at all (limit ${limit}, used ${used})`, {
      shouldRetry: false,
    })
  }
  return new GatewayError('limited', `${owner} has used ${amounts(refusal)}${opening(retryAfterMs, nowMs)}`, {
    retryAfterMs,
    usedUp: window,
  })
}

const NOUNS = {
  requests: 'requests',
  input_tokens: 'input tokens',
  output_tokens: 'output tokens',
  tokens: 'tokens',
  all_tokens: 'tokens (cache reads included)',
  usd: 'money',
} as const

/** `60 of the 60 requests that its limit allows in 1m`; what running calls may use is counted. */
function amounts({ metric, limit, used, window }: LimitRefusal): string {
  const noun = metric === 'usd' ? '' : ` ${NOUNS[metric]}`
  const running = metric === 'requests' ? '' : ', running calls included'
  return `${formatAmount(metric, used)} of the ${formatAmount(metric, limit)}${noun} that its limit allows ${inWindow(window)}${running}`
}

function inWindow(window: LimitWindow): string {
  if (window.kind === 'sliding') return `in ${formatDuration(window.ms)}`
  return `this ${window.unit} (${window.timeZone})`
}

function opening(retryAfterMs: number | null, nowMs: number): string {
  if (retryAfterMs === null) return ''
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000))
  const at = new Date(nowMs + seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')
  return `. It opens again in ${formatDuration(seconds * 1000)}, at ${at} UTC`
}

import { GatewayError } from '../domain/errors.ts'
import { formatAmount, type Limited, type LimitRefusal, type LimitStanding, type LimitWindow } from '../domain/limit.ts'
import { formatDuration, formatTime, formatWait } from '../lib/duration.ts'
import type { UnknownStanding, UnknownUsage } from '../live/live-state.ts'
import { learnStanding } from './allowance.ts'
import type { Call } from './call.ts'
import type { Caller } from './directory.ts'
import type { Gateway } from './gateway.ts'

/** What is to be learnt can change again between being learnt and being asked for; more often than this is no chance. */
const LOOKS_MAX = 5

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

/** The caller's limit of money that is nearest to its end; undefined if it has none. */
export function spendingIn(standings: readonly LimitStanding[]): LimitStanding | undefined {
  const ofMoney = standings.filter(({ subject, limit }) => subject !== 'account' && limit.metric === 'usd')
  // A limit of nothing is used up.
  const shareOf = ({ used, limit }: LimitStanding) => (limit.max === 0 ? Number.POSITIVE_INFINITY : used / limit.max)
  return ofMoney.reduce<LimitStanding | undefined>(
    (nearest, standing) => (nearest && shareOf(nearest) >= shareOf(standing) ? nearest : standing),
    undefined,
  )
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
  return gateway.live.learnUsage(limited, (question) =>
    gateway.store.usage.consumption({ subject, id, spending, ...question }),
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
    return new GatewayError('limited', `${owner} may use no ${NOUNS[metric]} at all (limit ${limit}, used ${used})`, {
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
function amounts({ metric, models, limit, used, window }: LimitRefusal): string {
  const noun = metric === 'usd' ? '' : ` ${NOUNS[metric]}`
  const running = metric === 'requests' ? '' : ', running calls included'
  return `${formatAmount(metric, used)} of the ${formatAmount(metric, limit)}${noun} that its limit${models === undefined ? '' : ` for ${models}`} allows ${inWindow(window)}${running}`
}

function inWindow(window: LimitWindow): string {
  switch (window.kind) {
    case 'sliding':
      return `in ${formatDuration(window.ms)}`
    case 'calendar':
      return `this ${window.unit} (${window.timeZone})`
    case 'anchored':
      return `in each ${window.every === 'month' ? 'month' : formatDuration(window.every)} from ${formatTime(window.startMs)}`
  }
}

function opening(retryAfterMs: number | null, nowMs: number): string {
  return retryAfterMs === null ? '' : `. It opens again in ${formatWait(retryAfterMs, nowMs)}`
}

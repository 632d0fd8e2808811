import type { LimitStanding, LimitWindow } from '../../domain/limit.ts'

// What Anthropic's contract for gateways has of a gateway's own spend caps (read 2026-11): Claude Code shows them.

const PREFIX = 'anthropic-ratelimit-unified-'
const DAY_MS = 86_400_000
/** Shares of a limit that clients warn at. */
const THRESHOLDS = [0.95, 0.75]

/** The head of an answer that came: how much of its caller's limit of money is used. */
export function renderLimitHeaders({ limit, used, resetAtMs }: LimitStanding): Record<string, string> {
  const share = limit.max === 0 ? 1 : Math.min(1, used / limit.max)
  const surpassed = THRESHOLDS.find((threshold) => share >= threshold)
  const status = surpassed === undefined ? 'allowed' : 'allowed_warning'
  const reset = resetAtMs === null ? null : String(Math.ceil(resetAtMs / 1000))
  return {
    [`${PREFIX}status`]: status,
    [`${PREFIX}representative-claim`]: 'overage',
    [`${PREFIX}overage-status`]: status,
    [`${PREFIX}overage-utilization`]: String(Math.floor(share * 100) / 100),
    ...(surpassed !== undefined && { [`${PREFIX}overage-surpassed-threshold`]: String(surpassed) }),
    ...(reset !== null && { [`${PREFIX}reset`]: reset, [`${PREFIX}overage-reset`]: reset }),
  }
}

/** The head of a refusal for a limit that is used up. Without a representative claim, or the client would show words of its own. */
export function renderLimitReached(window: LimitWindow): Record<string, string> {
  return {
    [`${PREFIX}status`]: 'rejected',
    [`${PREFIX}overage-period`]: periodOf(window),
    [`${PREFIX}overage-disabled-reason`]: 'org_spend_cap_reached',
  }
}

/** The contract has three periods: the shortest that is no shorter than the window, or the longest. */
function periodOf(window: LimitWindow): string {
  if (window.kind === 'calendar') return { day: 'daily', week: 'weekly', month: 'monthly' }[window.unit]
  const ms = window.kind === 'sliding' ? window.ms : window.every
  if (ms === 'month' || ms > 7 * DAY_MS) return 'monthly'
  return ms <= DAY_MS ? 'daily' : 'weekly'
}

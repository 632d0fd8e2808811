import type { Rest } from '../domain/account.ts'
import type { RestKind, UpstreamFault } from '../domain/fault.ts'
import { redact } from '../lib/log.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

interface RestRule {
  hardness: Rest['hardness']
  firstMs: number
  /** Each repetition doubles the rest up to this. */
  maxMs: number
}

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** How long an account rests after what. */
const REST_RULES: Record<RestKind, RestRule> = {
  credential: { hardness: 'hard', firstMs: 10 * MINUTE, maxMs: 6 * HOUR },
  funds: { hardness: 'hard', firstMs: HOUR, maxMs: 24 * HOUR },
  rate_limit: { hardness: 'hard', firstMs: 5 * SECOND, maxMs: 5 * MINUTE },
  overload: { hardness: 'soft', firstMs: 10 * SECOND, maxMs: MINUTE },
}

/** A vendor's own "come back in" is believed up to this. */
const RETRY_AFTER_MAX_MS = HOUR
/** So many overloads within a minute make a soft rest; fewer are the weather. */
const OVERLOADS_FOR_REST = 3
const OVERLOAD_WINDOW_MS = MINUTE

/** Puts the account out of service if the fault is its own or its upstream's, here at once and in the store by the way. */
export function restIfToBlame(gateway: Gateway, serving: ServingAccount, fault: UpstreamFault): void {
  const { account } = serving
  const rest = restAfter(serving, fault, gateway.clock())
  const disabledReason = fault.disables ? redact(fault.message) : null
  if (!rest && disabledReason === null) return
  gateway.log.warn(
    {
      accountId: account.id,
      account: account.name,
      reason: fault.reason,
      message: redact(fault.message),
      rest,
      disabled: fault.disables,
    },
    fault.disables ? 'an account is disabled: its vendor refuses it for good' : 'an account rests',
  )
  if (disabledReason !== null) gateway.directory.disable(serving, disabledReason)
  if (rest) gateway.directory.rest(serving, rest, fault.rest)
  // A soft rest is over before anybody could read it.
  if (rest?.hardness !== 'soft' || disabledReason !== null) store(gateway, serving, disabledReason)
}

/** The account answered well: whatever doubled its rests is over. */
export function clearRest(gateway: Gateway, serving: ServingAccount): void {
  const { rest } = serving.account
  if (!rest || rest.untilMs > gateway.clock()) return
  gateway.directory.rest(serving, null, null)
  if (rest.hardness === 'hard') store(gateway, serving, null)
}

function store(gateway: Gateway, { account }: ServingAccount, disabledReason: string | null): void {
  gateway.store.accounts.rest({ id: account.id, rest: account.rest, disabledReason }).catch((error: Error) => {
    gateway.log.warn({ accountId: account.id, reason: error.message }, "an account's rest could not be stored")
  })
}

/** What a fault does to its account: a new rest, or null for none. Counts overloads on the account. */
export function restAfter(serving: ServingAccount, fault: UpstreamFault, nowMs: number): Rest | null {
  if (fault.rest === null) return null
  if (fault.rest === 'overload' && !isTooOften(serving, nowMs)) return null
  const rule = REST_RULES[fault.rest]
  const before = serving.account.rest
  // Somebody else's call failed just before in the same way: one failure of the account, not two.
  if (before && before.untilMs > nowMs && before.hardness === rule.hardness) return null
  const step = (before?.step ?? 0) + 1
  const told = fault.rest === 'rate_limit' ? fault.retryAfterMs : null
  const lastsMs =
    told !== null ? Math.min(told, RETRY_AFTER_MAX_MS) : Math.min(rule.firstMs * 2 ** (step - 1), rule.maxMs)
  return { untilMs: nowMs + lastsMs, hardness: rule.hardness, reason: fault.reason, step }
}

function isTooOften(serving: ServingAccount, nowMs: number): boolean {
  serving.overloads = [...serving.overloads.filter((atMs) => atMs > nowMs - OVERLOAD_WINDOW_MS), nowMs].slice(
    -OVERLOADS_FOR_REST,
  )
  return serving.overloads.length >= OVERLOADS_FOR_REST
}

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

/** Puts the account out of service if the fault is its own or its upstream's. */
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
  if (rest) gateway.directory.rest(serving, rest)
}

/** The account answered well: whatever doubled its rests is over. */
export function clearRest(gateway: Gateway, serving: ServingAccount): void {
  const { rest } = serving.account
  if (rest && rest.untilMs <= gateway.clock()) gateway.directory.rest(serving, null)
}

/** What a fault does to its account: a new rest, or null to leave it as it is. Counts overloads on the account. */
export function restAfter(serving: ServingAccount, fault: UpstreamFault, nowMs: number): Rest | null {
  const { rest: kind, reason } = fault
  if (kind === null) return null
  if (kind === 'overload' && !isTooOften(serving, nowMs)) return null
  const { hardness, firstMs, maxMs } = REST_RULES[kind]
  const before = serving.account.rest
  const running = before && before.untilMs > nowMs ? before : null
  const told = kind === 'rate_limit' ? fault.retryAfterMs : null
  const repeats = before?.kind === kind
  // Somebody else's call failed just before in the same way: one failure of the account, not two.
  if (running && repeats && told === null) return null
  const step = !repeats ? 1 : running ? before.step : before.step + 1
  const lastsMs = told !== null ? Math.min(told, RETRY_AFTER_MAX_MS) : Math.min(firstMs * 2 ** (step - 1), maxMs)
  const rest: Rest = { untilMs: nowMs + lastsMs, hardness, kind, reason, step }
  return running && outlasts(running, rest) ? null : rest
}

/** Whether a rest that is under way goes on as if the new one had not been earned: a hard one gives way only to a later end. */
function outlasts(running: Rest, rest: Rest): boolean {
  if (running.hardness !== rest.hardness) return running.hardness === 'hard'
  return running.untilMs >= rest.untilMs
}

function isTooOften(serving: ServingAccount, nowMs: number): boolean {
  serving.overloads = [...serving.overloads.filter((atMs) => atMs > nowMs - OVERLOAD_WINDOW_MS), nowMs].slice(
    -OVERLOADS_FOR_REST,
  )
  return serving.overloads.length >= OVERLOADS_FOR_REST
}

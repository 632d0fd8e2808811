import type { Account, ModelRest, Rest } from '../domain/account.ts'
import { saysOneOf } from '../domain/errors.ts'
import type { RestKind, UpstreamFault } from '../domain/fault.ts'
import { redact } from '../lib/log.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

interface RestLength {
  hardness: Rest['hardness']
  firstMs: number
  /** Each repetition doubles the rest up to this. */
  maxMs: number
}

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** How long an account rests after what, where nobody tells. */
const REST_LENGTHS: Record<Exclude<RestKind, 'rule'>, RestLength> = {
  credential: { hardness: 'hard', firstMs: 10 * MINUTE, maxMs: 6 * HOUR },
  funds: { hardness: 'hard', firstMs: HOUR, maxMs: DAY },
  rate_limit: { hardness: 'hard', firstMs: 5 * SECOND, maxMs: 5 * MINUTE },
  overload: { hardness: 'soft', firstMs: 10 * SECOND, maxMs: MINUTE },
}

/** A vendor's own "come back in" is believed up to this: longer waits are windows', which say so. */
const RETRY_AFTER_MAX_MS = HOUR
/** Windows that block are a week long at most. A reset further away ends here, and one call finds out. */
const WINDOW_REST_MAX_MS = 8 * DAY
/** The longest rest that an operator's rule may name. */
export const RULE_REST_MAX_MS = 7 * DAY
/** So many overloads within a minute make a soft rest; fewer are the weather. */
const OVERLOADS_FOR_REST = 3
const OVERLOAD_WINDOW_MS = MINUTE
/** The end of a long rest is an estimate of ours or a vendor's: one call may find out shortly before. */
const LONG_REST_MS = 10 * MINUTE
const PROBE_BEFORE_END_MS = MINUTE
/** Models of one account that rest at a time; beyond it those that end first are forgotten. */
const MODEL_RESTS_MAX = 50

/** Leave to ask an account. */
export interface Leave {
  /** It rests, and this is the one call that may find out whether it has to. */
  isProbe: boolean
}

const NO_PROBE: Leave = { isProbe: false }

/** The hard rest that keeps an account from being asked for a model, of two the one that ends later; null if none does. */
export function hardRestOf(
  { rest, modelRests }: Account,
  upstreamModel: string,
  nowMs: number,
): Rest | ModelRest | null {
  const ofAccount = rest?.hardness === 'hard' && rest.untilMs > nowMs ? rest : null
  if (modelRests.length === 0) return ofAccount
  const ofModel = modelRests.find((one) => one.model === upstreamModel && one.untilMs > nowMs)
  if (!ofModel || (ofAccount && ofAccount.untilMs >= ofModel.untilMs)) return ofAccount
  return ofModel
}

/** The hard rest for which it would get no leave to be asked for the model now; null if there is none, or it is to be probed. */
export function restInTheWay(serving: ServingAccount, upstreamModel: string, nowMs: number): Rest | ModelRest | null {
  const rest = hardRestOf(serving.account, upstreamModel, nowMs)
  return rest && !awaitsProbe(serving, rest, nowMs) ? rest : null
}

/** Takes leave to ask the account for a model; null if it rests, or its host is down and being probed. */
export function leaveToAsk(gateway: Gateway, serving: ServingAccount, upstreamModel: string): Leave | null {
  const nowMs = gateway.clock()
  if (restInTheWay(serving, upstreamModel, nowMs)) return null
  const rest = hardRestOf(serving.account, upstreamModel, nowMs)
  if (!gateway.breakers.take(serving.host, nowMs)) return null
  if (rest) noteProbe(serving, rest, nowMs)
  return { isProbe: rest !== null }
}

function noteProbe({ probed }: ServingAccount, rest: Rest | ModelRest, nowMs: number): void {
  for (const [scope, untilMs] of probed) if (untilMs <= nowMs) probed.delete(scope)
  probed.set(scopeOf(rest), rest.untilMs)
}

/** The last minute of a long rest, and nobody has tried yet. */
function awaitsProbe({ probed }: ServingAccount, rest: Rest | ModelRest, nowMs: number): boolean {
  const isAtItsEnd = rest.untilMs - nowMs <= PROBE_BEFORE_END_MS && rest.untilMs - rest.sinceMs >= LONG_REST_MS
  return isAtItsEnd && probed.get(scopeOf(rest)) !== rest.untilMs
}

/** The model that a rest is from; null for all. */
function scopeOf(rest: Rest | ModelRest): string | null {
  return 'model' in rest ? rest.model : null
}

/** What a fault is by the account's own rules, which come before its provider's table. */
export function underRules({ restRules }: Account, fault: UpstreamFault): UpstreamFault {
  if (restRules.length === 0 || fault.upstreamStatus === null || fault.blame === 'client') return fault
  const text = fault.upstreamBody === null ? fault.message : Buffer.from(fault.upstreamBody).toString('utf8')
  const rule = restRules.find(({ status, keywords }) => status === fault.upstreamStatus && saysOneOf(text, keywords))
  if (!rule) return fault
  return { ...fault, blame: 'account', rest: 'rule', scope: 'account', restUntilMs: null, retryAfterMs: rule.restMs }
}

/** Puts the account, the account for this model, or its host out of service if the fault, as it is under the account's rules, is theirs. */
export function restIfToBlame(
  gateway: Gateway,
  serving: ServingAccount,
  fault: UpstreamFault,
  upstreamModel: string,
  leave: Leave = NO_PROBE,
): void {
  const nowMs = gateway.clock()
  if (fault.scope === 'host') noteUnreachable(gateway, serving, fault, nowMs)
  else {
    const rest = earnedRest(serving, fault, nowMs, { upstreamModel, leave })
    if (!rest && !fault.disables) return
    tellLog(gateway, serving, fault, rest)
    if (fault.disables) gateway.directory.disable(serving, redact(fault.message))
    if (rest && fault.scope === 'model') keepModelRest(gateway, serving, { ...rest, model: upstreamModel }, nowMs)
    else if (rest) gateway.directory.rest(serving, rest)
  }
}

/** The account answered well: whatever doubled its rests is over, and so is the rest that this call was to probe. */
export function clearRest(gateway: Gateway, serving: ServingAccount, upstreamModel: string, { isProbe }: Leave): void {
  const { account } = serving
  const nowMs = gateway.clock()
  if (account.rest && (isProbe || account.rest.untilMs <= nowMs)) gateway.directory.rest(serving, null)
  const stay = account.modelRests.filter((one) => one.model !== upstreamModel || (!isProbe && one.untilMs > nowMs))
  if (stay.length < account.modelRests.length) gateway.directory.restModels(serving, stay)
}

function noteUnreachable(
  { breakers, log }: Gateway,
  { host }: ServingAccount,
  fault: UpstreamFault,
  nowMs: number,
): void {
  const wasOpen = breakers.isOpen(host)
  breakers.failed(host, nowMs)
  if (wasOpen || !breakers.isOpen(host)) return
  log.warn(
    { host, reason: fault.reason, message: fault.message },
    'a host cannot be reached: one call at a time tries it',
  )
}

function tellLog({ log }: Gateway, { account }: ServingAccount, fault: UpstreamFault, rest: Rest | null): void {
  const { reason, disables } = fault
  const facts = { accountId: account.id, account: account.name, reason, message: redact(fault.message) }
  log.warn(
    { ...facts, rest, scope: fault.scope, disabled: disables },
    disables ? 'an account is disabled: its vendor refuses it for good' : 'an account rests',
  )
}

/** A model's rest beside those of other models that are not over. */
function keepModelRest(gateway: Gateway, serving: ServingAccount, rest: ModelRest, nowMs: number): void {
  const others = serving.account.modelRests.filter((one) => one.model !== rest.model && one.untilMs > nowMs)
  others.sort((a, b) => b.untilMs - a.untilMs)
  gateway.directory.restModels(serving, [rest, ...others.slice(0, MODEL_RESTS_MAX - 1)])
}

/** The rest that a fault has earned; null for none, or none that is longer. Counts overloads on the account. */
function earnedRest(
  serving: ServingAccount,
  fault: UpstreamFault,
  nowMs: number,
  { upstreamModel, leave }: { upstreamModel: string; leave: Leave },
): Rest | null {
  if (fault.rest === 'overload' && !isTooOften(serving, nowMs)) return null
  const { rest, modelRests } = serving.account
  const before = fault.scope === 'model' ? (modelRests.find((one) => one.model === upstreamModel) ?? null) : rest
  return restAfter(before, fault, nowMs, leave)
}

/** What a fault makes of a rest: a new one, or null to leave it as it is. */
export function restAfter(
  before: Rest | null,
  fault: UpstreamFault,
  nowMs: number,
  { isProbe }: Leave = NO_PROBE,
): Rest | null {
  const { rest: kind, reason } = fault
  if (kind === null) return null
  const running = before && before.untilMs > nowMs ? before : null
  const repeated = before?.kind === kind ? before : null
  const told = toldMs(fault, nowMs)
  // Somebody else's call failed just before in the same way: one failure of the account, not two.
  if (running && repeated && told === null && !isProbe) return null
  const rest: Rest = { untilMs: 0, sinceMs: nowMs, hardness: 'hard', kind, reason, step: repeated?.step ?? 0 }
  if (told !== null) rest.untilMs = nowMs + told
  else if (kind !== 'rule') {
    const { hardness, firstMs, maxMs } = REST_LENGTHS[kind]
    rest.hardness = hardness
    rest.step++
    rest.untilMs = nowMs + Math.min(firstMs * 2 ** (rest.step - 1), maxMs)
  }
  return running && outlasts(running, rest) ? null : rest
}

/** How long somebody said that the rest has to be, capped; null if nobody did. */
function toldMs({ rest, restUntilMs, retryAfterMs }: UpstreamFault, nowMs: number): number | null {
  if (rest === 'rule') return Math.min(retryAfterMs ?? 0, RULE_REST_MAX_MS)
  if (rest !== 'rate_limit') return null
  if (restUntilMs !== null) return Math.min(restUntilMs - nowMs, WINDOW_REST_MAX_MS)
  return retryAfterMs === null ? null : Math.min(retryAfterMs, RETRY_AFTER_MAX_MS)
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

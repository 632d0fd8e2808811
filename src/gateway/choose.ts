import { GatewayError } from '../domain/errors.ts'
import { formatWait } from '../lib/duration.ts'
import type { Call } from './call.ts'
import { isInService, type ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { hardRestOf, mayBeAsked } from './rests.ts'
import { maySend } from './upstream-model.ts'

/** Accounts of the caller's group that could take the call now, best first. */
export function candidatesFor(gateway: Gateway, call: Call): ServingAccount[] {
  const nowMs = gateway.clock()
  const accounts = gateway.directory.accountsOf(call.caller.group.id)
  const { requestedModel } = call.facts
  const candidates = accounts.filter(
    (serving) =>
      canServe(gateway, serving, call) &&
      isInService(serving.account, nowMs) &&
      mayBeAsked(gateway, serving, requestedModel, nowMs),
  )
  return candidates.length < 2 ? candidates : inOrder(gateway, candidates, requestedModel, nowMs)
}

/** The same; throws why there is none. */
export function requireCandidates(gateway: Gateway, call: Call): ServingAccount[] {
  const ranked = candidatesFor(gateway, call)
  if (ranked.length === 0) throw nobodyCan(gateway, call)
  return ranked
}

/** Whether the account is one for this model and format at all, in service or not. */
function canServe(gateway: Gateway, serving: ServingAccount, { protocol, facts }: Call): boolean {
  const { provider, account } = serving
  return provider.speaks(account).includes(protocol.name) && maySend(gateway, serving, facts.requestedModel)
}

function inOrder(gateway: Gateway, candidates: ServingAccount[], model: string, nowMs: number): ServingAccount[] {
  const places = candidates.map((serving) => ({ serving, place: placeOf(gateway, serving, model, nowMs) }))
  places.sort((a, b) => compare(a.place, b.place))
  return places.map(({ serving }) => serving)
}

/**
 * Those that rest softly or would be probed last, then by priority, then a weighted shuffle: −ln(u)/weight is smallest with
 * a chance of weight's share.
 */
function placeOf({ random, breakers }: Gateway, serving: ServingAccount, model: string, nowMs: number): number[] {
  const { account, host } = serving
  const rests = account.rest !== null && account.rest.untilMs > nowMs
  const isDoubtful = rests || hardRestOf(serving, model, nowMs) !== null || breakers.isOpen(host)
  const draw = account.weight > 0 ? -Math.log(1 - random()) / account.weight : Number.POSITIVE_INFINITY
  return [isDoubtful ? 1 : 0, account.priority, draw]
}

function compare(a: number[], b: number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] as number)
    if (difference !== 0 && !Number.isNaN(difference)) return difference
  }
  return 0
}

/** Why nobody can take the call now: an error that says whether waiting helps, and for how long. */
export function nobodyCan(gateway: Gateway, call: Call): GatewayError {
  const { group } = call.caller
  const model = call.facts.requestedModel
  const nowMs = gateway.clock()
  const accounts = gateway.directory.accountsOf(group.id)
  if (accounts.length === 0) {
    // Not 404: for that Claude Code shows its own words instead of ours.
    return hopeless('unavailable', `group '${group.name}' has no accounts: the operator has to attach one`)
  }
  const serving = accounts.filter((account) => canServe(gateway, account, call))
  if (serving.length === 0) {
    return hopeless('not_found', `no account of group '${group.name}' serves the model '${model}'`)
  }
  const resting = serving.filter(({ account }) => isInService(account, nowMs))
  if (resting.length === 0) {
    return hopeless(
      'unavailable',
      `every account that serves '${model}' is paused, disabled or expired: the operator has to look`,
    )
  }
  const restOf = (one: ServingAccount) => hardRestOf(one, model, nowMs)
  if (resting.some((one) => restOf(one) === null)) {
    // Its host is down, and may be back in a moment: worth more than the end of another account's rest.
    return new GatewayError('overloaded', `no upstream that serves '${model}' can be reached at the moment`, {
      retryAfterMs: 1000,
    })
  }
  const recovering = resting.filter((one) => !['credential', 'funds'].includes(restOf(one)?.kind ?? ''))
  if (recovering.length === 0) {
    return hopeless(
      'overloaded',
      `every account that serves '${model}' is refused by its vendor: the operator has to look`,
    )
  }
  const backMs = Math.min(...recovering.map((one) => restOf(one)?.untilMs ?? nowMs))
  const retryAfterMs = Math.max(1000, backMs - nowMs)
  const back = `. The first is back in ${formatWait(retryAfterMs, nowMs)}`
  if (recovering.some((one) => restOf(one)?.kind === 'rate_limit')) {
    const message = `every upstream account that serves '${model}' is at its vendor's rate limit${back}`
    return new GatewayError('limited', message, { retryAfterMs })
  }
  return new GatewayError('overloaded', `every account that serves '${model}' is resting after errors${back}`, {
    retryAfterMs,
  })
}

function hopeless(code: 'not_found' | 'unavailable' | 'overloaded', message: string): GatewayError {
  return new GatewayError(code, message, { shouldRetry: false })
}

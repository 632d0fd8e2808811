import { GatewayError } from '../domain/errors.ts'
import type { Call } from './call.ts'
import { isUsable, type ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

/** Accounts of the caller's group that could take the call now, best first. */
export function candidatesFor(gateway: Gateway, call: Call): ServingAccount[] {
  const nowMs = gateway.clock()
  const accounts = gateway.directory.accountsOf(call.caller.group.id)
  const candidates = accounts.filter((serving) => canServe(serving, call) && isUsable(serving.account, nowMs))
  return candidates.length < 2 ? candidates : inOrder(candidates, nowMs, gateway.random)
}

/** The same; throws why there is none. */
export function requireCandidates(gateway: Gateway, call: Call): ServingAccount[] {
  const ranked = candidatesFor(gateway, call)
  if (ranked.length === 0) throw nobodyCan(gateway, call)
  return ranked
}

/** Whether the account is one for this model and format at all, in service or not. */
function canServe({ account, provider, serves }: ServingAccount, { protocol, facts }: Call): boolean {
  return provider.speaks(account).includes(protocol.name) && serves(facts.requestedModel)
}

function inOrder(candidates: ServingAccount[], nowMs: number, random: () => number): ServingAccount[] {
  const places = candidates.map((serving) => ({ serving, place: placeOf(serving, nowMs, random) }))
  places.sort((a, b) => compare(a.place, b.place))
  return places.map(({ serving }) => serving)
}

/** Softly resting ones last, then by priority, then a weighted shuffle: −ln(u)/weight is smallest with a chance of weight's share. */
function placeOf({ account }: ServingAccount, nowMs: number, random: () => number): number[] {
  const softRest = account.rest && account.rest.untilMs > nowMs ? 1 : 0
  const draw = account.weight > 0 ? -Math.log(1 - random()) / account.weight : Number.POSITIVE_INFINITY
  return [softRest, account.priority, draw]
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
  const serving = accounts.filter((account) => canServe(account, call))
  if (serving.length === 0) {
    return hopeless('not_found', `no account of group '${group.name}' serves the model '${model}'`)
  }
  const resting = serving.filter(({ account: { status, expiresAtMs } }) => {
    return status === 'active' && (expiresAtMs === null || expiresAtMs > nowMs)
  })
  if (resting.length === 0) {
    return hopeless(
      'unavailable',
      `every account that serves '${model}' is paused, disabled or expired: the operator has to look`,
    )
  }
  const untilOneIsBackMs = (those: ServingAccount[]) =>
    Math.max(1000, Math.min(...those.map(({ account }) => account.rest?.untilMs ?? nowMs)) - nowMs)
  const limited = resting.filter(({ account }) => account.rest?.kind === 'rate_limit')
  if (limited.length > 0) {
    return new GatewayError('limited', `every upstream account that serves '${model}' is at its vendor's rate limit`, {
      retryAfterMs: untilOneIsBackMs(limited),
    })
  }
  if (resting.every(({ account: { rest } }) => rest?.kind === 'credential' || rest?.kind === 'funds')) {
    return hopeless(
      'overloaded',
      `every account that serves '${model}' is refused by its vendor: the operator has to look`,
    )
  }
  return new GatewayError('overloaded', `every account that serves '${model}' is resting after errors`, {
    retryAfterMs: untilOneIsBackMs(resting),
  })
}

function hopeless(code: 'not_found' | 'unavailable' | 'overloaded', message: string): GatewayError {
  return new GatewayError(code, message, { shouldRetry: false })
}

import type { ProtocolName } from '../domain/call.ts'
import { GatewayError } from '../domain/errors.ts'
import { isUsable, type ServingAccount } from './directory.ts'

export interface Wish {
  protocol: ProtocolName
  model: string
  nowMs: number
}

/** Accounts that may take the call now, best first. */
export function rank(accounts: readonly ServingAccount[], wish: Wish, random: () => number): ServingAccount[] {
  const candidates = accounts.filter((serving) => canServe(serving, wish) && isUsable(serving.account, wish.nowMs))
  if (candidates.length < 2) return candidates
  const places = candidates.map((serving) => ({ serving, place: placeOf(serving, wish.nowMs, random) }))
  places.sort((a, b) => compare(a.place, b.place))
  return places.map(({ serving }) => serving)
}

/** Whether the account is one for this model and format at all, in service or not. */
function canServe({ account, provider, serves }: ServingAccount, wish: Wish): boolean {
  return provider.speaks(account).includes(wish.protocol) && serves(wish.model)
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

/** Why nobody can take the call: an error that says whether waiting helps, and for how long. */
export function nobodyCan(accounts: readonly ServingAccount[], wish: Wish, groupName: string): GatewayError {
  if (accounts.length === 0) {
    return hopeless('not_found', `group '${groupName}' has no accounts: the operator has to attach one`)
  }
  const serving = accounts.filter((account) => canServe(account, wish))
  if (serving.length === 0)
    return hopeless('not_found', `no account of group '${groupName}' serves the model '${wish.model}'`)
  const rests = serving
    .filter(
      ({ account }) =>
        account.status === 'active' && (account.expiresAtMs === null || account.expiresAtMs > wish.nowMs),
    )
    .map(({ account }) => account.rest?.untilMs ?? wish.nowMs)
  if (rests.length === 0) {
    return hopeless(
      'unavailable',
      `every account that serves '${wish.model}' is paused, disabled or expired: the operator has to look`,
    )
  }
  return new GatewayError('overloaded', `every account that serves '${wish.model}' is resting after errors`, {
    retryAfterMs: Math.max(1000, Math.min(...rests) - wish.nowMs),
  })
}

function hopeless(code: 'not_found' | 'unavailable', message: string): GatewayError {
  return new GatewayError(code, message, { shouldRetry: false })
}

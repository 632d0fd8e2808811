import { GatewayError } from '../domain/errors.ts'
import { formatUsd } from '../domain/money.ts'
import type { CallFacts } from '../protocols/protocol.ts'
import type { Call } from './call.ts'
import type { Caller } from './directory.ts'
import type { Gateway } from './gateway.ts'

/** What a caller who is known may do, beside what `admit` asks live state for. */

/**
 * Throws `not_found` if the key may not use the model: at vendors, too, a model that one may not have is not there, and
 * Claude Code takes every `forbidden` for a key that is wrong.
 */
export function requireAllowedModel({ caller, facts }: Call): void {
  const model = facts.requestedModel
  if (!caller.mayAsk(model)) {
    throw new GatewayError('not_found', `this API key may not use the model '${model}'`, { shouldRetry: false })
  }
}

/** What nobody can charge for is not asked for where every call is. Throws `not_supported`. */
export function requireMetered({ config }: Gateway, { facts }: { facts: Pick<CallFacts, 'costs'> }): void {
  if (facts.costs !== 'unknown' || config.unmetered === 'record') return
  throw new GatewayError(
    'not_supported',
    'this gateway charges for every call, and cannot tell what this one would cost: its operator can let such calls pass with unmetered: record',
    { shouldRetry: false },
  )
}

/**
 * What is free takes no slot and has a limit of its own, so many times a minute of one key. It comes before what may
 * have to read the store. Throws `limited`.
 */
export async function requireRate(
  gateway: Gateway,
  { key }: Caller,
  doing: 'count tokens' | 'list models' | 'read its usage' | 'ask for files and the like' | 'list files and the like',
  perMinute: number,
): Promise<void> {
  if (await gateway.live.countPerMinute(`${doing} ${key.id}`, perMinute)) return
  throw new GatewayError('limited', `this API key may ${doing} ${perMinute} times a minute`, { retryAfterMs: 5000 })
}

/**
 * The quota of a key, for what is not admitted like a call and yet is nothing for a key that is used up. The store is
 * asked once; live state counts on from there. Throws `insufficient_funds`.
 */
export async function requireQuota(gateway: Gateway, caller: Caller): Promise<void> {
  const { id, quotaNanoUsd } = caller.key
  if (quotaNanoUsd === null) return
  let spent = await gateway.live.spentBy(id)
  if (spent === null) {
    await learnStanding(gateway, caller)
    spent = await gateway.live.spentBy(id)
  }
  if ((spent ?? 0) >= quotaNanoUsd) throw quotaSpent(quotaNanoUsd)
}

/** Of a key that has spent all that it may. */
export function quotaSpent(quotaNanoUsd: number): GatewayError {
  return new GatewayError(
    'insufficient_funds',
    `this API key has spent its quota of ${formatUsd(quotaNanoUsd)}: ask the operator of this gateway to raise it`,
    { shouldRetry: false },
  )
}

/** Lets live state know what the caller has to spend. */
export function learnStanding(gateway: Gateway, { user, key }: Caller): Promise<void> {
  const caller = { userId: user.id, keyId: key.id }
  const spending = gateway.config.runMode === 'simple' ? 'cost' : 'charged'
  return gateway.live.learn(caller, (callIds) => gateway.store.ledger.standing({ ...caller, spending, callIds }))
}

import { GatewayError } from '../domain/errors.ts'
import type { Call } from './call.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

/** The name by which an account is asked for what a client asked for: its map may have another one. */

/** Throws `unavailable` if the account, which was chosen for the call, has just ceased to serve its model. */
export function upstreamModelFor({ upstreamModelOf }: ServingAccount, { facts }: Call): string {
  const model = upstreamModelOf(facts.requestedModel)
  if (model !== null) return model
  throw new GatewayError('unavailable', 'the account that this call was given has just been changed: try again', {
    retryAfterMs: 1000,
  })
}

/** Whether the account serves the model, and may be asked for it: some operators refuse what has no price. */
export function maySend(
  gateway: Gateway,
  { upstreamModelOf, provider }: ServingAccount,
  requestedModel: string,
): boolean {
  const model = upstreamModelOf(requestedModel)
  if (model === null || gateway.config.unknownPrice === 'record') return model !== null
  return gateway.prices.find(provider.name, model, gateway.clock()) !== null
}

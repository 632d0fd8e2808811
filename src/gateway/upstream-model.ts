import { GatewayError } from '../domain/errors.ts'
import type { Call } from './call.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

/** The name by which an account is asked for what a client asked for: its map may have another one. */

/** Null if the account does not serve it. Where no model is asked, every account serves what is asked of it. */
export function servedAs({ upstreamModelOf }: ServingAccount, { facts, operation }: Call): string | null {
  return operation === 'objects' ? facts.requestedModel : upstreamModelOf(facts.requestedModel)
}

/** Throws `unavailable` if the account, which was chosen for the call, has just ceased to serve its model. */
export function upstreamModelFor(serving: ServingAccount, call: Call): string {
  const model = servedAs(serving, call)
  if (model !== null) return model
  throw new GatewayError('unavailable', 'the account that this call was given has just been changed: try again', {
    retryAfterMs: 1000,
  })
}

/** Whether the account may be asked for what it serves under this name: some operators refuse what has no price. */
export function mayBeSent(gateway: Gateway, { provider }: ServingAccount, upstreamModel: string): boolean {
  if (gateway.config.unknownPrice === 'record') return true
  return gateway.prices.find(provider.name, upstreamModel, gateway.clock()) !== null
}

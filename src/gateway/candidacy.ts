import {
  type ModelRest,
  type ProviderName,
  pausingWindow,
  type Rest,
  usedPercent,
  type VendorWindow,
} from '../domain/account.ts'
import type { ClientName } from '../domain/call.ts'
import type { GatewayError } from '../domain/errors.ts'
import { redact } from '../lib/log.ts'
import { isFrom } from '../protocols/clients.ts'
import { takesApiKey } from '../providers/provider.ts'
import type { Call } from './call.ts'
import { isInService, type ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { restInTheWay } from './rests.ts'
import { mayBeSent, servedAs } from './upstream-model.ts'
import { countsFor } from './windows.ts'
import { canServe } from './wire.ts'

/** What keeps an account from taking a call. */
export type Obstacle =
  | { is: 'not_pinned' | 'elsewhere' | 'not_held' | 'protocol' | 'login' | 'model' | 'status' | 'expired' | 'host' }
  | { is: 'unpriced'; upstreamModel: string }
  | { is: 'unfit'; refusal: GatewayError }
  | { is: 'client'; only: ClientName }
  | { is: 'rest'; rest: Rest | ModelRest }
  | { is: 'paused_at'; window: VendorWindow }

const NOT_PINNED: Obstacle = { is: 'not_pinned' }
const ELSEWHERE: Obstacle = { is: 'elsewhere' }
const NOT_HELD: Obstacle = { is: 'not_held' }
const PROTOCOL: Obstacle = { is: 'protocol' }
const LOGIN: Obstacle = { is: 'login' }
const MODEL: Obstacle = { is: 'model' }
const STATUS: Obstacle = { is: 'status' }
const EXPIRED: Obstacle = { is: 'expired' }
const HOST: Obstacle = { is: 'host' }

/**
 * Why an account is no candidate for the call now; null if it is one. `pinned` are those that its pool's route leads to. The first
 * obstacle that an operator would look for: what it is not for at all, then what its operator has to change, then what time heals.
 */
export function obstacleFor(
  gateway: Gateway,
  call: Call,
  serving: ServingAccount,
  pinned: readonly string[] | null,
  nowMs: number,
): Obstacle | null {
  const { account, host } = serving
  const model = servedAs(serving, call)
  if (pinned && !pinned.includes(account.id)) return NOT_PINNED
  if (!isOnPath(serving, call.onlyProvider)) return ELSEWHERE
  if (call.heldAt !== null && account.id !== call.heldAt) return NOT_HELD
  if (!canServe(serving, call)) return PROTOCOL
  if (takesApiKey(call.operation) && isLogin(serving)) return LOGIN
  if (model === null) return MODEL
  const hasPrice = call.facts.costs !== undefined || mayBeSent(gateway, serving, model)
  if (!hasPrice) return { is: 'unpriced', upstreamModel: model }
  const refusal = call.unfit?.get(account.id)
  if (refusal) return { is: 'unfit', refusal }
  const { onlyClient } = account
  if (onlyClient && !isFrom(onlyClient, call.headers)) return { is: 'client', only: onlyClient }
  if (!isInService(account, nowMs)) return account.status === 'active' ? EXPIRED : STATUS
  const rest = restInTheWay(serving, model, nowMs)
  if (rest) return { is: 'rest', rest }
  const window = pauseFor(gateway, serving, model, nowMs)
  if (window) return { is: 'paused_at', window }
  return gateway.breakers.mayAsk(host, nowMs) ? null : HOST
}

/** What cannot be opened is for whoever asks the account: it says so. */
export function isLogin({ credentials }: ServingAccount): boolean {
  try {
    return credentials().kind !== 'api_key'
  } catch {
    return false
  }
}

/** Some accounts serve a path of their own, and the general ones only if their operator says so. */
export function isOnPath({ provider, account }: ServingAccount, onlyProvider: ProviderName | null): boolean {
  if (onlyProvider !== null) return provider.name === onlyProvider
  return !provider.hasOwnPath || account.hybrid
}

function pauseFor(gateway: Gateway, serving: ServingAccount, model: string, nowMs: number): VendorWindow | null {
  const { account } = serving
  if (account.pauseAt.length === 0) return null
  const windows = gateway.windows.lately(serving)
  // Who names a window of models that nobody knows means all models.
  const counting = windows.filter((window) => window.models?.length === 0 || countsFor(window, model))
  return pausingWindow(account, counting, nowMs)
}

/** The obstacle in words. */
export function obstacleText(obstacle: Obstacle, { account }: ServingAccount, call: Call, nowMs: number): string {
  const { status, statusReason } = account
  const inSeconds = (untilMs: number) => `for ${Math.ceil((untilMs - nowMs) / 1000)} s`
  switch (obstacle.is) {
    case 'not_pinned':
      return 'the model is routed to others'
    case 'elsewhere':
      return call.onlyProvider ? `is no account of ${call.onlyProvider}` : 'serves only its own path (it is no hybrid)'
    case 'not_held':
      return 'does not have what the call names'
    case 'protocol':
      return `does not speak ${call.protocol.name}`
    case 'login':
      return 'is a login, and this takes an API key'
    case 'model':
      return 'does not serve the model'
    case 'unpriced':
      return `'${obstacle.upstreamModel}' has no price`
    case 'unfit':
      return obstacle.refusal.message
    case 'client':
      return `serves only calls that come from ${obstacle.only}`
    case 'status':
      return statusReason ? `${status}: ${redact(statusReason)}` : status
    case 'expired':
      return 'expired'
    case 'rest':
      return `rests (${obstacle.rest.reason}) ${inSeconds(obstacle.rest.untilMs)}`
    case 'paused_at': {
      const { window } = obstacle
      return `paused at ${usedPercent(window)} of its ${window.name} window ${inSeconds(window.resetAtMs)}`
    }
    case 'host':
      return 'its host cannot be reached'
  }
}

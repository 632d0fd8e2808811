import type { Choice } from '../domain/call.ts'
import { redact } from '../lib/log.ts'
import type { Admission } from '../live/live-state.ts'
import type { Conversation } from '../protocols/protocol.ts'
import type { Call } from './call.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { hardRestOf } from './rests.ts'
import { maySend } from './upstream-model.ts'

/** Accounts of each kind that a row names, at most. */
const NAMED_MAX = 32
/** So much of a conversation's name is shown and kept: enough to tell any two apart. */
export const SHOWN_CHARACTERS = 16

/** Who could have taken a call, as it looks when that is worked out. */
export type Candidates = Pick<Choice, 'candidates' | 'others'>

/** Null where the call's group leaves no choice: then nothing is worked out. */
export function candidatesOf(gateway: Gateway, call: Call, ranked: readonly ServingAccount[]): Candidates | null {
  const all = gateway.directory.accountsOf(call.caller.group.id)
  if (all.length < 2) return null
  const nowMs = gateway.clock()
  const others = ranked.length === all.length ? [] : all.filter((serving) => !ranked.includes(serving))
  return {
    candidates: ranked.slice(0, NAMED_MAX).map(({ account }) => account.id),
    others: others
      .slice(0, NAMED_MAX)
      .map((serving) => ({ accountId: serving.account.id, why: whyNot(gateway, serving, call, nowMs) })),
  }
}

/** How the call came to the account that it was admitted to. */
export function choiceOf(
  candidates: Candidates | null,
  conversation: Conversation | null,
  { bound, own }: Admission,
  waited: boolean,
): Choice | null {
  if (!candidates) return null
  const binding = !bound ? 'detour' : own ? 'kept' : 'new'
  const session =
    conversation &&
    ({
      conversation: conversation.name.slice(0, SHOWN_CHARACTERS),
      source: conversation.source,
      binding,
    } as const)
  return { ...candidates, waited, session }
}

/** Why an account is no candidate, in the order in which an operator would look. */
function whyNot(gateway: Gateway, serving: ServingAccount, { protocol, facts }: Call, nowMs: number): string {
  const { account, provider, upstreamModelOf, host } = serving
  const { status, statusReason, expiresAtMs } = account
  if (!provider.speaks(account).includes(protocol.name)) return `does not speak ${protocol.name}`
  const upstreamModel = upstreamModelOf(facts.requestedModel)
  if (upstreamModel === null) return 'does not serve the model'
  if (!maySend(gateway, serving, facts.requestedModel)) return `'${upstreamModel}' has no price`
  if (status !== 'active') return statusReason ? `${status}: ${redact(statusReason)}` : status
  if (expiresAtMs !== null && expiresAtMs <= nowMs) return 'expired'
  const rest = hardRestOf(serving, facts.requestedModel, nowMs)
  if (rest) return `rests (${rest.reason}) for ${Math.ceil((rest.untilMs - nowMs) / 1000)} s`
  return gateway.breakers.isOpen(host) ? 'its host cannot be reached' : 'was held back'
}

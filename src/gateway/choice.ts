import type { Choice } from '../domain/call.ts'
import type { Admission } from '../live/live-state.ts'
import type { Conversation } from '../protocols/protocol.ts'
import type { Call } from './call.ts'
import { obstacleText } from './candidacy.ts'
import { type Survey, survey } from './choose.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

/** Accounts of each kind that a row names, at most. */
const NAMED_MAX = 32
/** So much of a conversation's name is shown and kept: enough to tell any two apart. */
export const SHOWN_CHARACTERS = 16

/** Who could have taken a call, as it looks when that is worked out. */
export type Candidates = Pick<Choice, 'fallbackGroupId' | 'candidates' | 'others'>

/** Null where the call's group leaves no choice: then nothing is worked out. */
export function candidatesOf(gateway: Gateway, call: Call, surveyed: Survey): Candidates | null {
  const ownGroupId = call.caller.group.id
  if (gateway.directory.accountsOf(ownGroupId).length < 2) return null
  const { candidates, pool, surplus, hindered } = surveyed
  const nowMs = gateway.clock()
  const others = new Map<ServingAccount, string>()
  for (const { serving, obstacle } of hindered) {
    if (others.size === NAMED_MAX) break // a large group has hundreds, and each is put into words
    // One of several groups may say no, and the next one yes.
    if (candidates.includes(serving) || others.has(serving)) continue
    others.set(serving, obstacleText(obstacle, serving, call, nowMs))
  }
  for (const serving of surplus) others.set(serving, 'ranks behind enough others')
  return {
    fallbackGroupId: pool && pool.group.id !== ownGroupId ? pool.group.id : null,
    candidates: candidates.slice(0, NAMED_MAX).map(({ account }) => account.id),
    others: Array.from(others, ([{ account }, why]) => ({ accountId: account.id, why })).slice(0, NAMED_MAX),
  }
}

/** How the call came to the account that it was admitted to. */
export function choiceOf(
  gateway: Gateway,
  call: Call,
  candidates: Candidates | null,
  conversation: Conversation | null,
  admission: Admission,
  waited: boolean,
): Choice | null {
  if (!candidates) return null
  if (!conversation) return { ...candidates, waited, session: null }
  const { boundBefore, bound, accountId } = admission
  const isAway = boundBefore !== null && boundBefore !== accountId
  return {
    ...candidates,
    waited,
    session: {
      conversation: conversation.name.slice(0, SHOWN_CHARACTERS),
      source: conversation.source,
      binding: isAway ? (bound ? 'moved' : 'detour') : boundBefore === null ? 'new' : 'kept',
      from: isAway ? { accountId: boundBefore, why: whyAway(gateway, call, boundBefore, bound) } : null,
    },
  }
}

/** Why a call has left its conversation's own account, for good or this once. */
function whyAway(gateway: Gateway, call: Call, accountId: string, moved: boolean): string {
  const isIt = ({ account }: ServingAccount) => account.id === accountId
  const now = survey(gateway, call)
  const found = now.hindered.find(({ serving }) => isIt(serving))
  if (found) return obstacleText(found.obstacle, found.serving, call, gateway.clock())
  if (!moved) return 'its slots were busy'
  if (now.candidates.some(isIt) || now.surplus.some(isIt)) return 'it is over a limit of its own'
  const isThere = gateway.directory.accountsOf(call.caller.group.id).some(isIt)
  return isThere ? 'its group is fallen back to, and is not needed now' : 'its group does not have it any more'
}

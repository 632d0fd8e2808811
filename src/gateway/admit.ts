import { GatewayError } from '../domain/errors.ts'
import type { SlotRefusal, SlotSubject } from '../domain/limit.ts'
import { formatUsd } from '../domain/money.ts'
import type { Admission, AdmitRequest, Refused, Ticket } from '../live/live-state.ts'
import type { Conversation } from '../protocols/protocol.ts'
import { whereItLies } from './account-objects.ts'
import { AdmittedCall } from './admitted-call.ts'
import { quotaSpent, requireAllowedModel, requireMetered } from './allowance.ts'
import type { Call } from './call.ts'
import { candidatesOf, choiceOf } from './choice.ts'
import { nobodyCan, rankedOf, requireCandidates, type Survey, survey } from './choose.ts'
import type { ClientAnswer } from './client-answer.ts'
import type { ServingAccount } from './directory.ts'
import { clientLeft, endedBy, shuttingDown } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { askKnowing, limitError, spendingIn } from './limits.ts'
import { needsBalance, Reservation } from './reservation.ts'
import type { EndReason } from './running-calls.ts'
import { sessionKeyOf } from './session-key.ts'

/**
 * One step of live state takes all that a call needs: room in its limits, the user's and the key's slot, an account with
 * its slot, and the right to spend. Where a slot is missing the call waits in line for it. Throws the refusal, which says whose limit it
 * was and until when, or why no account can serve the call.
 */
export async function admit(gateway: Gateway, call: Call, client: ClientAnswer): Promise<AdmittedCall> {
  if (gateway.running.draining) throw shuttingDown()
  gateway.guard.check()
  requireAllowedModel(call)
  requireMetered(gateway, call)
  // Most calls name nothing, and do not wait.
  if (call.facts.named?.length) call.heldAt = await whereItLies(gateway, call, call.facts.named)
  const surveyed = requireCandidates(gateway, call)
  // With one account there is nothing to keep a conversation at, and its name need not be worked out.
  const hasChoice = gateway.directory.accountsOf(call.caller.group.id).length > 1
  const conversation = hasChoice ? call.facts.conversation() : null
  const candidates = candidatesOf(gateway, call, surveyed)
  const reservation = new Reservation(gateway, call, surveyed.candidates)
  const request = admitRequest(gateway, call, surveyed, conversation, reservation)
  const answer = await askKnowing<Admission | Ticket | Refused>(gateway, call.caller, () => gateway.live.admit(request))
  const admission = answer.kind === 'ticket' ? await waitInLine(gateway, call, client, answer, () => true) : answer
  if (!admission) throw nobodyCan(gateway, call)
  if (admission.kind === 'refused') throw refusedError(gateway, admission, call)
  const spending = spendingIn(admission.standings ?? [])
  if (spending) call.limitHeaders = Object.entries(call.protocol.limitHeaders(spending)).flat()
  try {
    const choice = choiceOf(gateway, call, candidates, conversation, admission, answer.kind === 'ticket')
    return new AdmittedCall(gateway, call, client, admission, reservation, choice)
  } catch (error) {
    await gateway.live.settle(admission, { debitNanoUsd: 0, spentNanoUsd: 0, confirmsBinding: false, used: null })
    throw error
  }
}

/**
 * Exchanges the account of an admitted call for one that has not been tried. 'no_other': there is none, and the call
 * keeps its own. An error: what kept it from all of them, and by then it has no account any more.
 */
export async function moveOn(
  gateway: Gateway,
  running: AdmittedCall,
  client: ClientAnswer,
  isUntried: (serving: ServingAccount) => boolean,
): Promise<'moved' | 'no_other' | GatewayError> {
  const { call } = running
  const surveyed = survey(gateway, call, isUntried)
  if (surveyed.candidates.length === 0) return 'no_other'
  const answer = await askKnowing<Admission | Ticket | Refused>(gateway, call.caller, () =>
    gateway.live.move(running.admission, rankedOf(gateway, call, surveyed)),
  )
  const granted = answer.kind === 'ticket' ? await waitInLine(gateway, call, client, answer, isUntried) : answer
  if (!granted) return nobodyCan(gateway, call)
  if (granted.kind === 'refused') return refusedError(gateway, granted, call)
  running.moveTo(granted)
  return 'moved'
}

/** Why a wait is given up that could only end in vain. */
const NOBODY_LEFT = new Error('nobody is left who could serve the call')

/** Waits for the ticket's turn, and looks again at who could serve it whenever accounts change. Null once nobody could. */
async function waitInLine(
  gateway: Gateway,
  call: Call,
  client: ClientAnswer,
  ticket: Ticket,
  isUntried: (serving: ServingAccount) => boolean,
): Promise<Admission | Refused | null> {
  const giveUp = new AbortController()
  const waiting = { callId: call.id, stop: (reason: EndReason) => giveUp.abort(endedBy(reason)) }
  const lookAgain = async () => {
    const surveyed = survey(gateway, call, isUntried)
    if (surveyed.candidates.length > 0) {
      await askKnowing(gateway, call.caller, () => gateway.live.rerank(ticket, rankedOf(gateway, call, surveyed)))
    } else giveUp.abort(NOBODY_LEFT)
  }
  const stopListening = gateway.directory.onChange((changes) => {
    const mayMatter = changes === null || changes.some(({ kind }) => kind === 'account' || kind === 'group')
    return mayMatter ? lookAgain() : undefined
  })
  client.onLeave(() => giveUp.abort(clientLeft()))
  gateway.running.addWaiting(waiting)
  const startedAt = performance.now()
  try {
    await lookAgain() // accounts may have changed since the ticket was asked for
    return await gateway.live.await(ticket, giveUp.signal)
  } catch (error) {
    if (error === NOBODY_LEFT) return null
    throw error
  } finally {
    stopListening()
    gateway.running.deleteWaiting(waiting)
    if (call.timing) call.timing.elsewhereMs += performance.now() - startedAt
  }
}

function admitRequest(
  gateway: Gateway,
  call: Call,
  surveyed: Survey,
  conversation: Conversation | null,
  { estimate, reservedNanoUsd }: Reservation,
): AdmitRequest {
  const { key, user, group } = call.caller
  const limits = gateway.config.gateway
  return {
    callId: call.id,
    userId: user.id,
    keyId: key.id,
    groupId: group.id,
    userConcurrency: user.concurrency,
    keyConcurrency: key.concurrency,
    candidates: rankedOf(gateway, call, surveyed),
    session: conversation && sessionOf(gateway, call, conversation),
    lineExtra: limits.lineExtra,
    deadlineMs: call.arrivedMs + limits.waitMs,
    needsBalance: needsBalance(gateway, call),
    quotaNanoUsd: key.quotaNanoUsd,
    reservedNanoUsd,
    limits: call.caller.limits,
    estimate,
  }
}

function sessionOf(gateway: Gateway, call: Call, { name }: Conversation): AdmitRequest['session'] {
  const { bindingTtlMs, stickyWaitMs, stickyLine } = gateway.config.gateway
  const key = sessionKeyOf({ keyId: call.caller.key.id, protocol: call.protocol.name, conversation: name })
  return { key, ttlMs: bindingTtlMs, waitMs: stickyWaitMs, line: stickyLine }
}

function refusedError(gateway: Gateway, { refusal }: Refused, call: Call): GatewayError {
  return refusal.reason === 'limit' ? limitError(refusal, call, gateway.clock()) : slotError(refusal, call)
}

/** There is money, and what runs may need all of it: some of that is given back when a call has ended. */
function balanceHeld({ limit }: SlotRefusal, { caller }: Call): GatewayError {
  const left = `${formatUsd(limit)} of the balance of ${caller.user.email} is left, and calls that are running may need all of it`
  return new GatewayError('limited', `${left}: try again when one has ended`, { retryAfterMs: HELD_RETRY_MS })
}

const HELD_RETRY_MS = 5000

const OWNER: Record<SlotSubject, string> = {
  user: 'this user',
  key: 'this API key',
  account: 'the upstream account',
}

/** Whose limit it was, what it is, and what may help. */
function slotError(refusal: SlotRefusal, call: Call): GatewayError {
  const owner = OWNER[refusal.subject]
  switch (refusal.metric) {
    case 'balance':
      if (refusal.limit > 0) return balanceHeld(refusal, call)
      return new GatewayError(
        'insufficient_funds',
        `the balance of ${call.caller.user.email} is used up (${formatUsd(refusal.limit)}): ask the operator of this gateway for credit`,
        { shouldRetry: false },
      )
    case 'quota':
      return quotaSpent(refusal.limit)
    case 'concurrent': {
      if (refusal.limit === 0)
        return new GatewayError('limited', `${owner} may run no calls at all`, { shouldRetry: false })
      const many = `${refusal.limit} call${refusal.limit === 1 ? '' : 's'} at a time`
      const why =
        refusal.reason === 'line_full'
          ? `${owner} may run ${many}, and its waiting line is full`
          : `${owner} may run ${many}, and none of them ended while this one waited`
      return new GatewayError(
        'limited',
        why,
        refusal.retryAfterMs === null ? {} : { retryAfterMs: refusal.retryAfterMs },
      )
    }
  }
}

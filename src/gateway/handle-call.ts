import type { IncomingMessage, ServerResponse } from 'node:http'
import { newCallId } from '../lib/id.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { admit, moveOn } from './admit.ts'
import type { AdmittedCall } from './admitted-call.ts'
import { type AttemptResult, attempt, type GoodAnswer } from './attempt.ts'
import { nobodyCan } from './choose.ts'
import { ClientAnswer } from './client-answer.ts'
import { clientLeft, countRefusal, endedBy, endOfFailure, endOfRelay, errorFor } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { readCall } from './read-call.ts'
import { Relay } from './relay.ts'
import { clearRest, leaveToAsk, restIfToBlame, underRules } from './rests.ts'

/**
 * One client request, from first byte to charge.
 *
 *   read     who calls (key, user, group), then the body, within its limits
 *   admit    slots, an account and the right to spend, in one step; or a wait in line; or a refusal
 *   ask      the account, and on a fault that is not the request's own another one, while nothing of an upstream has been
 *            relayed: the only place that tries another account (`attempt` itself repeats once on a connection that had
 *            gone stale)
 *   relay    upstream bytes to the client, metered as they pass; the end of the answer is held back
 *   record   usage, cost and debit, durable: now the call is charged. The first end stands, a second `record` does nothing
 *   finish   the held end goes out: the terminal event, or the error event of a broken stream
 *   settle   the upstream call has ended: slots go to whoever waits for them
 *
 * Of errors two places tell the client, and one writes: `finish` tells of an answer that broke, the `catch` of all else,
 * and ClientAnswer writes it in the way that its state still allows.
 *
 * At every step the client may leave and the daemon may have to stop. While the call waits, that ends the wait; once it is
 * admitted, it ends the upstream call, unless the client left and its group's `when_client_leaves` says to read on; and
 * once its end is known, it changes nothing any more.
 */
export async function handleCall(
  gateway: Gateway,
  protocol: Protocol,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const arrivedMs = gateway.clock()
  const callId = newCallId(arrivedMs)
  const client = new ClientAnswer(gateway, protocol, res, { callId, arrivedMs })
  let running: AdmittedCall | null = null
  try {
    using call = await readCall(gateway, protocol, req, { callId, arrivedMs })
    client.streams = call.facts.stream
    running = await admit(gateway, call, client)
    const answer = await ask(gateway, running, client)
    call.releaseBody()
    using relay = new Relay(gateway, call, answer, client)
    running.onStop((reason) => relay.stop(reason))
    const relayed = await relay.run()
    if (relayed.fault) restIfToBlame(gateway, answer.serving, relayed.fault, call.facts.requestedModel)
    await running.record(endOfRelay(relayed, answer, client))
    await relay.finish(relayed)
  } catch (error) {
    // A call that failed has its row before the client hears of it, like one that succeeded.
    if (running) await running.record(endOfFailure(error, client, running)).catch(() => {})
    else countRefusal(gateway, error, client)
    client.sendError(error)
  } finally {
    await running?.settle()
  }
}

/**
 * Asks accounts until one answers well. Throws what the client is to hear when none does: the upstream's own refusal of
 * the request, or what is known of why nobody could answer.
 */
export async function ask(gateway: Gateway, running: AdmittedCall, client: ClientAnswer): Promise<GoodAnswer> {
  const { maxAttempts, failoverBudgetMs } = gateway.config.gateway
  const tried = new Set<string>()
  let spentMs = 0 // time in line between two attempts does not count
  for (;;) {
    if (client.left) throw clientLeft()
    if (running.stopReason) throw endedBy(running.stopReason)
    const { call, serving } = running
    const model = call.facts.requestedModel
    tried.add(serving.account.id)
    const moveOnToAnother = () => moveOn(gateway, running, client, (other) => !tried.has(other.account.id))
    const leave = leaveToAsk(gateway, serving, model)
    if (!leave) {
      // It has gone to rest since this call was given it.
      if (await moveOnToAnother()) continue
      throw nobodyCan(gateway, call)
    }
    const startedMs = gateway.clock()
    const result = await askOnce(gateway, running, client)
    if ('answer' in result) {
      clearRest(gateway, serving, model, leave)
      return result.answer
    }
    const fault = underRules(serving.account, result.fault)
    spentMs += gateway.clock() - startedMs
    restIfToBlame(gateway, serving, fault, model, leave)
    const mayTryAnother =
      (fault.blame === 'account' || fault.blame === 'upstream') &&
      !fault.mayBeRunning &&
      !client.left &&
      tried.size < maxAttempts &&
      spentMs < failoverBudgetMs
    const moved = mayTryAnother && (await moveOnToAnother())
    if (!moved) throw errorFor(gateway, call, serving, fault)
  }
}

/** One attempt at the call's account, noted in its story. */
async function askOnce(gateway: Gateway, running: AdmittedCall, client: ClientAnswer): Promise<AttemptResult> {
  const { call, serving } = running
  const { firstEventTimeoutMs, answerTimeoutMs } = gateway.config.gateway
  const startedMs = gateway.clock()
  const startedAt = performance.now()
  const result = await attempt(gateway, call, serving, 'messages', {
    deadlineMs: call.facts.stream ? startedMs + firstEventTimeoutMs : call.arrivedMs + answerTimeoutMs,
    mustStream: () => client.state === 'head sent',
    onStart(stop) {
      running.onStop(stop)
      client.onLeave(() => running.clientLeft())
    },
  })
  if (call.timing) call.timing.elsewhereMs += performance.now() - startedAt
  running.noteAttempt(startedMs, result)
  return result
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { newCallId } from '../lib/id.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { admit, moveOn } from './admit.ts'
import type { AdmittedCall } from './admitted-call.ts'
import { type AttemptResult, attempt, type GoodAnswer } from './attempt.ts'
import { nobodyCan } from './choose.ts'
import { ClientAnswer } from './client-answer.ts'
import { answerDueMs } from './deadlines.ts'
import type { ServingAccount } from './directory.ts'
import { clientLeft, countRefusal, endedBy, endOfFailure, endOfRelay, errorFor } from './ends.ts'
import { Failover } from './failover.ts'
import type { Gateway } from './gateway.ts'
import { readCall, type Wanted } from './read-call.ts'
import { Relay } from './relay.ts'
import { clearRest, leaveToAsk, restIfToBlame, underRules } from './rests.ts'
import { leaveThoughtsOut, type Wire, wireTo } from './wire.ts'

/**
 * One client request, from first byte to charge.
 *
 *   read     who calls (key, user, group), then the body, within its limits
 *   admit    slots, an account and the right to spend, in one step; or a wait in line; or a refusal
 *   ask      the account, and on a fault that is not the request's own another one, while nothing of an upstream has been
 *            relayed: the only place that tries again (`attempt` itself repeats once on a connection that had gone stale)
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
  wanted: Wanted,
): Promise<void> {
  const arrivedMs = gateway.clock()
  const callId = newCallId(arrivedMs)
  const client = new ClientAnswer(gateway, protocol, res, { callId, arrivedMs })
  let running: AdmittedCall | null = null
  try {
    using call = await readCall(gateway, protocol, req, { callId, arrivedMs, wanted })
    client.streams = call.facts.stream
    running = await admit(gateway, call, client)
    const answer = await ask(gateway, running, client)
    call.releaseBody()
    using relay = new Relay(gateway, call, answer, client, running.onProgress)
    running.onStop((reason) => relay.stop(reason))
    const relayed = await relay.run()
    if (relayed.fault) {
      const { serving } = answer
      restIfToBlame(gateway, serving, underRules(serving.account, relayed.fault), running.upstreamModel)
    }
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
 * Asks accounts until one answers well: others without a pause, and after them the same one again if it may have been an
 * accident. Throws what the client is to hear when none does: the upstream's own refusal of the request, or what is known
 * of why nobody could answer.
 */
export async function ask(gateway: Gateway, running: AdmittedCall, client: ClientAnswer): Promise<GoodAnswer> {
  const failover = new Failover(gateway, running.call)
  for (;;) {
    if (client.left) throw clientLeft()
    if (running.stopReason) throw endedBy(running.stopReason)
    const { call, serving, upstreamModel } = running
    const startedMs = gateway.clock()
    const wire = wireTo(gateway, call, serving, upstreamModel)
    const leave = 'unfit' in wire ? null : leaveToAsk(gateway, serving, upstreamModel)
    if ('unfit' in wire) {
      running.noteUnfit(wire.unfit)
    } else if (leave) {
      const result = await askOnce(gateway, running, wire, client)
      if ('answer' in result) {
        clearRest(gateway, serving, upstreamModel, leave)
        return result.answer
      }
      const fault = underRules(serving.account, result.fault)
      restIfToBlame(gateway, serving, fault, upstreamModel, leave)
      if (fault.strangeThoughts && leaveThoughtsOut(call)) continue
      const told = failover.noteFailure({ serving, fault }, gateway.clock() - startedMs)
      if (client.left || !failover.mayGoOn) throw errorFor(gateway, call, told)
    } else {
      failover.noteResting(serving) // since this call was given it
    }
    const isUntried = (other: ServingAccount) => !failover.hasTried(other)
    const moved = await moveOn(gateway, running, client, isUntried)
    if (moved === 'moved') continue
    const pauseMs = leave && moved === 'no_other' ? failover.pauseBeforeRepeat() : null
    if (pauseMs !== null) await running.pause(pauseMs)
    else if (failover.told) throw errorFor(gateway, call, failover.told)
    else throw moved === 'no_other' ? nobodyCan(gateway, call) : moved
  }
}

/** One attempt at the call's account, noted in its story. */
async function askOnce(
  gateway: Gateway,
  running: AdmittedCall,
  wire: Wire,
  client: ClientAnswer,
): Promise<AttemptResult> {
  const { call, serving } = running
  const startedMs = gateway.clock()
  const startedAt = performance.now()
  const result = await attempt(gateway, call, serving, wire, {
    deadlineMs: answerDueMs(gateway, serving, call),
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

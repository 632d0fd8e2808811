import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../domain/errors.ts'
import { newCallId } from '../lib/id.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { requireAllowedModel, requireNothingStored, requireQuota, requireRate } from './allowance.ts'
import { answerHead } from './answer-headers.ts'
import { attempt, type StopReason } from './attempt.ts'
import type { Call } from './call.ts'
import { requireCandidates } from './choose.ts'
import { ClientAnswer } from './client-answer.ts'
import { deadlineMs } from './deadlines.ts'
import { clientLeft, countRefusal, errorFor, shuttingDown } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { readCall, type Wanted } from './read-call.ts'
import { underRules } from './rests.ts'
import { upstreamModelFor } from './upstream-model.ts'
import { wireTo } from './wire.ts'

/**
 * Counting tokens is free and comes in bursts (Claude Code's `/context` asks 25 times at once): it takes no slot, leaves
 * no usage row and rests no account. Its own limit per key is generous.
 */
export async function countTokens(
  gateway: Gateway,
  protocol: Protocol,
  req: IncomingMessage,
  res: ServerResponse,
  wanted: Wanted,
): Promise<void> {
  const arrivedMs = gateway.clock()
  const callId = newCallId(arrivedMs)
  const client = new ClientAnswer(gateway, protocol, res, { callId, arrivedMs })
  try {
    using call = await readCall(gateway, protocol, req, { callId, arrivedMs, wanted })
    gateway.counters.add('count_tokens')
    if (gateway.running.draining) throw shuttingDown()
    await requireRate(gateway, call.caller, 'count tokens', gateway.config.gateway.countTokensPerMinute)
    await requireQuota(gateway, call.caller)
    requireAllowedModel(call)
    requireNothingStored(gateway, call)
    await answer(gateway, call, client)
  } catch (error) {
    countRefusal(gateway, error, client)
    client.sendError(error)
  }
}

/** One account after the other, until one answers. */
async function answer(gateway: Gateway, call: Call, client: ClientAnswer): Promise<void> {
  const candidates = requireCandidates(gateway, call)
    .candidates.slice(0, gateway.config.gateway.maxAttempts)
    .map((serving) => ({ serving, upstreamModel: upstreamModelFor(serving, call) }))
  let stop: (reason: StopReason) => void = () => {}
  const onStart = (how: typeof stop) => {
    stop = how
  }
  const running = { stop: () => stop('stopped') }
  gateway.running.addWaiting(running)
  client.onLeave(() => stop('client_left'))
  try {
    for (const [index, asked] of candidates.entries()) {
      if (client.left) throw clientLeft()
      const { serving, upstreamModel } = asked
      const wire = wireTo(gateway, call, serving, upstreamModel)
      if ('unfit' in wire) throw wire.unfit
      const result = await attempt(gateway, call, serving, wire, {
        deadlineMs: call.arrivedMs + deadlineMs(gateway, serving, 'firstEventMs'),
        mustStream: () => false,
        onStart,
      })
      if ('answer' in result) {
        const { reader, exchange, whole } = result.answer
        exchange.cancel('over')
        if (!whole) throw new GatewayError('overloaded', 'the upstream answered with something else than a count')
        client.end(Buffer.concat([...reader.ready, ...reader.held]), answerHead(gateway, call, result.answer))
        return
      }
      const fault = underRules(asked.serving.account, result.fault)
      const isLast = index === candidates.length - 1
      if (isLast || fault.blame === 'request' || fault.blame === 'client')
        throw errorFor(gateway, call, { serving: asked.serving, fault })
    }
  } finally {
    gateway.running.deleteWaiting(running)
  }
}

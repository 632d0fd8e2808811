import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../domain/errors.ts'
import { newCallId } from '../lib/id.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { whereItLies } from './account-objects.ts'
import { requireAllowedModel, requireQuota, requireRate } from './allowance.ts'
import { answerHead } from './answer-headers.ts'
import { askFreely } from './ask-freely.ts'
import type { Call } from './call.ts'
import { requireCandidates } from './choose.ts'
import { ClientAnswer } from './client-answer.ts'
import { deadlineMs } from './deadlines.ts'
import type { ServingAccount } from './directory.ts'
import { countRefusal, shuttingDown } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { readCall, type Wanted } from './read-call.ts'
import { Stoppable } from './stoppable.ts'

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
    call.heldAt = await whereItLies(gateway, call, call.facts.named)
    await answer(gateway, call, client)
  } catch (error) {
    countRefusal(gateway, error, client)
    client.sendError(error)
  }
}

async function answer(gateway: Gateway, call: Call, client: ClientAnswer): Promise<void> {
  const { candidates: accounts } = requireCandidates(gateway, call)
  const dueMs = (serving: ServingAccount) => call.arrivedMs + deadlineMs(gateway, serving, 'firstEventMs')
  using stoppable = new Stoppable(gateway, client)
  const answer = await askFreely(gateway, call, stoppable, { accounts, dueMs })
  const { reader, exchange, whole } = answer
  exchange.cancel('over')
  if (!whole) throw new GatewayError('overloaded', 'the upstream answered with something else than a count')
  client.end(Buffer.concat([...reader.ready, ...reader.held]), answerHead(gateway, call, answer))
}

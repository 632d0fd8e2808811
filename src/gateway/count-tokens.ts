import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../domain/errors.ts'
import { newCallId } from '../lib/id.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { requireAllowedModel, requireCandidates } from './admit.ts'
import { answerHead } from './answer-headers.ts'
import { attempt, type StopReason } from './attempt.ts'
import type { Call } from './call.ts'
import { ClientAnswer } from './client-answer.ts'
import { errorFor } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { readCall } from './read-call.ts'

/**
 * Counting tokens is free and comes in bursts (Claude Code's `/context` asks 25 times at once): it takes no slot, leaves
 * no usage row and rests no account. Its own limit per key is generous.
 */
export async function countTokens(
  gateway: Gateway,
  protocol: Protocol,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const arrivedMs = gateway.clock()
  const callId = newCallId(arrivedMs)
  const client = new ClientAnswer({ res, protocol, callId, log: gateway.log, nowMs: arrivedMs })
  let call: Call | null = null
  try {
    call = await readCall(gateway, protocol, req, { callId, arrivedMs })
    gateway.counters.add('count_tokens')
    await requireRoom(gateway, call)
    requireAllowedModel(gateway, call)
    await answer(gateway, call, client)
  } catch (error) {
    client.sendError(error)
  } finally {
    call?.releaseBody()
  }
}

async function answer(gateway: Gateway, call: Call, client: ClientAnswer): Promise<void> {
  const candidates = requireCandidates(gateway, call).slice(0, gateway.config.gateway.maxAttempts)
  const deadlineMs = call.arrivedMs + gateway.config.gateway.firstEventTimeoutMs
  for (const [index, serving] of candidates.entries()) {
    const onStart = (stop: (reason: StopReason) => void) => client.onLeave(() => stop('client_left'))
    const result = await attempt(gateway, call, serving, 'count_tokens', { deadlineMs, onStart })
    if ('answer' in result) {
      const { reader } = result.answer
      return client.end(Buffer.concat([...reader.ready, ...reader.held]), answerHead(gateway, call, result.answer))
    }
    const { blame } = result.fault
    const isLast = index === candidates.length - 1
    if (isLast || client.left || blame === 'request' || blame === 'client')
      throw errorFor(gateway, serving, result.fault)
  }
}

async function requireRoom(gateway: Gateway, call: Call): Promise<void> {
  const limit = gateway.config.gateway.countTokensPerMinute
  if (await gateway.live.countPerMinute(`count_tokens ${call.caller.key.id}`, limit)) return
  throw new GatewayError('limited', `this API key may count tokens ${limit} times a minute`, { retryAfterMs: 5000 })
}

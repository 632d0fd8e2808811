import type { Outcome } from '../domain/call.ts'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import type { UpstreamFault } from '../domain/fault.ts'
import type { AdmittedCall } from './admitted-call.ts'
import { passedHeaders } from './answer-headers.ts'
import type { GoodAnswer } from './attempt.ts'
import type { ClientAnswer } from './client-answer.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { type CallEnd, noAnswer } from './record.ts'
import type { Relayed } from './relay.ts'
import { UpstreamRefusal } from './upstream-refusal.ts'

/** How a relayed answer ended, as its usage row says it. */
export function endOfRelay(relayed: Relayed, { head }: GoodAnswer, serving: ServingAccount): CallEnd {
  const { reading } = relayed.reader
  const requestId = head.headers[serving.provider.requestIdHeader]
  return {
    outcome: relayed.outcome,
    error: relayed.outcome === 'complete' ? null : relayed.outcome,
    usage: reading.usage,
    estimated: relayed.estimated,
    reportedModel: reading.reportedModel,
    stopReason: reading.stopReason,
    firstTokenMs: relayed.firstTokenMs,
    status: head.status,
    upstreamRequestId: typeof requestId === 'string' ? requestId : null,
  }
}

/** How a call ended that no upstream answered. */
export function endOfFailure(error: unknown, client: ClientAnswer, running: AdmittedCall): CallEnd {
  const status = client.statusWith(error)
  if (client.left) return noAnswer('client_left', 'client_left', status)
  if (running.stopReason === 'stopped') return noAnswer('stopped', 'stopped', status)
  if (error instanceof UpstreamRefusal) return noAnswer('rejected', `http_${error.status}`, status)
  const code = isGatewayError(error) ? error.code : 'internal'
  const outcome: Outcome = code === 'timed_out' ? 'timed_out' : 'failed'
  return noAnswer(outcome, code, status)
}

/**
 * What a client hears when its call cannot be answered. The request's own fault goes on verbatim. A credential's never
 * does (a client would log its user out): the client learns whether waiting helps, and for how long.
 */
export function errorFor(
  gateway: Gateway,
  { account }: ServingAccount,
  fault: UpstreamFault,
): GatewayError | UpstreamRefusal {
  switch (fault.blame) {
    case 'request':
      if (fault.upstreamBody === null || fault.upstreamStatus === null || fault.upstreamStatus < 400) {
        return new GatewayError('invalid_request', fault.message)
      }
      return new UpstreamRefusal({
        status: fault.upstreamStatus,
        headers: passedHeaders(gateway, fault.upstreamHeaders),
        body: Buffer.from(fault.upstreamBody),
        message: fault.message,
      })
    case 'client':
      return new GatewayError('unavailable', fault.message, { retryAfterMs: 1000 })
    default: {
      if (fault.mayBeRunning) return new GatewayError('timed_out', fault.message, { shouldRetry: false })
      const waitMs = Math.max(1000, (account.rest?.untilMs ?? 0) - gateway.clock())
      if (fault.rest === 'rate_limit') {
        return new GatewayError('limited', 'every upstream account that could answer is at its own rate limit', {
          retryAfterMs: waitMs,
        })
      }
      if (fault.blame === 'account') {
        return new GatewayError(
          'overloaded',
          'the upstream refuses every account that could answer: the operator of this gateway has to look',
          {
            shouldRetry: false,
          },
        )
      }
      return new GatewayError('overloaded', `no upstream account could answer (${fault.reason})`, {
        retryAfterMs: waitMs,
      })
    }
  }
}

import type { Outcome } from '../domain/call.ts'
import { codeOfStatus, type ErrorRule, GatewayError, isGatewayError, saysOneOf } from '../domain/errors.ts'
import { isForbidden, type UpstreamFault } from '../domain/fault.ts'
import type { AdmittedCall } from './admitted-call.ts'
import { passedHeaders } from './answer-headers.ts'
import type { GoodAnswer, StopReason } from './attempt.ts'
import type { Call } from './call.ts'
import { candidatesFor, nobodyCan } from './choose.ts'
import type { ClientAnswer } from './client-answer.ts'
import type { ServingAccount } from './directory.ts'
import type { Failure } from './failover.ts'
import type { Gateway } from './gateway.ts'
import { type CallEnd, noAnswer } from './record.ts'
import type { Relayed } from './relay.ts'
import { UpstreamRefusal } from './upstream-refusal.ts'

/** How a relayed answer ended, as its usage row says it. */
export function endOfRelay(relayed: Relayed, { head, serving }: GoodAnswer, client: ClientAnswer): CallEnd {
  const { reading } = relayed.reader
  const requestId = head.headers[serving.provider.requestIdHeader]
  return {
    outcome: relayed.outcome,
    error: relayed.outcome === 'complete' ? null : (relayed.endedBy ?? relayed.outcome),
    usage: reading.usage,
    unmetered: reading.unmetered,
    estimated: relayed.estimated,
    reportedModel: reading.reportedModel,
    stopReason: reading.stopReason,
    firstTokenMs: relayed.firstTokenMs,
    status: relayed.error ? client.statusWith(relayed.error) : client.status || (client.left ? 0 : head.status),
    upstreamRequestId: typeof requestId === 'string' ? requestId : null,
    storedAs: reading.storedAs,
  }
}

/** How a call ended that no upstream answered, or whose answer could not be relayed any more. */
export function endOfFailure(error: unknown, client: ClientAnswer, running: AdmittedCall): CallEnd {
  const status = client.statusWith(error)
  if (client.left) return { ...noAnswer('client_left', 'client_left', status), ...reportedUsage(running) }
  const { stopReason } = running
  if (stopReason === 'stopped' || stopReason === 'released') {
    return { ...noAnswer('stopped', stopReason, status), ...reportedUsage(running) }
  }
  if (error instanceof UpstreamRefusal) return noAnswer('rejected', `http_${error.status}`, status)
  const code = isGatewayError(error) ? error.code : 'internal'
  const outcome: Outcome = code === 'timed_out' ? 'timed_out' : 'failed'
  return noAnswer(outcome, code, status)
}

/** What is charged of an answer that was stopped before anything of it went out: what the upstream had reported by then. */
function reportedUsage({ call, reported, stopReason }: AdmittedCall): Pick<CallEnd, 'usage' | 'estimated'> | null {
  if (!reported) return null
  const isAsDelivered = stopReason === 'client_left' && call.whenClientLeaves === 'delivered'
  const outputTokens = isAsDelivered ? 0 : reported.outputTokens
  return { usage: { ...reported, outputTokens }, estimated: outputTokens !== reported.outputTokens }
}

/** Counts a request that came to nothing and leaves no usage row, by the word for what it was told. */
export function countRefusal(gateway: Gateway, error: unknown, client: ClientAnswer): void {
  if (client.left) gateway.counters.refused('client_left')
  else if (error instanceof UpstreamRefusal) gateway.counters.refused('by_upstream')
  else gateway.counters.refused(isGatewayError(error) ? error.code : 'internal')
}

/** To whoever is told that the daemon stops. */
export function shuttingDown(): GatewayError {
  return new GatewayError('unavailable', 'the gateway is shutting down', { retryAfterMs: 2000 })
}

/** To whoever's call was ended from outside. */
export function endedBy(reason: StopReason): GatewayError {
  if (reason === 'stopped') return shuttingDown()
  if (reason === 'client_left') return clientLeft()
  return new GatewayError('unavailable', 'the operator of this gateway has ended this call', { shouldRetry: false })
}

/** To whoever is told that the store does not take or tell what a call needs. What it said itself is for the operator. */
export function booksClosed(): GatewayError {
  return new GatewayError('unavailable', 'the gateway cannot keep its books at the moment; try again shortly', {
    retryAfterMs: 2000,
  })
}

/** To nobody: why a call is not carried on. */
export function clientLeft(): GatewayError {
  return new GatewayError('unavailable', 'the client closed its connection')
}

/** What a client hears when its call cannot be answered: what the operator's rules say, else what is the case. */
export function errorFor(gateway: Gateway, call: Call, { serving, fault }: Failure): GatewayError | UpstreamRefusal {
  const error = plainErrorFor(gateway, call, fault)
  const rule = fault.blame === 'client' ? undefined : ruleFor(gateway.config.errorRules, serving, fault)
  return rule ? rewritten(error, rule) : error
}

function ruleFor(rules: readonly ErrorRule[], serving: ServingAccount, fault: UpstreamFault): ErrorRule | undefined {
  if (rules.length === 0) return undefined
  const text = fault.upstreamBody === null ? fault.message : Buffer.from(fault.upstreamBody).toString('utf8')
  return rules.find(
    ({ provider, statuses, keywords }) =>
      (provider === null || provider === serving.provider.name) &&
      (statuses.length === 0 || statuses.includes(fault.upstreamStatus ?? 0)) &&
      saysOneOf(text, keywords),
  )
}

/** The error in the operator's words; what clients obey beside them stays. An upstream's words without ours stay as well. */
function rewritten(error: GatewayError | UpstreamRefusal, { answer }: ErrorRule): GatewayError | UpstreamRefusal {
  const { message } = answer
  if (error instanceof UpstreamRefusal) {
    const status = answer.status ?? error.status
    if (message === null) return new UpstreamRefusal({ ...error, status, message: error.message })
    return new GatewayError(codeOfStatus(status), message, { status })
  }
  const { status } = answer
  const code = status === null ? error.code : codeOfStatus(status)
  return new GatewayError(code, message ?? error.message, { ...error.facts, ...(status !== null && { status }) })
}

/**
 * The request's own fault goes on verbatim. A credential's never does (a client would log its user out): the client learns
 * whether waiting helps, and for how long.
 */
function plainErrorFor(gateway: Gateway, call: Call, fault: UpstreamFault): GatewayError | UpstreamRefusal {
  if (fault.blame === 'request') return refusalOf(gateway, fault)
  if (fault.reason === 'released') return endedBy('released')
  if (fault.blame === 'client') return new GatewayError('unavailable', fault.message, { retryAfterMs: 1000 })
  if (fault.mayBeRunning) return new GatewayError('timed_out', fault.message, { shouldRetry: false })
  if (isForbidden(fault)) {
    const message = `no upstream account may do this (${fault.reason}): the operator has to look`
    return new GatewayError('overloaded', message, { shouldRetry: false })
  }
  const candidates = candidatesFor(gateway, call)
  if (candidates.length === 0) return nobodyCan(gateway, call)
  // A soft rest excludes nobody: whoever asks again soon finds an upstream that is back soon.
  const backMs = Math.min(...candidates.map(({ account }) => account.rest?.untilMs ?? 0))
  const restMs = Math.min(backMs - gateway.clock(), SOFT_RETRY_MAX_MS)
  // What was said of an account that rests now holds for that one, and others are there.
  const toldMs = fault.blame === 'upstream' ? Math.min(fault.retryAfterMs ?? 0, TOLD_RETRY_MAX_MS) : 0
  return new GatewayError('overloaded', `no upstream account could answer (${fault.reason}): ${whatHappened(fault)}`, {
    retryAfterMs: Math.max(1000, toldMs, restMs),
  })
}

/** Faults that no vendor has put into words, by their reason. */
const WHAT_HAPPENED: Record<string, string> = {
  connect_failed: 'it could not be reached',
  connection_reset: 'it closed the connection',
  stale_connection: 'it closed the connection',
  timed_out: 'it did not answer in time',
  invalid_answer: 'it sent no answer that can be used',
}

/** The last upstream's fault for a client, without its own words: they may be about the account. */
function whatHappened({ reason, upstreamStatus }: UpstreamFault): string {
  const known = WHAT_HAPPENED[reason]
  if (known) return known
  return upstreamStatus !== null && upstreamStatus >= 400 ? `it answered ${upstreamStatus}` : 'it failed'
}

/** An outage is to end for clients within seconds of its end, and not when the rest does that it has earned. */
const SOFT_RETRY_MAX_MS = 5000
/** An overloaded upstream's own word is passed on up to this: clients give up at once when told of an hour. */
const TOLD_RETRY_MAX_MS = 60_000

function refusalOf(gateway: Gateway, fault: UpstreamFault): GatewayError | UpstreamRefusal {
  if (fault.upstreamBody === null || fault.upstreamStatus === null || fault.upstreamStatus < 400) {
    return new GatewayError('invalid_request', fault.message)
  }
  return new UpstreamRefusal({
    status: fault.upstreamStatus,
    headers: passedHeaders(gateway, fault.upstreamHeaders),
    body: Buffer.from(fault.upstreamBody),
    message: fault.message,
  })
}

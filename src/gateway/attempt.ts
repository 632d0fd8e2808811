import type { Credentials } from '../domain/account.ts'
import type { UpstreamFault } from '../domain/fault.ts'
import { hasUsage, type Usage } from '../domain/usage.ts'
import { EVENT_BYTES_MAX, EventTooLarge } from '../protocols/sse.ts'
import type { ResponseHead, UpstreamRequest } from '../providers/provider.ts'
import { collectBody, isFailure, type UpstreamExchange, type UpstreamFailure } from '../upstream/client.ts'
import { AnswerReader } from './answer-reader.ts'
import type { Call } from './call.ts'
import { beginsSoon } from './deadlines.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import type { EndReason } from './running-calls.ts'
import type { Wire } from './wire.ts'

/** Of an error body, to be classified and perhaps relayed. */
const ERROR_BYTES_MAX = 1024 * 1024
/** So long its rest is waited for: the head has said already whose fault it is, and another account may be free. */
const ERROR_BODY_MS = 5000
/** A JSON answer is held whole up to this, so that a cut can still become an error or a failover; a larger one is relayed as it comes. */
const HELD_ANSWER_BYTES_MAX = 1024 * 1024

/** An upstream answer that is good as far as can be seen; what has been read of it waits in its reader. */
export interface GoodAnswer {
  /** Whose answer it is. */
  serving: ServingAccount
  exchange: UpstreamExchange
  head: ResponseHead
  reader: AnswerReader
  /** The body has ended already. */
  whole: boolean
  /** The client gets it as a stream of events. */
  clientStreams: boolean
  /** Names of what of the request its upstream did not get, as it has no place for it. */
  dropped: readonly string[]
}

/** A fault comes with what its upstream reported to have used before it failed, if anything. */
export type AttemptResult = { answer: GoodAnswer } | { fault: UpstreamFault; used: Usage | null }

/** Why an attempt or a relay was stopped from outside. */
export type StopReason = 'client_left' | EndReason

export interface AttemptLimits {
  /** Unix ms by which a stream's head and first content must be there, or a whole JSON answer. */
  deadlineMs: number
  /** The client has got the head of a stream already, so that nothing else will do. */
  mustStream(): boolean
  /** Is given the way to stop the attempt. */
  onStart(stop: (reason: StopReason) => void): void
}

/**
 * One try of a call at one account. Returns a good answer or a fault; throws only bugs. A connection that the upstream closed just as we wrote
 * to it is nobody's fault: the same account is asked once more.
 */
export async function attempt(
  gateway: Gateway,
  call: Call,
  serving: ServingAccount,
  wire: Wire,
  limits: AttemptLimits,
): Promise<AttemptResult> {
  const credentials = openCredentials(serving)
  if ('fault' in credentials) return credentials
  const { provider, account } = serving
  const request = provider.request(call.operation, wire.forwarded, account, credentials, wire.body)
  const once = () => new Try(gateway, call, serving, wire, limits).run(request)
  const first = await once()
  const result = 'stale' in first ? await once() : first
  if (!('stale' in result)) return result
  // Twice in a row is nobody's fault either, but now another account is the better choice.
  return { fault: { ...upstreamFault('stale_connection', result.stale.message), rest: null }, used: null }
}

/** What one request came to. stale: it went out on a connection that the upstream had just closed. */
type TryResult = AttemptResult | { stale: UpstreamFailure }

function openCredentials({ account, credentials }: ServingAccount): Credentials | { fault: UpstreamFault; used: null } {
  try {
    return credentials()
  } catch {
    return {
      used: null,
      fault: {
        ...upstreamFault(
          'credentials_unreadable',
          `the credentials of account '${account.name}' cannot be opened with this master key`,
        ),
        blame: 'account',
        rest: 'credential',
      },
    }
  }
}

class Try {
  readonly #gateway: Gateway
  readonly #call: Call
  readonly #serving: ServingAccount
  readonly #wire: Wire
  readonly #limits: AttemptLimits
  /** What the client is told that its upstream did not get. */
  #dropped: readonly string[] = []
  /** Something came that no dead host sends: an error, or the first bytes of an answer. */
  #heard = false
  /** Why it was cut short, if it was. */
  #stopped: StopReason | 'timed_out' | null = null
  /** Unix ms when what has come must do: a stream's preamble goes out without content, an error is judged by its head. */
  #waitUntilMs = Number.POSITIVE_INFINITY
  #waitNoLonger: () => void = () => {}

  constructor(gateway: Gateway, call: Call, serving: ServingAccount, wire: Wire, limits: AttemptLimits) {
    this.#gateway = gateway
    this.#call = call
    this.#serving = serving
    this.#wire = wire
    this.#limits = limits
  }

  async run(request: UpstreamRequest): Promise<TryResult> {
    this.#dropped = request.dropped ? [...this.#wire.dropped, ...request.dropped] : this.#wire.dropped
    const exchange = this.#gateway.upstream.send(request, this.#serving.account.deadlines.connectMs)
    const stop = (reason: StopReason | 'timed_out') => {
      this.#stopped ??= reason
      exchange.cancel(reason)
    }
    const unwatch = this.#gateway.ticker.watch((now) => {
      if (now >= this.#limits.deadlineMs) stop('timed_out')
      else if (now >= this.#waitUntilMs) this.#waitNoLonger()
    })
    let isGood = false
    try {
      this.#limits.onStart(stop)
      const result = await this.#read(exchange)
      isGood = 'answer' in result
      return result
    } finally {
      unwatch()
      if (!isGood) exchange.cancel('not good')
    }
  }

  async #read(exchange: UpstreamExchange): Promise<TryResult> {
    const head = await exchange.head
    if (isFailure(head)) {
      const isStale = head.kind === 'reset' && head.reused && this.#stopped === null
      return isStale ? { stale: head } : { fault: this.#faultOf(head), used: null }
    }
    this.#gateway.windows.saw(this.#serving, head)
    if (head.status < 200 || head.status >= 300) {
      this.#hostIsThere()
      return { fault: await this.#readError(exchange, head), used: null }
    }
    const streams = String(head.headers['content-type'] ?? '').includes('text/event-stream')
    const { provider, account } = this.#serving
    const unwrap = provider.unwrap?.(account, streams) ?? null
    const reader = new AnswerReader(this.#wire.protocol, streams, this.#wire.editFor(streams), unwrap)
    const answer = {
      ...{ serving: this.#serving, exchange, head, reader, whole: false },
      ...{ clientStreams: this.#wire.clientStreams(streams), dropped: this.#dropped },
    }
    const failure = await this.#readUntilGood(answer)
    if (failure) return { fault: this.#faultOf(failure), used: usedBy(answer) }
    return this.#judge(answer)
  }

  #hostIsThere(): void {
    if (!this.#heard) this.#gateway.breakers.answered(this.#serving.host)
    this.#heard = true
  }

  /** Whose fault an error is, by its head and as much of its body as comes in time. */
  async #readError(exchange: UpstreamExchange, head: ResponseHead): Promise<UpstreamFault> {
    this.#waitUntilMs = this.#gateway.clock() + ERROR_BODY_MS
    this.#waitNoLonger = () => exchange.cancel('the rest of an error did not come in time')
    const { body, failure } = await collectBody(exchange, ERROR_BYTES_MAX)
    const isGivenUp = failure && this.#stopped !== null && this.#stopped !== 'timed_out'
    if (isGivenUp) return this.#faultOf(failure)
    const fault = this.#serving.provider.readFault(head, body, this.#gateway.clock())
    return fault.blame === 'request' ? this.#toldToClient(fault, head.status, body) : fault
  }

  /** A refusal of the request in the words of the client's own format. */
  #toldToClient(fault: UpstreamFault, status: number, body: Buffer): UpstreamFault {
    const refusal = this.#wire.refusal(status, body)
    if (!refusal) return fault
    const upstreamHeaders = { 'content-type': 'application/json', ...refusal.headers }
    return { ...fault, upstreamStatus: refusal.status, upstreamHeaders, upstreamBody: refusal.body }
  }

  /** Reads on until it is clear enough that the answer is good: a stream's first content, or a JSON body's end. */
  #readUntilGood(answer: GoodAnswer): Promise<UpstreamFailure | null> {
    const { exchange, reader } = answer
    const isGathered = reader.streams && !answer.clientStreams // a body is made of it, and nothing goes out before its end
    const { promise, resolve } = Promise.withResolvers<UpstreamFailure | null>()
    const hostIsThere = () => this.#hostIsThere()
    const done = (failure: UpstreamFailure | null) => {
      exchange.detach()
      resolve(failure)
    }
    if (reader.streams && !isGathered) {
      this.#waitUntilMs = this.#gateway.clock() + this.#gateway.config.gateway.preambleHoldMs
      this.#waitNoLonger = () => {
        if (reader.bytes > 0) done(null)
      }
    }
    exchange.attach({
      data(chunk) {
        hostIsThere()
        try {
          reader.push(chunk)
          if (isGathered && reader.bytes > EVENT_BYTES_MAX) throw new EventTooLarge()
        } catch (error) {
          if (!(error instanceof EventTooLarge)) throw error
          const message = 'the upstream sent an event, or an answer, that is too large'
          done({ kind: 'invalid', message, reused: exchange.reused })
          return
        }
        const { contentSeen, ended } = reader.reading
        if (isGathered ? ended : reader.streams ? contentSeen || ended : reader.bytes > HELD_ANSWER_BYTES_MAX)
          done(null)
      },
      end() {
        answer.whole = true
        reader.end()
        done(null)
      },
      fail: done,
    })
    return promise
  }

  /** A 200 may still be an error, or no answer at all, or none that can be used. */
  #judge(answer: GoodAnswer): AttemptResult {
    const { provider } = this.#serving
    const { head, reader, whole } = answer
    const { ended, error } = reader.reading
    const used = usedBy(answer)
    if (ended === 'error' && error) return { fault: provider.readStreamFault(error), used }
    if (whole && ended === null) {
      const body = Buffer.concat([...reader.ready, ...reader.held])
      return { fault: provider.readFault(head, body, this.#gateway.clock()), used }
    }
    // What cannot be said in the client's format is an error of the upstream, and a body has no place for one.
    const isUnsaid = reader.bytes > 0 && !reader.held.some(({ length }) => length > 0)
    if (!answer.clientStreams && ended === 'complete' && isUnsaid) {
      return { fault: { ...upstreamFault('invalid_answer', 'the upstream’s answer makes no sense'), rest: null }, used }
    }
    if (!answer.clientStreams && this.#limits.mustStream()) {
      return { fault: upstreamFault('invalid_answer', 'the upstream answered with one body instead of a stream'), used }
    }
    return { answer }
  }

  /** A broken exchange as a fault: ours to time, the client's to leave, else the upstream's. */
  #faultOf(failure: UpstreamFailure): UpstreamFault {
    switch (this.#stopped) {
      case 'client_left':
        return { ...upstreamFault('client_left', 'the client closed its connection'), blame: 'client', rest: null }
      case 'stopped':
        return { ...upstreamFault('stopped', 'the gateway is shutting down'), blame: 'client', rest: null }
      case 'released':
        return { ...upstreamFault('released', "the gateway's operator ended the call"), blame: 'client', rest: null }
      case 'timed_out': {
        const stream = beginsSoon(this.#call.facts)
        const message = stream ? 'the upstream did not begin to answer in time' : 'the upstream did not answer in time'
        // A non-stream call may be generating still: nobody else is asked to do it again.
        const scope = stream && !this.#heard ? 'host' : 'account'
        return { ...upstreamFault('timed_out', message), mayBeRunning: !stream, scope }
      }
      default: {
        const fault = upstreamFault(REASONS[failure.kind], failure.message)
        // By our own rules for addresses: whoever asks again is refused again.
        if (failure.kind === 'refused') return { ...fault, blame: 'account', rest: null }
        const isUnreachable = !this.#heard && (failure.kind === 'connect' || failure.kind === 'reset')
        return isUnreachable ? { ...fault, scope: 'host' } : fault
      }
    }
  }
}

const REASONS: Record<UpstreamFailure['kind'], string> = {
  refused: 'address_refused',
  connect: 'connect_failed',
  reset: 'connection_reset',
  invalid: 'invalid_answer',
  cancelled: 'cancelled',
}

function usedBy({ reader }: GoodAnswer): Usage | null {
  return hasUsage(reader.reading.usage) ? reader.reading.usage : null
}

/** A fault of an upstream that it has not put into words itself. */
export function upstreamFault(reason: string, message: string): UpstreamFault {
  return {
    blame: 'upstream',
    reason,
    message,
    rest: 'overload',
    scope: 'account',
    restUntilMs: null,
    retryAfterMs: null,
    disables: false,
    mayBeRunning: false,
    upstreamStatus: null,
    upstreamHeaders: {},
    upstreamBody: null,
  }
}

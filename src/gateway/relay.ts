import type { Outcome } from '../domain/call.ts'
import type { Deadlines } from '../domain/deadline.ts'
import { GatewayError } from '../domain/errors.ts'
import type { UpstreamFault } from '../domain/fault.ts'
import type { MeterReading } from '../protocols/protocol.ts'
import { EventTooLarge } from '../protocols/sse.ts'
import type { AnswerSink, UpstreamFailure } from '../upstream/client.ts'
import { answerHead } from './answer-headers.ts'
import { type AnswerReader, outputSoFar } from './answer-reader.ts'
import { type GoodAnswer, type StopReason, upstreamFault } from './attempt.ts'
import type { Call } from './call.ts'
import type { AnswerHead, ClientAnswer } from './client-answer.ts'
import { deadlineMs } from './deadlines.ts'
import { endedBy } from './ends.ts'
import type { Gateway } from './gateway.ts'
import type { EndReason } from './running-calls.ts'

/** How long an upstream may keep its connection open after its terminal event before it is cut off. */
const TRAILING_MS = 1000
/**
 * What an upstream may send behind its terminal event, in bytes; vendors send nothing, or a line. It all waits with the
 * terminal event, without backpressure, for as long as the record takes.
 */
const TRAILING_BYTES_MAX = 64 * 1024

/** What came of an answer. Its last bytes are still held, until the call is recorded. */
export interface Relayed {
  outcome: Outcome
  reader: AnswerReader
  /** What to tell the client after all; null if the answer's own end says it. */
  error: GatewayError | null
  /** What the upstream is to blame for; null for nothing. */
  fault: UpstreamFault | null
  /** Why it was ended from outside, if it was. */
  endedBy: EndReason | null
  /** Output was counted from text. */
  estimated: boolean
  firstTokenMs: number | null
}

/** An end that is not the upstream's own. */
interface EarlyEnd {
  outcome: 'upstream_cut' | 'timed_out' | 'stopped'
  error: GatewayError
  fault: UpstreamFault | null
  endedBy: EndReason | null
}

/**
 * Passes an upstream's bytes to the client as they come, metered, with backpressure both ways, and resolves as soon as
 * it is known how the answer ends. Never rejects. `finish` then lets the held end go. Disposed, it leaves nothing of the
 * upstream call running.
 */
export class Relay implements AnswerSink, Disposable {
  readonly #gateway: Gateway
  readonly #call: Call
  readonly #answer: GoodAnswer
  readonly #client: ClientAnswer
  readonly #onProgress: (reading: MeterReading) => void
  readonly #result = Promise.withResolvers<Relayed>()
  #head: AnswerHead | null = null
  #settled = false
  #trailingBytes = 0
  #upstreamEnded: boolean
  #lastUpstreamMs: number
  #firstTokenMs: number | null = null
  #unwatch: () => void = () => {}
  #onUpstreamEnd: () => void = () => {}

  /** `onProgress` is told of every piece of the answer while it runs. */
  constructor(
    gateway: Gateway,
    call: Call,
    answer: GoodAnswer,
    client: ClientAnswer,
    onProgress: (reading: MeterReading) => void = () => {},
  ) {
    this.#gateway = gateway
    this.#onProgress = onProgress
    this.#call = call
    this.#answer = answer
    this.#client = client
    this.#upstreamEnded = answer.whole
    this.#lastUpstreamMs = gateway.clock()
    client.streams = answer.clientStreams
    client.countsDelivered = call.whenClientLeaves === 'delivered'
  }

  /** Resolves when the answer's end is known and everything before it has gone to the client. */
  run(): Promise<Relayed> {
    this.#unwatch = this.#gateway.ticker.watch((now) => this.#tick(now))
    const { exchange, reader, whole } = this.#answer
    this.#flush()
    if (!whole) exchange.attach(this)
    if (whole || (reader.streams && reader.reading.ended)) this.#conclude()
    else this.#onProgress(reader.reading)
    return this.#result.promise
  }

  /** Ends the relay from outside: the client left, or the daemon must stop. */
  stop(reason: StopReason): void {
    if (reason !== 'client_left') {
      this.#cut({ outcome: 'stopped', error: endedBy(reason), fault: null, endedBy: reason })
    } else {
      this.#settle('client_left')
      this.#answer.exchange.cancel(reason)
    }
  }

  /** Lets the held end go, or what is to be said instead. */
  async finish({ error, reader }: Relayed): Promise<void> {
    if (error) {
      this.#client.sendError(error)
      return
    }
    if (!this.#upstreamEnded) {
      for (const bytes of reader.held.splice(0)) this.#client.relayEnd(bytes, this.#answerHead, this.#gateway.clock())
      await this.#untilUpstreamEnds()
    }
    this.#client.end(joined(reader.held), this.#answerHead)
  }

  [Symbol.dispose](): void {
    this.#unwatch()
    this.#answer.exchange.cancel('over')
  }

  // ---- the upstream's side ----

  data(chunk: Buffer): void {
    this.#lastUpstreamMs = this.#gateway.clock()
    const { reader, exchange } = this.#answer
    if (this.#settled) this.#trailingBytes += chunk.length
    if (this.#trailingBytes > TRAILING_BYTES_MAX) {
      exchange.cancel('it went on behind its terminal event')
      return
    }
    try {
      reader.push(chunk)
    } catch (error) {
      if (!(error instanceof EventTooLarge)) throw error
      this.#cut(upstreamCut('invalid_answer', 'the upstream sent an event, or an answer, that is too large'))
      return
    }
    this.#flush()
    if (reader.streams && reader.reading.ended) this.#conclude()
    else this.#onProgress(reader.reading)
  }

  end(): void {
    this.#upstreamEnded = true
    this.#answer.reader.end()
    this.#conclude()
    this.#onUpstreamEnd()
  }

  fail(failure: UpstreamFailure): void {
    this.#upstreamEnded = true
    this.#cut(upstreamCut('cut_off', "the upstream's answer was cut off", failure.message))
    this.#onUpstreamEnd()
  }

  // ---- both ----

  /** Worked out when it goes out, so that it can tell of all that came before. */
  get #answerHead(): AnswerHead {
    this.#head ??= answerHead(this.#gateway, this.#call, this.#answer)
    return this.#head
  }

  /** Everything that may go out goes out; a client that is slower than the upstream slows it down. */
  #flush(): void {
    const { reader, exchange } = this.#answer
    if (this.#firstTokenMs === null && reader.reading.contentSeen) {
      this.#firstTokenMs = this.#gateway.clock() - this.#call.arrivedMs
    }
    if (reader.ready.length === 0) return
    let more = true
    for (const bytes of reader.ready) {
      if (bytes.length === 0 && !this.#client.streams) continue // of an answer that was gathered: there is no head before its length is known
      more = this.#client.relay(bytes, this.#answerHead, this.#lastUpstreamMs)
    }
    reader.ready = []
    if (more || this.#client.left) return
    exchange.pause()
    this.#client.onDrain(() => {
      this.#lastUpstreamMs = this.#gateway.clock() // it was told to wait: its silence begins now
      exchange.resume()
    })
  }

  #tick(nowMs: number): void {
    if (this.#settled) return
    const { reader, serving } = this.#answer
    const limitMs = (name: keyof Deadlines) => deadlineMs(this.#gateway, serving, name)
    const wholeMs = reader.streams ? limitMs('totalMs') : Math.min(limitMs('totalMs'), limitMs('answerMs'))
    if (nowMs - this.#call.arrivedMs >= wholeMs) {
      this.#cut(timedOut('the answer took longer than it may', null))
    } else if (nowMs - this.#lastUpstreamMs >= limitMs('idleMs') && !this.#client.blocked) {
      const message = 'the upstream fell silent'
      this.#cut(timedOut(message, upstreamFault('fell_silent', message)))
    }
  }

  /** The answer has said its last: its protocol's end, an error, or neither. */
  #conclude(): void {
    const { reader, serving } = this.#answer
    const { ended, error } = reader.reading
    if (ended === 'complete') this.#settle('complete')
    else if (ended === 'error') {
      this.#settle('upstream_error', null, error && serving.provider.readStreamFault(error))
    } else this.#cut(upstreamCut('cut_off', 'the upstream ended its answer before it was complete'))
  }

  #cut(end: EarlyEnd): void {
    if (this.#settled) return
    this.#settle(end.outcome, end.error, end.fault, end.endedBy)
    this.#answer.exchange.cancel(end.outcome)
  }

  #settle(
    outcome: Outcome,
    error: GatewayError | null = null,
    fault: UpstreamFault | null = null,
    endedBy: EndReason | null = null,
  ): void {
    if (this.#settled) return
    this.#settled = true
    const { reader } = this.#answer
    const { left } = this.#client
    this.#result.resolve({
      outcome: left ? 'client_left' : outcome,
      reader,
      error,
      fault,
      endedBy: left ? null : endedBy,
      // Whoever left got less than the upstream was asked for; of the others, what the upstream reported is the truth.
      estimated: left && this.#estimateOutput(),
      firstTokenMs: this.#firstTokenMs,
    })
  }

  /**
   * Counts output from text where it is reported only at the end, and of an answer that is charged as it was delivered
   * only that share. Returns whether that differs from what the upstream reported.
   */
  #estimateOutput(): boolean {
    const { reading, bytesForClient } = this.#answer.reader
    const { usage, ended, stopReason } = reading
    const reported = usage.outputTokens
    const isFinal = ended !== null || stopReason !== null
    const generated = isFinal ? reported : outputSoFar(reading)
    const { countsDelivered, deliveredBytes } = this.#client
    const share = countsDelivered ? Math.min(1, deliveredBytes / Math.max(1, bytesForClient)) : 1
    usage.outputTokens = Math.ceil(generated * share)
    return usage.outputTokens !== reported
  }

  #untilUpstreamEnds(): Promise<void> {
    if (this.#upstreamEnded) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#onUpstreamEnd = resolve
    const cutOffMs = this.#gateway.clock() + TRAILING_MS
    const unwatch = this.#gateway.ticker.watch((now) => {
      if (now >= cutOffMs) resolve()
    })
    return promise.finally(unwatch)
  }
}

/** `detail` is for the log. */
function upstreamCut(reason: string, message: string, detail: string | null = null): EarlyEnd {
  return {
    outcome: 'upstream_cut',
    error: new GatewayError('unavailable', message, { retryAfterMs: 1000 }),
    fault: upstreamFault(reason, detail === null ? message : `${message} (${detail})`),
    endedBy: null,
  }
}

function timedOut(message: string, fault: UpstreamFault | null): EarlyEnd {
  const error = new GatewayError('timed_out', message, { retryAfterMs: 1000 })
  return { outcome: 'timed_out', error, fault, endedBy: null }
}

function joined(buffers: Buffer[]): Buffer {
  return buffers.length === 1 ? (buffers[0] as Buffer) : Buffer.concat(buffers)
}

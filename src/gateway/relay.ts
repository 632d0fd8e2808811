import type { Outcome } from '../domain/call.ts'
import { GatewayError } from '../domain/errors.ts'
import { EventTooLarge } from '../protocols/sse.ts'
import type { AnswerSink, UpstreamFailure } from '../upstream/client.ts'
import { answerHead } from './answer-headers.ts'
import type { AnswerReader } from './answer-reader.ts'
import type { GoodAnswer, StopReason } from './attempt.ts'
import type { Call } from './call.ts'
import type { ClientAnswer } from './client-answer.ts'
import type { Gateway } from './gateway.ts'

/** How long an upstream may keep its connection open after its terminal event before it is cut off. */
const TRAILING_MS = 1000
/** A token is about this many bytes of text, where output has to be estimated. */
const BYTES_PER_TOKEN = 4

/** What came of an answer. Its last bytes are still held, until the call is recorded. */
export interface Relayed {
  outcome: Outcome
  reader: AnswerReader
  /** What to tell the client after all; null if the answer's own end says it. */
  error: GatewayError | null
  /** Output was counted from text. */
  estimated: boolean
  firstTokenMs: number | null
}

/**
 * Passes an upstream's bytes to the client as they come, metered, with backpressure both ways, and resolves as soon as
 * it is known how the answer ends. Never rejects. `finish` then lets the held end go.
 */
export class Relay implements AnswerSink {
  readonly #gateway: Gateway
  readonly #call: Call
  readonly #answer: GoodAnswer
  readonly #client: ClientAnswer
  readonly #head: { status: number; headers: string[] }
  readonly #result = Promise.withResolvers<Relayed>()
  #settled = false
  #upstreamEnded = false
  #lastUpstreamMs: number
  #readOnUntilMs: number | null = null
  #firstTokenMs: number | null = null
  #unwatch: () => void = () => {}
  #onUpstreamEnd: () => void = () => {}

  constructor(gateway: Gateway, call: Call, answer: GoodAnswer, client: ClientAnswer) {
    this.#gateway = gateway
    this.#call = call
    this.#answer = answer
    this.#client = client
    this.#head = answerHead(gateway, call, answer)
    this.#lastUpstreamMs = gateway.clock()
  }

  /** Resolves when the answer's end is known and everything before it has gone to the client. */
  run(): Promise<Relayed> {
    this.#unwatch = this.#gateway.ticker.watch((now) => this.#tick(now))
    const { exchange, reader, whole } = this.#answer
    this.#upstreamEnded = whole
    this.#flush()
    if (!whole) exchange.attach(this)
    if (whole || (reader.streams && reader.reading.ended)) this.#conclude()
    this.#client.onLeave(() => this.stop('client_left'))
    return this.#result.promise
  }

  /** Ends the relay from outside: the client left, or the daemon must stop. */
  stop(reason: StopReason): void {
    if (this.#settled) return
    if (reason === 'stopped') {
      this.#settle('stopped', new GatewayError('unavailable', 'the gateway is shutting down', { retryAfterMs: 1000 }))
      this.#answer.exchange.cancel(reason)
    } else if (this.#call.whenClientLeaves === 'read_on') {
      this.#readOnUntilMs ??= this.#gateway.clock() + this.#gateway.config.gateway.readOnMs
      this.#answer.exchange.resume()
    } else {
      this.#settle('client_left', null)
      this.#answer.exchange.cancel(reason)
    }
  }

  /** Lets the held end go, or what is to be said instead, and sees to it that both sides end. */
  async finish({ error, reader }: Relayed): Promise<void> {
    if (error) this.#client.sendError(error)
    else if (this.#upstreamEnded) this.#client.end(joined(reader.held), this.#head)
    else {
      for (const bytes of reader.held.splice(0)) this.#client.relay(bytes, this.#head, this.#gateway.clock())
      await this.#untilUpstreamEnds()
      this.#client.end(joined(reader.held), this.#head)
    }
    this.#unwatch()
    this.#answer.exchange.cancel('over')
  }

  // ---- the upstream's side ----

  data(chunk: Buffer): void {
    this.#lastUpstreamMs = this.#gateway.clock()
    const { reader } = this.#answer
    try {
      reader.push(chunk)
    } catch (error) {
      if (!(error instanceof EventTooLarge)) throw error
      this.#cut('upstream_cut', 'the upstream sent an event that is too large')
      return
    }
    this.#flush()
    if (reader.streams && reader.reading.ended) this.#conclude()
  }

  end(): void {
    this.#upstreamEnded = true
    this.#answer.reader.end()
    this.#conclude()
    this.#onUpstreamEnd()
  }

  fail(failure: UpstreamFailure): void {
    this.#upstreamEnded = true
    this.#cut('upstream_cut', `the upstream's answer was cut off (${failure.message})`)
    this.#onUpstreamEnd()
  }

  // ---- both ----

  /** Everything that may go out goes out; a client that is slower than the upstream slows it down. */
  #flush(): void {
    const { reader, exchange } = this.#answer
    if (this.#firstTokenMs === null && reader.reading.contentSeen) {
      this.#firstTokenMs = this.#gateway.clock() - this.#call.arrivedMs
    }
    if (reader.ready.length === 0) return
    let more = true
    for (const bytes of reader.ready) more = this.#client.relay(bytes, this.#head, this.#lastUpstreamMs)
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
    const { idleTimeoutMs, answerTimeoutMs, totalTimeoutMs } = this.#gateway.config.gateway
    const total = this.#answer.reader.streams ? totalTimeoutMs : Math.min(totalTimeoutMs, answerTimeoutMs)
    if (this.#readOnUntilMs !== null && nowMs >= this.#readOnUntilMs) {
      this.#settle('client_left', null)
      this.#answer.exchange.cancel('client_left')
    } else if (nowMs - this.#call.arrivedMs >= total) this.#cut('timed_out', 'the answer took longer than it may')
    else if (nowMs - this.#lastUpstreamMs >= idleTimeoutMs && !this.#client.blocked) {
      this.#cut('timed_out', 'the upstream fell silent')
    }
  }

  #cut(outcome: 'upstream_cut' | 'timed_out', message: string): void {
    if (this.#settled) return
    const code = outcome === 'timed_out' ? 'timed_out' : 'unavailable'
    this.#settle(outcome, new GatewayError(code, message, { retryAfterMs: 1000 }))
    this.#answer.exchange.cancel(outcome)
  }

  /** The answer has said its last: its protocol's end, an error, or neither. */
  #conclude(): void {
    const { ended } = this.#answer.reader.reading
    if (ended) this.#settle(ended === 'error' ? 'upstream_error' : 'complete', null)
    else this.#cut('upstream_cut', 'the upstream ended its answer before it was complete')
  }

  #settle(outcome: Outcome, error: GatewayError | null): void {
    if (this.#settled) return
    this.#settled = true
    const { reader } = this.#answer
    // Whoever left got less than the upstream was asked for; of the others, what the upstream reported is the truth.
    const estimated = outcome === 'client_left' && this.#estimateOutput()
    this.#result.resolve({ outcome, reader, error, estimated, firstTokenMs: this.#firstTokenMs })
  }

  /** Counts output from text where it is reported only at the end; returns whether that said more than the upstream had. */
  #estimateOutput(): boolean {
    const { reading } = this.#answer.reader
    const delivered = this.#call.whenClientLeaves === 'delivered' ? this.#deliveredShare() : 1
    const tokens = Math.ceil((reading.textBytes * delivered) / BYTES_PER_TOKEN)
    if (tokens <= reading.usage.outputTokens) return false
    reading.usage.outputTokens = tokens
    return true
  }

  #deliveredShare(): number {
    const { sentBytes, unsentBytes } = this.#client
    return sentBytes === 0 ? 0 : Math.max(0, sentBytes - unsentBytes) / sentBytes
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

function joined(buffers: Buffer[]): Buffer {
  return buffers.length === 1 ? (buffers[0] as Buffer) : Buffer.concat(buffers)
}

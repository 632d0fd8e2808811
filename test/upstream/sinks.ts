import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import {
  type AnswerHead,
  type AnswerSink,
  isFailure,
  type OutgoingRequest,
  UpstreamClient,
  type UpstreamExchange,
  type UpstreamFailure,
} from '../../src/upstream/client.ts'
import type { UrlRules } from '../../src/upstream/urls.ts'

/** Rules that let tests call their own servers. */
export const OPEN: UrlRules = { allowlist: false, upstreamHosts: [], insecureHttp: true, privateHosts: true }

export function client(options: Partial<ConstructorParameters<typeof UpstreamClient>[0]> = {}): UpstreamClient {
  return new UpstreamClient({ rules: () => OPEN, connectTimeoutMs: () => 5000, ...options })
}

export function post(baseUrl: string, body = '{}', path = '/v1/messages'): OutgoingRequest {
  return { method: 'POST', baseUrl, path, headers: ['content-type', 'application/json'], body: Buffer.from(body) }
}

/** Remembers everything that it is told, in order. */
export class RecordingSink implements AnswerSink {
  readonly chunks: Buffer[] = []
  readonly told: ('end' | UpstreamFailure)[] = []
  readonly #over = Promise.withResolvers<'end' | UpstreamFailure>()
  readonly #onData: (chunk: Buffer) => void
  bytes = 0

  constructor(onData: (chunk: Buffer) => void = () => {}) {
    this.#onData = onData
  }

  get body(): Buffer {
    return Buffer.concat(this.chunks)
  }

  /** Resolves with how it ended. */
  get over(): Promise<'end' | UpstreamFailure> {
    return this.#over.promise
  }

  data(chunk: Buffer): void {
    if (this.told.length > 0) throw new Error('data came after the end')
    this.chunks.push(chunk)
    this.bytes += chunk.length
    this.#onData(chunk)
  }

  end(): void {
    this.told.push('end')
    this.#over.resolve('end')
  }

  fail(failure: UpstreamFailure): void {
    this.told.push(failure)
    this.#over.resolve(failure)
  }
}

export async function headOf(exchange: UpstreamExchange): Promise<AnswerHead> {
  const head = await exchange.head
  if (isFailure(head)) throw new Error(`no head: ${head.kind}: ${head.message}`)
  return head
}

export async function failureOf(exchange: UpstreamExchange): Promise<UpstreamFailure> {
  const head = await exchange.head
  if (!isFailure(head)) throw new Error(`a head: ${head.status}`)
  return head
}

/** The whole answer, by a sink of its own. */
export async function bodyOf(exchange: UpstreamExchange): Promise<Buffer> {
  const sink = new RecordingSink()
  exchange.attach(sink)
  const over = await sink.over
  if (over !== 'end') throw new Error(`it broke: ${over.kind}: ${over.message}`)
  return sink.body
}

/** Waits, turn by turn of the event loop, until something is so. The test's own time-out is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn()
}

/** Resolves once a number has stood still for a tenth of a second, in which a whole test's bytes could have flowed. */
export async function settled(value: () => number): Promise<number> {
  for (let last = value(), quiet = 0; ; ) {
    await sleep(10)
    const now = value()
    quiet = now === last ? quiet + 1 : 0
    last = now
    if (quiet === 10) return now
  }
}

import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { type ErrorCode, type ErrorFacts, GatewayError } from '../domain/errors.ts'
import { startWorker } from '../lib/assets.ts'
import type { WriteInput, WriteName, WriteOutput } from './writes.ts'

/** JSON text is a quarter cheaper than structured cloning of the same records, on both sides. */
export interface WriterRequest {
  id: number
  name: WriteName
  input: string
  atMs: number
}

export interface WriterReply {
  id: number
  output?: string | undefined
  refused?: { code: ErrorCode; message: string; facts: ErrorFacts } | undefined
  failed?: string
}

/** Told after the last request: the thread closes its connection and ends. */
export const CLOSE = 'close'

/** What the thread makes dies with each batch; more room would only be memory that nobody uses. */
const YOUNG_GENERATION_MB = 6

/** The main thread's end of the writer thread: keeps disk waits and busy locks off the event loop. */
export class WriterThread implements AsyncDisposable {
  readonly #start: () => Worker
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #worker: Worker | null = null
  #nextId = 1
  #closing = false

  constructor(file: string, nativeBinding: string | undefined) {
    this.#start = () =>
      startWorker('src/store/writer-thread.ts', {
        workerData: { file, nativeBinding },
        resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
      })
  }

  /** Runs one write in one transaction. Rejects with its GatewayError, or with `unavailable` if the thread died. */
  write<Name extends WriteName>(name: Name, input: WriteInput<Name>, atMs: number): Promise<WriteOutput<Name>> {
    if (this.#closing) return Promise.reject(new GatewayError('unavailable', 'the store is closed'))
    const id = this.#nextId++
    const request: WriterRequest = { id, name, input: JSON.stringify(input), atMs }
    const worker = this.#running()
    const waiting = Promise.withResolvers<unknown>()
    this.#waiting.set(id, waiting)
    worker.postMessage(request)
    return waiting.promise as Promise<WriteOutput<Name>>
  }

  #running(): Worker {
    if (this.#worker) return this.#worker
    const worker = this.#start()
    worker.on('message', (reply: WriterReply) => this.#settle(reply))
    worker.on('error', (error: Error) => this.#died(worker, error))
    worker.on('exit', () => this.#died(worker, new Error('it exited')))
    this.#worker = worker
    return worker
  }

  #settle({ id, output, refused, failed }: WriterReply): void {
    const waiting = this.#waiting.get(id)
    if (!waiting) return
    this.#waiting.delete(id)
    if (refused) waiting.reject(new GatewayError(refused.code, refused.message, refused.facts))
    else if (failed !== undefined) waiting.reject(new Error(`a write failed: ${failed}`))
    else waiting.resolve(output === undefined ? undefined : JSON.parse(output))
  }

  /** The next write starts a new thread. */
  #died(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return
    this.#worker = null
    for (const waiting of this.#waiting.values()) {
      waiting.reject(new GatewayError('unavailable', `the writer thread stopped: ${error.message}`))
    }
    this.#waiting.clear()
  }

  /** Resolves when every write that was asked for is done and the thread has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    await Promise.allSettled([...this.#waiting.values()].map((waiting) => waiting.promise))
    const worker = this.#worker
    if (!worker) return
    const ended = once(worker, 'exit')
    worker.postMessage(CLOSE)
    await ended
  }
}

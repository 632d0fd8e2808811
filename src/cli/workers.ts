import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { GatewayError } from '../domain/errors.ts'
import { inBinary } from '../lib/assets.ts'
import type { Logger } from '../lib/log.ts'

/** Tells a process that it is one of several that share an address. */
export const WORKER_VARIABLE = 'SUBGATE_WORKER'
/** What a worker says to its supervisor once it takes calls. */
const READY = 'ready'

/** A worker that ends is started again after this, and each time that it ends at once after twice as long, up to a limit; in ms. */
const RESTART_FIRST_MS = 500
const RESTART_MAX_MS = 30_000
/** Whoever lived so long has not ended at once. */
const LIVED_MS = 60_000

export interface Supervision {
  count: number
  log: Logger
  /** Starts a worker; absent = this program again, with the same arguments. */
  start?: () => ChildProcess
  /** Resolves when the workers are to stop, and again when they are to stop at once. */
  stopSignal: () => Promise<void>
  onAllReady: () => void
}

/**
 * Keeps so many gateway processes running on one address until it is told to stop. Each is a gateway of its own; the system shares
 * new connections out among them. Rejects with `unavailable` if one ends before it has taken any calls.
 */
export async function superviseWorkers(supervision: Supervision): Promise<void> {
  const supervisor = new Supervisor(supervision)
  const relay = (signal: NodeJS.Signals) => supervisor.signal(signal)
  process.on('SIGHUP', relay)
  try {
    await supervisor.run()
  } finally {
    process.off('SIGHUP', relay)
  }
}

class Supervisor {
  readonly #supervision: Supervision
  readonly #workers = new Set<ChildProcess>()
  readonly #failed = Promise.withResolvers<never>()
  #ready = 0
  #stopping = false

  constructor(supervision: Supervision) {
    this.#supervision = supervision
    this.#failed.promise.catch(() => {})
  }

  async run(): Promise<void> {
    const { count, stopSignal } = this.#supervision
    const keeping = Array.from({ length: count }, () => this.#keep())
    try {
      await Promise.race([stopSignal(), this.#failed.promise])
    } finally {
      this.#stopping = true
      this.signal('SIGTERM')
      void stopSignal().then(() => this.signal('SIGTERM'))
      await Promise.all(keeping)
    }
  }

  signal(signal: NodeJS.Signals): void {
    for (const worker of this.#workers) worker.kill(signal)
  }

  /** One worker after the other in the same place. */
  async #keep(): Promise<void> {
    const { log } = this.#supervision
    let pauseMs = RESTART_FIRST_MS
    for (let isFirst = true; !this.#stopping; isFirst = false) {
      const startedMs = Date.now()
      const { code, signal, wasReady } = await this.#runOne(isFirst)
      if (this.#stopping) return
      if (isFirst && !wasReady) {
        this.#failed.reject(new GatewayError('unavailable', `a worker could not start (exit code ${code ?? signal})`))
        return
      }
      if (Date.now() - startedMs >= LIVED_MS) pauseMs = RESTART_FIRST_MS
      log.error({ code, signal, againInMs: pauseMs }, 'a worker has ended, and is started again')
      await this.#pause(pauseMs)
      pauseMs = Math.min(2 * pauseMs, RESTART_MAX_MS)
    }
  }

  async #runOne(isFirst: boolean): Promise<{ code: number | null; signal: string | null; wasReady: boolean }> {
    const worker = (this.#supervision.start ?? startAgain)()
    this.#workers.add(worker)
    let wasReady = false
    worker.on('message', (message) => {
      if (message !== READY || wasReady) return
      wasReady = true
      if (isFirst && ++this.#ready === this.#supervision.count) this.#supervision.onAllReady()
    })
    worker.on('error', () => {}) // it exits, too
    const [code, signal] = (await once(worker, 'exit')) as [number | null, string | null]
    this.#workers.delete(worker)
    return { code, signal, wasReady }
  }

  async #pause(ms: number): Promise<void> {
    const untilMs = Date.now() + ms
    while (!this.#stopping && Date.now() < untilMs) await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** This program with the same arguments, as a worker. */
function startAgain(): ChildProcess {
  const [, entry = '', ...args] = process.argv
  // The binary has its flags, and what it runs, within itself.
  return spawn(process.execPath, inBinary ? args : [...process.execArgv, entry, ...args], {
    env: { ...process.env, [WORKER_VARIABLE]: '1' },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}

/** In a worker: tells the supervisor that calls are taken. Calls back if the supervisor is gone. */
export function sayReady(onOrphaned: () => void): void {
  process.send?.(READY)
  process.once('disconnect', onOrphaned)
  process.channel?.unref()
}

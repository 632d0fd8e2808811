import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { askRedis } from '../../src/live/redis-connection.ts'

/** How long a Redis may take to start, in ms. */
const START_MS = 10_000

/** A private Redis of a test's own, on a free port, in a temporary folder. */
export class RedisServer implements AsyncDisposable {
  readonly url: string
  readonly #port: number
  readonly #folder: string
  readonly #arguments: string[]
  #process: ChildProcess | null = null

  private constructor(port: number, args: string[]) {
    this.#port = port
    this.#arguments = args
    this.#folder = mkdtempSync(join(tmpdir(), 'subgate-redis-'))
    this.url = `redis://127.0.0.1:${port}/0`
  }

  /** With these arguments of redis-server beside the usual ones. */
  static async start(...args: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), args)
    await server.start()
    return server
  }

  get port(): number {
    return this.#port
  }

  /** A sentinel that watches a master of this name, and puts a replica in its place a second after it is gone. */
  static async startSentinel(name: string, master: RedisServer): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), ['--sentinel'])
    const file = join(server.#folder, 'sentinel.conf')
    const lines = [
      `port ${server.#port}`,
      `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`,
      `sentinel down-after-milliseconds ${name} 1000`,
      `sentinel failover-timeout ${name} 5000`,
    ]
    writeFileSync(file, `${lines.join('\n')}\n`)
    server.#process = spawnServer([file, '--sentinel'])
    await server.#answers()
    return server
  }

  /** Starts it again, as empty as at first. */
  async start(): Promise<void> {
    const quiet = ['--save', '', '--appendonly', 'no', '--bind', '127.0.0.1', '--loglevel', 'warning']
    const args = ['--port', String(this.#port), '--dir', this.#folder, '--maxmemory-policy', 'noeviction']
    this.#process = spawnServer([...args, ...quiet, ...this.#arguments])
    const failed = once(this.#process, 'error').then(([error]) => {
      throw new Error('redis-server is needed by this test: apt-get install redis-server', { cause: error })
    })
    await Promise.race([failed, this.#answers()])
  }

  /** Ends it at once, with all that it holds. */
  async kill(): Promise<void> {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exit = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exit
  }

  /** It answers nobody until `goOn`. */
  stop(): void {
    this.#process?.kill('SIGSTOP')
  }

  goOn(): void {
    this.#process?.kill('SIGCONT')
  }

  /** What an operator could say by redis-cli. */
  async command(name: string, ...args: string[]): Promise<unknown> {
    const client = new Redis(this.url)
    try {
      return await client.call(name, ...args)
    } finally {
      client.disconnect()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #answers(): Promise<void> {
    for (const untilMs = Date.now() + START_MS; ; await sleep(20)) {
      try {
        await askRedis({ url: this.url })
        return
      } catch (error) {
        const isUp = !/ECONNREFUSED|closed/i.test((error as Error).message)
        if (isUp || Date.now() > untilMs) return
      }
    }
  }
}

/** It does not outlive the test's process. */
function spawnServer(args: string[]): ChildProcess {
  const child = spawn('redis-server', args, { stdio: 'ignore' })
  const kill = () => child.kill('SIGKILL')
  process.on('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return child
}

/** One that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

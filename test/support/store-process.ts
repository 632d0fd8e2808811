import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { text as readAll } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import BetterSqlite3 from 'better-sqlite3'
import { newId } from '../../src/lib/id.ts'
import { openStore } from '../../src/store/open.ts'
import { lockDataDir } from '../../src/store/sqlite.ts'
import { callOf, keptLog, type Scene } from './store.ts'

/** What a process of its own can do to a store, until it is killed or its standard input ends. */
const ROLES = {
  /** Holds a write transaction on a database file. */
  'hold-database'(file: string) {
    const database = new BetterSqlite3(file)
    database.exec('begin immediate')
    return () => database.close()
  },
  /** Holds the lock of a data directory. */
  'hold-data-dir'(file: string) {
    const lock = lockDataDir(file)
    return () => lock[Symbol.dispose]()
  },
  /**
   * Records calls of some scenes without end, eight at a time, and prints the id of each one that is durable. `database`
   * is JSON of a DatabaseConfig, or null for SQLite.
   */
  async record(dataDir: string, scenes: string, database: string) {
    const options = { id: newId('prs'), clock: Date.now, log: keptLog().log }
    const config = { dataDir, database: JSON.parse(database), gateway: { chargeWaitMs: 5000 } as never }
    const store = await openStore(config, 'daemon', options)
    const all = JSON.parse(scenes) as Scene[]
    const work = async () => {
      for (let n = 0; ; n++) {
        const call = callOf(all[n % all.length] as Scene)
        await store.usage.record(call, false)
        process.stdout.write(`${call.id}\n`)
      }
    }
    for (let n = 0; n < 8; n++) void work()
    return () => process.exit(0)
  },
}

/** A process that plays a role; `ready` is printed when it does. */
export class StoreProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly lines: AsyncIterator<string>

  private constructor(child: ChildProcess, lines: Interface) {
    this.#child = child
    this.lines = lines[Symbol.asyncIterator]()
  }

  static async start(role: keyof typeof ROLES, ...args: string[]): Promise<StoreProcess> {
    const child = spawn(process.execPath, [import.meta.filename, role, ...args], { stdio: 'pipe' })
    const said = readAll(child.stderr)
    const started = new StoreProcess(child, createInterface({ input: child.stdout }))
    const { value } = await started.lines.next()
    if (value === 'ready') return started
    await started.kill()
    throw new Error(await said)
  }

  /** Ends it as it would end by itself. */
  async end(): Promise<void> {
    this.#child.stdin?.end()
    await this.#exited()
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited()
  }

  async #exited(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [role, ...args] = process.argv.slice(2) as [keyof typeof ROLES, string, string, string]
  const end = await ROLES[role](...args)
  process.stdout.write('ready\n')
  process.stdin.resume().once('end', end)
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { Kysely, PGliteDialect, sql } from 'kysely'
import { pino } from 'pino'
import type { CallRecord } from '../../src/domain/call.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import { newCallId, newId } from '../../src/lib/id.ts'
import type { Logger } from '../../src/lib/log.ts'
import type { StoreDriver } from '../../src/store/driver.ts'
import { kyselyStore, type StoreOptions } from '../../src/store/kysely-store.ts'
import { migrateUp } from '../../src/store/migrate.ts'
import type { Db } from '../../src/store/queries/db.ts'
import { followRevision } from '../../src/store/revision.ts'
import type { Database } from '../../src/store/schema.ts'
import { connectForMigration, createSqliteFile, openSqlite } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { transactions } from '../../src/store/writes.ts'

/** 25 November 2026, 10:00 UTC: on a quarter of an hour. */
export const START_MS = Date.UTC(2026, 10, 25, 10)

/** A clock that goes when it is told to. */
export interface ManualClock {
  (): number
  nowMs: number
}

export function manualClock(nowMs = START_MS): ManualClock {
  const clock = () => clock.nowMs
  clock.nowMs = nowMs
  return clock
}

export interface LogLine {
  level: number
  msg: string
  [field: string]: unknown
}

/** A logger whose lines are kept. */
export function keptLog(): { log: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  return { log: pino({ level: 'debug' }, { write: (line) => void lines.push(JSON.parse(line)) }), lines }
}

/** A migrated database of its own, and ways in. */
export interface World extends AsyncDisposable {
  /** Opens a store on it, as one more process does. */
  open(options?: Partial<StoreOptions>, through?: StoreDriver): Promise<Store>
  openDriver(): Promise<StoreDriver>
  /** To look and to tamper behind the store's back. */
  database: Db
  clock: ManualClock
  logged: LogLine[]
}

/** One kind of database: makes worlds. */
export interface WorldMaker {
  name: string
  make(): Promise<World>
}

export function world(parts: {
  database: Db
  openDriver: () => Promise<StoreDriver>
  close: () => Promise<void>
}): World {
  const clock = manualClock()
  const { log, lines } = keptLog()
  const open = new AsyncDisposableStack()
  return {
    database: parts.database,
    openDriver: parts.openDriver,
    clock,
    logged: lines,
    open: async (options, through) =>
      open.use(
        await kyselyStore(through ?? (await parts.openDriver()), {
          clock,
          log,
          processId: newId('prs'),
          chargeWaitMs: 5000,
          spill: null,
          ...options,
        }),
      ),
    async [Symbol.asyncDispose]() {
      await open.disposeAsync()
      await parts.close()
    },
  }
}

/** A folder that is gone when it is disposed of. */
export function temporaryFolder(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'subgate-store-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** Makes a migrated SQLite file. */
export async function makeSqlite(file: string): Promise<void> {
  createSqliteFile(file)
  const database = connectForMigration(file)
  await migrateUp(database)
  await database.destroy()
}

export function sqliteWorlds(writer: 'thread' | 'here'): WorldMaker {
  return {
    name: `SQLite, writer ${writer}`,
    async make() {
      const folder = temporaryFolder()
      const file = join(folder.path, 'subgate.db')
      await makeSqlite(file)
      const database = connectForMigration(file)
      // Two that write here would wait for each other's lock in one thread; a command's neighbour is a daemon.
      let open = 0
      return world({
        database,
        async openDriver() {
          const driver = openSqlite(file, open++ === 0 ? writer : 'thread')
          const close = async () => {
            open--
            await driver[Symbol.asyncDispose]()
          }
          return { ...driver, [Symbol.asyncDispose]: close }
        },
        async close() {
          await database.destroy()
          folder[Symbol.dispose]()
        },
      })
    },
  }
}

/** PostgreSQL's dialect without a server. It has one connection, which all drivers share. */
export function openPglite(database: Db): StoreDriver {
  const open = new DisposableStack()
  return {
    reader: database,
    recordLanes: 1,
    write: transactions(database),
    onRevision: (listener) => {
      const stop = followRevision(database, listener)
      open.defer(stop)
      return stop
    },
    [Symbol.asyncDispose]: async () => open.dispose(),
  }
}

/** Starting PGlite takes a second, so its worlds follow one another in one instance. */
export function pgliteWorlds(): WorldMaker & AsyncDisposable {
  const pglite = new PGlite()
  const database = new Kysely<Database>({ dialect: new PGliteDialect({ pglite }) })
  return {
    name: 'PGlite',
    async make() {
      await sql`drop schema public cascade`.execute(database)
      await sql`create schema public`.execute(database)
      await migrateUp(database)
      return world({ database, openDriver: async () => openPglite(database), close: async () => {} })
    },
    [Symbol.asyncDispose]: () => database.destroy(),
  }
}

/** Awaits a condition. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Somebody who can make calls. */
export interface Scene {
  userId: string
  keyId: string
  groupId: string
  accountId: string
}

let scenes = 0

/** Adds a user with a balance, a key, a group and an account. */
export async function addScene(store: Store, balanceNanoUsd = 0): Promise<Scene> {
  const n = ++scenes
  const by = 'test'
  const account = await store.accounts.add(accountNamed(`account-${n}`))
  const group = await store.groups.add({ ...groupNamed(`group-${n}`), accountIds: [account.id] })
  const user = await store.users.add({ ...userCalled(`user-${n}@example.com`), balanceNanoUsd })
  const key = await store.keys.add({ ...keyOf(user.id, group.id), by })
  return { userId: user.id, keyId: key.id, groupId: group.id, accountId: account.id }
}

export function userCalled(email: string) {
  return { email, name: null, role: 'user', balanceNanoUsd: 0, concurrency: 5, by: 'test' } as const
}

export function groupNamed(name: string) {
  return { name, multiplierMicro: null, exclusive: false, whenClientLeaves: null, accountIds: [], by: 'test' }
}

export function keyOf(userId: string, groupId: string) {
  return {
    userId,
    groupId,
    name: null,
    last4: 'abcd',
    expiresAtMs: null,
    concurrency: null,
    quotaNanoUsd: null,
    allowIps: [],
    denyIps: [],
    models: [],
    hash: newId('key'),
    by: 'test',
  }
}

export function accountNamed(name: string) {
  return {
    id: newId('acc'),
    provider: 'anthropic',
    name,
    baseUrl: 'https://api.anthropic.com',
    priority: 50,
    weight: 100,
    concurrency: null,
    limits: [],
    models: [],
    headers: {},
    expiresAtMs: null,
    last4: 'wxyz',
    sealedCredentials: `sealed for ${name}`,
    groupIds: [],
    by: 'test',
  } as const satisfies Parameters<Store['accounts']['add']>[0]
}

/** A call that ended well: 100 ms of waiting, a second in all, $0.000003 for 1 + 1 tokens. */
export function callOf(scene: Scene, changes: Partial<CallRecord> = {}): CallRecord {
  const atMs = changes.atMs ?? START_MS
  const waitMs = changes.waitMs ?? 100
  return {
    id: newCallId(atMs - waitMs),
    atMs,
    userId: scene.userId,
    keyId: scene.keyId,
    groupId: scene.groupId,
    accountId: scene.accountId,
    provider: 'anthropic',
    protocol: 'anthropic-messages',
    requestedModel: 'claude-sonnet-4-5',
    upstreamModel: 'claude-sonnet-4-5',
    reportedModel: 'claude-sonnet-4-5-20250929',
    stream: true,
    outcome: 'complete',
    status: 200,
    error: null,
    stopReason: 'end_turn',
    usage: { ...NO_USAGE, inputTokens: 1, outputTokens: 1 },
    estimated: false,
    priceState: 'known',
    costNanoUsd: 3000,
    chargedNanoUsd: 3000,
    lostNanoUsd: 0,
    multiplierMicro: 1_000_000,
    payer: 'balance',
    waitMs,
    firstTokenMs: 300,
    durationMs: 1000,
    choice: null,
    seenLimits: null,
    attempts: [
      { accountId: scene.accountId, startedMs: 1, endedMs: 900, status: 200, fault: null, message: null, lost: null },
    ],
    upstreamRequestId: 'req_1',
    storedAs: null,
    clientIp: '192.0.2.1',
    userAgent: 'claude-cli/2.1.330',
    ...changes,
  }
}

/** The same where nobody pays. */
export function freeCallOf(scene: Scene, changes: Partial<CallRecord> = {}): CallRecord {
  return callOf(scene, { payer: 'none', chargedNanoUsd: 0, ...changes })
}

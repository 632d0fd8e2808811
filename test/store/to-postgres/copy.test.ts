import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import t from 'tap'
import type { DatabaseConfig } from '../../../src/config/load.ts'
import { kyselyStore } from '../../../src/store/kysely-store.ts'
import { openStore } from '../../../src/store/open.ts'
import { connectPostgresForMigration } from '../../../src/store/postgres.ts'
import type { Db } from '../../../src/store/queries/db.ts'
import { SpillFile } from '../../../src/store/spill.ts'
import { connectForMigration, openSqlite } from '../../../src/store/sqlite.ts'
import type { Store } from '../../../src/store/store.ts'
import { type CopyStep, copyToPostgres, planCopy } from '../../../src/store/to-postgres/copy.ts'
import { shapeOf, TABLE_NAMES, type TableName } from '../../../src/store/to-postgres/tables.ts'
import { databaseConfig, PgBouncerProcess, PostgresServerProcess } from '../../support/postgres.ts'
import {
  accountNamed,
  addScene,
  callOf,
  freeCallOf,
  groupNamed,
  keptLog,
  makeSqlite,
  type Scene,
  START_MS,
  temporaryFolder,
  userCalled,
} from '../../support/store.ts'
import { StoreProcess } from '../../support/store-process.ts'

const server = await PostgresServerProcess.start()
t.teardown(() => server[Symbol.asyncDispose]())

/** An SQLite store and an empty PostgreSQL database. */
interface Move extends Disposable {
  dataDir: string
  to: DatabaseConfig
  /** A command's store on the source, for as long as `work` takes. */
  onSource<T>(work: (store: Store, database: Db) => Promise<T>): Promise<T>
  onTarget<T>(work: (database: Db) => Promise<T>): Promise<T>
  copy(onStep?: (step: CopyStep) => void): ReturnType<typeof copyToPostgres>
}

async function newMove(): Promise<Move> {
  const folder = temporaryFolder()
  const dataDir = folder.path
  const file = join(dataDir, 'subgate.db')
  await makeSqlite(file)
  const to = databaseConfig(server.server(await server.makeDatabase('empty')))
  const { log } = keptLog()
  return {
    dataDir,
    to,
    async onSource(work) {
      const options = { clock: () => START_MS + 5000, log, processId: 'prs_dead', chargeWaitMs: 5000, spill: null }
      await using store = await kyselyStore(openSqlite(file, 'here'), options)
      const database = connectForMigration(file)
      try {
        return await work(store, database)
      } finally {
        await database.destroy()
      }
    },
    async onTarget(work) {
      await using database = await connectPostgresForMigration(to)
      return await work(database)
    },
    copy: (onStep = () => {}) => copyToPostgres({ dataDir }, to, { clock: Date.now, log, onStep }),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

const NASTY = 'a "quoted", \\back\\slashed\n\\.\n\ttext; ünï 😀 \u2028 \'\''

const BIG = String(2n ** 53n + 1n)

/** Puts something into every table, but for what a dead gateway leaves. */
async function fillEverything(store: Store, database: Db): Promise<Scene> {
  const by = NASTY
  const scene = await addScene(store, 5_000_000)
  const { userId, groupId, accountId } = scene
  await store.groups.attachUser({ id: groupId, userId, multiplierMicro: 250_000, by })
  const later = await store.groups.add({ ...groupNamed('zzz'), multiplierMicro: 0, by })
  await store.groups.set({ id: groupId, changes: { fallbackGroupId: later.id, name: NASTY }, by })
  await store.users.add({ ...userCalled('empty@example.com'), name: '', by })
  await store.users.credit({ id: userId, amountNanoUsd: -7, note: NASTY, by })
  await store.accounts.add({ ...accountNamed('other'), headers: { 'x-a': NASTY }, expiresAtMs: START_MS })
  await store.secrets.putIfAbsent({ name: 'api_key_hash', sealed: 'sealed' })
  await store.objects.keep({
    objects: [
      { accountId, id: 'file-1', kind: 'file', userId, createdAtMs: START_MS, expiresAtMs: null },
      { accountId, id: 'file-2', kind: 'file', userId, createdAtMs: START_MS, expiresAtMs: null },
    ],
    areNew: true,
  })
  await sql`insert into prices values ('anthropic', 'm', 0, ${JSON.stringify({ note: NASTY })}, '')`.execute(database)
  await store.usage.record(callOf(scene, { atMs: START_MS - 86_400_000 }), false)
  await store.usage.prune({ beforeMs: START_MS - 3_600_000, by })
  await store.usage.record(callOf(scene, { error: NASTY, userAgent: '', choice: null, storedAs: 'resp_1' }), false)
  await store.usage.record(freeCallOf(scene, { outcome: 'client_left', firstTokenMs: null }), false)
  return scene
}

/** All rows of a table in the order of its key, every value as text. */
async function dump(database: Db, table: TableName, shapes: Db): Promise<unknown[]> {
  const { columns, key } = await shapeOf(shapes, table)
  const cells = columns.map(({ name }) => sql`cast(${sql.ref(name)} as text) as ${sql.ref(name)}`)
  const order = sql.join(key.map((column) => sql.ref(column)))
  const { rows } = await sql`select ${sql.join(cells)} from ${sql.table(table)} order by ${order}`.execute(database)
  return rows
}

/** Of all files that hold anything, but the memory that SQLite's connections share. */
function digests(folder: string): Record<string, string> {
  const files = readdirSync(folder).filter((name) => !name.endsWith('-shm') && statSync(join(folder, name)).size > 0)
  return Object.fromEntries(
    files.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  )
}

t.test('every row of every table comes over as it is, and the source stays as it is', async (t) => {
  using move = await newMove()
  await move.onSource(async (store, database) => {
    const { userId } = await fillEverything(store, database)
    // More than a number of JavaScript says exactly.
    await sql`insert into ledger values ('led_big', ${userId}, 0, 'credit', ${sql.raw(BIG)}, 0, null, null)`.execute(
      database,
    )
    await sql`update users set balance_nano_usd = balance_nano_usd + ${sql.raw(BIG)} where id = ${userId}`.execute(
      database,
    )
  })
  const before = digests(move.dataDir)
  const steps: CopyStep[] = []
  const copied = await move.copy((step) => void steps.push(step))
  t.same(digests(move.dataDir), before, 'not a byte of the source has changed')
  t.match(copied, { isResumed: false, spilled: 0, interrupted: [], verification: { problems: [], users: 2 } })
  await move.onSource((_store, sqlite) =>
    move.onTarget(async (postgres) => {
      for (const table of TABLE_NAMES) {
        const rows = await dump(sqlite, table, sqlite)
        if (!['running_calls', 'processes'].includes(table)) t.ok(rows.length > 0, `${table} has rows`)
        t.same(await dump(postgres, table, sqlite), rows, table)
        t.equal(copied.tables.find((totals) => totals.table === table)?.rows, rows.length)
      }
    }),
  )
  const ledger = copied.tables.find(({ table }) => table === 'ledger')
  t.equal(ledger?.sums.amount_nano_usd, String(BigInt(BIG) + 5_000_000n - 7n - 6000n), 'in all its digits')
  t.same(Object.keys(ledger?.sums ?? {}), ['amount_nano_usd'])
  t.same([steps[0]?.doing, steps.at(-1)?.doing, steps.at(-1)?.rows], ['copying', 'proving', steps[0]?.rowsInAll])
  t.same(
    await move.onTarget(
      async (database) => (await sql`select to_regclass('copy_from_sqlite') as t`.execute(database)).rows,
    ),
    [{ t: null }],
  )
})

t.test('the list of tables is that of the schema', async (t) => {
  using move = await newMove()
  await move.onSource(async (_store, database) => {
    const { rows } = await sql<{ name: string }>`
      select name from sqlite_master where type = 'table' and name not like 'kysely_%' order by name`.execute(database)
    t.same(
      rows.map(({ name }) => name),
      TABLE_NAMES.toSorted(),
    )
  })
})

t.test('what a killed gateway left is put right in the copy only, once', async (t) => {
  using move = await newMove()
  const { running, spilledCalls } = await move.onSource(async (store, database) => {
    const scene = await addScene(store, 1_000_000)
    const running = callOf(scene, { chargedNanoUsd: 10 })
    store.usage.journal(running)
    await store.processes.beat()
    const spilledCalls = [callOf(scene, { chargedNanoUsd: 200 }), callOf(scene, { chargedNanoUsd: 3000 })]
    store.usage.journal(spilledCalls[0] as typeof running)
    await store.usage.record(spilledCalls[1] as typeof running, false) // it had reached the database after all
    t.ok(database)
    return { running, spilledCalls }
  })
  {
    await using spill = await SpillFile.open(join(move.dataDir, 'spill.log'))
    await spill.append(spilledCalls.map((call, index) => ({ call, journaled: index === 0 })))
  }
  const before = digests(move.dataDir)
  t.ok(before['spill.log'])
  const { spilled, interrupted, verification } = await move.copy()
  t.same({ spilled, interrupted }, { spilled: 2, interrupted: [running.id] })
  t.same(verification, { problems: [], users: 1, calls: 3, ledgerEntries: 4 })
  t.same(digests(move.dataDir), before, 'neither the source nor its spill file has changed')
  const gateway = { chargeWaitMs: 5000 } as Parameters<typeof openStore>[0]['gateway']
  const options = { id: 'prs_new', clock: Date.now, log: keptLog().log }
  await using served = await openStore({ dataDir: move.dataDir, database: move.to, gateway }, 'daemon', options)
  t.same(await served.usage.verify(), verification, 'the spill file is replayed at the next start, and moves nothing')
  t.same(served.usage.spilled(), { records: 0, sinceMs: null })
})

/** Breaks a copy off when it is about to do something. */
function breakOffAt(table: TableName, doing: CopyStep['doing'] = 'copying') {
  return (step: CopyStep) => {
    if (step.table === table && step.doing === doing) throw new Error('killed')
  }
}

t.test('a copy that was broken off is not served from, and goes on where it was', async (t) => {
  using move = await newMove()
  await move.onSource(fillEverything)
  const { tables } = await planCopy(move, move.to)
  await t.rejects(move.copy(breakOffAt('usage')), { message: 'killed' })
  const gateway = { chargeWaitMs: 5000 } as Parameters<typeof openStore>[0]['gateway']
  const process = { id: 'prs_new', clock: Date.now, log: keptLog().log }
  for (const role of ['daemon', 'command'] as const) {
    await t.rejects(openStore({ dataDir: move.dataDir, database: move.to, gateway }, role, process), {
      code: 'unavailable',
      message: /a copy from SQLite that is not complete/,
      facts: { hint: /migrate to-postgres again/ },
    })
  }
  t.match(await planCopy(move, move.to), { targetState: 'half copied', tables })
  for (const doing of ['comparing', 'proving'] as const) {
    const steps: CopyStep[] = []
    const until = (step: CopyStep) => {
      steps.push(step)
      if (step.doing === doing) throw new Error('killed')
    }
    await t.rejects(move.copy(until), { message: 'killed' })
    const again = steps.filter((step) => step.doing === 'copying').map(({ table }) => table)
    t.same(again, doing === 'comparing' ? ['usage', 'audit_log', 'changes', 'revision'] : [], 'what is there stays')
  }
  t.match(await move.copy(), { isResumed: true, tables, verification: { problems: [], calls: 2 } })
})

t.test('a source that was changed in between is copied anew', async (t) => {
  const changes: Record<string, (store: Store, database: Db) => Promise<unknown>> = {
    'a user': (store) => store.users.add(userCalled('new@example.com')),
    'a call that costs nothing': (store) =>
      store.usage.record(freeCallOf({ userId: 'u', keyId: 'k', groupId: 'g', accountId: 'a' }), false),
    'what no longer lies at an account': async (store, database) => {
      const { account_id } = await database.selectFrom('account_objects').select('account_id').executeTakeFirstOrThrow()
      await store.objects.drop({ accountId: account_id, id: 'file-1' })
    },
    'an account’s windows': (_store, database) => sql`update accounts set windows = '[1]'`.execute(database),
    'what lies at an account': (store) =>
      store.objects.keep({
        objects: [{ accountId: 'a', id: 'f', kind: 'file', userId: 'u', createdAtMs: 1, expiresAtMs: null }],
        areNew: true,
      }),
  }
  for (const [what, change] of Object.entries(changes)) {
    using move = await newMove()
    await move.onSource(fillEverything)
    await t.rejects(move.copy(breakOffAt('changes')), { message: 'killed' })
    await move.onSource(change)
    t.match(await move.copy(), { isResumed: false, verification: { problems: [] } }, what)
  }
})

t.test('a source that is written to meanwhile is told, and copied anew the next time', async (t) => {
  using move = await newMove()
  await move.onSource(fillEverything)
  let writing: Promise<unknown> | null = null
  const write = (step: CopyStep) => {
    if (step.table === 'usage') writing ??= move.onSource((store) => store.users.add(userCalled('late@example.com')))
  }
  await t.rejects(move.copy(write), { code: 'conflict', message: /was written to while it was copied/ })
  await writing
  t.match(await move.copy(), { isResumed: false, verification: { problems: [], users: 3 } })
})

t.test('a copy that differs is refused by the name of its table', async (t) => {
  const damages: [string, RegExp][] = [
    ['delete from audit_log where id = (select min(id) from audit_log)', /table audit_log: rows: \d+ there, \d+ here/],
    ['update usage set output_tokens = output_tokens + 1', /table usage: output_tokens: 2 there, 4 here/],
    ['update ledger set amount_nano_usd = amount_nano_usd + 1', /table ledger: amount_nano_usd: \d+ there, \d+ here/],
  ]
  for (const [damage, message] of damages) {
    using move = await newMove()
    await move.onSource(fillEverything)
    await t.rejects(move.copy(breakOffAt('revision')), { message: 'killed' })
    await move.onTarget((database) => sql.raw(damage).execute(database))
    const refused = { code: 'conflict', message, facts: { hint: /Empty postgres:.*and run this again/ } }
    await t.rejects(move.copy(), refused)
    await t.rejects(move.copy(), refused, 'also the next time')
  }
})

t.test('money that did not add up before does not add up in the copy', async (t) => {
  using move = await newMove()
  await move.onSource(async (store, database) => {
    await fillEverything(store, database)
    await sql`update users set balance_nano_usd = balance_nano_usd + 1`.execute(database)
  })
  t.match(await move.copy(), { verification: { problems: [/the ledger adds up to/, /the ledger adds up to/] } })
})

t.test('a gateway that serves, and a database that is in use, are left alone', async (t) => {
  using move = await newMove()
  await move.onSource(fillEverything)
  {
    await using _gateway = await StoreProcess.start('hold-data-dir', join(move.dataDir, 'lock.db'))
    await t.rejects(move.copy(), { code: 'conflict', message: /a gateway serves from/, facts: { hint: /^Stop it/ } })
    t.match(await planCopy(move, move.to), { isServed: true, targetState: 'empty' })
  }
  const used = databaseConfig(server.server(await server.makeDatabase()))
  {
    await using other = await connectPostgresForMigration(used)
    await sql`insert into settings values ('a', 'b')`.execute(other)
  }
  const options = { clock: Date.now, log: keptLog().log, onStep: () => {} }
  await t.rejects(copyToPostgres(move, used, options), { code: 'conflict', message: /holds data already/ })
  t.match(await planCopy(move, used), { targetState: 'in use', isServed: false })
  const migrated = databaseConfig(server.server(await server.makeDatabase()))
  t.match(await planCopy(move, migrated), { targetState: 'empty' }, 'tables without a row are no use')

  using another = await newMove()
  let second: Promise<unknown> | null = null
  await move.copy(() => {
    second ??= copyToPostgres(another, move.to, options).catch((error: Error) => error.message)
  })
  t.match(await second, /another copy into postgres:.* is under way/)
})

t.test('a pooler is refused, since its sessions are anybody’s', async (t) => {
  using move = await newMove()
  await using bouncer = await PgBouncerProcess.start(server)
  const pooled = { ...move.to.server, port: bouncer.port }
  await t.rejects(planCopy(move, databaseConfig(pooled)), { code: 'conflict', message: /a pooler such as PgBouncer/ })
  t.match(await planCopy(move, databaseConfig(pooled, { direct: move.to.direct })), { targetState: 'empty' })
})

t.test('what is not there, or not of this version, is told with the remedy', async (t) => {
  using move = await newMove()
  await t.rejects(planCopy({ dataDir: join(move.dataDir, 'none') }, move.to), {
    code: 'unavailable',
    message: /there is no SQLite database at/,
  })
  await move.onSource((_store, database) => sql`delete from kysely_migration`.execute(database))
  await t.rejects(move.copy(), { code: 'unavailable', facts: { hint: 'subgate migrate up' } })
  const nowhere = databaseConfig({ ...move.to.server, dbname: 'nowhere' })
  using whole = await newMove()
  await t.rejects(planCopy(whole, nowhere), { code: 'unavailable', message: /has no such database/ })
  t.notOk(existsSync(join(whole.dataDir, 'spill.log')), 'looking makes no spill file')
})

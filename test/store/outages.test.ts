import { execFileSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { isGatewayError } from '../../src/domain/errors.ts'
import { migrateUp, migrationStatus } from '../../src/store/migrate.ts'
import { openStore } from '../../src/store/open.ts'
import { databaseFile } from '../../src/store/place.ts'
import { SpillFile } from '../../src/store/spill.ts'
import { connectForMigration, createSqliteFile } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { transactions } from '../../src/store/writes.ts'
import {
  addScene,
  callOf,
  keptLog,
  makeSqlite,
  type Scene,
  START_MS,
  temporaryFolder,
  until,
  userCalled,
} from '../support/store.ts'
import { StoreProcess } from '../support/store-process.ts'

t.jobs = 4 // they wait for locks

/** Opens the store of a data directory. */
function open(dataDir: string, role: 'daemon' | 'command' = 'daemon', chargeWaitMs = 200): Promise<Store> {
  const gateway = { chargeWaitMs } as Parameters<typeof openStore>[0]['gateway']
  return openStore({ dataDir, gateway, database: null }, role, { id: 'prs_test', clock: Date.now, log: keptLog().log })
}

/** A data directory with a scene in it. */
async function prepared(dataDir: string): Promise<Scene> {
  await makeSqlite(databaseFile({ dataDir }))
  await using store = await open(dataDir, 'command')
  return await addScene(store, 1_000_000)
}

/** After a start on a healthy disk every promised call is there once, and everything adds up. */
async function proved(t: Test, dataDir: string, callIds: string[]): Promise<void> {
  await using store = await open(dataDir)
  const calls = await store.usage.list({ limit: 100_000 })
  t.same(
    calls.map(({ id }) => id),
    callIds.toSorted(),
  )
  t.same((await store.usage.verify()).problems, [])
}

async function dataDirTest(name: string, body: (t: Test, dataDir: string) => Promise<void>) {
  return t.test(name, async (t) => {
    using folder = temporaryFolder()
    await body(t, folder.path)
  })
}

dataDirTest('a database that another process holds: reads go on and charges are spilled', async (t, dataDir) => {
  const scene = await prepared(dataDir)
  const call = callOf(scene)
  {
    await using store = await open(dataDir)
    await using holder = await StoreProcess.start('hold-database', databaseFile({ dataDir }))
    t.equal(await store.usage.record(call, false), 'spilled', 'long before the lock is given up')
    t.equal((await store.users.find(scene.userId)).balanceNanoUsd, 1_000_000)
    await holder.end()
    await until(async () => (await store.users.find(scene.userId)).balanceNanoUsd === 997_000)
  }
  await proved(t, dataDir, [call.id])
})

dataDirTest('a database that another process holds while it is opened with spilled charges', async (t, dataDir) => {
  const call = callOf(await prepared(dataDir))
  {
    await using spill = await SpillFile.open(join(dataDir, 'spill.log'))
    await spill.append([{ call, journaled: false }])
  }
  await using holder = await StoreProcess.start('hold-database', databaseFile({ dataDir }))
  await t.rejects(open(dataDir), {
    code: 'unavailable',
    message: /^the database is locked by another process \(SQLITE_BUSY/,
    facts: { hint: 'A backup or an open sqlite3 shell can be the cause: end it and try again.' },
  })
  await holder.end()
  await proved(t, dataDir, [call.id])
})

dataDirTest('a store that is closed leaves all it has in one file', async (t, dataDir) => {
  await prepared(dataDir)
  for (const role of ['daemon', 'command'] as const) {
    await using store = await open(dataDir, role)
    await store.users.add(userCalled(`${role}@example.com`))
  }
  t.same(readdirSync(dataDir).toSorted(), ['spill.log', 'subgate.db'])
})

t.test('a disk that is full: charges are spilled, other writes say why, nothing is lost', async (t) => {
  using folder = temporaryFolder()
  const mounted = mountSmallDisk(folder.path, '14m')
  if (mounted !== null) return void t.pass(`no small disk can be mounted here: ${mounted}`, { skip: true })
  try {
    const dataDir = join(folder.path, 'data')
    mkdirSync(dataDir)
    const scene = await prepared(dataDir)
    const filler = join(folder.path, 'filler')
    const durable: string[] = []
    {
      await using store = await open(dataDir)
      fill(filler)
      const hows: string[] = []
      while (!hows.includes('spilled')) {
        const calls = Array.from({ length: 100 }, () => callOf(scene))
        hows.push(...(await Promise.all(calls.map((call) => store.usage.record(call, false)))))
        durable.push(...calls.map(({ id }) => id))
      }
      await t.rejects(addUsers(store), {
        code: 'unavailable',
        message: 'the disk is full (SQLITE_FULL)',
        facts: { hint: 'Make room on the disk that holds the data directory.' },
      })
      t.equal(
        (await store.users.list({ limit: 1000 })).some(({ email }) => email === scene.userId),
        false,
        'reads go on',
      )
      rmSync(filler)
      await until(async () => (await store.usage.list({ limit: 100_000 })).length === durable.length)
      t.equal(await store.usage.record(callOf(scene, { id: durable[0] as string }), false), 'committed')
    }
    await proved(t, dataDir, durable)

    fill(filler)
    await t.rejects(SpillFile.open(join(folder.path, 'other.log')), {
      code: 'unavailable',
      message: /^the spill file cannot be opened: ENOSPC/,
      facts: { hint: 'It takes 8 MiB of disk, which must be there and writable before calls are served.' },
    })
  } finally {
    execFileSync('umount', [folder.path])
  }
})

dataDirTest('a write that fills the disk is undone, and its own error is told', async (t, dataDir) => {
  await makeSqlite(databaseFile({ dataDir }))
  const database = connectForMigration(databaseFile({ dataDir }))
  const write = transactions(database)
  const { rows } = await sql<{ page_count: number }>`pragma page_count`.execute(database)
  await sql`pragma max_page_count = ${sql.lit((rows[0]?.page_count ?? 0) + 10)}`.execute(database)
  const full = { code: 'unavailable', message: 'the disk is full (SQLITE_FULL)' }
  let added = 0
  await t.rejects(async () => {
    for (;;) {
      await write('users.add', { ...userCalled(`u${added}@example.com`), name: 'x'.repeat(1000) }, START_MS)
      added++
    }
  }, full)
  t.ok(added > 0)
  const count = async () =>
    Number(
      (
        await database
          .selectFrom('users')
          .select((e) => e.fn.countAll().as('n'))
          .executeTakeFirst()
      )?.n,
    )
  t.equal(await count(), added)
  await t.rejects(write('users.add', { ...userCalled('big@example.com'), name: 'x'.repeat(100_000) }, START_MS), full)
  await sql`pragma max_page_count = 1000000`.execute(database)
  await write('users.add', userCalled('last@example.com'), START_MS)
  t.equal(await count(), added + 1)
  await database.destroy()
})

dataDirTest('a database file that is damaged or none at all', async (t, dataDir) => {
  await prepared(dataDir)
  const file = databaseFile({ dataDir })
  const good = readFileSync(file)
  const hint = 'Keep a copy of it, then put back a backup, or what `sqlite3 FILE .recover` can save.'
  const damages: [string, Buffer, string][] = [
    ['beginning', Buffer.concat([Buffer.alloc(100, 0x5a), good.subarray(100)]), 'SQLITE_NOTADB'],
    ['pages', Buffer.concat([good.subarray(0, 4096), Buffer.alloc(good.length - 4096, 0x5a)]), 'SQLITE_CORRUPT'],
    ['cut off', good.subarray(0, 4096), 'SQLITE_CORRUPT'],
    [
      'text',
      Buffer.from('this is a text file, and longer than the header of a database is'.repeat(100)),
      'SQLITE_NOTADB',
    ],
  ]
  for (const [name, bytes, code] of damages) {
    for (const role of ['daemon', 'command'] as const) {
      writeFileSync(file, bytes)
      const failure = await open(dataDir, role).catch((error: unknown) => error)
      t.ok(isGatewayError(failure, 'unavailable'), `${name}: ${failure}`)
      t.match(failure, { message: `the database file is damaged or is no database (${code})`, facts: { hint } }, name)
    }
  }
})

dataDirTest(
  'a database that gets damaged while it is used: charges are spilled, and stored when a sound one is back',
  async (t, dataDir) => {
    const scene = await prepared(dataDir)
    const file = databaseFile({ dataDir })
    const good = join(dataDir, 'good')
    copyFileSync(file, good)
    const calls = Array.from({ length: 3 }, () => callOf(scene))
    {
      await using store = await open(dataDir)
      overwrite(file, 4096)
      const hows = await Promise.all(calls.map((call) => store.usage.record(call, false)))
      t.same(hows, ['spilled', 'spilled', 'spilled'])
    }
    for (const left of [file, `${file}-wal`, `${file}-shm`]) rmSync(left, { force: true })
    copyFileSync(good, file)
    await proved(
      t,
      dataDir,
      calls.map(({ id }) => id),
    )
  },
)

dataDirTest('a database that is not there, has no tables yet, or is newer than this program', async (t, dataDir) => {
  const file = databaseFile({ dataDir })
  for (const role of ['daemon', 'command'] as const) {
    await t.rejects(open(dataDir, role), {
      code: 'unavailable',
      message: `there is no database at ${file}`,
      facts: { hint: 'subgate init makes one.' },
    })
    t.notOk(existsSync(file), 'and none is made')
  }
  mkdirSync(file)
  await t.rejects(open(dataDir), {
    code: 'unavailable',
    message: /^the database (file cannot be opened|cannot be read)/,
  })
  rmSync(file, { recursive: true })

  createSqliteFile(file)
  t.equal(statSync(file).mode & 0o777, 0o600)
  await t.rejects(open(dataDir), {
    code: 'unavailable',
    message: 'the database needs 1 migration(s) before it can be used',
    facts: { hint: 'subgate migrate up' },
  })
  const database = connectForMigration(file)
  t.same(await migrationStatus(database), [{ name: '001-init', appliedAt: null }])
  t.same(await migrateUp(database), ['001-init'])
  t.same(await migrateUp(database), [])
  t.match(await migrationStatus(database), [{ name: '001-init', appliedAt: Date }])
  await (await open(dataDir))[Symbol.asyncDispose]()

  await sql`insert into kysely_migration (name, timestamp) values ('999-from-the-future', '2030-01-01')`.execute(
    database,
  )
  const newer = {
    code: 'unavailable',
    message: 'the database was made by a newer subgate',
    facts: { hint: 'Run the newer version, or restore a backup made by this one.' },
  }
  await t.rejects(open(dataDir), newer)
  await t.rejects(migrateUp(database), newer)
  await t.rejects(migrationStatus(database), newer)
  await database.destroy()
})

dataDirTest('a data directory that cannot be written to', async (t, dataDir) => {
  await t.rejects(async () => createSqliteFile(join(dataDir, 'no', 'folder', 'subgate.db')), {
    code: 'unavailable',
    message: /subgate\.db cannot be made: ENOENT/,
    facts: { hint: 'Look at the owner and the rights of the data directory, or choose another by --data-dir.' },
  })
  await prepared(dataDir)
  mkdirSync(join(dataDir, 'spill.log'))
  await t.rejects(open(dataDir), { code: 'unavailable', message: /^the spill file cannot be opened: EISDIR/ })
  await (await open(dataDir, 'command'))[Symbol.asyncDispose]()
})

dataDirTest('a process that is killed while it records: what was durable is there once', async (t, dataDir) => {
  const scene = await prepared(dataDir)
  const durable = new Set<string>()
  for (let round = 0; round < 3; round++) {
    await using child = await StoreProcess.start('record', dataDir, JSON.stringify([scene]), 'null')
    const stop = durable.size + 50 + round * 37
    while (durable.size < stop) durable.add((await child.lines.next()).value)
    await child.kill()
    for (let line = await child.lines.next(); !line.done; line = await child.lines.next()) durable.add(line.value)
  }
  await using store = await open(dataDir)
  const ids = new Set((await store.usage.list({ limit: 1_000_000 })).map(({ id }) => id))
  t.same(
    [...durable].filter((id) => id.length === 35 && !ids.has(id)),
    [],
  )
  t.ok(durable.size > 150)
  t.same((await store.usage.verify()).problems, [])
})

async function addUsers(store: Store): Promise<void> {
  for (let n = 0; ; n++) await store.users.add({ ...userCalled(`filler-${n}@example.com`), name: 'x'.repeat(2000) })
}

/** Writes a file until the disk is full. */
function fill(file: string): void {
  const descriptor = openSync(file, 'w')
  try {
    for (const size of [65_536, 4096, 512]) {
      try {
        for (;;) writeSync(descriptor, Buffer.alloc(size, 1))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
    }
  } finally {
    closeSync(descriptor)
  }
}

/** Null, or why not. */
function mountSmallDisk(folder: string, size: string): string | null {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder], { stdio: 'pipe' })
    return null
  } catch (error) {
    return (error as Error).message.trim().split('\n').at(-1) ?? 'unknown'
  }
}

function overwrite(file: string, from: number): void {
  const { size } = statSync(file)
  truncateSync(file, from)
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, Buffer.alloc(size - from, 0x5a), 0, size - from, from)
  closeSync(descriptor)
}

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import type { DatabaseConfig } from '../../src/config/load.ts'
import type { PostgresServer } from '../../src/config/postgres-server.ts'
import { isGatewayError } from '../../src/domain/errors.ts'
import { migrateUp, migrationStatus } from '../../src/store/migrate.ts'
import { openStore } from '../../src/store/open.ts'
import { withDatabase } from '../../src/store/place.ts'
import { openPostgres } from '../../src/store/postgres.ts'
import type { Db } from '../../src/store/queries/db.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { databaseConfig, PgBouncerProcess, PostgresServerProcess } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import {
  addScene,
  callOf,
  freeCallOf,
  groupNamed,
  keptLog,
  type LogLine,
  type Scene,
  START_MS,
  temporaryFolder,
  until,
  userCalled,
} from '../support/store.ts'
import { StoreProcess } from '../support/store-process.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

t.jobs = 3 // they wait for time-outs

const server = await PostgresServerProcess.start({ durable: true })
t.teardown(() => server[Symbol.asyncDispose]())

/** A database of its own, and the stores of gateway processes on it. */
interface Place extends AsyncDisposable {
  config: DatabaseConfig
  dataDir: string
  dbname: string
  lines: LogLine[]
  /** `through`: the port of a proxy to the server. */
  open(options?: { through?: number; role?: 'daemon' | 'command'; config?: Partial<DatabaseConfig> }): Promise<Store>
  query<Row extends object>(text: string): Promise<Row[]>
}

async function newPlace(on: PostgresServerProcess = server): Promise<Place> {
  const dbname = await on.makeDatabase()
  const folder = temporaryFolder()
  const { log, lines } = keptLog()
  const stores = new AsyncDisposableStack()
  const config = databaseConfig(on.server(dbname))
  let opened = 0
  return {
    ...{ config, dbname, lines, dataDir: folder.path },
    async open({ through, role = 'daemon', config: changes } = {}) {
      const proxied = through === undefined ? config.server : { ...config.server, port: through }
      const database = { ...config, server: proxied, direct: proxied, ...changes }
      const options = { id: `prs_${++opened}`, clock: Date.now, log }
      const gateway = { chargeWaitMs: 1000 } as Parameters<typeof openStore>[0]['gateway']
      return stores.use(await openStore({ dataDir: folder.path, gateway, database }, role, options))
    },
    query: (text) => on.query(dbname, text),
    async [Symbol.asyncDispose]() {
      await stores.disposeAsync()
      folder[Symbol.dispose]()
    },
  }
}

async function proved(t: Test, store: Store, callIds: Iterable<string>): Promise<void> {
  const calls = await store.usage.list({ limit: 1_000_000 })
  const ids = new Set(calls.map(({ id }) => id))
  t.same(
    [...callIds].filter((id) => !ids.has(id)),
    [],
    'every promised call is there',
  )
  t.same((await store.usage.verify()).problems, [])
}

/** Of a balance, after so many calls. */
function left(balanceNanoUsd: number, calls: number): number {
  return balanceNanoUsd - 3000 * calls
}

t.test('processes that write the same users and cells at once are in nobody’s way', async (t) => {
  await using place = await newPlace()
  const store = await place.open()
  const scenes = await Promise.all(Array.from({ length: 40 }, () => addScene(store, 1_000_000_000)))
  await using other = await StoreProcess.start(
    'record',
    place.dataDir,
    JSON.stringify(scenes.toReversed()),
    JSON.stringify(place.config),
  )
  const ids: string[] = []
  const hows = new Set<string>()
  const random = seededRandom(5)
  const work = async () => {
    for (let n = 0; n < 60; n++) {
      const call = callOf(scenes[Math.floor(random() * scenes.length)] as Scene)
      hows.add(await store.usage.record(call, false))
      ids.push(call.id)
    }
  }
  const credits = async () => {
    for (const { userId } of scenes) {
      await store.users.credit({ id: userId, amountNanoUsd: 5, note: null, by: 'test' })
    }
  }
  await Promise.all([...Array.from({ length: 64 }, work), credits()])
  for (let n = 0; n < 200; n++) ids.push((await other.lines.next()).value)
  await other.kill()
  for (let line = await other.lines.next(); !line.done; line = await other.lines.next()) ids.push(line.value)
  t.same([...hows], ['committed'])
  await proved(
    t,
    store,
    ids.filter((id) => id.length === 35),
  )
})

t.test('a transaction that PostgreSQL gives up for another one is tried again', async (t) => {
  await using place = await newPlace()
  await place.query(`alter database ${place.dbname} set deadlock_timeout = 500`)
  const store = await place.open()
  const [a, b] = [await addScene(store, 1_000_000), await addScene(store, 1_000_000)]
  const [first, last] = a.userId < b.userId ? [a, b] : [b, a]
  const recorded: Promise<string>[] = []
  const lock = (other: Db, { userId }: Scene) => sql`select 1 from users where id = ${userId} for update`.execute(other)
  await withDatabase({ dataDir: '', database: place.config }, (database) =>
    database.transaction().execute(async (other) => {
      await sql`set local deadlock_timeout = '20s'`.execute(other) // the one that looks first gives up
      await lock(other, last)
      recorded.push(...[callOf(first), callOf(last)].map((call) => store.usage.record(call, false)))
      const waiting = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = '${place.dbname}'`
      await until(async () => (await place.query(waiting)).length === 1)
      await lock(other, first)
    }),
  )
  t.same(await Promise.all(recorded), ['committed', 'committed'])
  t.equal((await store.users.find(first.userId)).balanceNanoUsd, left(1_000_000, 1))
  t.same((await store.usage.verify()).problems, [])
})

/** Runs `work` while somebody else holds a lock; it gets the way to give that back, which waits until so many wait for locks. */
async function whileLocked(
  { config, dbname, query }: Place,
  lock: (other: Db) => Promise<unknown>,
  work: (giveBack: (waiting: number) => Promise<void>) => Promise<void>,
): Promise<void> {
  const free = Promise.withResolvers<void>()
  const isLocked = Promise.withResolvers<void>()
  const holding = withDatabase({ dataDir: '', database: config }, (database) =>
    database.transaction().execute(async (other) => {
      await lock(other)
      isLocked.resolve()
      await free.promise
    }),
  )
  await isLocked.promise
  const waiting = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = '${dbname}'`
  await work(async (count) => {
    await until(async () => (await query(waiting)).length === count)
    free.resolve()
    await holding
  })
}

for (const locked of ['users', 'roll_ups'] as const) {
  t.test(`batches that lock the same ${locked} do not wait for each other in a circle`, async (t) => {
    await using place = await newPlace()
    await place.query(`alter database ${place.dbname} set deadlock_timeout = 100`)
    {
      await using one = await place.open()
      await using two = await place.open()
      // Among so many PostgreSQL looks up each by its key, in the order in which they are given.
      await place.query(`insert into users select 'usr_' || n, n || '@example.com', null, 'user', 'active', 0, null, '[]', 0
        from generate_series(1, 20000) as n`)
      await place.query('analyze users')
      const scenes = [await addScene(one), await addScene(one), await addScene(one)]
      const [a, b, middle] = scenes.toSorted((x, y) => (x.userId < y.userId ? -1 : 1)) as [Scene, Scene, Scene]
      const make = locked === 'users' ? callOf : freeCallOf
      const inOrder = (all: Scene[]) => all.map((scene, n) => make(scene, { atMs: START_MS + n }))
      for (const call of inOrder([a, b, middle])) await one.usage.record(call, false)
      const held =
        locked === 'users'
          ? sql`users where id = ${middle.userId}`
          : sql`roll_ups where cell_id =
        (select id from roll_up_cells where user_id = ${middle.userId})`
      await whileLocked(
        place,
        (other) => sql`select 1 from ${held} for update`.execute(other),
        async (giveBack) => {
          const first = inOrder([b, middle, a]).map((call) => one.usage.record(call, false))
          const second = inOrder([a, middle, b]).map((call) => two.usage.record(call, false))
          await giveBack(2)
          t.same([...new Set(await Promise.all([...first, ...second]))], ['committed'])
        },
      )
    }
    const sessions = `select 1 from pg_stat_activity where datname = '${place.dbname}' and pid <> pg_backend_pid()`
    await until(async () => (await place.query(sessions)).length === 0)
    const counted = `select deadlocks from pg_stat_database where datname = '${place.dbname}'`
    t.same(await place.query(counted), [{ deadlocks: '0' }])
  })
}

t.test('operators who want the same name at once: one gets it, the others hear why not', async (t) => {
  await using place = await newPlace()
  const stores = [await place.open(), await place.open({ role: 'command' }), await place.open({ role: 'command' })]
  const settled = await Promise.allSettled(stores.map((store) => store.users.add(userCalled('same@example.com'))))
  const refusals = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
  t.equal(refusals.length, 2)
  for (const refusal of refusals) t.match(refusal, { code: 'conflict', message: /already a user/ })
})

t.test("operators' writes that wait for each other leave connections to records", async (t) => {
  await using place = await newPlace()
  const store = await place.open({ config: { poolSize: 3, lockTimeoutMs: 10_000 } })
  const scene = await addScene(store, 1_000_000)
  await whileLocked(
    place,
    (other) => sql`select 1 from revision for update`.execute(other),
    async (giveBack) => {
      const adding = Array.from({ length: 20 }, (_, n) => store.users.add(userCalled(`${n}@example.com`)))
      t.equal(await store.usage.record(callOf(scene), false), 'committed')
      await giveBack(1)
      await Promise.all(adding)
    },
  )
})

t.test('calls that end while older ones are pruned are neither lost nor counted twice', async (t) => {
  await using place = await newPlace()
  const [store, other] = [await place.open(), await place.open()]
  const scene = await addScene(store, 1_000_000_000)
  const old = () => callOf(scene, { atMs: Date.now() - 1000 })
  for (let n = 0; n < 12; n++) await Promise.all(Array.from({ length: 1000 }, () => store.usage.record(old(), false)))
  let isOver = false
  const recording = (async () => {
    let recorded = 0
    for (; !isOver; recorded += 20)
      await Promise.all(Array.from({ length: 20 }, () => other.usage.record(old(), false)))
    return recorded
  })()
  const pruned = await Promise.all([store, other].map((one) => one.usage.prune({ beforeMs: Date.now(), by: 'test' })))
  isOver = true
  const recorded = await recording
  const { problems, calls, ledgerEntries } = await store.usage.verify()
  t.same(problems, [])
  t.equal(calls + (pruned[0] ?? 0) + (pruned[1] ?? 0), 12_000 + recorded)
  t.equal(ledgerEntries, 12_001 + recorded)
})

t.test('reads of several statements are one view while calls are charged', async (t) => {
  await using place = await newPlace()
  const [store, other] = [await place.open(), await place.open()]
  const scene = await addScene(store, 1_000_000_000)
  let isOver = false
  const recording = (async () => {
    while (!isOver) await Promise.all(Array.from({ length: 5 }, () => other.usage.record(callOf(scene), false)))
  })()
  for (let n = 0; n < 60; n++) {
    const { balanceNanoUsd, keySpentNanoUsd } = await store.ledger.standing({
      ...scene,
      spending: 'charged',
      callIds: [],
    })
    t.equal(balanceNanoUsd + keySpentNanoUsd, 1_000_000_000)
    t.same((await store.usage.verify()).problems, [])
  }
  isOver = true
  await recording
})

t.test('a connection that is cut: records are spilled and replayed once, everything works again', async (t) => {
  await using place = await newPlace()
  await using proxy = await TcpProxy.to(server.port)
  const store = await place.open({ through: proxy.port })
  const scene = await addScene(store, 1_000_000)
  const calls = Array.from({ length: 20 }, () => callOf(scene))
  const before = await store.usage.record(calls[0] as (typeof calls)[0], false)
  proxy.cut()
  t.same([before, await store.usage.record(calls[1] as (typeof calls)[0], false)], ['committed', 'spilled'])
  await t.rejects(store.users.find(scene.userId), {
    code: 'unavailable',
    message: new RegExp(`^PostgreSQL does not answer at postgres://127.0.0.1:${proxy.port}/test_\\d+ \\(`),
  })
  await t.rejects(store.ping(), { code: 'unavailable' })
  t.equal(store.usage.spilled().records, 1)
  proxy.mend()
  for (const call of calls.slice(2)) t.equal(await store.usage.record(call, false), 'committed')
  await until(() => store.usage.spilled().records === 0)
  t.equal((await store.users.find(scene.userId)).balanceNanoUsd, left(1_000_000, 20))
  await proved(
    t,
    store,
    calls.map(({ id }) => id),
  )
})

t.test('connections that die without a word are given up', async (t) => {
  await using place = await newPlace()
  await using proxy = await TcpProxy.to(server.port)
  const config = { statementTimeoutMs: 300, connectTimeoutMs: 500 }
  const direct = place.config.direct
  const store = await place.open({ through: proxy.port, config: { ...config, direct } })
  const scene = await addScene(store, 1_000_000)
  await Promise.all(Array.from({ length: 20 }, () => store.users.find(scene.userId))) // several connections
  proxy.stall()
  const call = callOf(scene)
  t.equal(await store.usage.record(call, false), 'spilled')
  await t.rejects(store.users.find(scene.userId), { code: 'unavailable' })
  proxy.mend()
  await until(async () => (await store.users.find(scene.userId).catch(() => null))?.balanceNanoUsd === 997_000)
  await until(() => store.usage.spilled().records === 0)
  await proved(t, store, [call.id])
})

t.test('a statement that takes too long, and a lock that is held: the gateway does not wait for ever', async (t) => {
  await using place = await newPlace()
  const store = await place.open({ config: { lockTimeoutMs: 200 } })
  const scene = await addScene(store, 1_000_000)
  await whileLocked(
    place,
    (other) => sql`select 1 from users where id = ${scene.userId} for update`.execute(other),
    async (giveBack) => {
      const amount = { id: scene.userId, amountNanoUsd: 1, note: null, by: 'test' }
      await t.rejects(store.users.credit(amount), {
        code: 'unavailable',
        message: /^PostgreSQL is too busy, or another transaction holds what this one needs \(55P03/,
      })
      t.equal(await store.usage.record(callOf(scene), false), 'spilled')
      await giveBack(0)
    },
  )
  await until(() => store.usage.spilled().records === 0)
  t.same((await store.usage.verify()).problems, [])
})

t.test('a process that is killed in the middle of its batches: what was promised is there', async (t) => {
  await using place = await newPlace()
  const scene = await addScene(await place.open({ role: 'command' }), 1_000_000_000)
  const durable = new Set<string>()
  for (let round = 0; round < 3; round++) {
    const args = [place.dataDir, JSON.stringify([scene]), JSON.stringify(place.config)]
    await using child = await StoreProcess.start('record', ...args)
    const stop = durable.size + 50 + round * 37
    while (durable.size < stop) durable.add((await child.lines.next()).value)
    await child.kill()
    for (let line = await child.lines.next(); !line.done; line = await child.lines.next()) durable.add(line.value)
  }
  const store = await place.open()
  await proved(
    t,
    store,
    [...durable].filter((id) => id.length === 35),
  )
  t.ok(durable.size > 150)
})

t.test(
  'each of several processes on one data directory has a spill file; what a dead one left is replayed',
  async (t) => {
    await using place = await newPlace()
    await using proxy = await TcpProxy.to(server.port)
    const scene = await addScene(await place.open({ role: 'command' }), 1_000_000)
    const calls = Array.from({ length: 4 }, () => callOf(scene))
    const [one, two, three, four] = calls as [
      (typeof calls)[0],
      (typeof calls)[0],
      (typeof calls)[0],
      (typeof calls)[0],
    ]
    {
      await using first = await place.open({ through: proxy.port })
      await using second = await place.open({ through: proxy.port })
      proxy.cut()
      t.same(await Promise.all([first.usage.record(one, false), second.usage.record(two, false)]), [
        'spilled',
        'spilled',
      ])
      t.same(await Promise.all([first.usage.record(three, false), second.usage.record(four, false)]), [
        'spilled',
        'spilled',
      ])
      t.equal(second.usage.spilled().records, 2)
    }
    proxy.mend()
    const next = await place.open()
    t.equal(next.usage.spilled().records, 0)
    await proved(
      t,
      next,
      calls.map(({ id }) => id),
    )
    t.equal((await next.users.find(scene.userId)).balanceNanoUsd, left(1_000_000, 4))
  },
)

t.test('PostgreSQL is restarted under load: nothing is lost, nothing is charged twice', async (t) => {
  await using own = await PostgresServerProcess.start({ durable: true })
  await using place = await newPlace(own)
  const store = await place.open()
  const scene = await addScene(store, 1_000_000_000)
  const promised: string[] = []
  const hows = { committed: 0, spilled: 0 }
  let isOver = false
  const heard: (Change[] | null)[] = []
  store.onRevision((changes) => heard.push(changes))
  const work = async () => {
    while (!isOver) {
      const call = callOf(scene)
      const how = await store.usage.record(call, false)
      hows[how]++
      promised.push(call.id)
      if (how === 'spilled') await sleep(10) // or the spill file is full in a second
    }
  }
  const working = Promise.all(Array.from({ length: 16 }, work))
  for (const how of ['fast', 'immediate'] as const) {
    const before = promised.length
    await until(() => promised.length > before + 100)
    await own.down(how)
    await sleep(300)
    await own.up()
    const committed = hows.committed
    await until(() => hows.committed > committed + 100)
  }
  isOver = true
  await working
  await until(() => store.usage.spilled().records === 0)
  t.ok(hows.spilled > 0)
  await proved(t, store, promised)
  t.equal((await store.users.find(scene.userId)).balanceNanoUsd, left(1_000_000_000, promised.length))
  const by = 'test'
  await store.users.credit({ id: scene.userId, amountNanoUsd: 1, note: null, by })
  await until(() =>
    heard.some((changes) => changes === null || changes.some(({ subject }) => subject === scene.userId)),
  )
})

t.test('a change is heard at once, also after the connection that listens was lost', async (t) => {
  await using place = await newPlace()
  await using proxy = await TcpProxy.to(server.port)
  const [writer, store] = [await place.open({ role: 'command' }), await place.open({ through: proxy.port })]
  const heard: (Change[] | null)[] = []
  t.teardown(store.onRevision((changes) => heard.push(changes)))
  const listening = async () =>
    (await place.query(`select 1 from pg_stat_activity where query like 'listen %' and datname = '${place.dbname}'`))
      .length > 0
  await until(listening)
  const heardIn = async () => {
    const { id } = await writer.groups.add(groupNamed(`group-${heard.length}`))
    const since = performance.now()
    await until(() => heard.flat().some((change) => change?.subject === id))
    return performance.now() - since
  }
  const times: number[] = []
  for (let n = 0; n < 20; n++) times.push(await heardIn())
  const median = times.toSorted((a, b) => a - b)[10] as number
  t.comment(`heard after ${median.toFixed(1)} ms`)
  t.ok(median < 2000, 'sooner than by the clock')

  await place.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %' and datname = '${place.dbname}'`,
  )
  t.ok((await heardIn()) < 4000)
  await until(listening)
  const before = heard.length
  proxy.cut()
  const { id } = await writer.groups.add(groupNamed('while it was deaf'))
  await sleep(50)
  t.equal(heard.length, before)
  proxy.mend()
  await until(() =>
    heard.slice(before).some((changes) => changes === null || changes.some(({ subject }) => subject === id)),
  )
})

t.test('through PgBouncer alone changes are looked for, and that is said', async (t) => {
  await using bouncer = await PgBouncerProcess.start(server)
  await using place = await newPlace()
  const [writer, store] = [await place.open({ role: 'command' }), await place.open({ through: bouncer.port })]
  const heard: (Change[] | null)[] = []
  t.teardown(store.onRevision((changes) => heard.push(changes)))
  await until(() => place.lines.some(({ msg }) => msg.includes('database.direct_url')))
  const { id } = await writer.groups.add(groupNamed('group'))
  const since = performance.now()
  await until(() => heard.flat().some((change) => change?.subject === id))
  t.ok(performance.now() - since < 4000)
  const sessions = await place.query(
    `select 1 from pg_stat_activity where query like 'listen %' and datname = '${place.dbname}'`,
  )
  t.same(sessions, [], "nobody's connection listens in vain")
})

t.test('PgBouncer is restarted: connections are made anew', async (t) => {
  await using place = await newPlace()
  const scene = await addScene(await place.open({ role: 'command' }), 1_000_000)
  await using bouncer = await PgBouncerProcess.start(server)
  await using through = await TcpProxy.to(bouncer.port)
  const store = await place.open({ through: through.port, config: { direct: place.config.direct } })
  t.equal(await store.usage.record(callOf(scene), false), 'committed')
  through.cut()
  through.mend()
  t.match(await store.usage.record(callOf(scene), false), /committed|spilled/)
  await until(() => store.usage.spilled().records === 0)
  t.equal((await store.users.find(scene.userId)).balanceNanoUsd, left(1_000_000, 2))
})

t.test('two processes migrate one database at once', async (t) => {
  const database = databaseConfig(server.server(await server.makeDatabase('empty')))
  const which = { dataDir: '', database }
  const applied = await Promise.all([1, 2, 3].map(() => withDatabase(which, migrateUp)))
  t.same(applied.flat(), ['001-init'])
  t.match(await withDatabase(which, migrationStatus), [{ name: '001-init', appliedAt: Date }])
})

t.test('also through a pooler, where no other way is named', async (t) => {
  await using bouncer = await PgBouncerProcess.start(server)
  const through = { ...server.server(await server.makeDatabase('empty')), port: bouncer.port }
  const which = { dataDir: '', database: databaseConfig(through) }
  const applied = await Promise.all([1, 2, 3].map(() => withDatabase(which, migrateUp)))
  t.same(applied.flat(), ['001-init'])
  t.same(
    await server.query(through.dbname, `select 1 from pg_locks where locktype = 'advisory'`),
    [],
    'no lock is left',
  )
})

t.test('a migration that fails leaves nothing behind', async (t) => {
  const dbname = await server.makeDatabase('empty')
  await server.query(dbname, 'create table usage (of_another_program text)')
  const which = { dataDir: '', database: databaseConfig(server.server(dbname)) }
  await t.rejects(withDatabase(which, migrateUp), {
    code: 'unavailable',
    message: /^this database holds another program's tables \(42P07/,
    facts: { hint: 'Give subgate a database of its own.' },
  })
  const tables = await server.query(dbname, `select tablename from pg_tables where schemaname = 'public'`)
  t.same(tables, [{ tablename: 'usage' }])
})

t.test('what is wrong with a server is told with a remedy, and without the password', async (t) => {
  const right = server.server(await server.makeDatabase())
  const wrong: [string, Partial<typeof right>, RegExp][] = [
    ['password', { password: 'another-password' }, /^PostgreSQL does not let this user in.*28P01/],
    ['user', { user: 'nobody' }, /^PostgreSQL does not let this user in.*28P01/],
    ['database', { dbname: 'none' }, /^PostgreSQL has no such database \(3D000/],
    ['port', { port: 1 }, /^PostgreSQL does not answer at postgres:\/\/127.0.0.1:1\/test_\d+ \(.*ECONNREFUSED/],
    ['host', { host: 'no.such.host.invalid' }, /^PostgreSQL does not answer at .*(ENOTFOUND|EAI_AGAIN)/],
    ['socket', { host: '/no/such/folder' }, /^PostgreSQL does not answer at \/no\/such\/folder.*ENOENT/],
    ['TLS', { sslMode: 'require' }, /^PostgreSQL does not answer at .*SSL/],
    ['certificates', { sslMode: 'verify-full', caFile: '/no/such.pem' }, /^the certificates of .*ENOENT/],
  ]
  for (const [name, changes, message] of wrong) {
    const config = databaseConfig({ ...right, ...changes })
    const gateway = { chargeWaitMs: 1000 } as never
    const options = { id: 'prs', clock: Date.now, log: keptLog().log }
    const error = await openStore({ dataDir: '', gateway, database: config }, 'command', options).catch(
      (e: unknown) => e,
    )
    t.match(error, { code: 'unavailable', message }, name)
    t.ok(isGatewayError(error) && error.facts.hint, name)
    const all = JSON.stringify(error, Object.getOwnPropertyNames(error))
    t.notMatch(all, new RegExp(`${right.password}|another-password`), name)
  }
})

t.test('idle connections that PostgreSQL ends end no process, and are replaced', async (t) => {
  await using place = await newPlace()
  const store = await place.open()
  const scene = await addScene(store, 10_000)
  await Promise.all(Array.from({ length: 30 }, () => store.users.find(scene.userId)))
  await place.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = '${place.dbname}' and pid <> pg_backend_pid()`)
  await sleep(100)
  t.equal((await store.users.find(scene.userId)).balanceNanoUsd, 10_000)
  t.equal(await store.usage.record(callOf(scene), false), 'committed')
})

t.test('a process that dies leaves calls that others close; one that only seemed dead has the last word', async (t) => {
  await using place = await newPlace()
  const [dead, living] = [await place.open(), await place.open()]
  const scene = await addScene(living, 1_000_000)
  const [ended, lost] = [callOf(scene), callOf(scene)]
  await Promise.all([dead.processes.beat(), living.processes.beat()])
  for (const { id, atMs } of [ended, lost]) {
    dead.usage.journal(freeCallOf(scene, { id, atMs, outcome: 'interrupted', upstreamModel: 'other', costNanoUsd: 0 }))
  }
  await until(async () => (await place.query('select 1 from running_calls')).length === 2)
  t.same(await living.processes.beat(), [{ id: 'prs_1', beats: 1 }])
  const closed = await Promise.all([living, dead].map((one) => one.usage.closeInterrupted({ processId: 'prs_1' })))
  t.same(closed.flat().toSorted(), [ended.id, lost.id].toSorted(), 'once')
  t.same(await living.processes.beat(), [])
  t.equal((await living.usage.show(ended.id)).outcome, 'interrupted')

  t.equal(await dead.usage.record(ended, true), 'committed')
  t.equal(await dead.usage.record(ended, true), 'committed')
  t.match(await living.usage.show(ended.id), { outcome: 'complete', chargedNanoUsd: 3000 })
  t.equal((await living.usage.show(lost.id)).outcome, 'interrupted')
  t.equal((await living.users.find(scene.userId)).balanceNanoUsd, 997_000)
  t.same((await living.usage.verify()).problems, [])
})

t.test('TLS as libpq understands sslmode', async (t) => {
  await using own = await PostgresServerProcess.start()
  const dbname = await own.makeDatabase()
  const fixture = (name: string) => join(import.meta.dirname, '..', 'fixtures', name)
  const certificate = fixture('tls-cert.pem')
  /** Whether a connection is encrypted, or why there is none. */
  const outcome = async (changes: Partial<PostgresServer>) => {
    const config = databaseConfig({ ...own.server(dbname), host: 'localhost', ...changes })
    try {
      await using driver = await openPostgres(config, 'command', { log: keptLog().log })
      const asked = sql<{ ssl: boolean }>`select ssl from pg_stat_ssl where pid = pg_backend_pid()`
      return (await asked.execute(driver.reader)).rows[0]?.ssl
    } catch (error) {
      return (error as Error).message
    }
  }
  t.equal(await outcome({ sslMode: 'prefer' }), false, 'a server without TLS')
  t.match(await outcome({ sslMode: 'require' }), /^PostgreSQL does not answer/)
  await own.down('fast')
  const files = { ssl_cert_file: own.give(certificate), ssl_key_file: own.give(fixture('tls-key.pem')) }
  await own.up({ ssl: 'on', ...files })
  t.equal(await outcome({ sslMode: 'disable' }), false)
  for (const sslMode of ['prefer', 'require'] as const) t.equal(await outcome({ sslMode }), true, sslMode)
  for (const sslMode of ['require', 'verify-ca', 'verify-full'] as const) {
    t.equal(await outcome({ sslMode, caFile: certificate }), true, `${sslMode} with its certificate`)
  }
  for (const sslMode of ['verify-ca', 'verify-full'] as const) {
    t.match(await outcome({ sslMode }), /certificate/, `${sslMode} of a certificate that nobody knows`)
  }
  const stranger = { host: '127.0.0.2', caFile: certificate }
  t.equal(await outcome({ sslMode: 'verify-ca', ...stranger }), true)
  t.match(await outcome({ sslMode: 'verify-full', ...stranger }), /altname|IP/i, 'its name is another')
})

import BetterSqlite3 from 'better-sqlite3'
import { type CompiledQuery, Kysely, SqliteDialect, sql } from 'kysely'
import t from 'tap'
import { newCallId } from '../../src/lib/id.ts'
import type { StoreDriver } from '../../src/store/driver.ts'
import { migrateUp } from '../../src/store/migrate.ts'
import { changesBetween } from '../../src/store/queries/changes.ts'
import { callerOf } from '../../src/store/queries/keys.ts'
import { lastLedger, listLedger, readStanding } from '../../src/store/queries/ledger.ts'
import { listCalls, readConsumption, reportUsage, showCall, tailCalls } from '../../src/store/queries/usage.ts'
import type { Database } from '../../src/store/schema.ts'
import { addScene, callOf, freeCallOf, START_MS, sqliteWorlds } from '../support/store.ts'

const worlds = sqliteWorlds('here')

t.test('more calls can have been interrupted than a statement takes parameters', async (t) => {
  await using world = await worlds.make()
  const store = await world.open()
  const scene = await addScene(store)
  const count = 33_000 // SQLite takes 32,766
  const calls = Array.from({ length: count }, (_, n) => freeCallOf(scene, { atMs: START_MS + n, attempts: [] }))
  await sql`insert into running_calls (id, process_id, record)
    select json_extract(value, '$.id'), 'prs_dead', value from json_each(${JSON.stringify(calls)})`.execute(
    world.database,
  )
  await store.usage.record(calls[7] as (typeof calls)[0], true)
  const closed = await store.usage.closeInterrupted({ processId: null })
  t.equal(closed.length, count - 1)
  t.same(await store.usage.verify(), { problems: [], users: 1, calls: count, ledgerEntries: 0 })
  t.same(await world.database.selectFrom('running_calls').select('id').execute(), [])
  const { recordedCallIds } = await store.ledger.standing({
    ...scene,
    spending: 'cost',
    callIds: calls.map(({ id }) => id),
  })
  t.equal(recordedCallIds.length, count)
})

t.test('pruning goes in slices: charges get in between, and one that is broken off can go on', async (t) => {
  await using world = await worlds.make()
  const scene = await addScene(await world.open(), 1_000_000)
  const calls = Array.from({ length: 10_500 }, (_, n) => callOf(scene, { atMs: START_MS + n, chargedNanoUsd: 1 }))
  const inner = await world.openDriver()
  let slices = 0
  let isBroken = true
  const prove = async () => t.same((await store.usage.verify()).problems, [])
  const slice = async <T>(write: () => Promise<T>): Promise<T> => {
    if (++slices === 2 && isBroken) throw new Error('killed')
    const output = await write()
    await prove()
    await store.usage.record(callOf(scene, { atMs: START_MS + 20_000, chargedNanoUsd: 1 }), false)
    return output
  }
  const driver: StoreDriver = {
    ...inner,
    write(name, input, atMs) {
      const write = () => inner.write(name, input, atMs)
      return name === 'usage.pruneSlice' ? slice(write) : write()
    },
  }
  const store = await world.open({}, driver)
  await Promise.all(calls.map((call) => store.usage.record(call, false)))
  const input = { beforeMs: START_MS + 15_000, by: 'test' }
  await t.rejects(store.usage.prune(input), { message: 'killed' })
  await prove()
  isBroken = false
  t.equal(await store.usage.prune(input), 5500)
  t.equal(slices, 4)
  t.same(await store.usage.verify(), { problems: [], users: 1, calls: 3, ledgerEntries: 10_504 })
})

t.test('what is asked often, or of tables that grow without end, is answered by an index', async (t) => {
  const queries: CompiledQuery[] = []
  const database = new Kysely<Database>({
    dialect: new SqliteDialect({ database: new BetterSqlite3(':memory:') }),
    log: ({ query }) => void queries.push(query),
  })
  await migrateUp(database)
  const [userId, keyId, ids] = ['usr_1', 'key_1', [newCallId(1), newCallId(2)]]
  const times = { fromMs: START_MS, toMs: START_MS + 1 }
  const asked: Record<string, () => Promise<unknown>> = {
    'a caller': () => callerOf(database, 'hash'),
    'the changes since': () => changesBetween(database, 5, 8),
    'a call': () => showCall(database, ids[0] ?? '').catch(() => {}),
    'a page of calls': () => listCalls(database, { after: ids[0], limit: 100, userId }),
    'calls of a time': () => listCalls(database, { ...times, limit: 100, userId }),
    'the last calls': () => tailCalls(database, { last: 20 }),
    'what has ended since': () => tailCalls(database, { after: { endedAtMs: 5, id: 'call_' }, limit: 20, userId }),
    "a key's report": () => reportUsage(database, { filter: { keyId, fromMs: START_MS }, by: 'key' }),
    'a report of a time': () => reportUsage(database, { filter: times, by: 'model' }),
    'a ledger': () => listLedger(database, { userId, after: ids[0], limit: 100 }),
    "a ledger's end": () => lastLedger(database, { userId, count: 10 }),
    'a standing': () => readStanding(database, { userId, keyId, spending: 'cost', callIds: ids }).catch(() => {}),
  }
  for (const subject of ['key', 'user', 'group', 'account'] as const) {
    const recent = {
      subject,
      id: 'id',
      fromMs: 0,
      stepMs: 900_000,
      byModel: true,
      spending: 'cost' as const,
      callIds: ids,
    }
    asked[`what a ${subject} has used of late`] = () => readConsumption(database, recent)
  }
  await sql`insert into roll_up_cells values (1, 900000, 'id', 'id', 'id', 'id', 'anthropic', 'm', 'complete')`.execute(
    database,
  )
  await sql`insert into users values (${userId}, 'a@b', null, 'user', 'active', 0, null, '[]', 0)`.execute(database)
  for (const [name, ask] of Object.entries(asked)) {
    queries.length = 0
    await ask()
    const plans: string[] = []
    for (const { sql: text, parameters } of queries.filter((query) => query.sql.startsWith('select'))) {
      const explain = sql<{ detail: string }>`explain query plan `
      const { rows } = await database.executeQuery<{ detail: string }>({
        ...explain.compile(database),
        sql: `explain query plan ${text}`,
        parameters,
      })
      plans.push(...rows.map(({ detail }) => detail))
    }
    // A scan by an index in the order that is asked for ends with the limit.
    const scans = plans.filter((step) => /^SCAN (?!usage USING INDEX usage_by_end$)/.test(step))
    t.same(scans, [], `${name}: ${plans.join(' · ')}`)
    t.ok(plans.length > 0)
    if (name.startsWith('what a '))
      t.match(plans.join(), /roll_up_cells_by_/, 'by whose they are, not by all of a month')
  }
  await database.destroy()
})

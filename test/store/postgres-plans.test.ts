import { type CompiledQuery, Kysely, PostgresDialect, sql } from 'kysely'
import t from 'tap'
import { newCallId } from '../../src/lib/id.ts'
import { newPool } from '../../src/store/postgres-connection.ts'
import type { Db } from '../../src/store/queries/db.ts'
import { callerOf } from '../../src/store/queries/keys.ts'
import { lastLedger, listLedger, readStanding } from '../../src/store/queries/ledger.ts'
import { findObjects, listObjects } from '../../src/store/queries/objects.ts'
import { recordCalls } from '../../src/store/queries/record.ts'
import { listCalls, readConsumption, reportUsage, showCall, tailCalls } from '../../src/store/queries/usage.ts'
import type { Database } from '../../src/store/schema.ts'
import { PostgresServerProcess, postgresWorlds } from '../support/postgres.ts'
import { addScene, callOf, type Scene, START_MS } from '../support/store.ts'

const CALLS = 200_000
const USERS = 200
/** Calls are spread over a month. */
const STEP_MS = 13_000
const QUARTER_MS = 900_000

await using server = await PostgresServerProcess.start()

/** A month of a busy gateway, made in the database: rows as `recordCalls` would have written them, for many users. */
async function fill(database: Db, scene: Scene, exampleId: string): Promise<void> {
  const columns = await sql<{ column_name: string }>`select column_name from information_schema.columns
    where table_name = 'usage' order by ordinal_position`.execute(database)
  const made: Record<string, string> = {
    id: `'call_' || lpad(to_hex(at), 12, '0') || lpad(to_hex(n), 18, '0')`,
    at_ms: 'at',
    ended_at_ms: 'at + 900',
    user_id: `'usr_' || n % ${USERS}`,
    key_id: `'key_' || n % ${USERS}`,
    stored_as: `case when n % 50 = 0 then 'resp_' || n end`,
  }
  const values = columns.rows.map(({ column_name: name }) => made[name] ?? `example.${name}`)
  const numbers = `(select n, ${START_MS}::bigint - n * ${STEP_MS}::bigint as at from generate_series(1, ${CALLS}) as n) as numbers`
  await sql`insert into usage select ${sql.raw(values.join(', '))} from ${sql.raw(numbers)}, usage as example
    where example.id = ${exampleId}`.execute(database)
  await sql`insert into users select 'usr_' || n, n || '@example.com', null, 'user', 'active', 0, null, '[]', 0
    from generate_series(0, ${sql.lit(USERS - 1)}) as n`.execute(database)
  await sql`insert into ledger select id, user_id, at_ms, 'charge', -charged_nano_usd, 0, null, null from usage
    where user_id <> ${scene.userId}`.execute(database)
  await sql`insert into roll_up_cells select row_number() over (), cells.* from (
    select distinct at_ms - at_ms % ${sql.lit(QUARTER_MS)}, user_id, key_id, group_id, account_id, provider, upstream_model, outcome
    from usage where user_id <> ${scene.userId}) as cells`.execute(database)
  const counters = await sql<{ column_name: string }>`select column_name from information_schema.columns
    where table_name = 'roll_ups' and column_name <> 'cell_id'`.execute(database)
  await sql`insert into roll_ups select id, ${sql.raw(counters.rows.map(() => '1').join(', '))} from roll_up_cells
    where id not in (select cell_id from roll_ups)`.execute(database)
  await sql`insert into account_objects select 'acc_1', 'file_' || n, 'file', 'usr_' || n % ${sql.lit(USERS)}, n
    from generate_series(1, 50000) as n`.execute(database)
  await sql`vacuum analyze`.execute(database) // as autovacuum does by and by
}

await t.test(`what is asked often is answered by an index, among ${CALLS} calls`, async (t) => {
  await using world = await postgresWorlds(server).make()
  const store = await world.open()
  const scene = await addScene(store, 1_000_000)
  const example = callOf(scene)
  await store.usage.record(example, false)
  await fill(world.database, scene, example.id)

  const queries: CompiledQuery[] = []
  const [{ datname }] = (await sql<{ datname: string }>`select current_database() as datname`.execute(world.database))
    .rows as [{ datname: string }]
  const pool = newPool(server.server(datname), false, { size: 2, connectTimeoutMs: 2000 })
  const database = new Kysely<Database>({
    dialect: new PostgresDialect({ pool }),
    log: ({ query }) => void queries.push(query),
  })
  await using opened = new AsyncDisposableStack()
  opened.defer(() => database.destroy())
  const [userId, keyId, ids] = ['usr_7', 'key_7', [newCallId(1), newCallId(2), example.id]]
  const page = { limit: 100, userId }
  const nobody = { accountId: 'acc_1', id: 'file_5', kind: 'file', userId, createdAtMs: 40_000 } as const
  const recent = {
    fromMs: START_MS - 86_400_000,
    stepMs: QUARTER_MS,
    byModel: true,
    spending: 'cost',
    callIds: ids,
  } as const
  const asked: Record<string, () => Promise<unknown>> = {
    'a caller': () => callerOf(database, 'hash'),
    'a call': () => showCall(database, example.id),
    'a page of calls': () => listCalls(database, { ...page, after: newCallId(START_MS - 86_400_000) }),
    'calls of an hour': () => listCalls(database, { ...page, fromMs: START_MS - 3_600_000, toMs: START_MS }),
    'the last calls': () => tailCalls(database, { last: 20 }),
    'what has ended since': () => tailCalls(database, { after: { endedAtMs: START_MS - 60_000, id: '' }, limit: 20 }),
    "a key's report": () => reportUsage(database, { filter: { keyId, fromMs: START_MS - 86_400_000 }, by: 'key' }),
    'a report of an hour': () => reportUsage(database, { filter: { fromMs: START_MS - 3_600_000 }, by: 'model' }),
    'a ledger': () => listLedger(database, { userId, limit: 100 }),
    "a ledger's end": () => lastLedger(database, { userId, count: 10 }),
    'a standing': () => readStanding(database, { userId, keyId, spending: 'cost', callIds: ids }),
    'what an answer is stored as': () => findObjects(database, { ids: ['resp_100', 'file_7'] }),
    'the files of a user': () =>
      listObjects(database, { userId, kind: 'file', accountIds: ['acc_1'], order: 'newest', after: nobody, limit: 20 }),
    'the hot write': () =>
      database.transaction().execute((trx) => recordCalls()(trx, [{ call: callOf(scene), journaled: true }])),
  }
  for (const subject of ['key', 'user'] as const) {
    asked[`what a ${subject} has used of late`] = () =>
      readConsumption(database, { subject, id: subject === 'key' ? keyId : userId, ...recent })
  }
  const large = ['usage', 'ledger', 'roll_ups', 'roll_up_cells', 'account_objects', 'usage_closings']
  for (const [name, ask] of Object.entries(asked)) {
    queries.length = 0
    const startedMs = performance.now()
    await ask()
    const tookMs = performance.now() - startedMs
    const scans: string[] = []
    const explained = queries.filter(({ sql: text }) => /^(select|insert|update|delete)/.test(text.trim()))
    for (const { sql: text, parameters } of explained) {
      const { rows } = await pool.query<{ 'QUERY PLAN': string }>(`explain ${text}`, parameters as unknown[])
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
      for (const [, table] of plan.matchAll(/Seq Scan on (\w+)/g)) if (large.includes(table as string)) scans.push(plan)
    }
    t.same(scans, [], `${name}: ${explained.length} statements, ${tookMs.toFixed(1)} ms`)
    t.ok(explained.length > 0)
  }
})

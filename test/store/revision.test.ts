import BetterSqlite3 from 'better-sqlite3'
import { Kysely, SqliteDialect, sql } from 'kysely'
import t from 'tap'
import { migrateUp } from '../../src/store/migrate.ts'
import { announce } from '../../src/store/queries/changes.ts'
import { followRevision } from '../../src/store/revision.ts'
import type { Database } from '../../src/store/schema.ts'
import type { Change } from '../../src/store/store.ts'
import { until } from '../support/store.ts'

async function feed() {
  const looks = { good: 0, failed: 0 }
  const database = new Kysely<Database>({
    dialect: new SqliteDialect({ database: new BetterSqlite3(':memory:') }),
    log: ({ level, query }) => {
      if (query.sql.includes('from "revision"')) looks[level === 'error' ? 'failed' : 'good']++
    },
  })
  await migrateUp(database)
  const change = (subject: string) => database.transaction().execute((trx) => announce(trx, { kind: 'user', subject }))
  const seen: (Change[] | null)[] = []
  return { database, looks, change, seen }
}

t.test('while the store does not answer nothing is said; when it does, anything may have changed', async (t) => {
  const { database, looks, change, seen } = await feed()
  t.teardown(followRevision(database, (changes) => seen.push(changes)))
  await until(() => looks.good > 0)
  await change('a')
  await until(() => seen.length > 0)
  t.same(seen, [[{ kind: 'user', subject: 'a' }]])

  await sql`alter table revision rename to away`.execute(database)
  await until(() => looks.failed >= 2)
  t.equal(seen.length, 1, 'what is known is all there is')
  await sql`alter table away rename to revision`.execute(database)
  await until(() => seen.length > 1)
  t.same(seen.slice(1), [null])
  await change('b')
  await until(() => seen.length > 2)
  t.same(seen.slice(2), [[{ kind: 'user', subject: 'b' }]])
  await database.destroy()
})

t.test('a store that does not answer from the first look on', async (t) => {
  const { database, looks, seen } = await feed()
  await sql`alter table revision rename to away`.execute(database)
  t.teardown(followRevision(database, (changes) => seen.push(changes)))
  await until(() => looks.failed > 0)
  await sql`alter table away rename to revision`.execute(database)
  await until(() => seen.length > 0)
  t.same(seen, [null])
  await database.destroy()
})

t.test('a change that comes in the middle of a look is told once', async (t) => {
  const { database, change, seen } = await feed()
  let look = () => {}
  let readings = 0
  const between = database.withPlugin({
    transformQuery: ({ node }) => node,
    async transformResult({ result }) {
      if (++readings === 2) await change('b') // the look at `a` knows the revision, and has not read the changes
      return result
    },
  })
  const wake = (woken: () => void) => {
    look = woken
    return () => {}
  }
  t.teardown(followRevision(between, (changes) => seen.push(changes), wake))
  await until(() => readings === 1)
  await change('a')
  look()
  await until(() => seen.length > 0)
  look()
  await until(() => seen.length > 1)
  t.same(seen, [[{ kind: 'user', subject: 'a' }], [{ kind: 'user', subject: 'b' }]])
  await database.destroy()
})

t.test('changes that come together are told together, and stopped is stopped', async (t) => {
  const { database, looks, change, seen } = await feed()
  const stop = followRevision(database, (changes) => seen.push(changes))
  await until(() => looks.good > 0)
  for (const subject of ['a', 'b', 'c']) await change(subject)
  await until(() => seen.length > 0)
  t.same(
    seen.flat().map((change) => change?.subject),
    ['a', 'b', 'c'],
  )
  stop()
  await change('d')
  const counted = looks.good
  t.teardown(followRevision(database, () => {}))
  await until(() => looks.good >= counted + 2)
  t.equal(seen.flat().length, 3)
  await database.destroy()
})

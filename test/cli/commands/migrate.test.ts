import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { initializedCli, newCli } from '../../support/cli.ts'
import { PostgresServerProcess } from '../../support/postgres.ts'

t.test('status, up and dry-run tell the same story', async (t) => {
  const subgate = await initializedCli()
  t.match((await subgate('migrate', 'status', '--json')).json(), [{ name: '001-init', appliedAt: /^20/ }])
  t.match(await subgate('migrate', 'up', '--dry-run', '--json'), { code: 0, stdout: /"pending": \[\]/ })
  t.match(await subgate('migrate', 'up'), { code: 0, stderr: /up to date/ })
  t.match(await newCli()('migrate', 'status'), { code: 3, stderr: /subgate init/ })
})

t.test('a database without its tables is not used before it is migrated', async (t) => {
  const subgate = await initializedCli()
  const file = `${subgate.dataDir}/subgate.db`
  const database = new Database(file)
  for (const { name } of database.prepare("select name from sqlite_master where type = 'table'").all() as {
    name: string
  }[]) {
    if (!name.startsWith('sqlite_')) database.exec(`pragma foreign_keys = off; drop table "${name}"`)
  }
  database.close()
  t.match(await subgate('user', 'list'), { code: 3, stderr: /needs 1 migration.*subgate migrate up/s })
  t.match((await subgate('migrate', 'status')).stdout, /001-init +pending/)
  t.match(await subgate('migrate', 'up', '--dry-run'), { code: 0, stdout: '001-init\n', stderr: /Nothing was applied/ })
  t.match(await subgate('migrate', 'up'), { code: 0, stdout: '001-init\n' })
  t.match(await subgate('user', 'list'), { code: 0, stderr: /no users yet/ })
})

t.test('to-postgres', async (t) => {
  await using server = await PostgresServerProcess.start()
  const newTarget = async () => {
    const { host, port, user, password, dbname } = server.server(await server.makeDatabase('empty'))
    const url = `postgres://${user}@${host}:${port}/${dbname}?sslmode=disable`
    return { url, dbname, port, env: { SUBGATE_DATABASE_PASSWORD: password ?? '' } }
  }

  await t.test('moves a store, and what it prints makes the gateway use the copy', async (t) => {
    const subgate = await initializedCli()
    await subgate('user', 'add', 'ada@example.com', '--balance', '5')
    const { key } = (await subgate('key', 'issue', 'ada@example.com', '--json')).json<{ key: string }>()
    const { url, env, port } = await newTarget()
    const moving = subgate.with({ env })
    const planned = await moving('migrate', 'to-postgres', '--database-url', url, '--dry-run')
    t.match(planned, { code: 0, stdout: /^users +2$/m, stderr: /which is empty\. Nothing was copied/ })
    const moved = await moving('migrate', 'to-postgres', '--database-url', url)
    t.match(moved, { code: 0, stdout: /^users +2 +balance \$5\.00$/m, stderr: /subgate\.db is as it was/ })
    t.match(moved.stdout, /Both sides count and add up to the same.*Ledger = balances = calls = totals/s)
    t.match(moved.stderr, /copying: 0 %/)
    t.notOk(moved.stderr.includes('\u001b'), 'no bar where there is no terminal')
    t.notOk(`${moved.stdout}${moved.stderr}`.includes(env.SUBGATE_DATABASE_PASSWORD))

    const [, lines = ''] = /\n(run_mode: simple\ndatabase:\n(?: {2}.*\n)+)/.exec(moved.stderr) ?? []
    t.match(lines, `port: ${port}`)
    const file = join(subgate.home, '.config/subgate/config.yaml')
    writeFileSync(file, readFileSync(file, 'utf8').replace('run_mode: simple\n', lines))
    t.match((await moving('config', 'show', '--json')).code, 0)
    t.match((await moving('user', 'list', '--json')).json(), [
      {},
      { email: 'ada@example.com', balanceNanoUsd: 5_000_000_000 },
    ])
    const known = await subgate.with({ env: { ...env, OLD: key } })(
      'key',
      'issue',
      'ada@example.com',
      '--key-from-env',
      'OLD',
    )
    t.match(known, { code: 1, stderr: /key/ }, 'the same master key opens the secret that keys are known by')
    t.match(await moving('migrate', 'to-postgres'), { code: 1, stderr: /holds data already/ })
  })

  await t.test('--json is one document', async (t) => {
    const subgate = await initializedCli()
    const { url, env } = await newTarget()
    const moved = await subgate.with({ env })('migrate', 'to-postgres', '--database-url', url, '--json', '--quiet')
    t.equal(moved.stderr, '')
    t.match(moved.json(), {
      source: join(subgate.dataDir, 'subgate.db'),
      isResumed: false,
      ok: true,
      spilled: 0,
      interrupted: [],
      configuration: /^run_mode: simple\ndatabase:\n/,
      verification: { problems: [], users: 1, calls: 0 },
    })
    const { tables } = moved.json<{ tables: { table: string }[] }>()
    t.match(
      tables.find(({ table }) => table === 'users'),
      { rows: 1, sums: { balance_nano_usd: '0' } },
    )
  })

  await t.test('says what is missing', async (t) => {
    const subgate = await initializedCli()
    t.match(await subgate('migrate', 'to-postgres'), { code: 1, stderr: /where is the PostgreSQL database/ })
    t.match(await subgate('migrate', 'to-postgres', '--database-url', 'mysql://a'), { code: 2 })
    const { url, env } = await newTarget()
    const moving = newCli().with({ env })
    t.match(await moving('migrate', 'to-postgres', '--database-url', url), { code: 3, stderr: /no SQLite database at/ })
  })
})

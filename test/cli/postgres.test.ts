import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Finding } from '../../src/operations/doctor.ts'
import { newCli } from '../support/cli.ts'
import { databaseEnv, PostgresServerProcess } from '../support/postgres.ts'
import { Operator, ServeProcess } from '../support/served.ts'

await using server = await PostgresServerProcess.start()

await t.test('every command works on PostgreSQL, and none shows its password', async (t) => {
  const subgate = newCli()
  const { host, port, user, password, dbname } = server.server(await server.makeDatabase('empty'))
  const name = `postgres://${host}:${port}/${dbname}`
  const passwordFile = join(subgate.home, 'password')
  writeFileSync(passwordFile, `${password}\n`)
  const env = { SUBGATE_DATABASE_PASSWORD_FILE: passwordFile }
  const run = subgate.with({ env })
  const url = `postgres://${user}@${host}:${port}/${dbname}?sslmode=disable`

  t.match(await run('init', '--yes', '--database-url', 'postgres://h:hidden@'), { code: 2, stderr: /must/ })
  t.match(await run('init', '--yes', '--database-url', url), { code: 0, stdout: `made    database       ${name}` })
  t.match(
    readFileSync(join(subgate.home, '.config/subgate/config.yaml'), 'utf8'),
    `run_mode: saas\ndatabase:\n  url: "${url}"`,
  )
  t.match(await run('init', '--yes'), {
    code: 0,
    stdout: `exists  database       ${name}`,
    stderr: /Nothing was overwritten/,
  })
  t.match(await run('migrate', 'status', '--json'), { code: 0, stdout: /001-init/ })
  t.match(await run('migrate', 'up'), { code: 0, stderr: /up to date/ })
  t.match(await run('config', 'show'), {
    code: 0,
    stdout: /database\.url +•+ +file\ndatabase\.password +•+ +environment/,
  })
  t.match(await run('user', 'add', 'ada@example.com', '--balance', '5'), { code: 0 })
  t.match(await run('user', 'credit', 'ada@example.com', '2.5'), { code: 0 })
  t.match((await run('user', 'show', 'ada@example.com', '--json')).json(), { balanceNanoUsd: 7_500_000_000 })
  t.match(await run('usage', 'verify'), { code: 0 })
  const findings = (await run('doctor', '--json')).json<Finding[]>()
  t.same(
    findings.filter(({ result }) => result === 'failed'),
    [],
  )
  t.match(
    findings.find(({ check }) => check === 'database'),
    { result: 'ok', detail: `${name} answers` },
  )
  const wrong = subgate.with({ env: { SUBGATE_DATABASE_PASSWORD: 'not-the-password-at-all' } })
  const refused = await wrong('user', 'list')
  t.match(refused, { code: 3, stdout: '', stderr: /does not let this user in.*28P01/ })
  t.notMatch(refused.stderr, /not-the-password/)
  t.match((await wrong('doctor')).code, 1)
})

await t.test('two processes serve from one database and one data directory', async (t) => {
  const env = databaseEnv(server.server(await server.makeDatabase('empty')))
  const operator = new Operator(t, env)
  await operator.spawn(['init', '--yes'])
  const first = await ServeProcess.start(t, operator)
  const second = await ServeProcess.start(t, operator)
  t.match(first.said, /saas mode.*more than one needs Redis/s)
  for (const { url } of [first, second]) t.equal((await fetch(`${url}/ready`)).status, 200)
  t.equal(await second.stop(), 0)
  t.equal(await first.stop(), 0)
  const rows = await server.query<{ n: string }>(
    env.SUBGATE_DATABASE_DBNAME as string,
    'select count(*) as n from processes',
  )
  t.same(rows, [{ n: '0' }], 'both have said farewell')
})

await t.test('an empty database, and one that is not there: serve says what to do', async (t) => {
  const env = databaseEnv(server.server(await server.makeDatabase('empty')))
  const subgate = newCli()
  writeFileSync(join(subgate.home, 'subgate.yaml'), 'run_mode: saas\n')
  const empty = await subgate.with({ env })('serve', '--listen', '127.0.0.1:0')
  t.match(empty, { code: 3, stderr: /there is no database at postgres:.*subgate init/s })
  const none = await subgate.with({ env: { ...env, SUBGATE_DATABASE_DBNAME: 'none' } })('serve')
  t.match(none, { code: 3, stderr: /PostgreSQL has no such database/ })
})

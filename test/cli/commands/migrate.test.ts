import Database from 'better-sqlite3'
import t from 'tap'
import { initializedCli, newCli } from '../../support/cli.ts'

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

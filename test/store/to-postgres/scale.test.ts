import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { kyselyStore } from '../../../src/store/kysely-store.ts'
import { connectForMigration, openSqlite } from '../../../src/store/sqlite.ts'
import type { Copied } from '../../../src/store/to-postgres/copy.ts'
import { writeManyCalls } from '../../support/many-calls.ts'
import { PostgresServerProcess } from '../../support/postgres.ts'
import { Operator } from '../../support/served.ts'
import { addScene, keptLog, makeSqlite } from '../../support/store.ts'

const CALLS = 200_000
const RSS_MAX_MB = 300
/** How often it is looked how much memory a process has taken, in ms. */
const LOOK_MS = 20

t.test('many calls move in little memory, also when the copy is killed half-way', async (t) => {
  const server = await PostgresServerProcess.start()
  t.teardown(() => server[Symbol.asyncDispose]())
  const { host, port, user, password, dbname } = server.server(await server.makeDatabase('empty'))
  const operator = new Operator(t, { SUBGATE_DATABASE_PASSWORD: password ?? '' })
  const file = join(operator.home, 'subgate.db')
  await fill(file)

  const url = `postgres://${user}@${host}:${port}/${dbname}?sslmode=disable`
  const command = ['migrate', 'to-postgres', '--data-dir', operator.home, '--database-url', url]
  const killed = operator.start(...command)
  let said = ''
  killed.stderr.on('data', (words) => {
    said += words
    if (/ 70 %/.test(said)) killed.kill('SIGKILL')
  })
  t.same(await once(killed, 'exit'), [null, 'SIGKILL'], said)

  const child = operator.start(...command, '--json')
  const looking = setInterval(() => peak(child.pid), LOOK_MS)
  let peakMb = 0
  function peak(pid: number | undefined) {
    const status = readFileSync(`/proc/${pid}/status`, { encoding: 'utf8' })
    peakMb = Math.max(peakMb, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024)
  }
  child.once('exit', () => clearInterval(looking))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  t.match(stderr, /copying: (7|8)\d %/, 'it goes on where it was killed')
  t.notMatch(stderr, /copying: [1-5]\d %/)
  t.match(JSON.parse(stdout) as Copied, {
    isResumed: true,
    verification: { problems: [], users: 10, calls: CALLS, ledgerEntries: CALLS },
  })
  t.comment(`it took ${peakMb.toFixed(0)} MB`)
  t.ok(peakMb > 50 && peakMb < RSS_MAX_MB)
})

async function fill(file: string): Promise<void> {
  await makeSqlite(file)
  const options = { clock: Date.now, log: keptLog().log, processId: 'prs_1', chargeWaitMs: 5000, spill: null }
  await using store = await kyselyStore(openSqlite(file, 'here'), options)
  const scenes = await Promise.all(Array.from({ length: 10 }, () => addScene(store)))
  const database = connectForMigration(file)
  await writeManyCalls(database, scenes, CALLS)
  await database.destroy()
}

import t from 'tap'
import { killAgainAndAgain } from '../support/kill.ts'
import { databaseConfig, PostgresServerProcess } from '../support/postgres.ts'

await using server = await PostgresServerProcess.start()

await t.test('kill -9 under load, on PostgreSQL: money adds up, and no answer is without its row', async (t) => {
  const dbname = await server.makeDatabase('empty')
  await killAgainAndAgain(t, 'saas', 15, databaseConfig(server.server(dbname)))
})

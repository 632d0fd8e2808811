import t from 'tap'
import { PgBouncerProcess, PostgresServerProcess, postgresWorlds } from '../support/postgres.ts'
import { storeContract } from './store.ts'

await using server = await PostgresServerProcess.start()
await using bouncer = await PgBouncerProcess.start(server)
await storeContract(t, postgresWorlds(server, bouncer))

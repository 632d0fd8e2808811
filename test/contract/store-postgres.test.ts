import t from 'tap'
import { PostgresServerProcess, postgresWorlds } from '../support/postgres.ts'
import { storeContract } from './store.ts'

await using server = await PostgresServerProcess.start()
await storeContract(t, postgresWorlds(server))

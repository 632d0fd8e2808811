import t from 'tap'
import { pgliteWorlds } from '../support/store.ts'
import { storeContract } from './store.ts'

await using worlds = pgliteWorlds()
await storeContract(t, worlds)

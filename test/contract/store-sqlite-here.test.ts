import t from 'tap'
import { sqliteWorlds } from '../support/store.ts'
import { storeContract } from './store.ts'

await storeContract(t, sqliteWorlds('here'))

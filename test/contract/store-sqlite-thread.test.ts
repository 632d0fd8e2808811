import t from 'tap'
import { sqliteWorlds } from '../support/store.ts'
import { historiesContract } from './store-histories.ts'
import { operatorsContract } from './store-operators.ts'
import { usageContract } from './store-usage.ts'

// Reads, and so the proof, are the same whoever writes: store-sqlite-here.test.ts has them all.
const worlds = sqliteWorlds('thread')
await t.test("operators' writes", (t) => operatorsContract(t, worlds))
await t.test('usage and money', (t) => usageContract(t, worlds))
await t.test('histories', (t) => historiesContract(t, worlds, 6))

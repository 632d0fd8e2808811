import type { Test } from 'tap'
import type { WorldMaker } from '../support/store.ts'
import { historiesContract } from './store-histories.ts'
import { objectsContract } from './store-objects.ts'
import { operatorsContract } from './store-operators.ts'
import { usageContract } from './store-usage.ts'
import { verifyContract } from './store-verify.ts'

/** Everything that src/store/store.ts promises, on one kind of database. */
export async function storeContract(t: Test, worlds: WorldMaker): Promise<void> {
  await t.test(`operators' writes · ${worlds.name}`, (t) => operatorsContract(t, worlds))
  await t.test(`usage and money · ${worlds.name}`, (t) => usageContract(t, worlds))
  await t.test(`what lies at accounts · ${worlds.name}`, (t) => objectsContract(t, worlds))
  await t.test(`histories · ${worlds.name}`, (t) => historiesContract(t, worlds, 12))
  await t.test(`the proof · ${worlds.name}`, (t) => verifyContract(t, worlds))
}

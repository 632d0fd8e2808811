import * as accounts from './queries/accounts.ts'
import type { Db, Trx } from './queries/db.ts'
import * as groups from './queries/groups.ts'
import * as keys from './queries/keys.ts'
import * as objects from './queries/objects.ts'
import { setPrices } from './queries/prices.ts'
import * as processes from './queries/processes.ts'
import { recordCalls } from './queries/record.ts'
import { putSecretIfAbsent } from './queries/secrets.ts'
import * as usage from './queries/usage.ts'
import * as users from './queries/users.ts'

/**
 * Every write, by name: plain data in, plain data out, each run in one transaction of its own. The names and their JSON
 * are what travels to the writer thread. Made for one transaction at a time and used again by the next, because
 * `usage.record` keeps its compiled statements and the cells that it has made.
 */
function writeOperations() {
  return {
    'users.add': users.addUser,
    'users.set': users.setUser,
    'users.credit': users.creditUser,
    'keys.add': keys.addKey,
    'keys.set': keys.setKey,
    'groups.add': groups.addGroup,
    'groups.set': groups.setGroup,
    'groups.attachAccount': groups.attachAccount,
    'groups.detachAccount': groups.detachAccount,
    'groups.attachUser': groups.attachUser,
    'groups.detachUser': groups.detachUser,
    'accounts.add': accounts.addAccount,
    'accounts.set': accounts.setAccount,
    'accounts.remove': accounts.removeAccount,
    'accounts.rest': accounts.restAccount,
    'accounts.keepWindows': accounts.keepWindows,
    'usage.record': recordCalls(),
    'usage.journal': usage.journalCalls,
    'usage.closeInterrupted': usage.closeInterrupted,
    'usage.pruneSlice': usage.pruneSlice,
    'objects.keep': objects.keepObjects,
    'objects.drop': objects.dropObject,
    'prices.set': setPrices,
    'processes.beat': processes.beat,
    'processes.leave': processes.leave,
    'secrets.putIfAbsent': putSecretIfAbsent,
  } satisfies Record<string, (trx: Trx, input: never, atMs: number) => Promise<unknown>>
}

type WriteOperations = ReturnType<typeof writeOperations>
export type WriteName = keyof WriteOperations
export type WriteInput<Name extends WriteName> = Parameters<WriteOperations[Name]>[1]
export type WriteOutput<Name extends WriteName> = Awaited<ReturnType<WriteOperations[Name]>>

/** Writes of running gateways, which look at nothing that another one could change meanwhile. */
export const SIDE_BY_SIDE: ReadonlySet<WriteName> = new Set<WriteName>([
  'accounts.keepWindows',
  'usage.record',
  'usage.journal',
  'usage.closeInterrupted',
  'usage.pruneSlice',
  'objects.keep',
  'objects.drop',
  'secrets.putIfAbsent',
  'processes.beat',
  'processes.leave',
])

/** Runs writes by their names on one database, each in one transaction; `before` is the first thing in each. */
export function transactions(database: Db, before?: (trx: Trx, name: WriteName) => Promise<void>) {
  // What a transaction has made counts only once it is committed, so no two at a time share what they remember.
  const free: WriteOperations[] = []
  return async <Name extends WriteName>(
    name: Name,
    input: WriteInput<Name>,
    atMs: number,
  ): Promise<WriteOutput<Name>> => {
    const operations = free.pop() ?? writeOperations()
    const operation = operations[name] as (
      trx: Trx,
      input: WriteInput<Name>,
      atMs: number,
    ) => Promise<WriteOutput<Name>>
    const output = await database.transaction().execute(async (trx) => {
      await before?.(trx, name)
      return operation(trx, input, atMs)
    })
    free.push(operations) // not after a failure: what they remember may have been undone
    return output
  }
}

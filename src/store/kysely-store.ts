import { setTimeout } from 'node:timers/promises'
import type { CallRecord } from '../domain/call.ts'
import type { Clock } from '../lib/clock.ts'
import type { Logger } from '../lib/log.ts'
import type { StoreDriver } from './driver.ts'
import { GroupCommit } from './group-commit.ts'
import { findAccount, listAccounts } from './queries/accounts.ts'
import { lastAudits, readRevision } from './queries/changes.ts'
import { findGroup, listGroups, listMembers } from './queries/groups.ts'
import { callerOf, findKey, listKeys } from './queries/keys.ts'
import { lastLedger, listLedger, readStanding } from './queries/ledger.ts'
import { findObjects, listObjects } from './queries/objects.ts'
import { listPrices } from './queries/prices.ts'
import { getSecret } from './queries/secrets.ts'
import { listCalls, readConsumption, reportUsage, showCall, tailCalls } from './queries/usage.ts'
import { findUser, listUsers } from './queries/users.ts'
import { verifyUsage } from './queries/verify.ts'
import { Recorder } from './recorder.ts'
import type { SpillFile } from './spill.ts'
import type { Store } from './store.ts'
import type { WriteInput, WriteName } from './writes.ts'

export interface StoreOptions {
  clock: Clock
  log: Logger
  /** Names this process in the start journal. */
  processId: string
  /** How long a record may wait for its commit before it is spilled, in ms. */
  chargeWaitMs: number
  /** Null: records wait for their commit however long it takes (commands, tests). */
  spill: SpillFile | null
}

/** The store over any driver: reads straight from the queries, writes by name through the driver. */
export async function kyselyStore(driver: StoreDriver, options: StoreOptions): Promise<Store> {
  const { reader } = driver
  const { clock, log, processId } = options
  const write = <Name extends WriteName>(name: Name, input: WriteInput<Name>) => driver.write(name, input, clock())
  const recorder = new Recorder(driver, options)
  const journal = new GroupCommit<CallRecord>({
    lanes: 1,
    commit: (calls) => write('usage.journal', { processId, calls }),
    isOutage: () => true,
  })
  await recorder.replay()

  return {
    users: {
      find: (ref) => findUser(reader, ref),
      list: (page) => listUsers(reader, page),
      add: (input) => write('users.add', input),
      set: (input) => write('users.set', input),
      credit: (input) => write('users.credit', input),
    },
    keys: {
      find: (ref) => findKey(reader, ref),
      list: (page) => listKeys(reader, page),
      callerOf: (hash) => callerOf(reader, hash),
      add: (input) => write('keys.add', input),
      set: (input) => write('keys.set', input),
    },
    groups: {
      find: (ref) => findGroup(reader, ref),
      list: () => listGroups(reader),
      members: (id) => listMembers(reader, id),
      add: (input) => write('groups.add', input),
      set: (input) => write('groups.set', input),
      attachAccount: (input) => write('groups.attachAccount', input),
      detachAccount: (input) => write('groups.detachAccount', input),
      attachUser: (input) => write('groups.attachUser', input),
      detachUser: (input) => write('groups.detachUser', input),
    },
    accounts: {
      find: (ref) => findAccount(reader, ref),
      list: () => listAccounts(reader),
      add: (input) => write('accounts.add', input),
      set: (input) => write('accounts.set', input),
      remove: (input) => write('accounts.remove', input),
      rest: (input) => write('accounts.rest', input),
      keepWindows: (input) => write('accounts.keepWindows', input),
    },
    usage: {
      record: (record, journaled) => recorder.record(record, journaled),
      spilled: () => recorder.spilled(),
      journal: (record) => {
        journal
          .add(record)
          .catch((error: Error) => log.debug({ callId: record.id, reason: error.message }, 'not journaled'))
      },
      closeInterrupted: (input) => write('usage.closeInterrupted', input),
      show: (callId) => showCall(reader, callId),
      tail: (input) => tailCalls(reader, input),
      list: (input) => listCalls(reader, input),
      report: (input) => reportUsage(reader, input),
      consumption: (input) => readConsumption(reader, input),
      prune: (input) => prune((soFar) => write('usage.pruneSlice', { ...input, prunedSoFar: soFar })),
      verify: () => verifyUsage(reader),
    },
    ledger: {
      list: (page) => listLedger(reader, page),
      last: (input) => lastLedger(reader, input),
      standing: (input) => readStanding(reader, input),
    },
    objects: {
      find: (input) => findObjects(reader, input, clock()),
      list: (input) => listObjects(reader, input, clock()),
      keep: (input) => write('objects.keep', input),
      drop: (input) => write('objects.drop', input),
    },
    prices: {
      list: () => listPrices(reader),
      set: (input) => write('prices.set', input),
    },
    audit: { last: (count) => lastAudits(reader, count) },
    secrets: {
      get: (name) => getSecret(reader, name),
      putIfAbsent: (input) => write('secrets.putIfAbsent', input),
    },
    processes: {
      beat: () => write('processes.beat', { id: processId }),
      leave: () => write('processes.leave', { id: processId }),
    },
    onRevision: (listener) => driver.onRevision(listener),
    ping: async () => void (await readRevision(reader)),
    async [Symbol.asyncDispose]() {
      await journal.idle()
      await recorder[Symbol.asyncDispose]()
      await driver[Symbol.asyncDispose]()
    },
  }
}

/** Between two slices, for whoever waits for the lock of a database: SQLite's waiters look again after 25 ms, then 50. */
const PRUNE_PAUSE_MS = 50

async function prune(nextSlice: (soFar: number) => Promise<{ rows: number; done: boolean }>): Promise<number> {
  for (let pruned = 0; ; ) {
    const { rows, done } = await nextSlice(pruned)
    pruned += rows
    if (done) return pruned
    await setTimeout(PRUNE_PAUSE_MS)
  }
}

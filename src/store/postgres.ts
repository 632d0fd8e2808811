import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { DatabaseConfig } from '../config/load.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { StoreDriver } from './driver.ts'
import { ChangeListener } from './postgres-changes.ts'
import { agreedTls, databaseOn, isPassing, newPool } from './postgres-connection.ts'
import type { Db, Trx } from './queries/db.ts'
import { followRevision } from './revision.ts'
import { SIDE_BY_SIDE, transactions, type WriteName } from './writes.ts'

/** Batches of records under way at a time. More of them are smaller ones that wait for each other's rows: docs/decisions.md. */
const RECORD_LANES = 2
/** How long an operator's write waits for those before it, in ms: when the database hangs, each takes its own time-out. */
const TURN_WAIT_MS = 15_000
/** Connections of a command, which asks one thing after the other. */
const COMMAND_CONNECTIONS = 2
/** How often a transaction that was in another one's way is tried, and how long it waits in between, in ms; twice as long each time. */
const TRIES = 6
const PAUSE_MS = 10

/**
 * Opens a PostgreSQL database. `daemon` gives up statements that take too long; a `command` waits as long as whoever has
 * started it. Throws `unavailable`.
 */
export async function openPostgres(
  config: DatabaseConfig,
  role: 'daemon' | 'command',
  { log, random = Math.random }: { log: Logger; random?: () => number },
): Promise<StoreDriver> {
  const { server, direct, connectTimeoutMs, lockTimeoutMs } = config
  const tls = await agreedTls(server, connectTimeoutMs)
  const size = role === 'daemon' ? config.poolSize : COMMAND_CONNECTIONS
  const pool = newPool(server, tls, { size, connectTimeoutMs })
  const limits = { lockTimeoutMs, statementTimeoutMs: role === 'daemon' ? config.statementTimeoutMs : null }
  const reader = databaseOn(pool, server, 'read', limits)
  const write = transactions(databaseOn(pool, server, 'write', limits), takeTurns)
  const inTurn = queue()
  const listener = new ChangeListener(direct, { connectTimeoutMs, log, random })
  const followers = new DisposableStack()
  return {
    reader,
    recordLanes: RECORD_LANES,
    write(name, input, atMs) {
      const work = () => again(random, () => write(name, input, atMs))
      return SIDE_BY_SIDE.has(name) ? work() : inTurn(work)
    },
    onRevision(onChanges) {
      const stop = followRevision(reader, onChanges, (look) => listener.wake(look))
      followers.defer(stop)
      return stop
    },
    async [Symbol.asyncDispose]() {
      followers.dispose()
      await listener[Symbol.asyncDispose]()
      if (!pool.ending) await pool.end()
    },
  }
}

/** A connection for migrations, straight to the database: their lock and their time are nothing for a pooler. Throws `unavailable`. */
export async function connectPostgresForMigration(config: DatabaseConfig): Promise<Db & AsyncDisposable> {
  const { direct, connectTimeoutMs, lockTimeoutMs } = config
  const pool = newPool(direct, await agreedTls(direct, connectTimeoutMs), { size: 1, connectTimeoutMs })
  const database = databaseOn(pool, direct, 'migrate', { lockTimeoutMs, statementTimeoutMs: null })
  return Object.assign(database, { [Symbol.asyncDispose]: () => pool.end() })
}

/**
 * An operator's write looks before it writes (is the name free, does the chain of groups end?), so these take turns, by
 * the row that each of them changes at its end. Pruning must delete exactly the rows that it has added up.
 */
async function takeTurns(trx: Trx, name: WriteName): Promise<void> {
  if (name === 'usage.pruneSlice') await sql`set transaction isolation level repeatable read`.execute(trx)
  else if (!SIDE_BY_SIDE.has(name)) await sql`select revision from revision where id = 1 for update`.execute(trx)
}

/** What takes turns in the database does so here first: it would hold connections that records of calls need. */
function queue() {
  let last: Promise<unknown> = Promise.resolve()
  return <T>(work: () => Promise<T>): Promise<T> => {
    const sinceMs = performance.now()
    const mine = last.then(() => {
      if (performance.now() - sinceMs < TURN_WAIT_MS) return work()
      throw new GatewayError('unavailable', 'PostgreSQL is too busy: other changes were waiting before this one', {
        hint: 'See what runs and waits in pg_stat_activity.',
      })
    })
    last = mine.catch(() => {})
    return mine
  }
}

/** Tries a transaction again that PostgreSQL has given up for another one's sake. */
async function again<T>(random: () => number, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (!isPassing(error) || tries === TRIES) throw error
      await sleep(PAUSE_MS * 2 ** (tries - 1) * (0.5 + random()))
    }
  }
}

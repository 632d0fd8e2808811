import { chmodSync, closeSync, existsSync, openSync } from 'node:fs'
import BetterSqlite3 from 'better-sqlite3'
import { GatewayError } from '../domain/errors.ts'
import { addonPath } from '../lib/native-addon.ts'
import type { StoreDriver } from './driver.ts'
import { changesSince, readRevision } from './queries/changes.ts'
import type { Db } from './queries/db.ts'
import { connectSqlite } from './sqlite-connection.ts'
import type { Change } from './store.ts'
import { WriterThread } from './writer.ts'
import { transactions } from './writes.ts'

/** How often another process's changes are looked for: one read of one row, 5 µs. */
const REVISION_POLL_MS = 250

/** The writer thread never has to wait for the main thread to hand it the next batch. */
const RECORD_LANES = 16

/**
 * Opens a SQLite file. `writer: 'thread'` is the daemon's way (the event loop never waits for the disk);
 * `'here'` is for commands, which have nothing else to do. Throws `unavailable` if there is no such file.
 */
export function openSqlite(file: string, writer: 'thread' | 'here'): StoreDriver {
  if (!existsSync(file)) {
    throw new GatewayError('unavailable', `there is no database at ${file}`, { hint: 'subgate init makes one.' })
  }
  const binding = addonPath('better_sqlite3.node')
  const reader = connectSqlite(file, 'read', binding)
  const writes =
    writer === 'thread' ? new WriterThread(file, binding) : writesHere(connectSqlite(file, 'write', binding))
  const polls = new Set<NodeJS.Timeout>()
  return {
    reader,
    recordLanes: writer === 'thread' ? RECORD_LANES : 1,
    write: (name, input, atMs) => writes.write(name, input, atMs),
    onRevision(listener) {
      const poll = pollRevision(reader, listener)
      polls.add(poll)
      return () => {
        clearInterval(poll)
        polls.delete(poll)
      }
    },
    async [Symbol.asyncDispose]() {
      for (const poll of polls) clearInterval(poll)
      await writes[Symbol.asyncDispose]()
      await reader.destroy()
    },
  }
}

/** Makes an empty database file (0600) if there is none. Migrations do the rest. */
export function createSqliteFile(file: string): void {
  closeSync(openSync(file, 'a', 0o600))
  chmodSync(file, 0o600)
}

/** A connection for migrations, which run outside of the named operations. */
export function connectForMigration(file: string): Db {
  return connectSqlite(file, 'write', addonPath('better_sqlite3.node'))
}

function writesHere(database: Db): Pick<StoreDriver, 'write'> & AsyncDisposable {
  return {
    write: transactions(database),
    [Symbol.asyncDispose]: () => database.destroy(),
  }
}

function pollRevision(reader: Db, listener: (changes: Change[] | null) => void): NodeJS.Timeout {
  let seen: number | null = null
  let looking = false
  const look = async () => {
    if (looking) return
    looking = true
    try {
      const revision = await readRevision(reader)
      const before = seen
      seen = revision
      if (before !== null && revision !== before) listener(await changesSince(reader, before))
    } catch {
      seen = null // the store does not answer: whatever happens meanwhile is unknown
      listener(null)
    } finally {
      looking = false
    }
  }
  void look()
  return setInterval(look, REVISION_POLL_MS)
}

/** Held by the one `serve` of a data directory; it dies with the process. */
export interface DataDirLock extends Disposable {
  release(): void
}

/** Takes the lock of a data directory. Throws `conflict` if another process has it. */
export function lockDataDir(file: string): DataDirLock {
  const binding = addonPath('better_sqlite3.node')
  createSqliteFile(file)
  const database = new BetterSqlite3(file, { timeout: 0, ...(binding !== undefined && { nativeBinding: binding }) })
  try {
    database.exec('begin exclusive')
  } catch {
    database.close()
    throw new GatewayError('conflict', 'another subgate is already serving from this data directory', {
      hint: 'subgate status asks it; for a second gateway use another --data-dir.',
    })
  }
  const release = () => void database.close()
  return { release, [Symbol.dispose]: release }
}

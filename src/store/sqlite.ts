import { chmodSync, closeSync, existsSync, openSync } from 'node:fs'
import BetterSqlite3 from 'better-sqlite3'
import { GatewayError } from '../domain/errors.ts'
import { addonPath } from '../lib/native-addon.ts'
import type { StoreDriver } from './driver.ts'
import type { Db } from './queries/db.ts'
import { followRevision } from './revision.ts'
import { asUnavailable, connectSqlite } from './sqlite-connection.ts'
import { WriterThread } from './writer.ts'
import { transactions } from './writes.ts'

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
  const writes =
    writer === 'thread' ? new WriterThread(file, binding) : writesHere(connectSqlite(file, 'write', binding))
  const reader = connectSqlite(file, 'read', binding)
  const followers = new DisposableStack()
  return {
    reader,
    recordLanes: writer === 'thread' ? RECORD_LANES : 1,
    write: (name, input, atMs) => writes.write(name, input, atMs),
    onRevision(listener) {
      const stop = followRevision(reader, listener)
      followers.defer(stop)
      return stop
    },
    async [Symbol.asyncDispose]() {
      followers.dispose()
      // The last one out moves the log into the file, which a connection for reads cannot do.
      await reader.destroy()
      await writes[Symbol.asyncDispose]()
    },
  }
}

/** Makes an empty database file (0600) if there is none. Migrations do the rest. Throws `unavailable`. */
export function createSqliteFile(file: string): void {
  try {
    // Exclusively: closing a file takes away every lock that this process has on it, SQLite's own too.
    closeSync(openSync(file, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') chmodSync(file, 0o600)
    else throw cannotMake(file, error as Error)
  }
}

function cannotMake(file: string, error: Error): GatewayError {
  return new GatewayError('unavailable', `${file} cannot be made: ${error.message}`, {
    hint: 'Look at the owner and the rights of the data directory, or choose another by --data-dir.',
  })
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

/**
 * Takes the lock of a data directory for the one `serve` that it may have; it dies with the process. Throws `conflict` if
 * another process has it, and `unavailable` if the file cannot be locked at all.
 */
export function lockDataDir(file: string): Disposable {
  const lock = lockFile(file)
  if (lock) return lock
  throw new GatewayError('conflict', 'another subgate is already serving from this data directory', {
    hint: 'subgate status asks it; for a second gateway use another --data-dir.',
  })
}

/** A lock that dies with the process, by a file that is made for it; null if another process has it. Throws `unavailable`. */
export function lockFile(file: string): Disposable | null {
  const binding = addonPath('better_sqlite3.node')
  createSqliteFile(file)
  const database = new BetterSqlite3(file, { timeout: 0, ...(binding !== undefined && { nativeBinding: binding }) })
  try {
    database.exec('begin exclusive')
    return { [Symbol.dispose]: () => void database.close() }
  } catch (error) {
    database.close()
    if (error instanceof BetterSqlite3.SqliteError && error.code === 'SQLITE_BUSY') return null
    throw asUnavailable(error)
  }
}

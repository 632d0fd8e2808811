import BetterSqlite3 from 'better-sqlite3'
import { Kysely, SqliteDialect } from 'kysely'
import { GatewayError } from '../domain/errors.ts'
import type { Db } from './queries/db.ts'
import type { Database } from './schema.ts'

/** How long a write waits for another process's transaction. In the daemon it blocks the writer thread only. */
const BUSY_TIMEOUT_MS = 5000
/** Statements kept prepared per connection. */
const STATEMENTS_MAX = 200

interface Outage {
  sentence: string
  remedy: string
}

const LOCKED: Outage = {
  sentence: 'the database is locked by another process',
  remedy: 'A backup or an open sqlite3 shell can be the cause: end it and try again.',
}
const DAMAGED: Outage = {
  sentence: 'the database file is damaged or is no database',
  remedy: 'Keep a copy of it, then put back a backup, or what `sqlite3 FILE .recover` can save.',
}
const RIGHTS = 'Look at the owner and the rights of the data directory and of the files in it.'

/** SQLite's result codes that mean "not now" or "not at all", rather than a mistake of ours, and what to tell. */
const OUTAGES: Record<string, Outage> = {
  SQLITE_BUSY: LOCKED,
  SQLITE_LOCKED: LOCKED,
  SQLITE_PROTOCOL: LOCKED,
  SQLITE_FULL: { sentence: 'the disk is full', remedy: 'Make room on the disk that holds the data directory.' },
  SQLITE_IOERR: {
    sentence: 'the database cannot be read or written',
    remedy: 'Look at the disk: is it full, gone or failing (dmesg)?',
  },
  SQLITE_NOMEM: { sentence: 'there is no memory left', remedy: 'Give the process more, or run less beside it.' },
  SQLITE_CORRUPT: DAMAGED,
  SQLITE_NOTADB: DAMAGED,
  SQLITE_CANTOPEN: { sentence: 'the database file cannot be opened', remedy: RIGHTS },
  SQLITE_READONLY: { sentence: 'the database file is read-only', remedy: RIGHTS },
  SQLITE_PERM: { sentence: 'the database file may not be accessed', remedy: RIGHTS },
}

/** A statement that begins so takes rows instead of values, and runs once for each; it answers `{ changes }` per row. */
export const EACH_ROW = '/* each row */ '

/** Opens one connection, as kysely sees it. Throws `unavailable`. */
export function connectSqlite(file: string, mode: 'read' | 'write', nativeBinding: string | undefined): Db {
  const connection = translated(() => openConnection(file, mode, nativeBinding))
  const prepared = new Map<string, PreparedStatement>()
  const dialect = new SqliteDialect({
    database: {
      // kysely prepares each time it runs a statement; keeping them took a write from 30 µs to 2 µs.
      prepare(sql) {
        let statement = prepared.get(sql)
        if (!statement) {
          statement = prepare(connection, sql, mode)
          if (prepared.size >= STATEMENTS_MAX) prepared.delete(prepared.keys().next().value as string)
          prepared.set(sql, statement)
        }
        return statement
      },
      close: () => connection.close(),
    },
  })
  return new Kysely<Database>({ dialect })
}

function openConnection(
  file: string,
  mode: 'read' | 'write',
  nativeBinding: string | undefined,
): BetterSqlite3.Database {
  const database = new BetterSqlite3(file, {
    readonly: mode === 'read',
    fileMustExist: true,
    timeout: BUSY_TIMEOUT_MS,
    ...(nativeBinding !== undefined && { nativeBinding }),
  })
  try {
    if (mode === 'write') {
      database.pragma('journal_mode = WAL')
      database.pragma('synchronous = FULL') // an answer's end waits for its charge: the commit must survive a power cut
    }
    database.pragma('foreign_keys = ON')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

interface PreparedStatement {
  readonly reader: boolean
  all(parameters: readonly unknown[]): unknown[]
  run(parameters: readonly unknown[]): BetterSqlite3.RunResult
  iterate(parameters: readonly unknown[]): IterableIterator<unknown>
}

function prepare(connection: BetterSqlite3.Database, sql: string, mode: 'read' | 'write'): PreparedStatement {
  // A deferred `begin` in a read-then-write transaction fails at once (SQLITE_BUSY_SNAPSHOT) instead of waiting.
  const text = sql === 'begin' && mode === 'write' ? 'begin immediate' : sql
  const statement = translated(() => connection.prepare(text))
  if (sql.startsWith(EACH_ROW)) return eachRow(statement)
  if (sql === 'rollback') return rollback(connection, statement)
  return {
    reader: statement.reader,
    all: (parameters) => translated(() => statement.all(parameters)),
    run: (parameters) => translated(() => statement.run(parameters)),
    iterate: (parameters) => statement.iterate(parameters),
  }
}

/** A full disk makes SQLite roll back by itself; a second rollback would fail, and its error hide the first one. */
function rollback(connection: BetterSqlite3.Database, statement: BetterSqlite3.Statement): PreparedStatement {
  return {
    reader: false,
    all: () => [],
    run: () => (connection.inTransaction ? translated(() => statement.run()) : { changes: 0, lastInsertRowid: 0 }),
    iterate: () => [].values(),
  }
}

function eachRow(statement: BetterSqlite3.Statement): PreparedStatement {
  const all = (rows: readonly unknown[]) =>
    translated(() => rows.map((row) => ({ changes: statement.run(row).changes })))
  return {
    reader: true,
    all,
    run: () => {
      throw new Error('a statement for each row answers with rows')
    },
    iterate: (rows) => all(rows).values(),
  }
}

function translated<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw asUnavailable(error)
  }
}

/** An outage as `unavailable` with the remedy; anything else as it is. */
export function asUnavailable(error: unknown): unknown {
  if (!(error instanceof BetterSqlite3.SqliteError)) return error
  const [code] = /^SQLITE_[A-Z]+/.exec(error.code) ?? ['']
  const outage = OUTAGES[code]
  if (!outage) return error
  return new GatewayError('unavailable', `${outage.sentence} (${error.code})`, { hint: outage.remedy })
}

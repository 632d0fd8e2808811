import BetterSqlite3 from 'better-sqlite3'
import { Kysely, SqliteDialect } from 'kysely'
import { GatewayError } from '../domain/errors.ts'
import type { Db } from './queries/db.ts'
import type { Database } from './schema.ts'

/** How long a write waits for another process's transaction. In the daemon it blocks the writer thread only. */
const BUSY_TIMEOUT_MS = 5000
/** Statements kept prepared per connection. */
const STATEMENTS_MAX = 200

/** SQLite's result codes that mean "not now" or "not at all", rather than a mistake of ours, and what to tell. */
const OUTAGES: Record<string, string> = {
  SQLITE_BUSY: 'the database is locked by another process',
  SQLITE_LOCKED: 'the database is locked by another process',
  SQLITE_FULL: 'the disk is full',
  SQLITE_IOERR: 'the database cannot be read or written (I/O error)',
  SQLITE_CORRUPT: 'the database file is damaged',
  SQLITE_NOTADB: 'the database file is not a SQLite database',
  SQLITE_CANTOPEN: 'the database file cannot be opened',
  SQLITE_READONLY: 'the database file is read-only',
  SQLITE_PERM: 'the database file may not be accessed',
}

/** A statement that begins so takes rows instead of values, and runs once for each; it answers `{ changes }` per row. */
export const EACH_ROW = '/* each row */ '

/** Opens one connection, as kysely sees it. Throws `unavailable`. */
export function connectSqlite(file: string, mode: 'read' | 'write', nativeBinding: string | undefined): Db {
  const connection = translated(() => {
    const database = new BetterSqlite3(file, {
      readonly: mode === 'read',
      timeout: BUSY_TIMEOUT_MS,
      ...(nativeBinding !== undefined && { nativeBinding }),
    })
    if (mode === 'write') {
      database.pragma('journal_mode = WAL')
      database.pragma('synchronous = FULL') // an answer's end waits for its charge: the commit must survive a power cut
    }
    database.pragma('foreign_keys = ON')
    return database
  })
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
  return {
    reader: statement.reader,
    all: (parameters) => translated(() => statement.all(parameters)),
    run: (parameters) => translated(() => statement.run(parameters)),
    iterate: (parameters) => statement.iterate(parameters),
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

/** An outage as `unavailable` with a sentence; anything else as it is. */
function asUnavailable(error: unknown): unknown {
  if (!(error instanceof BetterSqlite3.SqliteError)) return error
  const sentence = Object.entries(OUTAGES).find(
    ([code]) => error.code === code || error.code.startsWith(`${code}_`),
  )?.[1]
  return sentence
    ? new GatewayError('unavailable', sentence, { hint: `SQLite says: ${error.message} (${error.code})` })
    : error
}

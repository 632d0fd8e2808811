import { readFileSync } from 'node:fs'
import {
  type DialectAdapter,
  Kysely,
  type PostgresAdapter,
  PostgresDialect,
  type PostgresPool,
  type PostgresPoolClient,
  sql,
} from 'kysely'
import pg from 'pg'
import type { DatabaseConfig } from '../config/load.ts'
import { type PostgresServer, serverName } from '../config/postgres-server.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Db } from './queries/db.ts'
import type { Database } from './schema.ts'

/** How long PostgreSQL keeps a transaction whose process has stopped in the middle of it. */
const IDLE_IN_TRANSACTION_MS = 10_000
/** Over the server's own time-out: a statement that takes longer is on a connection that is dead and does not know it. */
const DEAD_AFTER_MS = 2000
/** Silence on a connection before the system asks whether the other side is still there. */
const KEEP_ALIVE_MS = 10_000
/** What `bigint` is called in the protocol. */
const INT8 = 20
/** Taken by whoever migrates; `subgate` in ASCII. */
const MIGRATION_LOCK = 0x73_75_62_67_61_74_65n

interface Outage {
  sentence: string
  remedy: string
}

const BUSY: Outage = {
  sentence: 'PostgreSQL is too busy, or another transaction holds what this one needs',
  remedy: 'See what runs and waits in pg_stat_activity.',
}
const DAMAGED: Outage = {
  sentence: 'PostgreSQL says that its files are damaged',
  remedy: 'Look at its log; keep a copy of the data before anything else is tried.',
}
const GONE: Outage = {
  sentence: 'PostgreSQL is gone, or just starts or stops',
  remedy: 'Look at its log, and at the network between.',
}
const RIGHTS: Outage = {
  sentence: 'PostgreSQL does not let this user in, or at these tables',
  remedy: 'Look at database.user and its password, at pg_hba.conf, and at who owns the tables.',
}

/**
 * Codes of PostgreSQL, or the beginning of them, that mean "not now" or "not at all" rather than a mistake of ours or of
 * one record (https://www.postgresql.org/docs/current/errcodes-appendix.html). The first that fits counts.
 */
const OUTAGES: [begin: string, Outage][] = [
  [
    '25006',
    { sentence: 'this PostgreSQL is read-only', remedy: 'Is it a standby? Point database.url at the primary.' },
  ],
  ['25P03', BUSY],
  ['3D000', { sentence: 'PostgreSQL has no such database', remedy: 'CREATE DATABASE makes it: docs/operating.md.' }],
  ['42501', RIGHTS],
  [
    '42P07',
    { sentence: "this database holds another program's tables", remedy: 'Give subgate a database of its own.' },
  ],
  ['53100', { sentence: 'the disk of PostgreSQL is full', remedy: 'Make room on it.' }],
  [
    '53300',
    { sentence: 'PostgreSQL has no connection left', remedy: 'Raise max_connections, or lower database.pool_size.' },
  ],
  ['57014', BUSY],
  ['55P03', BUSY],
  ['08', GONE],
  ['28', RIGHTS],
  ['40', BUSY],
  ['53', { sentence: 'PostgreSQL has run out of something', remedy: 'Look at its log.' }],
  ['57', GONE],
  ['58', { sentence: 'PostgreSQL cannot read or write its files', remedy: 'Look at its log and its disk.' }],
  ['XX', DAMAGED],
]

/** Two transactions in each other's way: the same one again may well succeed. */
const PASSING = ['40001', '40P01']

/** True for a transaction that PostgreSQL gave up for another one's sake. */
export function isPassing(error: unknown): boolean {
  return error instanceof Error && PASSING.includes(codeOf(error.cause) ?? '')
}

function codeOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

/** `record`: what a broken connection leaves open. */
const UNSURE: Outage = {
  sentence: 'the connection to PostgreSQL broke while a change was being stored',
  remedy: 'It may be stored or not: look before you repeat it.',
}

/**
 * An outage as `unavailable` with the remedy; anything else as it is. What is no error of PostgreSQL's is one of the
 * connection, unless it is a bug.
 */
export function asUnavailable(error: unknown, server: PostgresServer, during: 'commit' | 'work' = 'work'): unknown {
  if (error instanceof GatewayError || error instanceof TypeError || error instanceof RangeError) return error
  const code = codeOf(error)
  if (code === undefined) {
    const { sentence, remedy } = during === 'commit' ? UNSURE : unreachable(server)
    return outage(sentence, (error as Error).message, remedy, error)
  }
  const [, found] = OUTAGES.find(([begin]) => code.startsWith(begin)) ?? []
  return found ? outage(found.sentence, `${code}: ${(error as Error).message}`, found.remedy, error) : error
}

function unreachable(server: PostgresServer): Outage {
  return {
    sentence: `PostgreSQL does not answer at ${serverName(server)}`,
    remedy: 'Does it run, and is database.url (or host and port, sslmode) right?',
  }
}

function outage(sentence: string, detail: string, hint: string, cause: unknown): GatewayError {
  const error = new GatewayError('unavailable', `${sentence} (${detail})`, { hint })
  error.cause = cause
  return error
}

/** What pg's clients are made with. Nothing is left to PG… variables of the environment, which may be another project's. */
export function clientOptions(server: PostgresServer, tls: Tls, connectTimeoutMs: number): pg.ClientConfig {
  const { host, port, user, password, dbname } = server
  return {
    ...{ host, port, user, database: dbname, ssl: tls, connectionTimeoutMillis: connectTimeoutMs },
    password: () => password ?? '', // a function, or pg would look for it elsewhere
    application_name: 'subgate',
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    types: { getTypeParser: typeParser },
  }
}

/** Columns hold what numbers say exactly, and sums travel as text: what is larger becomes an unsafe number, as on SQLite, which every reader refuses. */
function typeParser(oid: number, format?: 'text' | 'binary') {
  return oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text')
}

export type Tls = Exclude<pg.ClientConfig['ssl'], undefined>

/** TLS as libpq understands the server's sslmode. Throws `unavailable` if the certificates cannot be read. */
export function tlsOf({ host, sslMode, caFile }: PostgresServer): Tls {
  if (sslMode === 'disable' || host.startsWith('/')) return false
  const ca = caFile === null ? {} : { ca: readCertificates(caFile) }
  if (sslMode === 'verify-full') return { rejectUnauthorized: true, ...ca }
  // As in libpq: with certificates to check by, `require` checks as `verify-ca` does.
  if (sslMode === 'verify-ca' || (sslMode === 'require' && caFile !== null)) {
    return { rejectUnauthorized: true, checkServerIdentity: () => undefined, ...ca }
  }
  return { rejectUnauthorized: false }
}

function readCertificates(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new GatewayError('unavailable', `the certificates of database.sslrootcert: ${(error as Error).message}`, {
      hint: 'Name a file of PEM certificates that this user can read.',
    })
  }
}

/**
 * TLS, or none, as the server can: `prefer` takes what there is, so it has to be found out. Throws `unavailable`. A server
 * that refuses the log-in will say so again.
 */
export async function agreedTls(server: PostgresServer, connectTimeoutMs: number): Promise<Tls> {
  const tls = tlsOf(server)
  if (server.sslMode !== 'prefer' || tls === false) return tls
  const client = newClient(server, tls, connectTimeoutMs)
  try {
    await client.connect()
    return tls
  } catch (error) {
    // pg has no code for a server's "no": every failure that is not PostgreSQL's own answer is tried without TLS as well.
    return codeOf(error) === undefined ? false : tls
  } finally {
    await client.end().catch(() => {})
  }
}

/** A connection of its own, outside of any pool; its errors between statements end it and nothing else. */
export function newClient(server: PostgresServer, tls: Tls, connectTimeoutMs: number): pg.Client {
  const client = new pg.Client(clientOptions(server, tls, connectTimeoutMs))
  client.on('error', () => {}) // 'end' follows
  return client
}

/** A pool whose broken connections are replaced by the next ones that are asked for. */
export function newPool(server: PostgresServer, tls: Tls, limits: { size: number; connectTimeoutMs: number }): pg.Pool {
  const pool = new pg.Pool({ ...clientOptions(server, tls, limits.connectTimeoutMs), max: limits.size })
  // While nothing is asked of a connection, its end is an event; without a listener it would end the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => void client.on('error', () => {}))
  return pool
}

/** What a transaction is begun with. */
export type Mode = 'read' | 'write' | 'migrate'

/** The time limits of statements, in ms; null = none. */
export type StatementLimits = Pick<DatabaseConfig, 'lockTimeoutMs'> & { statementTimeoutMs: number | null }

/** The pool as kysely sees it. The caller ends the pool itself. */
export function databaseOn(pool: pg.Pool, server: PostgresServer, mode: Mode, limits: StatementLimits): Db {
  const begin = beginOf(mode, limits)
  const asKysely: PostgresPool = {
    options: {},
    async connect() {
      try {
        return guarded(await pool.connect(), server, begin, limits)
      } catch (error) {
        throw asUnavailable(error, server)
      }
    },
    end: async () => {},
  }
  const dialect = new PostgresDialect({ pool: asKysely })
  return new Kysely<Database>({
    dialect: {
      createAdapter: () => migrationLock(dialect.createAdapter() as PostgresAdapter),
      createDriver: () => dialect.createDriver(),
      createIntrospector: (db) => dialect.createIntrospector(db),
      createQueryCompiler: () => dialect.createQueryCompiler(),
    },
  })
}

/**
 * Limits are set with each transaction, and with its first round trip: PgBouncer refuses them at the start of a
 * connection, and in transaction mode a session's settings are somebody else's next.
 */
function beginOf(mode: Mode, { statementTimeoutMs, lockTimeoutMs }: StatementLimits): string {
  // Several statements of a read are one view; a write sees what others have committed when it gets their locks.
  const begin =
    mode === 'read' ? 'begin isolation level repeatable read read only' : 'begin isolation level read committed'
  if (mode === 'migrate') return begin
  const settings = {
    statement_timeout: statementTimeoutMs ?? 0,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  }
  return [begin, ...Object.entries(settings).map(([name, ms]) => `set local ${name} = ${ms}`)].join('; ')
}

/** Errors in our words, an end to every wait, and nothing asked of a connection that is known to be broken. */
function guarded(
  client: pg.PoolClient,
  server: PostgresServer,
  begin: string,
  { statementTimeoutMs }: StatementLimits,
): PostgresPoolClient {
  let isBroken = false
  const run = async (text: string, parameters: readonly unknown[]) => {
    const deadline =
      statementTimeoutMs !== null && setTimeout(() => breakOff(client), statementTimeoutMs + DEAD_AFTER_MS)
    try {
      return text === 'begin' ? await client.query(begin) : await client.query(text, parameters as unknown[])
    } catch (error) {
      // A server that is ending its sessions says so first; one that has become read-only is a standby now.
      isBroken ||= ['57P', '25006', '08'].some((begins) => (codeOf(error) ?? '08').startsWith(begins))
      throw asUnavailable(error, server, text === 'commit' ? 'commit' : 'work')
    } finally {
      clearTimeout(deadline || undefined)
    }
  }
  return {
    // The server has undone it already; a rollback that fails would hide the first error.
    query: async (text: string, parameters: readonly unknown[] = []) =>
      text === 'rollback' && isBroken ? { command: 'ROLLBACK', rowCount: 0, rows: [] } : run(text, parameters),
    release: (destroy?: boolean) => client.release(destroy || isBroken),
  } as unknown as PostgresPoolClient
}

/** pg has no way to give up one statement; the connection goes with it. */
function breakOff(client: pg.PoolClient): void {
  ;(client as unknown as { connection: { stream: { destroy(error: Error): void } } }).connection.stream.destroy(
    new Error('no answer in time'),
  )
}

/**
 * kysely's own lock belongs to the session and waits for an hour; a pooler would leave it behind. This one is the
 * migration's transaction's.
 */
function migrationLock(adapter: PostgresAdapter): DialectAdapter {
  return Object.assign(adapter, {
    acquireMigrationLock: async (db: Kysely<unknown>) =>
      void (await sql`select pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK)})`.execute(db)),
    releaseMigrationLock: async () => {},
  })
}

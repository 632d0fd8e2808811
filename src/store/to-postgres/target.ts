import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { DatabaseConfig } from '../../config/load.ts'
import { serverName } from '../../config/postgres-server.ts'
import { GatewayError } from '../../domain/errors.ts'
import { migrateUp, migrationStatus } from '../migrate.ts'
import { connectPostgresForMigration } from '../postgres.ts'
import { isPooled } from '../postgres-changes.ts'
import { agreedTls, asUnavailable, newClient } from '../postgres-connection.ts'
import type { Db } from '../queries/db.ts'
import { PROGRESS_TABLE } from './half-copied.ts'
import {
  type RowKey,
  readSlice,
  type Slice,
  TABLE_NAMES,
  type TableName,
  type TableShape,
  type TableTotals,
} from './tables.ts'

/** Taken by whoever copies into a database; `sqlite` in ASCII. */
const COPY_LOCK = 0x73_71_6c_69_74_65n

/** How far one table has come. */
export interface TableProgress {
  rows: number
  lastKey: RowKey | null
  isDone: boolean
}

const NOTHING_YET: TableProgress = { rows: 0, lastKey: null, isDone: false }

/** How far a copy has come. */
export interface CopyProgress {
  isResumed: boolean
  tables: Map<TableName, TableProgress>
  /** What both sides were found to hold; null = not compared yet. */
  compared: TableTotals[] | null
}

/** What a target is before anything is done to it. */
export type TargetState = 'empty' | 'half copied' | 'in use'

/**
 * The PostgreSQL database that a copy goes to. How far the copy has come stands in a table of its own, written in the
 * transactions that move rows, so that it is true whenever the process dies.
 */
export class CopyTarget implements AsyncDisposable {
  readonly name: string
  /** For questions, and migrations. */
  readonly database: Db & AsyncDisposable
  readonly #config: DatabaseConfig
  readonly #client: pg.Client
  #bytes = Buffer.alloc(0)

  private constructor(config: DatabaseConfig, database: Db & AsyncDisposable, client: pg.Client) {
    this.name = serverName(config.direct)
    this.database = database
    this.#config = config
    this.#client = client
  }

  /**
   * Connects, past any pooler that the configuration tells of. Throws `unavailable`, or `conflict` if there is one all the
   * same, or another copy into this database is under way.
   */
  static async open(config: DatabaseConfig): Promise<CopyTarget> {
    await using opened = new AsyncDisposableStack()
    const { direct, connectTimeoutMs } = config
    const client = newClient(direct, await agreedTls(direct, connectTimeoutMs), connectTimeoutMs)
    const target = opened.use(new CopyTarget(config, await connectPostgresForMigration(config), client))
    await target.#ask(() => client.connect())
    if (await target.#ask(() => isPooled(client))) throw isPooler(target.name)
    // What a crash of the server takes back it takes back together with its progress; `end` waits for the disk.
    await target.#query('set statement_timeout = 0; set lock_timeout = 0; set synchronous_commit = off')
    const { rows } = await target.#query(`select pg_try_advisory_lock(${COPY_LOCK}) as is_ours`)
    if (!rows[0]?.is_ours) throw new GatewayError('conflict', `another copy into ${target.name} is under way`)
    opened.move()
    return target
  }

  /** What is in the database already. Throws `unavailable` if it was made by another program. */
  async state(): Promise<TargetState> {
    if (await this.#has(PROGRESS_TABLE)) return 'half copied'
    const migrations = await migrationStatus(this.database)
    if (migrations.every(({ appliedAt }) => appliedAt === null)) return 'empty'
    for (const table of TABLE_NAMES) if (await this.#isUsed(table)) return 'in use'
    return 'empty'
  }

  async #has(table: string): Promise<boolean> {
    const { rows } = await this.#query('select to_regclass($1) is not null as is_there', [table])
    return rows[0]?.is_there as boolean
  }

  async #isUsed(table: TableName): Promise<boolean> {
    if (!(await this.#has(table))) return false
    const rows = table === 'revision' ? 'revision where revision > 0' : table
    return (await this.#query(`select exists (select from ${rows}) as is_used`)).rows[0]?.is_used as boolean
  }

  /**
   * Makes the tables, empty, for a copy of this source, or keeps what an earlier copy has brought; where the source has
   * changed since, that is thrown away.
   */
  async begin(source: string): Promise<CopyProgress> {
    await migrateUp(this.database)
    const noted = await this.#noted()
    const compared = noted.get('compared')
    if (noted.get('source') === source) {
      const tables = TABLE_NAMES.map((table) => [table, progressOf(noted.get(`table ${table}`))] as const)
      return {
        isResumed: true,
        tables: new Map(tables),
        compared: compared === undefined ? null : (JSON.parse(compared) as TableTotals[]),
      }
    }
    await this.#transaction(async () => {
      await this.#query(`create table if not exists ${PROGRESS_TABLE} (name text primary key, value text not null)`)
      await this.#query(`truncate ${[PROGRESS_TABLE, ...TABLE_NAMES].join(', ')}`)
      await this.#note('source', source)
    })
    return { isResumed: false, tables: new Map(TABLE_NAMES.map((table) => [table, NOTHING_YET])), compared: null }
  }

  async #noted(): Promise<Map<string, string>> {
    if (!(await this.#has(PROGRESS_TABLE))) return new Map()
    const { rows } = await this.#query(`select name, value from ${PROGRESS_TABLE}`)
    return new Map(rows.map(({ name, value }) => [name, value]))
  }

  /** Moves the next slice of a table, in one transaction with how far it has come. */
  async copySlice(source: Db, shape: TableShape, before: TableProgress): Promise<TableProgress> {
    const slice = await readSlice(source, shape, before.lastKey)
    const { lastKey } = slice
    const after: TableProgress = { rows: before.rows + slice.rows, lastKey, isDone: lastKey === null }
    await this.#transaction(async () => {
      if (slice.rows > 0) await this.#send(shape, slice)
      await this.#note(`table ${shape.name}`, JSON.stringify(after))
    })
    return after
  }

  async #send(shape: TableShape, { csv }: Slice): Promise<void> {
    const columns = shape.columns.map(({ name }) => `"${name}"`).join(', ')
    const into = this.#client.query(copyFrom(`copy ${shape.name} (${columns}) from stdin (format csv)`))
    const bytes = this.#bytesOf(csv)
    await this.#ask(() => pipeline(Readable.from([bytes]), into))
  }

  /** In memory that the next slice uses again: buffers of their own would pile up to 200 MB before they are collected. */
  #bytesOf(csv: string): Buffer {
    const size = Buffer.byteLength(csv)
    if (size > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(2 * size)
    this.#bytes.write(csv)
    return this.#bytes.subarray(0, size)
  }

  /** Both sides hold the same. From here on calls may come that were not in the source's tables. */
  async noteCompared(totals: TableTotals[]): Promise<void> {
    await this.#note('compared', JSON.stringify(totals))
    await this.#query('analyze') // until it has counted, PostgreSQL plans for empty tables
  }

  /** From now on the database may be served from. */
  async end(): Promise<void> {
    await this.#query('set synchronous_commit = on')
    await this.#query(`drop table ${PROGRESS_TABLE}`)
  }

  async #note(name: string, value: string): Promise<void> {
    const text = `insert into ${PROGRESS_TABLE} values ($1, $2) on conflict (name) do update set value = excluded.value`
    await this.#query(text, [name, value])
  }

  async #transaction(work: () => Promise<void>): Promise<void> {
    await this.#query('begin')
    try {
      await work()
    } catch (error) {
      await this.#client.query('rollback').catch(() => {}) // the first error is the one to tell
      throw error
    }
    await this.#query('commit')
  }

  #query(text: string, values: unknown[] = []): Promise<pg.QueryResult> {
    return this.#ask(() => (values.length > 0 ? this.#client.query(text, values) : this.#client.query(text)))
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw asUnavailable(error, this.#config.direct)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end().catch(() => {})
    await this.database[Symbol.asyncDispose]()
  }
}

/** The lock and the settings of a copy are its session's. */
function isPooler(name: string): GatewayError {
  return new GatewayError('conflict', `a pooler such as PgBouncer answers at ${name}`, {
    hint: 'Give the address of PostgreSQL itself: --database-url, or database.direct_url in the configuration.',
  })
}

function progressOf(noted: string | undefined): TableProgress {
  return noted === undefined ? NOTHING_YET : (JSON.parse(noted) as TableProgress)
}

import { createHash } from 'node:crypto'
import { sql } from 'kysely'
import type { Db } from '../queries/db.ts'
import { asText } from '../queries/sums.ts'
import type { Database } from '../schema.ts'

export type TableName = keyof Database

/** Rows that are read and sent at a time: 3 MB of calls. */
const SLICE_ROWS = 5000

interface TableFacts {
  /** Its rows refer to each other, and are few. */
  inOneGo?: true
  /** Whatever changes it adds a row to this table or to `usage`, so its newest row tells whether it has changed. */
  grows?: true
}

/** Every table, in the order that references need. */
const TABLES: Record<TableName, TableFacts> = {
  settings: {},
  secrets: {},
  users: {},
  groups: { inOneGo: true },
  group_users: {},
  accounts: {},
  group_accounts: {},
  api_keys: {},
  prices: {},
  account_objects: { grows: true },
  running_calls: {},
  processes: {},
  usage_closings: { grows: true },
  roll_up_cells: { grows: true },
  roll_ups: { grows: true },
  ledger: { grows: true },
  usage: { grows: true },
  audit_log: { grows: true },
  changes: { grows: true },
  revision: {},
}

export const TABLE_NAMES = Object.keys(TABLES) as TableName[]

/** What is added up to compare two tables: money and tokens, known by their unit at the end of the name. */
const IS_SUMMED = /_nano_usd$|_tokens$/

/** A table as SQLite describes it. */
export interface TableShape {
  name: TableName
  columns: { name: string; isText: boolean }[]
  /** The columns of its primary key. */
  key: string[]
  summed: string[]
}

export async function shapeOf(sqlite: Db, name: TableName): Promise<TableShape> {
  const { rows } = await sql<{ name: string; type: string; pk: number }>`
    select name, type, pk from pragma_table_info(${name}) order by cid`.execute(sqlite)
  return {
    name,
    columns: rows.map((column) => ({ name: column.name, isText: column.type.toLowerCase() === 'text' })),
    key: rows
      .filter(({ pk }) => pk > 0)
      .sort((a, b) => a.pk - b.pk)
      .map((column) => column.name),
    summed: rows.map((column) => column.name).filter((column) => IS_SUMMED.test(column)),
  }
}

/** The key of a row, in the order of the shape's `key`. */
export type RowKey = (string | number)[]

export interface Slice {
  rows: number
  /** Lines as COPY reads them (format csv). */
  csv: string
  /** Of its last row; null = there is none. */
  lastKey: RowKey | null
  /** Nothing is behind it. */
  isLast: boolean
}

/**
 * The rows behind a key, as SQLite itself writes them down, so that integers keep all their 64 bits. Text is quoted and
 * NULL is nothing, so the two stay apart.
 */
export async function readSlice(sqlite: Db, shape: TableShape, after: RowKey | null): Promise<Slice> {
  const cells = shape.columns.map(({ name, isText }) => {
    const column = sql.ref(name)
    return isText ? sql`coalesce('"' || replace(${column}, '"', '""') || '"', '')` : sql`coalesce(${column}, '')`
  })
  const key = sql.join(shape.key.map((column) => sql.ref(column)))
  const isBehind = after === null ? sql`true` : sql`(${key}) > (${sql.join(after)})`
  const limit = TABLES[shape.name].inOneGo ? Number.MAX_SAFE_INTEGER : SLICE_ROWS
  const { rows } = await sql<{ line: string } & Record<string, string | number>>`
    select ${key}, ${sql.join(cells, sql` || ',' || `)} as line from ${sql.table(shape.name)}
    where ${isBehind} order by ${key} limit ${limit}`.execute(sqlite)
  const last = rows.at(-1)
  return {
    rows: rows.length,
    csv: storable(rows.map(({ line }) => `${line}\n`).join('')),
    lastKey: last ? shape.key.map((column) => last[column] as string | number) : null,
    isLast: rows.length < limit,
  }
}

/** PostgreSQL stores no NUL in a text. */
function storable(csv: string): string {
  return csv.includes('\0') ? csv.replaceAll('\0', '\ufffd') : csv
}

/** What two copies of a table must have in common; sums as text, in all their digits. */
export interface TableTotals {
  table: TableName
  rows: number
  sums: Record<string, string>
}

/** Counts and adds up a table, of SQLite or PostgreSQL. */
export async function totalsOf(database: Db, shape: Pick<TableShape, 'name' | 'summed'>): Promise<TableTotals> {
  const sums = shape.summed.map(
    (column) => sql`${asText(sql`coalesce(sum(${sql.ref(column)}), 0)`)} as ${sql.ref(column)}`,
  )
  const { rows } = await sql<Record<string, string>>`
    select ${sql.join([sql`${asText(sql`count(*)`)} as rows_counted`, ...sums])} from ${sql.table(shape.name)}`.execute(
    database,
  )
  const { rows_counted = '0', ...added } = rows[0] ?? {}
  return { table: shape.name, rows: Number(rows_counted), sums: added }
}

/** Two equal ones of a database at two times mean that nothing was written in between. */
export async function fingerprintOf(sqlite: Db, shapes: readonly TableShape[]): Promise<string> {
  const hash = createHash('sha256')
  for (const shape of shapes) {
    hash.update(`\n${shape.name}\n`)
    if (TABLES[shape.name].grows) hash.update(await newestOf(sqlite, shape.name))
    else for await (const { csv } of slicesOf(sqlite, shape)) hash.update(csv)
  }
  return hash.digest('hex')
}

async function newestOf(sqlite: Db, name: TableName): Promise<string> {
  const { rows } = await sql<{ newest: number | null }>`
    select max(rowid) as newest from ${sql.table(name)}`.execute(sqlite)
  return String(rows[0]?.newest)
}

async function* slicesOf(sqlite: Db, shape: TableShape): AsyncGenerator<Slice> {
  for (let after: RowKey | null = null; ; ) {
    const slice: Slice = await readSlice(sqlite, shape, after)
    yield slice
    if (slice.isLast) return
    after = slice.lastKey
  }
}

import { createHash } from 'node:crypto'
import { sql } from 'kysely'
import type { Db } from '../queries/db.ts'
import { asText } from '../queries/sums.ts'
import type { Database } from '../schema.ts'

export type TableName = keyof Database

/** Rows that are read and sent at a time: 1.2 MB of calls. */
const SLICE_ROWS = 2000

interface TableFacts {
  /** Its rows refer to each other, and are few. */
  inOneGo?: true
  /** It is large. Whatever changes its rows adds or takes away one, here or in `usage`, so that their number and the newest tell. */
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

/**
 * What is added up to compare two tables: money and tokens, known by their unit at the end of the name. Not what stood
 * after each entry of the ledger, which is no amount, and in ten million rows more than SQLite adds up (2^63).
 */
const IS_SUMMED = /(?<!^balance_after)_nano_usd$|_tokens$/

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
  /** Of its last row; null = nothing is behind it. */
  lastKey: RowKey | null
}

/**
 * The rows behind a key, as SQLite itself writes them down, so that integers keep all their 64 bits; in one text, since a
 * text and an object a row are garbage faster than it is collected. Text is quoted and NULL is nothing: they stay apart.
 */
export async function readSlice(sqlite: Db, shape: TableShape, after: RowKey | null): Promise<Slice> {
  const lastKey = TABLES[shape.name].inOneGo ? null : await keyOfRow(sqlite, shape, after, SLICE_ROWS)
  const cells = shape.columns.map(({ name, isText }) => {
    const column = sql.ref(name)
    return isText ? sql`coalesce('"' || replace(${column}, '"', '""') || '"', '')` : sql`coalesce(${column}, '')`
  })
  const { rows } = await sql<{ rows: number; csv: string | null }>`
    select count(*) as rows, group_concat(${sql.join(cells, sql` || ',' || `)}, char(10)) || char(10) as csv
    from ${sql.table(shape.name)} where ${behind(shape, after)} and ${upTo(shape, lastKey)}`.execute(sqlite)
  const { rows: count = 0, csv = null } = rows[0] ?? {}
  return { rows: count, csv: storable(csv ?? ''), lastKey }
}

/** The key of the so-manieth row behind another; null if there are not so many. */
async function keyOfRow(sqlite: Db, shape: TableShape, after: RowKey | null, nth: number): Promise<RowKey | null> {
  const { rows } = await sql<Record<string, string | number>>`
    select ${keyOf(shape)} from ${sql.table(shape.name)} where ${behind(shape, after)}
    order by ${keyOf(shape)} limit 1 offset ${nth - 1}`.execute(sqlite)
  const [row] = rows
  return row ? shape.key.map((column) => row[column] as string | number) : null
}

function keyOf({ key }: TableShape) {
  return sql.join(key.map((column) => sql.ref(column)))
}

function behind(shape: TableShape, key: RowKey | null) {
  return key === null ? sql`true` : sql`(${keyOf(shape)}) > (${sql.join(key)})`
}

function upTo(shape: TableShape, key: RowKey | null) {
  return key === null ? sql`true` : sql`(${keyOf(shape)}) <= (${sql.join(key)})`
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
  const { rows } = await sql<{ newest: number | null; rows: number }>`
    select max(rowid) as newest, count(*) as rows from ${sql.table(name)}`.execute(sqlite)
  return JSON.stringify(rows)
}

async function* slicesOf(sqlite: Db, shape: TableShape): AsyncGenerator<Slice> {
  for (let after: RowKey | null = null; ; ) {
    const slice: Slice = await readSlice(sqlite, shape, after)
    yield slice
    if (slice.lastKey === null) return
    after = slice.lastKey
  }
}

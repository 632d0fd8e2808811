import { randomInt } from 'node:crypto'
import { sql } from 'kysely'
import type { CallRecord } from '../../domain/call.ts'
import {
  CELL_COLUMNS,
  cellOf,
  countUsage,
  ROLL_UP_COUNTERS,
  ROLL_UP_MS,
  toUsageRow,
  USAGE_COLUMNS,
} from '../columns.ts'
import type { Database, LedgerTable, UsageTable } from '../schema.ts'
import { type Db, inSlices, isServer, type Trx } from './db.ts'
import { rowsStatement } from './statement.ts'

/** One call on its way into the store. */
export interface RecordEntry {
  call: CallRecord
  /** It has a row in the start journal. */
  journaled: boolean
}

/** Cells whose ids are remembered; they change every quarter of an hour. */
const CELLS_KNOWN_MAX = 20_000

/**
 * The hot write: usage rows, balances, ledger and roll-ups of a batch of calls, in the transaction that it is given. A
 * call that is already there is left alone and moves nothing. Made anew for each transaction at a time, and after one that
 * failed, because it remembers compiled statements and the cells that it has made.
 *
 * Everything is locked in one order, table by table and in each by its key, so that no two processes wait for each other.
 */
export function recordCalls(): (trx: Trx, batch: readonly RecordEntry[]) => Promise<void> {
  const statements = recordStatements()
  const cellIds = new Map<string, number>()
  return async (trx, unordered) => {
    const batch = unordered.toSorted((a, b) => byText(a.call.id, b.call.id))
    const rows = batch.map((entry) => toUsageRow(entry.call))
    const inserted = await insertUsage(trx, statements, rows)
    const late = rows.filter(
      (row, index) => !inserted[index] && batch[index]?.journaled && row.outcome !== 'interrupted',
    )
    const givenUp = await takeBack(trx, late)
    const takenBack = new Set(givenUp.map((row) => row.id))
    const replaced = late.filter((row) => takenBack.has(row.id))
    const reinserted = await insertUsage(trx, statements, replaced)
    const fresh = [...rows.filter((_, index) => inserted[index]), ...replaced.filter((_, index) => reinserted[index])]
    await charge(trx, statements, fresh)
    await rollUp(trx, statements, cellIds, fresh, givenUp)
    const journaled = batch.filter((entry) => entry.journaled)
    await statements.deleteTraces(
      trx,
      journaled.map((entry) => [entry.call.id]),
    )
  }
}

function insertUsage(trx: Trx, statements: Statements, rows: UsageTable[]): Promise<boolean[]> {
  return statements.insertUsage(
    trx,
    rows.map((row) => USAGE_COLUMNS.map((column) => row[column])),
  )
}

/**
 * Deletes the rows of calls that were taken for interrupted, because their process was out of reach for so long, and have
 * ended after all. Returns what they were.
 */
async function takeBack(trx: Trx, late: UsageTable[]): Promise<UsageTable[]> {
  const ids = late.map((row) => row.id)
  return inSlices(ids, (slice) =>
    trx.deleteFrom('usage').where('id', 'in', slice).where('outcome', '=', 'interrupted').returningAll().execute(),
  )
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Which of these calls are recorded. */
export async function recordedOf(db: Db, callIds: readonly string[]): Promise<string[]> {
  const rows = await inSlices(callIds, (ids) => db.selectFrom('usage').select('id').where('id', 'in', ids).execute())
  return rows.map((row) => row.id)
}

type Statements = ReturnType<typeof recordStatements>

function recordStatements() {
  return {
    insertUsage: rowsStatement(
      USAGE_COLUMNS,
      (db, rows: UsageTable[]) =>
        db
          .insertInto('usage')
          .values(rows)
          .onConflict((conflict) => conflict.column('id').doNothing()),
      'id',
    ),
    insertLedger: rowsStatement(
      LEDGER_COLUMNS,
      (db, rows: LedgerTable[]) => db.insertInto('ledger').values(rows),
      'id',
    ),
    insertCells: rowsStatement(
      ['id', ...CELL_COLUMNS],
      (db, rows: Database['roll_up_cells'][]) =>
        db
          .insertInto('roll_up_cells')
          .values(rows)
          .onConflict((conflict) => conflict.doNothing()),
      'id',
    ),
    addToRollUps: rowsStatement(
      ['cell_id', ...ROLL_UP_COUNTERS],
      (db, rows: Database['roll_ups'][]) =>
        db
          .insertInto('roll_ups')
          .values(rows)
          .onConflict((conflict) =>
            conflict
              .column('cell_id')
              .doUpdateSet((e) =>
                Object.fromEntries(
                  ROLL_UP_COUNTERS.map((name) => [name, e(e.ref(`roll_ups.${name}`), '+', e.ref(`excluded.${name}`))]),
                ),
              ),
          ),
      'cell_id',
    ),
    deleteTraces: rowsStatement(
      ['id'],
      (db, rows: Pick<Database['running_calls'], 'id'>[]) =>
        db.deleteFrom('running_calls').where(
          'id',
          'in',
          rows.map((row) => row.id),
        ),
      'id',
    ),
  }
}

const LEDGER_COLUMNS = [
  'id',
  'user_id',
  'at_ms',
  'kind',
  'amount_nano_usd',
  'balance_after_nano_usd',
  'actor',
  'note',
] as const satisfies (keyof LedgerTable)[]

/** Takes what the calls are charged from their users' balances, each user once, and enters each call into the ledger. */
async function charge(trx: Trx, statements: Statements, fresh: UsageTable[]): Promise<void> {
  const charged = fresh.filter((row) => row.payer === 'balance' && row.charged_nano_usd > 0)
  if (charged.length === 0) return
  const byUser = Map.groupBy(charged, (row) => row.user_id)
  const debits = Array.from(byUser, ([userId, calls]) => {
    const amount = calls.reduce((sum, row) => sum + row.charged_nano_usd, 0)
    requireExact([amount])
    return sql`(${userId}, cast(${amount} as bigint))`
  })
  // VALUES names its columns column1, column2 … on SQLite and PostgreSQL alike.
  const values = sql`values ${sql.join(debits)}`
  const debit = isServer(trx)
    ? sql`(select column1, column2 from (${values}) as debit join users on users.id = column1 order by 1 for update of users)`
    : sql`(${values})`
  const { rows: after } = await sql<{ id: string; balance_nano_usd: number }>`
    update users set balance_nano_usd = balance_nano_usd - debit.column2 from ${debit} as debit
    where users.id = debit.column1 returning users.id, users.balance_nano_usd`.execute(trx)
  if (after.length < byUser.size) throw new Error('a call is charged to a user who does not exist')
  requireExact(after.map((user) => user.balance_nano_usd))
  const entries = after.flatMap(({ id: userId, balance_nano_usd: last }) => {
    const calls = byUser.get(userId) ?? []
    let balance = calls.reduce((sum, row) => sum + row.charged_nano_usd, last)
    return calls.map((row) => {
      balance -= row.charged_nano_usd
      return [row.id, userId, row.ended_at_ms, 'charge', -row.charged_nano_usd, balance, null, null]
    })
  })
  await statements.insertLedger(trx, entries)
}

interface CellAddition {
  cell: (string | number)[]
  counters: number[]
}

/** Adds rows to their cells, and takes others out of theirs, each cell once. */
async function rollUp(
  trx: Trx,
  statements: Statements,
  known: Map<string, number>,
  added: UsageTable[],
  takenBack: UsageTable[],
): Promise<void> {
  const cells = new Map<string, CellAddition>()
  for (const row of added) countUsage(additionFor(cells, row), row, 1)
  for (const row of takenBack) countUsage(additionFor(cells, row), row, -1)
  if (known.size > CELLS_KNOWN_MAX) known.clear()
  const additions: number[][] = []
  for (const [identity, { cell, counters }] of [...cells].sort(([a], [b]) => byText(a, b))) {
    const id = known.get(identity) ?? (await cellId(trx, statements, cell))
    known.set(identity, id)
    requireExact(counters)
    additions.push([id, ...counters])
  }
  await statements.addToRollUps(trx, additions)
}

/** The counters of the cell that a row belongs to. */
function additionFor(cells: Map<string, CellAddition>, row: UsageTable): number[] {
  const cell = cellOf(row)
  const identity = cell.join('\n')
  let found = cells.get(identity)
  if (!found) {
    found = { cell, counters: new Array<number>(ROLL_UP_COUNTERS.length).fill(0) }
    cells.set(identity, found)
  }
  return found.counters
}

/** Numbers that have grown past 2^53 are not written: those of a batch may still be stored one by one. */
function requireExact(numbers: readonly number[]): void {
  if (!numbers.every(Number.isSafeInteger)) throw new Error('amounts add up to more than a number can say exactly')
}

/**
 * The id of a cell, which is made if it is not there: the period's number and 30 random bits, so that the cells of one
 * time lie together, and so few that ids stay below 2^53 until the year 2200.
 */
async function cellId(trx: Trx, statements: Statements, cell: (string | number)[]): Promise<number> {
  for (;;) {
    const id = (Number(cell[0]) / ROLL_UP_MS) * 2 ** 30 + randomInt(2 ** 30)
    const [made] = await statements.insertCells(trx, [[id, ...cell]])
    if (made) return id
    const wanted = CELL_COLUMNS.map((column, index) => sql`${sql.ref(column)} = ${cell[index]}`)
    const { rows } = await sql<{
      id: number
    }>`select id from roll_up_cells where ${sql.join(wanted, sql` and `)}`.execute(trx)
    if (rows[0]) return rows[0].id // else the random bits were taken: others
  }
}

import { type CompiledQuery, type RawBuilder, sql } from 'kysely'
import type { CallRecord } from '../../domain/call.ts'
import { CELL_COLUMNS, cellOf, countUsage, ROLL_UP_COUNTERS, toUsageRow, USAGE_COLUMNS } from '../columns.ts'
import type { LedgerTable, RollUpHistograms, UsageSums, UsageTable } from '../schema.ts'
import type { Db, Trx } from './db.ts'
import { rowsStatement } from './statement.ts'

/** One call on its way into the store. */
export interface RecordEntry {
  call: CallRecord
  /** It has a row in the start journal. */
  journaled: boolean
}

/**
 * The hot write: usage rows, balances, ledger and roll-ups of a batch of calls, in the transaction that it is given. A
 * call that is already there is left alone and moves nothing. Made once per connection, because it keeps its compiled
 * statements.
 */
export function recordCalls(): (trx: Trx, batch: readonly RecordEntry[]) => Promise<void> {
  const statements = recordStatements()
  return async (trx, batch) => {
    const rows = batch.map((entry) => toUsageRow(entry.call))
    const inserted = await statements.insertUsage(trx, rows.map(usageValues))
    const fresh = onlyInserted(rows, inserted)
    await charge(trx, statements, fresh)
    await statements.addToRollUps(trx, rollUp(fresh))
    const journaled = batch.filter((entry) => entry.journaled).map((entry) => entry.call.id)
    if (journaled.length > 0) await trx.deleteFrom('running_calls').where('id', 'in', journaled).execute()
  }
}

function recordStatements() {
  return {
    insertUsage: rowsStatement(USAGE_COLUMNS, (db, rows: UsageTable[]) =>
      db
        .insertInto('usage')
        .values(rows)
        .onConflict((conflict) => conflict.column('id').doNothing())
        .returning('id'),
    ),
    // VALUES names its columns column1, column2 … on SQLite and PostgreSQL alike.
    debitUsers: rowsStatement(['id', 'amount'], (db, debits: { id: string; amount: number }[]) =>
      compiled<{ id: string; balance_nano_usd: number }>(
        db,
        sql`update users set balance_nano_usd = balance_nano_usd - debit.column2
          from (values ${sql.join(debits.map(({ id, amount }) => sql`(${id}, cast(${amount} as bigint))`))}) as debit
          where users.id = debit.column1 returning users.id, users.balance_nano_usd`,
      ),
    ),
    insertLedger: rowsStatement(LEDGER_COLUMNS, (db, rows: LedgerTable[]) => db.insertInto('ledger').values(rows)),
    addToRollUps: rowsStatement([...CELL_COLUMNS, ...ROLL_UP_COUNTERS], (db, rows: (UsageSums & RollUpHistograms)[]) =>
      db
        .insertInto('roll_ups')
        .values(rows)
        .onConflict((conflict) =>
          conflict
            .columns(CELL_COLUMNS)
            .doUpdateSet((e) =>
              Object.fromEntries(
                ROLL_UP_COUNTERS.map((name) => [name, e(e.ref(`roll_ups.${name}`), '+', e.ref(`excluded.${name}`))]),
              ),
            ),
        ),
    ),
  }
}

/** SQL that kysely's builder has no words for, in the shape of its statements. */
function compiled<Row>(db: Db, query: RawBuilder<Row>): { compile(): CompiledQuery<Row> } {
  return { compile: () => query.compile(db) }
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

function usageValues(row: UsageTable): unknown[] {
  return USAGE_COLUMNS.map((column) => row[column])
}

/** A call twice in one batch counts once. */
function onlyInserted(rows: readonly UsageTable[], inserted: readonly { id: string }[]): UsageTable[] {
  const ids = new Set(inserted.map((row) => row.id))
  return rows.filter((row) => ids.delete(row.id))
}

/** Takes what the calls are charged from their users' balances, each user once, and enters each call into the ledger. */
async function charge(trx: Trx, statements: ReturnType<typeof recordStatements>, fresh: UsageTable[]): Promise<void> {
  const charged = fresh.filter((row) => row.payer === 'balance' && row.charged_nano_usd > 0)
  if (charged.length === 0) return
  const byUser = Map.groupBy(charged, (row) => row.user_id)
  const debits = Array.from(byUser, ([userId, calls]) => [
    userId,
    calls.reduce((sum, row) => sum + row.charged_nano_usd, 0),
  ])
  const after = await statements.debitUsers(trx, debits)
  if (after.length < byUser.size) throw new Error('a call is charged to a user who does not exist')
  const entries = after.flatMap(({ id: userId, balance_nano_usd: last }) => {
    let balance = last
    const rows = (byUser.get(userId) ?? []).toReversed().map((row) => {
      const entry = [row.id, userId, row.ended_at_ms, 'charge', -row.charged_nano_usd, balance, null, null]
      balance += row.charged_nano_usd
      return entry
    })
    return rows.reverse()
  })
  await statements.insertLedger(trx, entries)
}

/** Cell and counters of each cell that the rows touch, so that a batch writes each cell once. */
function rollUp(rows: readonly UsageTable[]): (string | number)[][] {
  const cells = new Map<string, { cell: (string | number)[]; counters: number[] }>()
  for (const row of rows) {
    const cell = cellOf(row)
    const identity = cell.join('\n')
    let found = cells.get(identity)
    if (!found) {
      found = { cell, counters: new Array<number>(ROLL_UP_COUNTERS.length).fill(0) }
      cells.set(identity, found)
    }
    countUsage(found.counters, row)
  }
  return Array.from(cells.values(), ({ cell, counters }) => [...cell, ...counters])
}

import type { CallRecord } from '../../domain/call.ts'
import { newId } from '../../lib/id.ts'
import { CELL_COLUMNS, cellOf, countUsage, ROLL_UP_COUNTERS, toUsageRow, USAGE_COLUMNS } from '../columns.ts'
import type { LedgerTable, RollUpHistograms, UsageSums, UsageTable } from '../schema.ts'
import type { Trx } from './db.ts'
import { rowsStatement } from './statement.ts'

/** One call on its way into the store. */
export interface RecordEntry {
  call: CallRecord
  /** It has a row in the start journal. */
  journaled: boolean
}

const LEDGER_COLUMNS = [
  'id',
  'user_id',
  'at_ms',
  'kind',
  'amount_nano_usd',
  'balance_after_nano_usd',
  'call_id',
  'actor',
  'note',
] as const satisfies (keyof LedgerTable)[]

type RollUpRow = UsageSums & RollUpHistograms

/**
 * The hot write: usage rows, balances, ledger, keys' spending and roll-ups of a batch of calls, in the transaction that
 * it is given. A call that is already there is left alone and moves nothing. Made once per connection, because it keeps
 * its compiled statements.
 */
export function recordCalls(): (trx: Trx, batch: readonly RecordEntry[]) => Promise<void> {
  const insertUsage = rowsStatement(USAGE_COLUMNS, (db, rows: UsageTable[]) =>
    db
      .insertInto('usage')
      .values(rows)
      .onConflict((conflict) => conflict.column('id').doNothing())
      .returning('id'),
  )
  const insertLedger = rowsStatement(LEDGER_COLUMNS, (db, rows: LedgerTable[]) => db.insertInto('ledger').values(rows))
  const debitUser = rowsStatement(['id', 'amount'], (db, [debit]: Debit[]) =>
    db
      .updateTable('users')
      .set((e) => ({ balance_nano_usd: e('balance_nano_usd', '-', debit?.amount as number) }))
      .where('id', '=', debit?.id as string)
      .returning('balance_nano_usd'),
  )
  const addToKey = rowsStatement(['id', 'amount'], (db, [debit]: Debit[]) =>
    db
      .updateTable('api_keys')
      .set((e) => ({ spent_nano_usd: e('spent_nano_usd', '+', debit?.amount as number) }))
      .where('id', '=', debit?.id as string),
  )
  const addToRollUps = rowsStatement([...CELL_COLUMNS, ...ROLL_UP_COUNTERS], (db, rows: RollUpRow[]) =>
    db
      .insertInto('roll_ups')
      .values(rows)
      .onConflict((conflict) =>
        conflict
          .columns(CELL_COLUMNS)
          .doUpdateSet((e) =>
            Object.fromEntries(
              ROLL_UP_COUNTERS.map((column) => [
                column,
                e(e.ref(`roll_ups.${column}`), '+', e.ref(`excluded.${column}`)),
              ]),
            ),
          ),
      ),
  )

  return async (trx, batch) => {
    const rows = batch.map((entry) => toUsageRow(entry.call))
    const inserted = new Set(
      (
        await insertUsage(
          trx,
          rows.map((row) => USAGE_COLUMNS.map((column) => row[column])),
        )
      ).map((row) => row.id),
    )
    const fresh = rows.filter((row) => inserted.delete(row.id)) // a call twice in one batch counts once

    const charges = fresh.filter((row) => row.payer === 'balance' && row.charged_nano_usd > 0)
    const balances = new Map<string, number>()
    for (const [id, amount] of sumBy(
      charges,
      (row) => row.user_id,
      (row) => row.charged_nano_usd,
    )) {
      const [user] = await debitUser(trx, [[id, amount]])
      if (!user) throw new Error(`call charged to the user ${id}, who does not exist`)
      balances.set(id, user.balance_nano_usd + amount)
    }
    await insertLedger(
      trx,
      charges.map((row) => {
        const after = (balances.get(row.user_id) as number) - row.charged_nano_usd
        balances.set(row.user_id, after)
        const amount = -row.charged_nano_usd
        return [newId('led'), row.user_id, row.ended_at_ms, 'charge', amount, after, row.id, null, null]
      }),
    )

    const spending = (row: UsageTable) => (row.payer === 'none' ? row.cost_nano_usd : row.charged_nano_usd)
    for (const [id, amount] of sumBy(fresh, (row) => row.key_id, spending)) {
      if (amount > 0) await addToKey(trx, [[id, amount]])
    }

    await addToRollUps(trx, rollUp(fresh))

    const journaled = batch.filter((entry) => entry.journaled).map((entry) => entry.call.id)
    if (journaled.length > 0) await trx.deleteFrom('running_calls').where('id', 'in', journaled).execute()
  }
}

interface Debit {
  id: string
  amount: number
}

function sumBy<T>(rows: readonly T[], keyOf: (row: T) => string, amountOf: (row: T) => number): Map<string, number> {
  const sums = new Map<string, number>()
  for (const row of rows) sums.set(keyOf(row), (sums.get(keyOf(row)) ?? 0) + amountOf(row))
  return sums
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

import type { Selectable } from 'kysely'
import { GatewayError } from '../../domain/errors.ts'
import { newLedgerId } from '../../lib/id.ts'
import type { LedgerTable } from '../schema.ts'
import type { Actor, LedgerEntry, LedgerStore, Standing } from '../store.ts'
import { type Db, notFound, requireRow, type Trx } from './db.ts'
import { recordedOf } from './record.ts'
import { asText, exactNumber } from './sums.ts'

/** Moves a balance by hand: the one way but for charges, and always with its ledger row. Throws `invalid_request` beyond ±$9 million. */
export async function enterLedger(
  trx: Trx,
  entry: { userId: string; amountNanoUsd: number; kind: LedgerEntry['kind']; note: string | null; by: Actor },
  atMs: number,
): Promise<void> {
  await requireRow(trx, 'users', entry.userId)
  const { balance } = await trx
    .updateTable('users')
    .set((row) => ({ balance_nano_usd: row('balance_nano_usd', '+', entry.amountNanoUsd) }))
    .where('id', '=', entry.userId)
    .returning('balance_nano_usd as balance')
    .executeTakeFirstOrThrow()
  if (!Number.isSafeInteger(balance)) {
    throw new GatewayError('invalid_request', 'the balance would leave the range of ±$9,007,199')
  }
  await trx
    .insertInto('ledger')
    .values({
      id: newLedgerId(atMs),
      user_id: entry.userId,
      at_ms: atMs,
      kind: entry.kind,
      amount_nano_usd: entry.amountNanoUsd,
      balance_after_nano_usd: balance,
      actor: entry.by,
      note: entry.note,
    })
    .execute()
}

export async function listLedger(db: Db, page: Parameters<LedgerStore['list']>[0]): Promise<LedgerEntry[]> {
  const rows = await db
    .selectFrom('ledger')
    .selectAll()
    .where('user_id', '=', page.userId)
    .$if(page.after !== undefined, (query) =>
      query.where((e) =>
        e(
          e.refTuple('at_ms', 'id'),
          '>',
          e
            .selectFrom('ledger as l')
            .select(['l.at_ms', 'l.id'])
            .where('l.id', '=', page.after as string)
            .$asTuple('at_ms', 'id'),
        ),
      ),
    )
    .orderBy('at_ms')
    .orderBy('id')
    .limit(page.limit)
    .execute()
  return rows.map(toLedgerEntry)
}

/** The newest entries, oldest first. */
export async function lastLedger(db: Db, input: Parameters<LedgerStore['last']>[0]): Promise<LedgerEntry[]> {
  const rows = await db
    .selectFrom('ledger')
    .selectAll()
    .where('user_id', '=', input.userId)
    .orderBy('at_ms', 'desc')
    .orderBy('id', 'desc')
    .limit(input.count)
    .execute()
  return rows.reverse().map(toLedgerEntry)
}

/** One view of a caller's money for live state to start from. */
export async function readStanding(db: Db, input: Parameters<LedgerStore['standing']>[0]): Promise<Standing> {
  return db.transaction().execute(async (view) => {
    const user = await view
      .selectFrom('users')
      .select('balance_nano_usd')
      .where('id', '=', input.userId)
      .executeTakeFirst()
    if (!user) throw notFound('users', input.userId)
    const spent = await view
      .selectFrom('roll_ups')
      .innerJoin('roll_up_cells', 'roll_up_cells.id', 'roll_ups.cell_id')
      .select((e) => asText(e.fn.sum(input.spending === 'cost' ? 'cost_nano_usd' : 'charged_nano_usd')).as('total'))
      .where('key_id', '=', input.keyId)
      .executeTakeFirst()
    return {
      balanceNanoUsd: user.balance_nano_usd,
      keySpentNanoUsd: exactNumber(spent?.total ?? '0'),
      recordedCallIds: await recordedOf(view, input.callIds),
    }
  })
}

function toLedgerEntry(row: Selectable<LedgerTable>): LedgerEntry {
  return {
    id: row.id,
    userId: row.user_id,
    atMs: row.at_ms,
    kind: row.kind as LedgerEntry['kind'],
    amountNanoUsd: row.amount_nano_usd,
    balanceAfterNanoUsd: row.balance_after_nano_usd,
    callId: row.kind === 'charge' ? row.id : null,
    actor: row.actor,
    note: row.note,
  }
}

import { sql } from 'kysely'
import { GatewayError } from '../../domain/errors.ts'
import { newLedgerId } from '../../lib/id.ts'
import type { Actor, LedgerEntry, LedgerStore, Standing } from '../store.ts'
import type { Db, Trx } from './db.ts'

/** Moves a balance by hand: the one way but for charges, and always with its ledger row. Throws `invalid_request` beyond ±$9 million. */
export async function enterLedger(
  trx: Trx,
  entry: { userId: string; amountNanoUsd: number; kind: LedgerEntry['kind']; note: string | null; by: Actor },
  atMs: number,
): Promise<void> {
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
  return rows.map((row) => ({
    id: row.id,
    userId: row.user_id,
    atMs: row.at_ms,
    kind: row.kind as LedgerEntry['kind'],
    amountNanoUsd: row.amount_nano_usd,
    balanceAfterNanoUsd: row.balance_after_nano_usd,
    callId: row.kind === 'charge' ? row.id : null,
    actor: row.actor,
    note: row.note,
  }))
}

/** One view of a caller's money for live state to start from. */
export async function readStanding(db: Db, input: Parameters<LedgerStore['standing']>[0]): Promise<Standing> {
  return db.transaction().execute(async (view) => {
    const user = await view
      .selectFrom('users')
      .select('balance_nano_usd')
      .where('id', '=', input.userId)
      .executeTakeFirstOrThrow()
    const spent = await view
      .selectFrom('roll_ups')
      .innerJoin('roll_up_cells', 'roll_up_cells.id', 'roll_ups.cell_id')
      .select((e) =>
        sql<string>`cast(${e.fn.sum(input.spending === 'cost' ? 'cost_nano_usd' : 'charged_nano_usd')} as text)`.as(
          'total',
        ),
      )
      .where('key_id', '=', input.keyId)
      .executeTakeFirst()
    const recorded =
      input.callIds.length === 0
        ? []
        : await view.selectFrom('usage').select('id').where('id', 'in', input.callIds).execute()
    return {
      balanceNanoUsd: user.balance_nano_usd,
      keySpentNanoUsd: Number(spent?.total ?? 0),
      recordedCallIds: recorded.map((row) => row.id),
    }
  })
}

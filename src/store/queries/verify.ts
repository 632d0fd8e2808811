import { sql } from 'kysely'
import { formatUsd } from '../../domain/money.ts'
import { callIdPrefix } from '../../lib/id.ts'
import { CELL_COLUMNS, SUM_COLUMNS, TOKEN_COLUMNS } from '../columns.ts'
import type { Verification } from '../store.ts'
import type { Db } from './db.ts'
import { readPruned, usageAsCells } from './usage.ts'

/** Problems listed of each kind; the rest are counted. */
const LISTED = 20

/**
 * The proof that money is exact, in one consistent view: per user Σ ledger = balance and Σ ledger charges = Σ charged of
 * its calls; Σ usage rows + closing rows = roll-ups, cell by cell; every charged call has its ledger row and the reverse;
 * nothing is negative. Sums are made in the database, in 64 bits, and compared there.
 */
export async function verifyUsage(db: Db): Promise<Verification> {
  return db.transaction().execute(async (view) => {
    const problems: string[] = []
    const report = (found: string[]) => {
      problems.push(...found.slice(0, LISTED))
      if (found.length > LISTED) problems.push(`… and ${found.length - LISTED} more like the last`)
    }
    const firstKept = callIdPrefix(await readPruned(view))

    const balances = await sql<{ owner: string; balance: string; ledger: string }>`
      select coalesce(users.email, user_id) as owner,
        cast(sum(balance) as text) as balance, cast(sum(ledger) as text) as ledger from (
        select id as user_id, balance_nano_usd as balance, 0 as ledger from users
        union all select user_id, 0, amount_nano_usd from ledger
      ) as both_sides left join users on users.id = user_id
      group by user_id, users.email having sum(balance) <> sum(ledger) order by user_id`.execute(view)
    report(
      balances.rows.map(
        (row) => `${row.owner}: the ledger adds up to ${usd(row.ledger)}, the balance says ${usd(row.balance)}`,
      ),
    )

    const charges = await sql<{ user_id: string; ledger: string; charged: string }>`
      select user_id, cast(sum(ledger) as text) as ledger, cast(sum(charged) as text) as charged from (
        select user_id, -amount_nano_usd as ledger, 0 as charged from ledger where kind = 'charge'
        union all select user_id, 0, charged_nano_usd from usage
        union all select user_id, 0, charged_nano_usd from usage_closings
      ) as both_sides group by user_id having sum(ledger) <> sum(charged) order by user_id`.execute(view)
    report(
      charges.rows.map(
        (row) => `${row.user_id}: charges in the ledger are ${usd(row.ledger)}, its calls say ${usd(row.charged)}`,
      ),
    )

    const uncharged = await sql<{ id: string; charged: string }>`
      select u.id, cast(u.charged_nano_usd as text) as charged from usage u
      left join ledger l on l.id = u.id and l.amount_nano_usd = -u.charged_nano_usd and l.user_id = u.user_id
      where u.charged_nano_usd <> 0 and l.id is null order by u.id`.execute(view)
    report(uncharged.rows.map((row) => `${row.id}: charged ${usd(row.charged)} without a ledger row of that amount`))

    const orphans = await sql<{ id: string }>`
      select l.id from ledger l left join usage u on u.id = l.id
      where l.kind = 'charge' and u.id is null and l.id >= ${firstKept} order by l.id`.execute(view)
    report(orphans.rows.map((row) => `${row.id}: charged in the ledger, but it has no usage row`))

    const cell = sql.join(CELL_COLUMNS.map((column) => sql.ref(column)))
    const plus = sql.join(SUM_COLUMNS.map((column) => sql.ref(column)))
    const minus = sql.join(SUM_COLUMNS.map((column) => sql`-${sql.ref(column)}`))
    const differences = SUM_COLUMNS.map((column) => sql`sum(${sql.ref(column)}) <> 0`)
    const cells = await sql<Record<(typeof CELL_COLUMNS)[number], string>>`
      select ${cell} from (
        ${usageAsCells(sql``)}
        union all select ${cell}, ${plus} from usage_closings
        union all select ${cell}, ${minus} from roll_ups join roll_up_cells on roll_up_cells.id = roll_ups.cell_id
      ) as both_sides group by ${cell} having ${sql.join(differences, sql` or `)} order by ${cell}`.execute(view)
    report(
      cells.rows.map(
        (row) => `roll-up ${CELL_COLUMNS.map((column) => row[column]).join(' ')} is not what its usage rows add up to`,
      ),
    )

    const counts = [...TOKEN_COLUMNS, 'cost_nano_usd', 'charged_nano_usd', 'lost_nano_usd']
    const negative = await sql<{ id: string }>`
      select id from usage where ${sql.join(
        counts.map((column) => sql`${sql.ref(column)} < 0`),
        sql` or `,
      )} order by id`.execute(view)
    report(negative.rows.map((row) => `${row.id}: has a negative count or amount`))

    const total = async (table: 'users' | 'usage' | 'ledger') => {
      const row = await view
        .selectFrom(table)
        .select((e) => sql<string>`cast(${e.fn.countAll()} as text)`.as('n'))
        .executeTakeFirstOrThrow()
      return Number(row.n)
    }
    return { problems, users: await total('users'), calls: await total('usage'), ledgerEntries: await total('ledger') }
  })
}

function usd(nano: string): string {
  return formatUsd(BigInt(nano))
}

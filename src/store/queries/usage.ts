import { sql } from 'kysely'
import type { CallRecord } from '../../domain/call.ts'
import { GatewayError } from '../../domain/errors.ts'
import { callIdPrefix } from '../../lib/id.ts'
import {
  CELL_COLUMNS,
  DURATION_COLUMNS,
  FIRST_TOKEN_COLUMNS,
  fromUsageRow,
  ROLL_UP_COUNTERS,
  ROLL_UP_MS,
  SUM_COLUMNS,
  usageOf,
} from '../columns.ts'
import type { CellColumns, SumColumns } from '../schema.ts'
import type { Page, ReportDimension, ReportRow, StoredCall, TailPosition, UsageFilter, UsageStore } from '../store.ts'
import { audit } from './changes.ts'
import type { Db, Trx } from './db.ts'
import { type RecordEntry, recordCalls } from './record.ts'

/** The setting that remembers up to where usage rows were pruned (unix ms). */
export const PRUNED_BEFORE = 'usage_pruned_before_ms'

export async function showCall(db: Db, callId: string): Promise<StoredCall> {
  const row = await db.selectFrom('usage').selectAll().where('id', '=', callId).executeTakeFirst()
  if (!row) {
    throw new GatewayError('not_found', `there is no call '${callId}'`, {
      hint: 'subgate usage tail shows the latest calls; a call is recorded when it ends.',
    })
  }
  return fromUsageRow(row)
}

export async function listCalls(db: Db, input: UsageFilter & Page): Promise<StoredCall[]> {
  const rows = await filtered(db, input)
    .$if(input.after !== undefined, (query) => query.where('id', '>', input.after as string))
    .orderBy('id')
    .limit(input.limit)
    .execute()
  return rows.map(fromUsageRow)
}

export async function tailCalls(db: Db, input: UsageFilter & TailPosition): Promise<StoredCall[]> {
  const query = filtered(db, input)
  if ('last' in input) {
    const rows = await query.orderBy('ended_at_ms', 'desc').orderBy('id', 'desc').limit(input.last).execute()
    return rows.reverse().map(fromUsageRow)
  }
  const { endedAtMs, id } = input.after
  const rows = await query
    .where((e) => e.or([e('ended_at_ms', '>', endedAtMs), e.and([e('ended_at_ms', '=', endedAtMs), e('id', '>', id)])]))
    .orderBy('ended_at_ms')
    .orderBy('id')
    .limit(input.limit)
    .execute()
  return rows.map(fromUsageRow)
}

function filtered(db: Db, filter: UsageFilter) {
  return db
    .selectFrom('usage')
    .selectAll()
    .$if(filter.fromMs !== undefined, (query) => query.where('id', '>=', callIdPrefix(filter.fromMs as number)))
    .$if(filter.toMs !== undefined, (query) => query.where('id', '<', callIdPrefix(filter.toMs as number)))
    .$if(filter.userId !== undefined, (query) => query.where('user_id', '=', filter.userId as string))
    .$if(filter.keyId !== undefined, (query) => query.where('key_id', '=', filter.keyId as string))
    .$if(filter.groupId !== undefined, (query) => query.where('group_id', '=', filter.groupId as string))
    .$if(filter.accountId !== undefined, (query) => query.where('account_id', '=', filter.accountId as string))
    .$if(filter.model !== undefined, (query) => query.where('upstream_model', '=', filter.model as string))
}

const DIMENSION_COLUMN: Record<ReportDimension, keyof CellColumns> = {
  user: 'user_id',
  key: 'key_id',
  account: 'account_id',
  group: 'group_id',
  model: 'model',
  provider: 'provider',
  outcome: 'outcome',
  period: 'period_ms',
}

/** Reads roll-ups only. A time inside a quarter of an hour counts as its beginning. */
export async function reportUsage(db: Db, input: Parameters<UsageStore['report']>[0]): Promise<ReportRow[]> {
  const { filter } = input
  const dimension = DIMENSION_COLUMN[input.by]
  const quarter = (ms: number) => ms - (ms % ROLL_UP_MS)
  const rows = await db
    .selectFrom('roll_ups')
    .innerJoin('roll_up_cells', 'roll_up_cells.id', 'roll_ups.cell_id')
    .select((e) => [
      e.ref(dimension).as('value'),
      asText(
        e.fn.sum(e.case().when('outcome', 'in', ['complete', 'client_left']).then(0).else(e.ref('requests')).end()),
      ).as('errors'),
      ...ROLL_UP_COUNTERS.map((column) => asText(e.fn.sum(e.ref(column))).as(column)),
    ])
    .$if(filter.fromMs !== undefined, (query) => query.where('period_ms', '>=', quarter(filter.fromMs as number)))
    .$if(filter.toMs !== undefined, (query) => query.where('period_ms', '<', filter.toMs as number))
    .$if(filter.userId !== undefined, (query) => query.where('user_id', '=', filter.userId as string))
    .$if(filter.keyId !== undefined, (query) => query.where('key_id', '=', filter.keyId as string))
    .$if(filter.groupId !== undefined, (query) => query.where('group_id', '=', filter.groupId as string))
    .$if(filter.accountId !== undefined, (query) => query.where('account_id', '=', filter.accountId as string))
    .$if(filter.model !== undefined, (query) => query.where('model', '=', filter.model as string))
    .groupBy(dimension)
    .orderBy(dimension)
    .execute()
  return rows.map((row) => {
    const sums = Object.fromEntries(
      ROLL_UP_COUNTERS.map((column) => [column, exactNumber(row[column] as string)]),
    ) as unknown as SumColumns & Record<string, number>
    return {
      value: String(row.value),
      requests: sums.requests,
      errors: exactNumber(row.errors),
      usage: usageOf(sums),
      costNanoUsd: sums.cost_nano_usd,
      chargedNanoUsd: sums.charged_nano_usd,
      lostNanoUsd: sums.lost_nano_usd,
      estimated: sums.estimated,
      unpriced: sums.unpriced,
      durations: DURATION_COLUMNS.map((column) => sums[column] as number),
      firstTokens: FIRST_TOKEN_COLUMNS.map((column) => sums[column] as number),
    }
  })
}

/** Sums travel as text: SQLite's driver loses digits above 2^53, and PostgreSQL returns sums as text anyway. */
function asText(sum: Parameters<typeof sql>[1] & object) {
  return sql<string>`cast(${sum} as text)`
}

function exactNumber(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value))
    throw new GatewayError('internal', `a sum of ${text} is beyond what a report can say`)
  return value
}

export async function pruneUsage(trx: Trx, input: Parameters<UsageStore['prune']>[0], atMs: number): Promise<number> {
  const before = callIdPrefix(input.beforeMs)
  const sums = SUM_COLUMNS.map((column) => sql.ref(column))
  const cell = CELL_COLUMNS.map((column) => sql.ref(column))
  await sql`
    insert into usage_closings (${sql.join([...cell, ...sums])})
    select ${sql.join(cell)}, ${sql.join(SUM_COLUMNS.map((column) => sql`sum(${sql.ref(column)})`))}
    from (${usageAsCells(sql`where id < ${before}`)}) as pruned
    where true
    group by ${sql.join(cell)}
    on conflict (${sql.join(cell)}) do update set ${sql.join(
      SUM_COLUMNS.map(
        (column) => sql`${sql.ref(column)} = ${sql.ref(`usage_closings.${column}`)} + ${sql.ref(`excluded.${column}`)}`,
      ),
    )}`.execute(trx)
  const { numDeletedRows } = await trx.deleteFrom('usage').where('id', '<', before).executeTakeFirstOrThrow()
  await trx
    .insertInto('settings')
    .values({ name: PRUNED_BEFORE, value: String(input.beforeMs) })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: String(input.beforeMs) }))
    .execute()
  const detail = { beforeMs: input.beforeMs, rows: Number(numDeletedRows) }
  await audit(trx, atMs, { by: input.by, action: 'usage.prune', subject: 'usage', detail })
  return Number(numDeletedRows)
}

/** Usage rows in the shape of roll-up cells: the one definition of what a roll-up must add up to. */
export function usageAsCells(where: ReturnType<typeof sql>) {
  const expressions: Record<string, ReturnType<typeof sql>> = {
    period_ms: sql`at_ms - at_ms % ${sql.lit(ROLL_UP_MS)}`,
    model: sql.ref('upstream_model'),
    requests: sql.lit(1),
    unpriced: sql`case when price_state = 'known' then 0 else 1 end`,
  }
  const columns = [...CELL_COLUMNS, ...SUM_COLUMNS].map(
    (column) => sql`${expressions[column] ?? sql.ref(column)} as ${sql.ref(column)}`,
  )
  return sql`select ${sql.join(columns)} from usage ${where}`
}

export async function journalCalls(trx: Trx, input: { processId: string; calls: CallRecord[] }): Promise<void> {
  await trx
    .insertInto('running_calls')
    .values(input.calls.map((call) => ({ id: call.id, process_id: input.processId, record: JSON.stringify(call) })))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

export async function closeInterrupted(trx: Trx, input: { processId: string | null }): Promise<string[]> {
  const rows = await trx
    .selectFrom('running_calls')
    .selectAll()
    .$if(input.processId !== null, (query) => query.where('process_id', '=', input.processId as string))
    .orderBy('id')
    .execute()
  const entries = rows.map((row): RecordEntry => ({ call: JSON.parse(row.record) as CallRecord, journaled: true }))
  const known = await recordedOf(
    trx,
    entries.map((entry) => entry.call.id),
  )
  await recordCalls()(trx, entries)
  return entries.map((entry) => entry.call.id).filter((id) => !known.has(id))
}

async function recordedOf(trx: Trx, ids: string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set()
  const rows = await trx.selectFrom('usage').select('id').where('id', 'in', ids).execute()
  return new Set(rows.map((row) => row.id))
}

import { setImmediate } from 'node:timers/promises'
import { sql } from 'kysely'
import type { CallRecord } from '../../domain/call.ts'
import { GatewayError } from '../../domain/errors.ts'
import type { Consumption } from '../../domain/limit.ts'
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
import type {
  Page,
  RecentUsage,
  ReportDimension,
  ReportRow,
  StoredCall,
  TailPosition,
  UsageFilter,
  UsageStore,
} from '../store.ts'
import { audit } from './changes.ts'
import type { Db, Trx } from './db.ts'
import { type RecordEntry, recordCalls, recordedOf } from './record.ts'
import { asText, exactNumber } from './sums.ts'

/** The setting that remembers up to where usage rows were pruned. */
const PRUNED_BEFORE = 'usage_pruned_before_ms'

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
    .where('ended_at_ms', '>=', endedAtMs) // by the index
    .where((e) => e.or([e('ended_at_ms', '>', endedAtMs), e('id', '>', id)]))
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
    .$if(filter.fromMs !== undefined, (query) => query.where(admittedFrom(filter.fromMs as number)))
    .$if(filter.toMs !== undefined, (query) => query.where(admittedBefore(filter.toMs as number)))
    .$if(filter.userId !== undefined, (query) => query.where('user_id', '=', filter.userId as string))
    .$if(filter.keyId !== undefined, (query) => query.where('key_id', '=', filter.keyId as string))
    .$if(filter.groupId !== undefined, (query) => query.where('group_id', '=', filter.groupId as string))
    .$if(filter.accountId !== undefined, (query) => query.where('account_id', '=', filter.accountId as string))
    .$if(filter.model !== undefined, (query) => query.where('upstream_model', '=', filter.model as string))
}

/** No call waits longer than this between its arrival, which its id tells, and its admission. */
const WAIT_MAX_MS = 3_600_000

/** Conditions on the time of admission that are answered by the range of ids. */
function admittedFrom(ms: number) {
  return sql<boolean>`id >= ${callIdPrefix(Math.max(0, ms - WAIT_MAX_MS))} and at_ms >= ${ms}`
}

function admittedBefore(ms: number) {
  return sql<boolean>`id < ${callIdPrefix(ms)} and at_ms < ${ms}`
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

type ConsumptionInput = Parameters<UsageStore['consumption']>[0]

const SUBJECT_COLUMN = { key: 'key_id', user: 'user_id', group: 'group_id', account: 'account_id' } as const

/** So much time is added up in one go: 1,000 cells of a busy subject, half a millisecond in which nothing else can run. */
const SLICE_MS = 86_400_000

/** Reads roll-ups: they are few, and stay when calls are pruned. Slice by slice, so that calls go on meanwhile. */
export async function readConsumption(db: Db, input: ConsumptionInput): Promise<RecentUsage> {
  const { fromMs, stepMs, callIds } = input
  const sliceMs = Math.ceil(SLICE_MS / stepMs) * stepMs
  return db.transaction().execute(async (view) => {
    const recordedCallIds = await recordedOf(view, callIds)
    const spans: RecentUsage['spans'] = []
    let nextMs = await nextPeriod(view, input, fromMs - ROLL_UP_MS + 1)
    while (nextMs !== null) {
      const endMs = nextMs - (nextMs % sliceMs) + sliceMs
      spans.push(...(await consumedIn(view, input, nextMs, endMs)))
      await setImmediate()
      nextMs = await nextPeriod(view, input, endMs)
    }
    return { spans, recordedCallIds }
  })
}

/** The subject's first roll-up from a time on; null if there is none. */
async function nextPeriod(db: Db, { subject, id }: ConsumptionInput, fromMs: number): Promise<number | null> {
  const row = await db
    .selectFrom('roll_up_cells')
    .select('period_ms')
    .where(SUBJECT_COLUMN[subject], '=', id)
    .where('period_ms', '>=', fromMs)
    .orderBy('period_ms')
    .limit(1)
    .executeTakeFirst()
  return row?.period_ms ?? null
}

async function consumedIn(
  db: Db,
  { subject, id, stepMs, byModel, spending }: ConsumptionInput,
  fromMs: number,
  toMs: number,
): Promise<RecentUsage['spans']> {
  const step = sql<number>`period_ms - period_ms % ${sql.lit(stepMs)}`
  const rows = await db
    .selectFrom('roll_ups')
    .innerJoin('roll_up_cells', 'roll_up_cells.id', 'roll_ups.cell_id')
    .select((e) => [
      step.as('step_ms'),
      ...CONSUMED_COLUMNS.map((column) => asText(e.fn.sum(e.ref(column))).as(column)),
    ])
    .$if(byModel, (query) => query.select('model').groupBy('model'))
    .where(SUBJECT_COLUMN[subject], '=', id)
    .where('period_ms', '>=', fromMs)
    .where('period_ms', '<', toMs)
    .groupBy(step)
    .orderBy('step_ms')
    .$if(byModel, (query) => query.orderBy('model'))
    .execute()
  return rows.map(({ step_ms, model, ...sums }) => {
    const sum = (column: (typeof CONSUMED_COLUMNS)[number]) => exactNumber(sums[column])
    const used: Consumption = {
      requests: sum('requests'),
      inputTokens: sum('input_tokens') + sum('cache_write_5m_tokens') + sum('cache_write_1h_tokens'),
      cacheReadTokens: sum('cache_read_tokens'),
      outputTokens: sum('output_tokens'),
      costNanoUsd: sum('cost_nano_usd'),
      spentNanoUsd: sum(spending === 'cost' ? 'cost_nano_usd' : 'charged_nano_usd'),
    }
    return { fromMs: step_ms, toMs: step_ms + stepMs, ...(model !== undefined && { model }), used }
  })
}

const CONSUMED_COLUMNS = [
  'requests',
  'input_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'cache_read_tokens',
  'output_tokens',
  'cost_nano_usd',
  'charged_nano_usd',
] as const satisfies (keyof SumColumns)[]

/** Rows that one transaction prunes, so that charges never wait long for it: a tenth of a second. */
const PRUNED_AT_A_TIME = 5000

/** Prunes the next slice of rows; the last one puts it all on record. */
export async function pruneSlice(
  trx: Trx,
  input: Parameters<UsageStore['prune']>[0] & { prunedSoFar: number },
  atMs: number,
): Promise<{ rows: number; done: boolean }> {
  const { beforeMs, by, prunedSoFar } = input
  const isOld = admittedBefore(beforeMs)
  const next = await trx
    .selectFrom('usage')
    .select('id')
    .where(isOld)
    .orderBy('id')
    .limit(1)
    .offset(PRUNED_AT_A_TIME)
    .executeTakeFirst()
  const isPruned = next ? sql<boolean>`${isOld} and id < ${next.id}` : isOld
  await close(trx, isPruned)
  const { numDeletedRows } = await trx.deleteFrom('usage').where(isPruned).executeTakeFirstOrThrow()
  await rememberPruned(trx, beforeMs)
  const rows = Number(numDeletedRows)
  if (!next) {
    const detail = { beforeMs, rows: prunedSoFar + rows }
    await audit(trx, atMs, { by, action: 'usage.prune', subject: 'usage', detail })
  }
  return { rows, done: !next }
}

/** Adds rows that are about to go to their cells' closing rows. */
async function close(trx: Trx, isPruned: ReturnType<typeof sql>): Promise<void> {
  const sums = SUM_COLUMNS.map((column) => sql.ref(column))
  const cell = CELL_COLUMNS.map((column) => sql.ref(column))
  await sql`
    insert into usage_closings (${sql.join([...cell, ...sums])})
    select ${sql.join(cell)}, ${sql.join(SUM_COLUMNS.map((column) => sql`sum(${sql.ref(column)})`))}
    from (${usageAsCells(sql`where ${isPruned}`)}) as pruned
    where true
    group by ${sql.join(cell)}
    on conflict (${sql.join(cell)}) do update set ${sql.join(
      SUM_COLUMNS.map(
        (column) => sql`${sql.ref(column)} = ${sql.ref(`usage_closings.${column}`)} + ${sql.ref(`excluded.${column}`)}`,
      ),
    )}`.execute(trx)
}

/** The unix ms before which calls may have been pruned. */
export async function readPruned(db: Db): Promise<number> {
  const row = await db.selectFrom('settings').select('value').where('name', '=', PRUNED_BEFORE).executeTakeFirst()
  return Number(row?.value ?? 0)
}

async function rememberPruned(trx: Trx, beforeMs: number): Promise<void> {
  if (beforeMs <= (await readPruned(trx))) return
  const value = String(beforeMs)
  await trx
    .insertInto('settings')
    .values({ name: PRUNED_BEFORE, value })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
    .execute()
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
  // A trace that was overtaken by its call's record would stay until its process has ended, as one that is overtaken in
  // this very moment does on PostgreSQL.
  const known = new Set(
    await recordedOf(
      trx,
      input.calls.map((call) => call.id),
    ),
  )
  const running = input.calls.filter((call) => !known.has(call.id))
  if (running.length === 0) return
  await trx
    .insertInto('running_calls')
    .values(running.map((call) => ({ id: call.id, process_id: input.processId, record: JSON.stringify(call) })))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

export async function closeInterrupted(trx: Trx, input: { processId: string | null }): Promise<string[]> {
  const { processId } = input
  // The row is locked until the end: of several that give up one process, the first closes its calls.
  await trx
    .deleteFrom('processes')
    .$if(processId !== null, (query) => query.where('id', '=', processId as string))
    .execute()
  const rows = await trx
    .selectFrom('running_calls')
    .selectAll()
    .$if(processId !== null, (query) => query.where('process_id', '=', processId as string))
    .orderBy('id')
    .execute()
  const entries = rows.map((row): RecordEntry => ({ call: JSON.parse(row.record) as CallRecord, journaled: true }))
  const ids = rows.map((row) => row.id)
  const known = new Set(await recordedOf(trx, ids))
  await recordCalls()(trx, entries)
  return ids.filter((id) => !known.has(id))
}

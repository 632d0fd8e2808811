import { type RawBuilder, sql } from 'kysely'
import {
  CELL_COLUMNS,
  DURATION_COLUMNS,
  FIRST_TOKEN_COLUMNS,
  SUM_COLUMNS,
  USAGE_COLUMNS,
} from '../../src/store/columns.ts'
import type { Db } from '../../src/store/queries/db.ts'
import { usageAsCells } from '../../src/store/queries/usage.ts'
import { type Scene, START_MS } from './store.ts'

/** Rows of one statement. */
const AT_A_TIME = 200_000
/** A call a tenth of a second. */
const APART_MS = 100

/**
 * Writes so many charged calls into an empty SQLite database, with their ledger, balances and roll-ups: what recording
 * them one by one would leave, in a hundredth of the time.
 */
export async function writeManyCalls(sqlite: Db, scenes: readonly Scene[], count: number): Promise<void> {
  const users = JSON.stringify(scenes)
  for (let done = 0; done < count; done += AT_A_TIME) {
    const until = Math.min(count, done + AT_A_TIME)
    await sql`
      with recursive n(n) as (select ${done} union all select n + 1 from n where n + 1 < ${until})
      insert into usage (${sql.join(USAGE_COLUMNS.map((column) => sql.ref(column)))})
      select ${sql.join(USAGE_COLUMNS.map((column) => VALUES[column]))}
      from n join json_each(${users}) on key = n % ${scenes.length}`.execute(sqlite)
  }
  await sql`insert into ledger select id, user_id, ended_at_ms, 'charge', -charged_nano_usd, 0, null, null from usage`.execute(
    sqlite,
  )
  await sql`update users set balance_nano_usd = (
    select coalesce(sum(amount_nano_usd), 0) from ledger where user_id = users.id)`.execute(sqlite)
  const cell = sql.join(CELL_COLUMNS.map((column) => sql.ref(column)))
  const sums = SUM_COLUMNS.map((column) => sql`sum(${sql.ref(column)}) as ${sql.ref(column)}`)
  await sql`create temp table cells as
    select row_number() over () as id, ${cell}, ${sql.join(sums)} from (${usageAsCells(sql``)}) group by ${cell}`.execute(
    sqlite,
  )
  await sql`insert into roll_up_cells select id, ${cell} from cells`.execute(sqlite)
  const histogram = [...DURATION_COLUMNS, ...FIRST_TOKEN_COLUMNS]
  const counts = histogram.map((column) => (column.endsWith('_5') ? sql.ref('requests') : sql.lit(0)))
  const columns = [...SUM_COLUMNS, ...histogram].map((column) => sql.ref(column))
  await sql`insert into roll_ups (cell_id, ${sql.join(columns)})
    select id, ${sql.join([...SUM_COLUMNS.map((column) => sql.ref(column)), ...counts])} from cells`.execute(sqlite)
  await sql`drop table cells`.execute(sqlite)
}

const of = (name: keyof Scene) => sql`(value ->> ${`$.${name}`})`
const VALUES: Record<(typeof USAGE_COLUMNS)[number], RawBuilder<unknown>> = {
  id: sql`printf('call_01%08d%020x', n, n)`,
  at_ms: sql`${START_MS} + n * ${APART_MS}`,
  ended_at_ms: sql`${START_MS} + n * ${APART_MS} + 1200`,
  user_id: of('userId'),
  key_id: of('keyId'),
  group_id: of('groupId'),
  account_id: of('accountId'),
  provider: sql`'anthropic'`,
  protocol: sql`'anthropic-messages'`,
  requested_model: sql`'claude-sonnet-4-5'`,
  upstream_model: sql`'claude-sonnet-4-5'`,
  reported_model: sql`'claude-sonnet-4-5-20250929'`,
  stream: sql`1`,
  outcome: sql`'complete'`,
  status: sql`200`,
  error: sql`null`,
  stop_reason: sql`'end_turn'`,
  input_tokens: sql`n % 4096`,
  cache_write_5m_tokens: sql`0`,
  cache_write_1h_tokens: sql`0`,
  cache_read_tokens: sql`n % 100000`,
  output_tokens: sql`n % 512`,
  reasoning_tokens: sql`0`,
  web_search_requests: sql`0`,
  estimated: sql`0`,
  price_state: sql`'known'`,
  cost_nano_usd: sql`n % 1000003 + 1`,
  charged_nano_usd: sql`n % 1000003 + 1`,
  lost_nano_usd: sql`0`,
  multiplier_micro: sql`1000000`,
  payer: sql`'balance'`,
  wait_ms: sql`0`,
  first_token_ms: sql`300`,
  duration_ms: sql`1200`,
  choice: sql`null`,
  seen_limits: sql`null`,
  attempts: sql`'[{"accountId":"' || ${of('accountId')} || '","startedMs":1,"endedMs":900,"status":200,"fault":null,"message":null,"lost":null}]'`,
  upstream_request_id: sql`printf('req_%020d', n)`,
  stored_as: sql`null`,
  client_ip: sql`'192.0.2.1'`,
  user_agent: sql`'claude-cli/2.1.330 (external, cli)'`,
}

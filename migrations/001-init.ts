import { type CreateTableBuilder, type Kysely, sql } from 'kysely'

// A migration is frozen once it has shipped: it repeats names and numbers instead of importing them from src/.
const HISTOGRAM_BUCKETS = 16
const SUMS = [
  'requests',
  'input_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'cache_read_tokens',
  'output_tokens',
  'reasoning_tokens',
  'web_search_requests',
  'cost_nano_usd',
  'charged_nano_usd',
  'lost_nano_usd',
  'estimated',
  'unpriced',
]
const CELL = ['user_id', 'key_id', 'group_id', 'account_id', 'provider', 'model', 'outcome']

/** Portable SQL only: the same statements run on SQLite and PostgreSQL. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('users')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('email', 'text', (c) => c.notNull().unique())
    .addColumn('name', 'text')
    .addColumn('role', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('balance_nano_usd', 'bigint', (c) => c.notNull())
    .addColumn('concurrency', 'bigint')
    .addColumn('limits', 'text', (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .execute()

  await db.schema
    .createTable('groups')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull().unique())
    .addColumn('multiplier_micro', 'bigint')
    .addColumn('exclusive', 'integer', (c) => c.notNull())
    .addColumn('when_client_leaves', 'text')
    .addColumn('limits', 'text', (c) => c.notNull())
    .addColumn('routes', 'text', (c) => c.notNull())
    .addColumn('fallback_group_id', 'text', (c) => c.references('groups.id'))
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .execute()

  await db.schema
    .createTable('group_users')
    .addColumn('group_id', 'text', (c) => c.notNull().references('groups.id'))
    .addColumn('user_id', 'text', (c) => c.notNull().references('users.id'))
    .addColumn('multiplier_micro', 'bigint')
    .addPrimaryKeyConstraint('group_users_pk', ['group_id', 'user_id'])
    .execute()

  await db.schema
    .createTable('accounts')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('provider', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull().unique())
    .addColumn('base_url', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('status_reason', 'text')
    .addColumn('priority', 'bigint', (c) => c.notNull())
    .addColumn('weight', 'bigint', (c) => c.notNull())
    .addColumn('concurrency', 'bigint')
    .addColumn('limits', 'text', (c) => c.notNull())
    .addColumn('models', 'text', (c) => c.notNull())
    .addColumn('model_map', 'text', (c) => c.notNull())
    .addColumn('only_client', 'text')
    .addColumn('hybrid', 'integer', (c) => c.notNull())
    .addColumn('pause_at', 'text', (c) => c.notNull())
    .addColumn('headers', 'text', (c) => c.notNull())
    .addColumn('expires_at_ms', 'bigint')
    .addColumn('rest', 'text')
    .addColumn('model_rests', 'text', (c) => c.notNull())
    .addColumn('rest_rules', 'text', (c) => c.notNull())
    .addColumn('deadlines', 'text', (c) => c.notNull())
    .addColumn('windows', 'text', (c) => c.notNull())
    .addColumn('woken_at_ms', 'bigint')
    .addColumn('last4', 'text', (c) => c.notNull())
    .addColumn('sealed_credentials', 'text', (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .execute()

  await db.schema
    .createTable('group_accounts')
    .addColumn('group_id', 'text', (c) => c.notNull().references('groups.id'))
    .addColumn('account_id', 'text', (c) => c.notNull().references('accounts.id'))
    .addPrimaryKeyConstraint('group_accounts_pk', ['group_id', 'account_id'])
    .execute()

  await db.schema
    .createTable('api_keys')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('user_id', 'text', (c) => c.notNull().references('users.id'))
    .addColumn('group_id', 'text', (c) => c.notNull().references('groups.id'))
    .addColumn('name', 'text')
    .addColumn('hash', 'text', (c) => c.notNull().unique())
    .addColumn('last4', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('expires_at_ms', 'bigint')
    .addColumn('concurrency', 'bigint')
    .addColumn('quota_nano_usd', 'bigint')
    .addColumn('limits', 'text', (c) => c.notNull())
    .addColumn('allow_ips', 'text', (c) => c.notNull())
    .addColumn('deny_ips', 'text', (c) => c.notNull())
    .addColumn('models', 'text', (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('api_keys_by_user').on('api_keys').column('user_id').execute()

  await db.schema
    .createTable('usage')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .addColumn('ended_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('group_id', 'text', (c) => c.notNull())
    .addColumn('account_id', 'text', (c) => c.notNull())
    .addColumn('provider', 'text', (c) => c.notNull())
    .addColumn('protocol', 'text', (c) => c.notNull())
    .addColumn('requested_model', 'text', (c) => c.notNull())
    .addColumn('upstream_model', 'text', (c) => c.notNull())
    .addColumn('reported_model', 'text')
    .addColumn('stream', 'integer', (c) => c.notNull())
    .addColumn('outcome', 'text', (c) => c.notNull())
    .addColumn('status', 'integer', (c) => c.notNull())
    .addColumn('error', 'text')
    .addColumn('stop_reason', 'text')
    .addColumn('input_tokens', 'bigint', (c) => c.notNull())
    .addColumn('cache_write_5m_tokens', 'bigint', (c) => c.notNull())
    .addColumn('cache_write_1h_tokens', 'bigint', (c) => c.notNull())
    .addColumn('cache_read_tokens', 'bigint', (c) => c.notNull())
    .addColumn('output_tokens', 'bigint', (c) => c.notNull())
    .addColumn('reasoning_tokens', 'bigint', (c) => c.notNull())
    .addColumn('web_search_requests', 'bigint', (c) => c.notNull())
    .addColumn('estimated', 'integer', (c) => c.notNull())
    .addColumn('price_state', 'text', (c) => c.notNull())
    .addColumn('cost_nano_usd', 'bigint', (c) => c.notNull())
    .addColumn('charged_nano_usd', 'bigint', (c) => c.notNull())
    .addColumn('lost_nano_usd', 'bigint', (c) => c.notNull())
    .addColumn('multiplier_micro', 'bigint', (c) => c.notNull())
    .addColumn('payer', 'text', (c) => c.notNull())
    .addColumn('wait_ms', 'bigint', (c) => c.notNull())
    .addColumn('first_token_ms', 'bigint')
    .addColumn('duration_ms', 'bigint', (c) => c.notNull())
    .addColumn('choice', 'text')
    .addColumn('seen_limits', 'text')
    .addColumn('attempts', 'text', (c) => c.notNull())
    .addColumn('upstream_request_id', 'text')
    .addColumn('stored_as', 'text')
    .addColumn('client_ip', 'text', (c) => c.notNull())
    .addColumn('user_agent', 'text')
    .execute()
  // Calls end out of the order of their ids; `usage tail` follows their ends.
  await db.schema.createIndex('usage_by_end').on('usage').column('ended_at_ms').execute()

  // Who asks for a stored answer again asks for it by its id; most answers are not stored.
  const stored = db.schema.createIndex('usage_by_stored').on('usage').column('stored_as')
  await stored.where('stored_as', 'is not', null).execute()

  // What lies at one account, and whose it is. An id that another vendor has given as well is another thing.
  await db.schema
    .createTable('account_objects')
    .addColumn('account_id', 'text', (c) => c.notNull())
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('account_objects_pk', ['id', 'account_id'])
    .execute()
  const objectsOf = db.schema.createIndex('account_objects_by_user').on('account_objects')
  await objectsOf.columns(['user_id', 'kind', 'created_at_ms', 'id']).execute()
  await db.schema.createIndex('account_objects_by_account').on('account_objects').column('account_id').execute()

  // What a cell is stands apart from what it counts: counting touches small rows only.
  let cells = db.schema
    .createTable('roll_up_cells')
    .addColumn('id', 'bigint', (c) => c.primaryKey())
    .addColumn('period_ms', 'bigint', (c) => c.notNull()) as CreateTableBuilder<string, string>
  for (const name of CELL) cells = cells.addColumn(name, 'text', (c) => c.notNull())
  await cells.addUniqueConstraint('roll_up_cells_cell', ['period_ms', ...CELL]).execute()
  // What somebody has used of late; cells are few, so these cost little.
  for (const subject of ['key', 'user', 'group', 'account']) {
    const index = db.schema.createIndex(`roll_up_cells_by_${subject}`).on('roll_up_cells')
    // What a key has spent in its life is added up without looking at its cells.
    await index.columns([`${subject}_id`, 'period_ms', ...(subject === 'key' ? ['id'] : [])]).execute()
  }

  let rollUps = db.schema
    .createTable('roll_ups')
    .addColumn('cell_id', 'bigint', (c) => c.primaryKey().references('roll_up_cells.id')) as CreateTableBuilder<
    string,
    string
  >
  for (const name of [...SUMS, ...histogram('duration'), ...histogram('first_token')]) {
    rollUps = rollUps.addColumn(name, 'bigint', (c) => c.notNull())
  }
  await rollUps.execute()

  // What pruned usage rows added up to, so that sums can still be proved.
  let closings = db.schema
    .createTable('usage_closings')
    .addColumn('period_ms', 'bigint', (c) => c.notNull()) as CreateTableBuilder<string, string>
  for (const name of CELL) closings = closings.addColumn(name, 'text', (c) => c.notNull())
  for (const name of SUMS) closings = closings.addColumn(name, 'bigint', (c) => c.notNull())
  await closings.addPrimaryKeyConstraint('usage_closings_pk', ['period_ms', ...CELL]).execute()

  await db.schema
    .createTable('ledger')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('amount_nano_usd', 'bigint', (c) => c.notNull())
    .addColumn('balance_after_nano_usd', 'bigint', (c) => c.notNull())
    .addColumn('actor', 'text')
    .addColumn('note', 'text')
    .execute()
  await db.schema.createIndex('ledger_by_user').on('ledger').columns(['user_id', 'at_ms']).execute()

  await db.schema
    .createTable('running_calls')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('process_id', 'text', (c) => c.notNull())
    .addColumn('record', 'text', (c) => c.notNull())
    .execute()

  // Gateway processes that live, and how often each has said so: who falls silent has died.
  await db.schema
    .createTable('processes')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('beats', 'bigint', (c) => c.notNull())
    .execute()

  await db.schema
    .createTable('prices')
    .addColumn('provider', 'text', (c) => c.notNull())
    .addColumn('model', 'text', (c) => c.notNull())
    .addColumn('effective_from_ms', 'bigint', (c) => c.notNull())
    .addColumn('price', 'text', (c) => c.notNull())
    .addColumn('source', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('prices_pk', ['provider', 'model', 'effective_from_ms'])
    .execute()

  await db.schema
    .createTable('audit_log')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('action', 'text', (c) => c.notNull())
    .addColumn('subject', 'text', (c) => c.notNull())
    .addColumn('detail', 'text', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('audit_log_by_time').on('audit_log').column('at_ms').execute()

  await db.schema
    .createTable('secrets')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('sealed', 'text', (c) => c.notNull())
    .execute()

  await db.schema
    .createTable('settings')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('value', 'text', (c) => c.notNull())
    .execute()

  await db.schema
    .createTable('revision')
    .addColumn('id', 'integer', (c) => c.primaryKey())
    .addColumn('revision', 'bigint', (c) => c.notNull())
    .execute()
  await sql`insert into revision (id, revision) values (1, 0)`.execute(db)

  await db.schema
    .createTable('changes')
    .addColumn('revision', 'bigint', (c) => c.primaryKey())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('subject', 'text', (c) => c.notNull())
    .execute()
}

function histogram(metric: string): string[] {
  return Array.from({ length: HISTOGRAM_BUCKETS }, (_, bucket) => `${metric}_${bucket}`)
}

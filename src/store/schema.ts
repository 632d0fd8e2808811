/**
 * The tables, as migrations/ makes them. Portable on purpose: text ids, unix milliseconds and nano-USD in BIGINT,
 * 0/1 for booleans, JSON as TEXT.
 */
export interface Database {
  users: UsersTable
  groups: GroupsTable
  group_users: GroupUsersTable
  group_accounts: GroupAccountsTable
  accounts: AccountsTable
  api_keys: ApiKeysTable
  usage: UsageTable
  usage_closings: UsageSums
  roll_up_cells: { id: number } & CellColumns
  roll_ups: { cell_id: number } & SumColumns & RollUpHistograms
  ledger: LedgerTable
  running_calls: RunningCallsTable
  processes: { id: string; beats: number }
  account_objects: AccountObjectsTable
  prices: PricesTable
  audit_log: AuditLogTable
  secrets: SecretsTable
  revision: RevisionTable
  changes: ChangesTable
  settings: SettingsTable
}

type Flag = 0 | 1

export interface UsersTable {
  id: string
  email: string
  name: string | null
  role: string
  status: string
  balance_nano_usd: number
  concurrency: number | null
  /** JSON of Limits. */
  limits: string
  created_at_ms: number
}

export interface GroupsTable {
  id: string
  name: string
  multiplier_micro: number | null
  exclusive: Flag
  when_client_leaves: string | null
  limits: string
  /** JSON of ModelRoute[]. */
  routes: string
  fallback_group_id: string | null
  created_at_ms: number
}

export interface GroupUsersTable {
  group_id: string
  user_id: string
  multiplier_micro: number | null
}

export interface GroupAccountsTable {
  group_id: string
  account_id: string
}

export interface AccountsTable {
  id: string
  provider: string
  name: string
  base_url: string
  status: string
  status_reason: string | null
  priority: number
  weight: number
  concurrency: number | null
  limits: string
  models: string
  /** JSON of a ModelMap. */
  model_map: string
  only_client: string | null
  hybrid: Flag
  /** JSON of PauseAt[]. */
  pause_at: string
  headers: string
  expires_at_ms: number | null
  /** JSON of a Rest. */
  rest: string | null
  /** JSON of ModelRest[]. */
  model_rests: string
  /** JSON of RestRule[]. */
  rest_rules: string
  deadlines: string
  /** JSON of VendorWindow[]. */
  windows: string
  woken_at_ms: number | null
  last4: string
  /** Sealed JSON of Credentials, bound to the account's id. */
  sealed_credentials: string
  created_at_ms: number
}

export interface ApiKeysTable {
  id: string
  user_id: string
  group_id: string
  name: string | null
  /** Hex of HMAC-SHA-256 under the secret `api_key_hash`. */
  hash: string
  last4: string
  status: string
  expires_at_ms: number | null
  concurrency: number | null
  quota_nano_usd: number | null
  limits: string
  allow_ips: string
  deny_ips: string
  models: string
  created_at_ms: number
}

/** What a roll-up cell is: 15 minutes × who × where × model × end. */
export interface CellColumns {
  period_ms: number
  user_id: string
  key_id: string
  group_id: string
  account_id: string
  provider: string
  model: string
  outcome: string
}

export interface SumColumns {
  requests: number
  input_tokens: number
  cache_write_5m_tokens: number
  cache_write_1h_tokens: number
  cache_read_tokens: number
  output_tokens: number
  reasoning_tokens: number
  web_search_requests: number
  cost_nano_usd: number
  charged_nano_usd: number
  lost_nano_usd: number
  /** Calls whose output was estimated. */
  estimated: number
  /** Calls of which some or all tokens have no price. */
  unpriced: number
}

export type UsageSums = CellColumns & SumColumns

/** `duration_0` … and `first_token_0` …: calls per bucket of HISTOGRAM_BOUNDS_MS. */
export type RollUpHistograms = Record<`duration_${number}` | `first_token_${number}`, number>

export interface UsageTable {
  id: string
  at_ms: number
  ended_at_ms: number
  user_id: string
  key_id: string
  group_id: string
  account_id: string
  provider: string
  protocol: string
  requested_model: string
  upstream_model: string
  reported_model: string | null
  stream: Flag
  outcome: string
  status: number
  error: string | null
  stop_reason: string | null
  input_tokens: number
  cache_write_5m_tokens: number
  cache_write_1h_tokens: number
  cache_read_tokens: number
  output_tokens: number
  reasoning_tokens: number
  web_search_requests: number
  estimated: Flag
  price_state: string
  cost_nano_usd: number
  charged_nano_usd: number
  lost_nano_usd: number
  multiplier_micro: number
  payer: string
  wait_ms: number
  first_token_ms: number | null
  duration_ms: number
  choice: string | null
  seen_limits: string | null
  attempts: string
  upstream_request_id: string | null
  /** The vendor's id of an answer that it keeps. */
  stored_as: string | null
  client_ip: string
  user_agent: string | null
}

export interface LedgerTable {
  /** Of a charge its call's id, so that charging twice is impossible and rows lie in the order of time; else an id of its own. */
  id: string
  user_id: string
  at_ms: number
  /** charge | credit: a charge is negative. */
  kind: string
  amount_nano_usd: number
  balance_after_nano_usd: number
  actor: string | null
  note: string | null
}

/** The start journal: calls that have run for more than a second. */
export interface RunningCallsTable {
  id: string
  process_id: string
  /** JSON of a CallRecord as it stood when the entry was written. */
  record: string
}

export interface AccountObjectsTable {
  account_id: string
  /** The vendor's. */
  id: string
  kind: string
  user_id: string
  created_at_ms: number
  expires_at_ms: number | null
}

/** Prices that the operator set, over those that come with the program. */
export interface PricesTable {
  provider: string
  model: string
  effective_from_ms: number
  /** JSON of a PriceRow. */
  price: string
  source: string
}

export interface AuditLogTable {
  id: string
  at_ms: number
  actor: string
  action: string
  subject: string
  detail: string
}

export interface SecretsTable {
  name: string
  sealed: string
}

export interface RevisionTable {
  id: number
  revision: number
}

export interface ChangesTable {
  revision: number
  kind: string
  subject: string
}

export interface SettingsTable {
  name: string
  value: string
}

import type { CallRecord } from '../domain/call.ts'
import type { Usage } from '../domain/usage.ts'
import { bucketOf, HISTOGRAM_BUCKETS } from './histogram.ts'
import type { CellColumns, SumColumns, UsageTable } from './schema.ts'
import type { StoredCall } from './store.ts'

/** A roll-up cell covers this much time, from a whole quarter of an hour (UTC). */
export const ROLL_UP_MS = 900_000

export const CELL_COLUMNS = [
  'period_ms',
  'user_id',
  'key_id',
  'group_id',
  'account_id',
  'provider',
  'model',
  'outcome',
] as const satisfies (keyof CellColumns)[]

export const SUM_COLUMNS = [
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
] as const satisfies (keyof SumColumns)[]

const BUCKETS = Array.from({ length: HISTOGRAM_BUCKETS }, (_, bucket) => bucket)
export const DURATION_COLUMNS = BUCKETS.map((bucket) => `duration_${bucket}` as const)
export const FIRST_TOKEN_COLUMNS = BUCKETS.map((bucket) => `first_token_${bucket}` as const)

/** PostgreSQL stores no NUL in a text, and clients and upstreams may put one into any of theirs. */
function storable<Text extends string | null>(text: Text): Text | string {
  return text?.includes('\0') ? text.replaceAll('\0', '\ufffd') : text
}

/** When a call ended: its time runs from its arrival, `atMs` is its admission. */
export function endedAtMs({ atMs, durationMs, waitMs }: CallRecord): number {
  return atMs + durationMs - waitMs
}

/** One call as its usage row. */
export function toUsageRow(call: CallRecord): UsageTable {
  return {
    id: call.id,
    at_ms: call.atMs,
    ended_at_ms: endedAtMs(call),
    user_id: call.userId,
    key_id: call.keyId,
    group_id: call.groupId,
    account_id: call.accountId,
    provider: call.provider,
    protocol: call.protocol,
    requested_model: storable(call.requestedModel),
    upstream_model: storable(call.upstreamModel),
    reported_model: storable(call.reportedModel),
    stream: call.stream ? 1 : 0,
    outcome: call.outcome,
    status: call.status,
    error: storable(call.error),
    stop_reason: storable(call.stopReason),
    input_tokens: call.usage.inputTokens,
    cache_write_5m_tokens: call.usage.cacheWrite5mTokens,
    cache_write_1h_tokens: call.usage.cacheWrite1hTokens,
    cache_read_tokens: call.usage.cacheReadTokens,
    output_tokens: call.usage.outputTokens,
    reasoning_tokens: call.usage.reasoningTokens,
    web_search_requests: call.usage.webSearchRequests,
    estimated: call.estimated ? 1 : 0,
    price_state: call.priceState,
    cost_nano_usd: call.costNanoUsd,
    charged_nano_usd: call.chargedNanoUsd,
    lost_nano_usd: call.lostNanoUsd,
    multiplier_micro: call.multiplierMicro,
    payer: call.payer,
    wait_ms: call.waitMs,
    first_token_ms: call.firstTokenMs,
    duration_ms: call.durationMs,
    choice: call.choice && JSON.stringify(call.choice),
    seen_limits: call.seenLimits && JSON.stringify(call.seenLimits),
    attempts: JSON.stringify(call.attempts),
    upstream_request_id: storable(call.upstreamRequestId),
    stored_as: storable(call.storedAs),
    client_ip: storable(call.clientIp),
    user_agent: storable(call.userAgent),
  }
}

/** The names of a usage row's columns, in the order of `toUsageRow`. */
export const USAGE_COLUMNS = [
  'id',
  'at_ms',
  'ended_at_ms',
  'user_id',
  'key_id',
  'group_id',
  'account_id',
  'provider',
  'protocol',
  'requested_model',
  'upstream_model',
  'reported_model',
  'stream',
  'outcome',
  'status',
  'error',
  'stop_reason',
  'input_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'cache_read_tokens',
  'output_tokens',
  'reasoning_tokens',
  'web_search_requests',
  'estimated',
  'price_state',
  'cost_nano_usd',
  'charged_nano_usd',
  'lost_nano_usd',
  'multiplier_micro',
  'payer',
  'wait_ms',
  'first_token_ms',
  'duration_ms',
  'choice',
  'seen_limits',
  'attempts',
  'upstream_request_id',
  'stored_as',
  'client_ip',
  'user_agent',
] as const satisfies (keyof UsageTable)[]

export function fromUsageRow(row: UsageTable): StoredCall {
  return {
    id: row.id,
    atMs: row.at_ms,
    endedAtMs: row.ended_at_ms,
    userId: row.user_id,
    keyId: row.key_id,
    groupId: row.group_id,
    accountId: row.account_id,
    provider: row.provider as CallRecord['provider'],
    protocol: row.protocol as CallRecord['protocol'],
    requestedModel: row.requested_model,
    upstreamModel: row.upstream_model,
    reportedModel: row.reported_model,
    stream: row.stream === 1,
    outcome: row.outcome as CallRecord['outcome'],
    status: row.status,
    error: row.error,
    stopReason: row.stop_reason,
    usage: usageOf(row),
    estimated: row.estimated === 1,
    priceState: row.price_state as CallRecord['priceState'],
    costNanoUsd: row.cost_nano_usd,
    chargedNanoUsd: row.charged_nano_usd,
    lostNanoUsd: row.lost_nano_usd,
    multiplierMicro: row.multiplier_micro,
    payer: row.payer as CallRecord['payer'],
    waitMs: row.wait_ms,
    firstTokenMs: row.first_token_ms,
    durationMs: row.duration_ms,
    choice: row.choice === null ? null : (JSON.parse(row.choice) as CallRecord['choice']),
    seenLimits: row.seen_limits === null ? null : (JSON.parse(row.seen_limits) as CallRecord['seenLimits']),
    attempts: JSON.parse(row.attempts) as CallRecord['attempts'],
    upstreamRequestId: row.upstream_request_id,
    storedAs: row.stored_as,
    clientIp: row.client_ip,
    userAgent: row.user_agent,
  }
}

/** Token columns, of a row or of sums, as a Usage. */
export function usageOf(columns: Pick<SumColumns, (typeof TOKEN_COLUMNS)[number]>): Usage {
  return {
    inputTokens: columns.input_tokens,
    cacheWrite5mTokens: columns.cache_write_5m_tokens,
    cacheWrite1hTokens: columns.cache_write_1h_tokens,
    cacheReadTokens: columns.cache_read_tokens,
    outputTokens: columns.output_tokens,
    reasoningTokens: columns.reasoning_tokens,
    webSearchRequests: columns.web_search_requests,
  }
}

/** The columns that usage rows and sums share. */
export const TOKEN_COLUMNS = [
  'input_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'cache_read_tokens',
  'output_tokens',
  'reasoning_tokens',
  'web_search_requests',
] as const

/** The roll-up cell that a usage row belongs to, in the order of CELL_COLUMNS. */
export function cellOf(row: UsageTable): (string | number)[] {
  return [
    row.at_ms - (row.at_ms % ROLL_UP_MS),
    row.user_id,
    row.key_id,
    row.group_id,
    row.account_id,
    row.provider,
    row.upstream_model,
    row.outcome,
  ]
}

/** All counters of a roll-up cell, in the order of ROLL_UP_COUNTERS. */
export const ROLL_UP_COUNTERS = [...SUM_COLUMNS, ...DURATION_COLUMNS, ...FIRST_TOKEN_COLUMNS] as const

/** Adds one usage row to a cell's counters, or with -1 takes it out again. */
export function countUsage(counters: number[], row: UsageTable, sign: 1 | -1): void {
  let at = 0
  const add = (amount: number) => {
    counters[at] = (counters[at] as number) + sign * amount
    at++
  }
  add(1)
  for (const column of TOKEN_COLUMNS) add(row[column])
  add(row.cost_nano_usd)
  add(row.charged_nano_usd)
  add(row.lost_nano_usd)
  add(row.estimated)
  add(row.price_state === 'known' ? 0 : 1)
  const durations = at
  at = durations + bucketOf(row.duration_ms)
  add(1)
  if (row.first_token_ms === null) return
  at = durations + HISTOGRAM_BUCKETS + bucketOf(row.first_token_ms)
  add(1)
}

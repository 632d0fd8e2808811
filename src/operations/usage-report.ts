import type { Usage } from '../domain/usage.ts'
import { USAGE_KINDS } from '../domain/usage.ts'
import { quantile } from '../store/histogram.ts'
import type { ReportDimension, ReportRow, Store, UsageFilter } from '../store/store.ts'
import { names } from './names.ts'

export const REPORT_BY = ['user', 'key', 'account', 'group', 'model', 'provider', 'outcome', 'day', 'hour'] as const
export type ReportBy = (typeof REPORT_BY)[number]

/** Totals of one user, model, day … */
export interface ReportLine extends Usage {
  /** The id, the model, or the beginning of the day or hour. */
  value: string
  /** For people. */
  name: string
  requests: number
  errors: number
  costNanoUsd: number
  chargedNanoUsd: number
  /** What failed attempts cost the operator. */
  lostNanoUsd: number
  estimatedRequests: number
  /** Calls of which some or all tokens have no known price. */
  unpricedRequests: number
  /** From buckets, so within a few per cent; null without any. */
  firstTokenP50Ms: number | null
  firstTokenP95Ms: number | null
  durationP50Ms: number | null
  durationP95Ms: number | null
}

/** Totals per value of a dimension, and over all. Days and hours are local ones, or with `utc` those of UTC; the largest cost comes first, times in their order. */
export async function usageReport(
  store: Store,
  filter: UsageFilter,
  by: ReportBy,
  utc: boolean,
): Promise<{ rows: ReportLine[]; total: ReportLine }> {
  const isTime = by === 'day' || by === 'hour'
  const rows = await store.usage.report({ filter, by: isTime ? 'period' : by })
  const total = lineOf(summed('total', rows), 'total')
  if (isTime) {
    const groups = Map.groupBy(rows, (row) => timeLabel(Number(row.value), by, utc))
    return { rows: Array.from(groups, ([label, members]) => lineOf(summed(label, members), label)), total }
  }
  const name = await nameOf(store, by)
  const lines = rows.map((row) => lineOf(row, name(row.value)))
  return { rows: lines.sort((a, b) => b.costNanoUsd - a.costNanoUsd || b.requests - a.requests), total }
}

async function nameOf(store: Store, by: ReportDimension): Promise<(value: string) => string> {
  if (by !== 'user' && by !== 'key' && by !== 'account' && by !== 'group') return (value) => value
  return (await names(store))[by]
}

/** `2026-11-25` or `2026-11-25 14:00`. */
function timeLabel(ms: number, by: 'day' | 'hour', utc: boolean): string {
  const shifted = new Date(utc ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString()
  return by === 'day' ? shifted.slice(0, 10) : `${shifted.slice(0, 10)} ${shifted.slice(11, 13)}:00`
}

function summed(value: string, rows: readonly ReportRow[]): ReportRow {
  const sum = (read: (row: ReportRow) => number) => rows.reduce((total, row) => total + read(row), 0)
  const buckets = (read: (row: ReportRow) => number[]) =>
    (rows[0] ? read(rows[0]) : []).map((_, bucket) => sum((row) => read(row)[bucket] as number))
  return {
    value,
    requests: sum((row) => row.requests),
    errors: sum((row) => row.errors),
    usage: Object.fromEntries(USAGE_KINDS.map((kind) => [kind, sum((row) => row.usage[kind])])) as unknown as Usage,
    costNanoUsd: sum((row) => row.costNanoUsd),
    chargedNanoUsd: sum((row) => row.chargedNanoUsd),
    lostNanoUsd: sum((row) => row.lostNanoUsd),
    estimated: sum((row) => row.estimated),
    unpriced: sum((row) => row.unpriced),
    durations: buckets((row) => row.durations),
    firstTokens: buckets((row) => row.firstTokens),
  }
}

function lineOf(row: ReportRow, name: string): ReportLine {
  return {
    value: row.value,
    name,
    requests: row.requests,
    errors: row.errors,
    ...row.usage,
    costNanoUsd: row.costNanoUsd,
    chargedNanoUsd: row.chargedNanoUsd,
    lostNanoUsd: row.lostNanoUsd,
    estimatedRequests: row.estimated,
    unpricedRequests: row.unpriced,
    firstTokenP50Ms: quantile(row.firstTokens, 0.5),
    firstTokenP95Ms: quantile(row.firstTokens, 0.95),
    durationP50Ms: quantile(row.durations, 0.5),
    durationP95Ms: quantile(row.durations, 0.95),
  }
}

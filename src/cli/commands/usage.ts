import { type Command, InvalidArgumentError } from 'commander'
import { GatewayError, isGatewayError } from '../../domain/errors.ts'
import { USAGE_KINDS } from '../../domain/usage.ts'
import { formatDuration } from '../../lib/duration.ts'
import { names } from '../../operations/names.ts'
import { eachRow } from '../../operations/pages.ts'
import { REPORT_BY, type ReportBy, type ReportLine, usageReport } from '../../operations/usage-report.ts'
import { builtInPrices } from '../../pricing/open.ts'
import { priceList } from '../../pricing/price-list.ts'
import type { Store, StoredCall, UsageFilter } from '../../store/store.ts'
import { callStory } from '../call-story.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { counted, formatCount, printable, shortUsd } from '../format.ts'
import { choiceOption, flag, pastMoment, wholeFlag } from '../options.ts'
import { ExitCode, type Fill } from '../program.ts'

/** How often `tail -f` looks for calls that have ended. */
const FOLLOW_EVERY_MS = 500
const FOLLOW_ROWS = 500

export const fill: Fill = (usage, act) => {
  withFilter(usage.command('report'))
    .summary('totals: requests, tokens, cost, errors, time to first token')
    .addOption(choiceOption('--by <dimension>', 'one row for each', REPORT_BY).default('model'))
    .option('--chart', 'draw the cost of each row')
    .addHelpText(
      'after',
      examples('subgate usage report --by user --from 7d', 'subgate usage report --by day --from 2026-11-01 --chart'),
    )
    .action(act(report))
  withFilter(usage.command('tail'))
    .summary('the latest calls, oldest first')
    .option('-n, --lines <n>', 'how many', wholeFlag(1), 20)
    .option('-f, --follow', 'go on as calls end')
    .addHelpText('after', examples('subgate usage tail -f', 'subgate usage tail -n 100 --user ada@example.com'))
    .action(act(tail))
  usage
    .command('show <call>')
    .summary('the whole story of one call')
    .addHelpText('after', examples('subgate usage show call_01m8e7d4ga4ef'))
    .action(act(show))
  withFilter(usage.command('export'))
    .summary('every call, to standard output')
    .addOption(choiceOption('--format <format>', 'csv is the default, jsonl with --json', ['csv', 'jsonl']))
    .addHelpText('after', examples('subgate usage export --format csv --from 2026-11-01 > november.csv'))
    .action(act(exportCalls))
  usage
    .command('verify')
    .summary('prove that ledger, balances, calls and totals add up; exit code 1 if not')
    .addHelpText('after', examples('subgate usage verify'))
    .action(act(verify))
  usage
    .command('prune')
    .summary('delete old calls; totals and the proof stay')
    .requiredOption('--before <when>', 'calls admitted before, such as 90d or 2026-08-01')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('subgate usage prune --before 90d'))
    .action(act(prune))
}

function withFilter(command: Command): Command {
  return command
    .option('--from <when>', 'such as today, 7d, 2026-11-01 or 2026-11-01T14:00')
    .option('--to <when>', 'up to, not including')
    .option('--user <user>')
    .option('--key <key>')
    .option('--account <account>')
    .option('--group <group>')
    .option('--model <model>')
}

interface FilterFlags {
  from?: string
  to?: string
  user?: string
  key?: string
  account?: string
  group?: string
  model?: string
}

/** What the flags name, as ids. An account that was removed can still be named by its id. */
async function filterOf({ nowMs, out }: Context, store: Store, flags: FilterFlags): Promise<UsageFilter> {
  const time = flag((text) => pastMoment(text, nowMs, out.utc))
  const fromMs = flags.from === undefined ? undefined : time(flags.from)
  const toMs = flags.to === undefined ? undefined : time(flags.to)
  if (fromMs !== undefined && toMs !== undefined && fromMs >= toMs)
    throw new InvalidArgumentError('--from is not before --to')
  return {
    fromMs,
    toMs,
    userId: flags.user === undefined ? undefined : (await store.users.find(flags.user)).id,
    keyId: flags.key === undefined ? undefined : (await store.keys.find(flags.key)).id,
    accountId: flags.account === undefined ? undefined : await accountId(store, flags.account),
    groupId: flags.group === undefined ? undefined : (await store.groups.find(flags.group)).id,
    model: flags.model,
  }
}

async function accountId(store: Store, ref: string): Promise<string> {
  try {
    return (await store.accounts.find(ref)).id
  } catch (error) {
    if (isGatewayError(error, 'not_found') && /^acc_[0-9a-f]{20}$/.test(ref)) return ref
    throw error
  }
}

async function report(context: Context, flags: FilterFlags & { by: ReportBy; chart?: boolean }): Promise<void> {
  const { out } = context
  const store = await context.store()
  const filter = await filterOf(context, store, flags)
  const { rows, total } = await usageReport(store, filter, flags.by, out.utc)
  if (out.json) return out.data({ by: flags.by, rows, total }, () => '')
  if (rows.length === 0) {
    const isAll = Object.values(filter).every((value) => value === undefined)
    return out.say(isAll ? 'There are no calls yet.' : 'No calls fit.')
  }
  const billed = context.config.runMode === 'saas'
  const ms = (value: number | null) => (value === null ? null : formatDuration(value))
  const lines = rows.length > 1 ? [...rows, { ...total, name: 'total' }] : rows
  const count = (value: number) => formatCount(value)
  out.list(
    lines,
    [
      { title: flags.by, value: (row) => row.name, shrinks: true },
      { title: 'requests', align: 'right', value: (row) => row.requests },
      {
        title: 'errors',
        align: 'right',
        value: (row) => row.errors,
        color: ({ errors }) => (errors > 0 ? 'yellow' : null),
      },
      { title: 'input', align: 'right', value: (row) => count(row.inputTokens) },
      { title: 'cache write', align: 'right', value: (row) => count(row.cacheWrite5mTokens + row.cacheWrite1hTokens) },
      { title: 'cache read', align: 'right', value: (row) => count(row.cacheReadTokens) },
      { title: 'output', align: 'right', value: (row) => count(row.outputTokens) },
      { title: 'cost', align: 'right', value: costText },
      ...(billed
        ? [{ title: 'charged', align: 'right' as const, value: (row: typeof total) => shortUsd(row.chargedNanoUsd) }]
        : []),
      { title: 'first p50', align: 'right', value: (row) => ms(row.firstTokenP50Ms) },
      { title: 'first p95', align: 'right', value: (row) => ms(row.firstTokenP95Ms) },
    ],
    '',
  )
  if (flags.chart) out.data(null, () => `\n${chart(rows, (row) => row.costNanoUsd, shortUsd)}`)
  if (total.unpricedRequests > 0) {
    out.warn(
      `${formatCount(total.unpricedRequests)} of these calls used what has no known price; its cost is missing here. subgate price set adds prices of tokens.`,
    )
  }
  if (total.estimatedRequests > 0) {
    out.say(
      `The output of ${formatCount(total.estimatedRequests)} calls is estimated: their clients left before the upstream reported it.`,
    )
  }
}

/** A sum that lacks tokens without a price does not look whole. */
function costText({ costNanoUsd, requests, unpricedRequests }: ReportLine): string {
  if (unpricedRequests === 0) return shortUsd(costNanoUsd)
  return costNanoUsd === 0 && unpricedRequests === requests ? 'unknown' : `≥ ${shortUsd(costNanoUsd)}`
}

const BAR_WIDTH = 40
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** A bar for each row, the longest of them BAR_WIDTH wide. */
function chart<T extends { name: string }>(
  rows: readonly T[],
  value: (row: T) => number,
  text: (value: number) => string,
): string {
  const most = Math.max(...rows.map(value), 1)
  const width = Math.max(...rows.map((row) => row.name.length))
  return rows
    .map((row) => {
      const eighths = Math.round((value(row) / most) * BAR_WIDTH * 8)
      const bar = '█'.repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8]
      return `${row.name.padEnd(width)}  ${bar} ${text(value(row))}`
    })
    .join('\n')
}

async function tail(context: Context, flags: FilterFlags & { lines: number; follow?: boolean }): Promise<void> {
  const { out } = context
  const store = await context.store()
  const filter = await filterOf(context, store, flags)
  const name = await names(store)
  const print = (call: StoredCall) =>
    out.line(call, () => tailLine(context, call, name.user(call.userId), name.account(call.accountId)))
  const latest = await store.usage.tail({ ...filter, last: flags.lines })
  latest.forEach(print)
  if (!flags.follow) return
  let after = latest.at(-1) ?? { endedAtMs: context.nowMs, id: '' }
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  while (!stop.signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, FOLLOW_EVERY_MS))
    const ended = await store.usage.tail({ ...filter, after, limit: FOLLOW_ROWS })
    ended.forEach(print)
    after = ended.at(-1) ?? after
  }
}

function tailLine({ out }: Context, call: StoredCall, user: string, account: string): string {
  const { usage } = call
  const input = usage.inputTokens + usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
  const good = call.outcome === 'complete'
  return [
    out.time(call.endedAtMs),
    call.id,
    out.style(good ? 'green' : 'yellow', call.outcome.padEnd(11)),
    user,
    `${printable(call.requestedModel)} → ${account}`,
    `${formatCount(input)} in, ${formatCount(usage.outputTokens)} out`,
    call.priceState === 'unknown' ? 'price unknown' : shortUsd(call.costNanoUsd),
    formatDuration(call.durationMs),
  ].join('  ')
}

async function show(context: Context, _flags: object, ref: string): Promise<void> {
  const { out } = context
  const store = await context.store()
  const call = await findCall(store, ref)
  const prices = priceList(builtInPrices(), await store.prices.list())
  const price = prices.find(call.provider, call.upstreamModel, call.atMs)
  const name = await names(store)
  out.data({ ...call, price }, () => callStory(out, call, name, price))
}

/** By its id or a unique beginning of it. */
async function findCall(store: Store, ref: string): Promise<StoredCall> {
  try {
    return await store.usage.show(ref)
  } catch (error) {
    if (!isGatewayError(error, 'not_found') || !/^call_./.test(ref)) throw error
    const [first, second] = await store.usage.list({ after: ref, limit: 2 })
    if (!first?.id.startsWith(ref)) throw error
    if (second?.id.startsWith(ref))
      throw new GatewayError('conflict', `'${ref}' fits several calls: give more of the id`)
    return first
  }
}

async function exportCalls(context: Context, flags: FilterFlags & { format?: 'csv' | 'jsonl' }): Promise<void> {
  const { out } = context
  const store = await context.store()
  const filter = await filterOf(context, store, flags)
  const format = flags.format ?? (out.json ? 'jsonl' : 'csv')
  if (format === 'csv') await out.raw(`${EXPORTED.join(',')}\n`)
  for await (const call of eachRow((page) => store.usage.list({ ...filter, ...page }))) {
    const row = flat(call)
    const line = format === 'csv' ? EXPORTED.map((name) => csvField(row[name])).join(',') : JSON.stringify(row)
    await out.raw(`${line}\n`)
  }
}

/** The columns of an export, in their order; scripts rely on the names. */
const EXPORTED = [
  ...(['id', 'at', 'endedAt', 'userId', 'keyId', 'groupId', 'accountId', 'provider', 'protocol'] as const),
  ...([
    'requestedModel',
    'upstreamModel',
    'reportedModel',
    'stream',
    'outcome',
    'status',
    'error',
    'stopReason',
  ] as const),
  ...USAGE_KINDS,
  ...(['estimated', 'priceState', 'costNanoUsd', 'chargedNanoUsd', 'lostNanoUsd', 'multiplierMicro', 'payer'] as const),
  ...(['atMs', 'endedAtMs', 'waitMs', 'firstTokenMs', 'durationMs', 'attempts'] as const),
  ...(['upstreamRequestId', 'clientIp', 'userAgent'] as const),
]
type Exported = (typeof EXPORTED)[number]

/** One level deep, times also in ISO form, attempts counted: what fits into a row. */
function flat(call: StoredCall): Record<Exported, string | number | boolean | null> {
  const { usage, attempts, ...rest } = call
  const at = new Date(call.atMs).toISOString()
  const endedAt = new Date(call.endedAtMs).toISOString()
  const row = { ...rest, ...usage, at, endedAt, attempts: attempts.length }
  return Object.fromEntries(EXPORTED.map((name) => [name, row[name]])) as ReturnType<typeof flat>
}

/** RFC 4180; a text that a spreadsheet would run as a formula gets a quote in front. */
function csvField(value: string | number | boolean | null): string {
  if (value === null) return ''
  if (typeof value !== 'string') return String(value)
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

async function verify(context: Context): Promise<void> {
  const { out } = context
  const store = await context.store()
  const proof = await store.usage.verify()
  const looked = `${counted(proof.calls, 'call')}, ${counted(proof.ledgerEntries, 'ledger entry', 'ledger entries')}, ${counted(proof.users, 'user')}`
  out.data({ ...proof, ok: proof.problems.length === 0 }, () =>
    proof.problems.length === 0 ? `Everything adds up: ${looked}.` : proof.problems.join('\n'),
  )
  if (proof.problems.length === 0) return
  out.say(
    `Looked at ${looked}. Money that does not add up is a bug or a changed database: keep a copy of it before anything else.`,
  )
  throw new ExitCode(1)
}

async function prune(context: Context, flags: { before: string; yes?: boolean }): Promise<void> {
  const { out, nowMs } = context
  const beforeMs = pastMoment(flags.before, nowMs, out.utc)
  if (beforeMs > nowMs)
    throw new InvalidArgumentError(`'${flags.before}' is in the future: only calls of the past can be deleted`)
  await context.sure(`Delete all calls before ${out.time(beforeMs)}? Totals and the proof stay.`, flags.yes)
  const store = await context.store()
  const rows = await store.usage.prune({ beforeMs, by: context.actor })
  out.data({ deleted: rows, beforeMs }, () => String(rows))
  out.say(`Deleted ${counted(rows, 'call')}.`)
}

import { formatDuration } from '../../lib/duration.ts'
import { formatSize } from '../../lib/size.ts'
import type { DaemonStatus } from '../../server/admin.ts'
import { askDaemons } from '../admin-client.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { counted, formatCount } from '../format.ts'
import type { Fill } from '../program.ts'

export const fill: Fill = (status, act) => {
  status
    .addHelpText(
      'after',
      `\nExit code 3 if no gateway runs.\n${examples('subgate status', 'subgate status --json | jq .callsRunning')}`,
    )
    .action(act(show))
}

async function show(context: Context): Promise<void> {
  const { out, nowMs } = context
  const processes = await askDaemons<DaemonStatus>(context.config, '/status')
  const [first] = processes as [DaemonStatus]
  const lives = (status: DaemonStatus) => formatDuration(nowMs - status.startedAtMs)
  out.data(processes.length === 1 ? first : processes, () =>
    [
      processes.length === 1 ? oneText(out, first, lives(first)) : severalText(out, processes, lives),
      accountsText(out, first.accounts),
    ].join('\n'),
  )
}

function stateText(out: Context['out'], { draining }: DaemonStatus): string {
  return draining ? out.style('yellow', 'shutting down') : out.style('green', 'running')
}

function oneText(out: Context['out'], status: DaemonStatus, livesFor: string): string {
  return out.facts([
    ['gateway', `${stateText(out, status)}, version ${status.version}, process ${status.pid}, for ${livesFor}`],
    ['listening', status.listening],
    ['mode', status.runMode],
    ['calls', `${formatCount(status.callsRunning)} running, ${formatCount(status.callsWaiting)} waiting in line`],
    [
      'held in memory',
      `${formatSize(status.bufferedBytes)} of request bodies; the process takes ${formatSize(status.rssBytes)}`,
    ],
    ['billing guard', status.runMode === 'saas' ? guardText(out, status.billingGuard) : null],
    ['spilled', spillText(out, status.spilled)],
    ['counters', countersText([status])],
  ])
}

/** Processes that serve from one data directory. */
function severalText(
  out: Context['out'],
  processes: DaemonStatus[],
  livesFor: (status: DaemonStatus) => string,
): string {
  const [first] = processes as [DaemonStatus]
  const facts = out.facts([
    ['gateway', `${processes.length} processes, version ${first.version}`],
    ['listening', [...new Set(processes.map(({ listening }) => listening))].join(', ')],
    ['mode', first.runMode],
    ['counters', countersText(processes)],
  ])
  const table = out.table(processes, [
    { title: 'process', value: ({ processId }) => processId },
    { title: 'pid', align: 'right', value: ({ pid }) => String(pid) },
    { title: 'state', value: (status) => stateText(out, status) },
    { title: 'for', align: 'right', value: livesFor },
    { title: 'running', align: 'right', value: ({ callsRunning }) => formatCount(callsRunning) },
    { title: 'in line', align: 'right', value: ({ callsWaiting }) => formatCount(callsWaiting) },
    { title: 'memory', align: 'right', value: ({ rssBytes }) => formatSize(rssBytes) },
    { title: 'billing guard', value: ({ billingGuard }) => billingGuard },
    { title: 'spilled', align: 'right', value: ({ spilled }) => formatCount(spilled.records) },
  ])
  return `${facts}\n\n${table}`
}

/** In all, since each has started. */
function countersText(processes: DaemonStatus[]): string {
  const sums = new Map<string, number>()
  for (const { counters } of processes) {
    for (const [name, count] of Object.entries(counters)) sums.set(name, (sums.get(name) ?? 0) + count)
  }
  return Array.from(sums, ([name, count]) => `${name} ${formatCount(count)}`).join(', ')
}

function accountsText(out: Context['out'], accounts: DaemonStatus['accounts']): string {
  if (accounts.length === 0) return '\nNo accounts: subgate account add'
  return `\n${out.table(accounts, [
    { title: 'account', value: (account) => account.name, shrinks: true },
    {
      title: 'state',
      value: (account) =>
        account.usable ? 'in service' : account.status === 'active' ? 'out of service' : account.status,
      color: (account) => (account.usable ? 'green' : 'yellow'),
    },
    { title: 'until', value: (account) => account.restUntilMs && out.time(account.restUntilMs) },
    { title: 'why', value: (account) => account.reason, shrinks: true },
  ])}`
}

function guardText(out: Context['out'], state: DaemonStatus['billingGuard']): string {
  if (state === 'closed') return 'closed: charges are stored, calls are taken'
  return out.style(
    'yellow',
    state === 'open'
      ? 'open: charges cannot be stored, so new calls are refused'
      : 'half open: a few calls are let through to see whether charges can be stored again',
  )
}

function spillText(out: Context['out'], { records, sinceMs }: DaemonStatus['spilled']): string | null {
  if (records === 0) return null
  const since = sinceMs === null ? '' : ` since ${out.time(sinceMs)}`
  return out.style('yellow', `${counted(records, 'record')}${since}: they wait on disk until the database takes them`)
}

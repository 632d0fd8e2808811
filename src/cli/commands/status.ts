import { formatDuration } from '../../lib/duration.ts'
import { formatSize } from '../../lib/size.ts'
import type { DaemonStatus } from '../../server/admin.ts'
import { askDaemon } from '../admin-client.ts'
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
  const status = await askDaemon<DaemonStatus>(context.config, '/status')
  const state = status.draining ? out.style('yellow', 'shutting down') : out.style('green', 'running')
  out.data(status, () =>
    [
      out.facts([
        [
          'gateway',
          `${state}, version ${status.version}, process ${status.pid}, for ${formatDuration(nowMs - status.startedAtMs)}`,
        ],
        ['listening', status.listening],
        ['mode', status.runMode],
        ['calls', `${formatCount(status.callsRunning)} running, ${formatCount(status.callsWaiting)} waiting in line`],
        [
          'held in memory',
          `${formatSize(status.bufferedBytes)} of request bodies; the process takes ${formatSize(status.rssBytes)}`,
        ],
        ['billing guard', status.runMode === 'saas' ? guardText(out, status.billingGuard) : null],
        ['spilled', spillText(out, status.spilled)],
        [
          'counters',
          Object.entries(status.counters)
            .map(([name, count]) => `${name} ${formatCount(count)}`)
            .join(', '),
        ],
      ]),
      status.accounts.length === 0
        ? '\nNo accounts: subgate account add'
        : `\n${out.table(status.accounts, [
            { title: 'account', value: (account) => account.name, shrinks: true },
            {
              title: 'state',
              value: (account) =>
                account.usable ? 'in service' : account.status === 'active' ? 'out of service' : account.status,
              color: (account) => (account.usable ? 'green' : 'yellow'),
            },
            { title: 'until', value: (account) => account.restUntilMs && out.time(account.restUntilMs) },
            { title: 'why', value: (account) => account.reason, shrinks: true },
          ])}`,
    ].join('\n'),
  )
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

import { formatDuration } from '../../lib/duration.ts'
import type { AdmissionView, TicketView } from '../../live/live-state.ts'
import { askDaemon } from '../admin-client.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import type { Column } from '../format.ts'
import type { Fill } from '../program.ts'
import { emails } from './key.ts'

export const fill: Fill = (slot, act) => {
  slot
    .command('list')
    .summary('who holds which slot since when, and who waits in line')
    .addHelpText(
      'after',
      examples('subgate slot list', `subgate slot list --json | jq 'map(select(.state == "waiting"))'`),
    )
    .action(act(list))
}

async function list(context: Context): Promise<void> {
  const { out, nowMs } = context
  const slots = await askDaemon<{ admissions: AdmissionView[]; tickets: TicketView[] }>(context.config, '/slots')
  if (out.json) return out.list([...slots.admissions.map(held), ...slots.tickets.map(waiting)], [], '')
  const store = await context.store()
  const email = await emails(store)
  const account = new Map((await store.accounts.list()).map(({ id, name }) => [id, name]))
  const since = (ms: number) => formatDuration(Math.max(0, nowMs - ms))
  const caller: Column<AdmissionView | TicketView>[] = [
    { title: 'call', value: (one) => one.callId },
    { title: 'user', value: (one) => email.get(one.userId) ?? one.userId, shrinks: true },
    { title: 'key', value: (one) => one.keyId },
    { title: 'since', align: 'right', value: (one) => since(one.sinceMs) },
  ]
  const { admissions, tickets } = slots
  out.list(
    admissions,
    [...caller, { title: 'account', value: (one) => account.get(one.accountId) ?? one.accountId, shrinks: true }],
    'Nobody holds a slot.',
  )
  if (tickets.length === 0) return
  const names = (ids: string[]) => ids.map((id) => account.get(id) ?? id).join(', ')
  out.say('\nWaiting in line, in order of arrival:')
  out.list(
    tickets,
    [
      { title: 'number', align: 'right', value: (one) => one.number },
      ...caller,
      { title: 'passed', align: 'right', value: (one) => one.passes },
      { title: 'waits for', value: (one) => names(one.accountIds), shrinks: true },
    ],
    '',
  )
}

/** Who runs and who waits, as one list for `--json`. */
function held(admission: AdmissionView) {
  return { state: 'running', ...admission }
}

function waiting(ticket: TicketView) {
  return { state: 'waiting', ...ticket }
}

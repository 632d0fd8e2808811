import { GatewayError } from '../../domain/errors.ts'
import { formatDuration } from '../../lib/duration.ts'
import type { AdmissionView, TicketView } from '../../live/live-state.ts'
import type { ReleaseSlot } from '../../server/admin.ts'
import { askDaemon, tellDaemons } from '../admin-client.ts'
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
  slot
    .command('release <call>')
    .summary('end a call that runs or waits, and free its place')
    .addHelpText(
      'after',
      `
What its upstream has reported by then is charged; its client hears that the operator has ended it.
${examples('subgate slot release call_01m8e7d4ga4ef')}`,
    )
    .action(act(release))
}

async function list(context: Context): Promise<void> {
  const { out, nowMs } = context
  const slots = await askDaemon<Slots>(context.config, '/slots')
  if (out.json) return out.list([...slots.admissions.map(held), ...slots.tickets.map(waiting)], [], '')
  const store = await context.store()
  const email = await emails(store)
  const account = new Map((await store.accounts.list()).map(({ id, name }) => [id, name]))
  const since = (ms: number) => formatDuration(Math.max(0, nowMs - ms))
  const { admissions, tickets } = slots
  const processes = new Set([...admissions, ...tickets].map(({ processId }) => processId))
  const process: Column<AdmissionView | TicketView> = { title: 'process', value: (one) => one.processId }
  const caller: Column<AdmissionView | TicketView>[] = [
    { title: 'call', value: (one) => one.callId },
    { title: 'user', value: (one) => email.get(one.userId) ?? one.userId, shrinks: true },
    { title: 'key', value: (one) => one.keyId },
    ...(processes.size > 1 ? [process] : []),
    { title: 'since', align: 'right', value: (one) => since(one.sinceMs) },
  ]
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

/** Ends a call. Throws `not_found` if none runs or waits under this id, `conflict` if several fit. */
async function release(context: Context, _flags: object, ref: string): Promise<void> {
  const { config, out, actor } = context
  const { admissions, tickets } = await askDaemon<Slots>(config, '/slots')
  const ids = new Set([...admissions, ...tickets].map(({ callId }) => callId))
  const callId = ids.has(ref)
    ? ref
    : onlyOne(
        ref,
        [...ids].filter((id) => beginsWith(id, ref)),
      )
  const asked: ReleaseSlot = { callId, by: actor }
  const answers = await tellDaemons<{ released: boolean }>(config, '/slots/release', asked)
  const released = answers.some((answer) => answer.released)
  if (!released) throw new GatewayError('not_found', `${callId} has just ended`)
  out.data({ callId, released }, () => callId)
  out.say('Ended: its client is told so, and its place goes to the next.')
}

/** A prefix of an id goes beyond its kind. */
function beginsWith(id: string, ref: string): boolean {
  return /^call_./.test(ref) && id.startsWith(ref)
}

function onlyOne(ref: string, [first, second]: string[]): string {
  if (first === undefined)
    throw new GatewayError('not_found', `no call runs or waits under '${ref}'`, {
      hint: 'subgate slot list shows those that do.',
    })
  if (second !== undefined) throw new GatewayError('conflict', `'${ref}' fits several calls: give more of the id`)
  return first
}

interface Slots {
  admissions: AdmissionView[]
  tickets: TicketView[]
}

/** Who runs and who waits, as one list for `--json`. */
function held(admission: AdmissionView) {
  return { state: 'running', ...admission }
}

function waiting(ticket: TicketView) {
  return { state: 'waiting', ...ticket }
}

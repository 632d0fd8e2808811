import { InvalidArgumentError } from 'commander'
import { GatewayError } from '../../domain/errors.ts'
import { SHOWN_CHARACTERS } from '../../gateway/choice.ts'
import { partsOfSessionKey, type SessionParts } from '../../gateway/session-key.ts'
import { formatDuration } from '../../lib/duration.ts'
import type { BindingView, WhichBindings } from '../../live/live-state.ts'
import type { ClearSessions } from '../../server/admin.ts'
import { askDaemon, tellDaemons } from '../admin-client.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { counted } from '../format.ts'
import type { Fill } from '../program.ts'

export const fill: Fill = (session, act) => {
  session
    .command('list')
    .summary('conversations and the accounts that they are bound to')
    .addHelpText('after', examples('subgate session list', "subgate session list --json | jq 'map(.accountId)'"))
    .action(act(list))
  session
    .command('clear [session]')
    .summary('let conversations choose an account anew')
    .option('--account <account>', 'all that are bound to this account')
    .option('--all', 'all there are')
    .addHelpText(
      'after',
      `
SESSION is what 'session list' shows, or more of it. Calls that run are not moved; the next ones choose.
${examples('subgate session clear 3b1c9a02-77', 'subgate session clear --account work')}`,
    )
    .action(act(clear))
}

type Session = BindingView & SessionParts

async function sessions({ config }: Context): Promise<Session[]> {
  const bindings = await askDaemon<BindingView[]>(config, '/sessions')
  return bindings.map((binding) => ({ ...binding, ...partsOfSessionKey(binding.sessionKey) }))
}

async function list(context: Context): Promise<void> {
  const { out, nowMs } = context
  const found = await sessions(context)
  if (out.json) return out.list(found, [], '')
  const store = await context.store()
  const account = new Map((await store.accounts.list()).map(({ id, name }) => [id, name]))
  out.list(
    found,
    [
      { title: 'session', value: ({ conversation }) => shortened(conversation) },
      { title: 'key', value: ({ keyId }) => keyId },
      { title: 'account', value: ({ accountId }) => account.get(accountId) ?? accountId, shrinks: true },
      { title: 'expires in', align: 'right', value: (one) => formatDuration(Math.max(0, one.expiresAtMs - nowMs)) },
    ],
    'No conversation is bound to an account.',
  )
}

function shortened(conversation: string): string {
  return conversation.slice(0, SHOWN_CHARACTERS)
}

async function clear(context: Context, flags: { account?: string; all?: boolean }, ref?: string): Promise<void> {
  const { config, out, actor } = context
  const asked: ClearSessions = { which: await whichOf(context, flags, ref), by: actor }
  const answers = await tellDaemons<{ cleared: number }>(config, '/sessions/clear', asked)
  const cleared = answers.reduce((sum, answer) => sum + answer.cleared, 0)
  out.data({ cleared }, () => String(cleared))
  out.say(`${counted(cleared, 'conversation')} cleared.`)
}

/** What the command line names. Throws `not_found` if no session fits, `conflict` if several do. */
async function whichOf(
  context: Context,
  { account, all }: { account?: string; all?: boolean },
  ref?: string,
): Promise<WhichBindings> {
  if ([ref, account, all].filter((given) => given !== undefined).length !== 1) {
    throw new InvalidArgumentError('say which: SESSION, --account ACCOUNT, or --all')
  }
  if (all) return 'all'
  if (account !== undefined) return { accountId: (await (await context.store()).accounts.find(account)).id }
  const name = ref as string
  const found = await sessions(context)
  const whole = found.filter(({ conversation, sessionKey }) => conversation === name || sessionKey === name)
  const begun = found.filter(
    ({ conversation, sessionKey }) => conversation.startsWith(name) || sessionKey.startsWith(name),
  )
  const [first, second] = whole.length > 0 ? whole : begun
  if (!first) {
    throw new GatewayError('not_found', `no session '${name}' is bound to an account`, {
      hint: 'subgate session list shows those that are.',
    })
  }
  if (second) {
    throw new GatewayError('conflict', `'${name}' fits several sessions: give more of it`, {
      hint: 'Where two keys have a conversation of the same name, its sessionKey from session list --json tells them apart.',
    })
  }
  return { sessionKey: first.sessionKey }
}

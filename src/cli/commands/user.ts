import { InvalidArgumentError, type Option } from 'commander'
import { formatUsd } from '../../domain/money.ts'
import type { User, UserRole, UserStatus } from '../../domain/user.ts'
import { allRows } from '../../operations/pages.ts'
import type { LedgerEntry, UserChanges } from '../../store/store.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { byAge, shortUsd } from '../format.ts'
import {
  type LimitFlags,
  limitFacts,
  limitsAfter,
  newLimitOption,
  perMinuteOptions,
  setLimitOption,
  shownLimits,
} from '../limits.ts'
import { choiceOption, orNone, requireChange, usdFlag, wholeFlag } from '../options.ts'
import type { Action, Fill } from '../program.ts'
import { keyColumns } from './key.ts'

/** Ledger entries that `user show` prints. */
const LEDGER_SHOWN = 10

export const fill: Fill = (user, act) => {
  const [rpm, tpm] = perMinuteOptions()
  const [setRpm, setTpm] = perMinuteOptions('; none = no such limit')
  user
    .command('add <email>')
    .summary('make a user')
    .option('--name <name>', 'full name')
    .addOption(roleOption().default('user'))
    .option('--balance <usd>', 'opening balance', usdFlag)
    .option('--concurrency <n>', 'calls at a time; none = no limit', orNone(wholeFlag(0)))
    .addOption(rpm)
    .addOption(tpm)
    .addOption(newLimitOption('user'))
    .addHelpText(
      'after',
      examples(
        'subgate user add ada@example.com --name "Ada Lovelace" --concurrency 10',
        'subgate user add bob@example.com --rpm 60 --tpm 200k --limit usd=50/month@Europe/Berlin',
      ),
    )
    .action(act(addUser))
  user.command('list').summary('all users').addHelpText('after', examples('subgate user list')).action(act(listUsers))
  user
    .command('show <user>')
    .summary('one user, with its limits, keys and latest ledger entries')
    .addHelpText('after', examples('subgate user show ada@example.com'))
    .action(act(showUser))
  user
    .command('set <user>')
    .summary('change a user')
    .option('--email <email>')
    .option('--name <name>', 'full name; none = take it away', orNone(String))
    .addOption(roleOption())
    .option('--concurrency <n>', 'calls at a time; none = no limit', orNone(wholeFlag(0)))
    .addOption(setRpm)
    .addOption(setTpm)
    .addOption(setLimitOption('user'))
    .addHelpText(
      'after',
      examples(
        'subgate user set ada@example.com --concurrency none',
        'subgate user set ada@example.com --rpm none --limit usd=20/1d',
      ),
    )
    .action(act(setUser))
  user
    .command('disable <user>')
    .summary('refuse all calls of the user')
    .addHelpText('after', examples('subgate user disable ada@example.com'))
    .action(act(setStatus('disabled')))
  user
    .command('enable <user>')
    .summary('take calls of the user again')
    .addHelpText('after', examples('subgate user enable ada@example.com'))
    .action(act(setStatus('active')))
  user
    .command('credit <user> <usd>')
    .summary('add to the balance; a negative amount takes away')
    .option('--note <text>', 'why, for the ledger')
    .addHelpText(
      'after',
      examples('subgate user credit ada@example.com 25', 'subgate user credit ada@example.com -5 --note "paid out"'),
    )
    .action(act(creditUser))
}

function roleOption(): Option {
  return choiceOption('--role <role>', 'admins are users who may be shown everything', ['admin', 'user'])
}

interface AddFlags extends LimitFlags {
  name?: string
  role: UserRole
  balance?: number
  concurrency?: number | null
}

async function addUser(context: Context, flags: AddFlags, email: string): Promise<void> {
  const { defaults } = context.config
  const limits = limitsAfter(context, flags, []) ?? []
  const store = await context.store()
  const user = await store.users.add({
    email,
    name: flags.name ?? null,
    role: flags.role,
    balanceNanoUsd: flags.balance ?? defaults.userBalanceNanoUsd,
    concurrency: flags.concurrency === undefined ? defaults.userConcurrency : flags.concurrency,
    limits,
    by: context.actor,
  })
  context.out.data(user, () => user.id)
  context.out.say(`Added ${user.email}. To make a key for it: subgate key issue ${user.email}`)
}

async function listUsers(context: Context): Promise<void> {
  const { out } = context
  const store = await context.store()
  const users = byAge(await allRows((page) => store.users.list(page)))
  const billed = context.config.runMode === 'saas'
  out.list(
    users,
    [
      { title: 'id', value: (user) => user.id, shrinks: true },
      { title: 'email', value: (user) => user.email, shrinks: true },
      { title: 'name', value: (user) => user.name, shrinks: true },
      { title: 'role', value: (user) => user.role },
      { title: 'status', value: (user) => user.status },
      ...(billed
        ? [{ title: 'balance', align: 'right' as const, value: (user: User) => shortUsd(user.balanceNanoUsd) }]
        : []),
      { title: 'at a time', align: 'right', value: (user) => user.concurrency ?? 'no limit' },
      { title: 'created', value: (user) => out.time(user.createdAtMs) },
    ],
    'There are no users yet. To make one: subgate user add EMAIL',
  )
}

async function showUser(context: Context, _flags: object, ref: string): Promise<void> {
  const { out } = context
  const store = await context.store()
  const user = await store.users.find(ref)
  const keys = byAge(await allRows((page) => store.keys.list({ ...page, userId: user.id })))
  const ledger = (await allRows((page) => store.ledger.list({ ...page, userId: user.id }))).slice(-LEDGER_SHOWN)
  const limits = await shownLimits(context, 'user', user)
  out.data({ ...user, limits, keys, ledger }, () =>
    [
      out.facts([
        ['id', user.id],
        ['email', user.email],
        ['name', user.name],
        ['role', user.role],
        ['status', user.status],
        ['balance', formatUsd(user.balanceNanoUsd)],
        ...limitFacts(context, limits),
        ['at a time', user.concurrency === null ? 'no limit' : `${user.concurrency} calls`],
        ['created', out.time(user.createdAtMs)],
      ]),
      keys.length > 0 ? `\n${out.style('bold', 'Keys')}\n${out.table(keys, keyColumns(out, []))}` : '\nNo keys.',
      ledger.length > 0 ? `\n${out.style('bold', 'Latest in the ledger')}\n${ledgerTable(out, ledger)}` : '',
    ]
      .filter(Boolean)
      .join('\n'),
  )
}

function ledgerTable(out: Context['out'], entries: LedgerEntry[]): string {
  return out.table(entries, [
    { title: 'at', value: (entry) => out.time(entry.atMs) },
    { title: 'kind', value: (entry) => entry.kind },
    { title: 'amount', align: 'right', value: (entry) => formatUsd(entry.amountNanoUsd) },
    { title: 'balance after', align: 'right', value: (entry) => formatUsd(entry.balanceAfterNanoUsd) },
    { title: 'call or by', value: (entry) => entry.callId ?? entry.actor },
    { title: 'note', value: (entry) => entry.note, shrinks: true },
  ])
}

type SetFlags = Omit<UserChanges, 'limits' | 'status'> & LimitFlags

async function setUser(context: Context, flags: SetFlags, ref: string): Promise<void> {
  requireChange(flags)
  const { limit: _, rpm: __, tpm: ___, ...others } = flags
  const store = await context.store()
  const { id, limits: before } = await store.users.find(ref)
  const limits = limitsAfter(context, flags, before)
  const changes: UserChanges = { ...others, ...(limits !== undefined && { limits }) }
  const user = await store.users.set({ id, changes, by: context.actor })
  context.out.data(user, () => user.id)
  context.out.say(`Changed ${user.email}.`)
}

function setStatus(status: UserStatus): Action<object> {
  return async (context, _flags, ref = '') => {
    const store = await context.store()
    const { id } = await store.users.find(ref)
    const user = await store.users.set({ id, changes: { status }, by: context.actor })
    context.out.data(user, () => user.id)
    context.out.say(status === 'active' ? `${user.email} may call again.` : `All calls of ${user.email} are refused.`)
  }
}

async function creditUser(context: Context, flags: { note?: string }, ref: string, amount: string): Promise<void> {
  const amountNanoUsd = usdFlag(amount)
  if (amountNanoUsd === 0) throw new InvalidArgumentError('a credit of $0 changes nothing')
  const store = await context.store()
  const { id } = await store.users.find(ref)
  const credit = { id, amountNanoUsd, note: flags.note ?? null, by: context.actor }
  const user = await store.users.credit(credit)
  context.out.data(user, () => formatUsd(user.balanceNanoUsd))
  context.out.say(`The balance of ${user.email} is now ${formatUsd(user.balanceNanoUsd)}.`)
}

import { InvalidArgumentError, type Option } from 'commander'
import { type Group, WHEN_CLIENT_LEAVES, type WhenClientLeaves } from '../../domain/group.ts'
import { formatMultiplier } from '../../domain/money.ts'
import type { AddGroup } from '../../store/store.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { type LimitFlags, limitFacts, limitsAfter, newLimitOption, setLimitOption, shownLimits } from '../limits.ts'
import { choiceOption, multiplierFlag, orNone, requireChange, textListFlag } from '../options.ts'
import type { Fill } from '../program.ts'
import { fallbackOption, ROUTING_HELP, type RoutingFlags, routeOption, routingAfter, routingFacts } from '../routing.ts'
import { emails } from './key.ts'

export const fill: Fill = (group, act) => {
  group
    .command('add <name>')
    .summary('make a group')
    .option('--multiplier <n>', 'what its calls cost, times list price; 0 = free', multiplierFlag)
    .option('--account <account>', 'attach this account; may be repeated', textListFlag)
    .option('--exclusive', 'only users who are attached to it may use it')
    .addOption(whenClientLeavesOption())
    .addOption(newLimitOption('group'))
    .addOption(routeOption())
    .addOption(fallbackOption())
    .addHelpText(
      'after',
      `${ROUTING_HELP}${examples(
        'subgate group add premium --multiplier 1.5 --account work --exclusive',
        "subgate group add mixed --account work,spare --route 'claude-opus-*=work' --fallback default",
      )}`,
    )
    .action(act(add))
  group.command('list').summary('all groups').addHelpText('after', examples('subgate group list')).action(act(list))
  group
    .command('show <group>')
    .summary('one group, with its limits, accounts and users')
    .addHelpText('after', examples('subgate group show premium'))
    .action(act(show))
  group
    .command('set <group>')
    .summary('change a group; routes are replaced, limits one by one')
    .option('--name <name>')
    .option(
      '--multiplier <n>',
      'times list price; 0 = free; default = default.rate_multiplier',
      orNone(multiplierFlag, 'default'),
    )
    .option('--exclusive', 'only users who are attached to it may use it')
    .option('--no-exclusive', 'everybody may use it')
    .addOption(whenClientLeavesOption())
    .addOption(setLimitOption('group'))
    .addOption(routeOption('; none = no routes'))
    .addOption(fallbackOption('; none = nobody'))
    .addHelpText(
      'after',
      `${ROUTING_HELP}${examples(
        'subgate group set premium --multiplier 1.2 --no-exclusive',
        'subgate group set free --limit usd=20/1d',
        "subgate group set premium --route 'claude-opus-*=work,home' --route 'claude-haiku-*=spare'",
        'subgate group set premium --fallback default',
      )}`,
    )
    .action(act(set))
  group
    .command('attach <group>')
    .summary('attach an account or a user to a group')
    .option('--account <account>')
    .option('--user <user>')
    .option(
      '--multiplier <n>',
      "the user's own multiplier in this group; default = the group's",
      orNone(multiplierFlag, 'default'),
    )
    .addHelpText(
      'after',
      examples(
        'subgate group attach premium --account work',
        'subgate group attach premium --user ada@example.com --multiplier 0.8',
      ),
    )
    .action(act(attach))
  group
    .command('detach <group>')
    .summary('detach an account or a user from a group')
    .option('--account <account>')
    .option('--user <user>')
    .addHelpText('after', examples('subgate group detach premium --account work'))
    .action(act(detach))
}

function whenClientLeavesOption(): Option {
  return choiceOption(
    '--when-client-leaves <what>',
    'stop the upstream, read on for a while, or charge what was delivered',
    WHEN_CLIENT_LEAVES,
  )
}

interface GroupFlags extends LimitFlags, RoutingFlags {
  name?: string
  multiplier?: number | null
  account?: string[]
  exclusive?: boolean
  whenClientLeaves?: WhenClientLeaves
}

async function add(context: Context, flags: GroupFlags, name: string): Promise<void> {
  const limits = limitsAfter(context, flags, []) ?? []
  const store = await context.store()
  const accounts = await Promise.all((flags.account ?? []).map((ref) => store.accounts.find(ref)))
  const group = await store.groups.add({
    name,
    multiplierMicro: flags.multiplier ?? null,
    exclusive: flags.exclusive ?? false,
    whenClientLeaves: flags.whenClientLeaves ?? null,
    limits,
    ...(await routingAfter(store, flags)),
    accountIds: accounts.map((account) => account.id),
    by: context.actor,
  })
  context.out.data(group, () => group.id)
  context.out.say(
    `Added group '${group.name}'${accounts.length > 0 ? ` with ${accounts.map((account) => account.name).join(', ')}` : ''}.`,
  )
}

async function list(context: Context): Promise<void> {
  const store = await context.store()
  const accounts = await store.accounts.list()
  const groups = await store.groups.list()
  const rows = groups.map((group) => ({
    ...group,
    accounts: accounts.filter((account) => account.groupIds.includes(group.id)).map((account) => account.name),
  }))
  context.out.list(
    rows,
    [
      { title: 'id', value: (group) => group.id, shrinks: true },
      { title: 'name', value: (group) => group.name, shrinks: true },
      { title: 'multiplier', align: 'right', value: (group) => multiplierText(context, group) },
      { title: 'open to', value: (group) => (group.exclusive ? 'attached users' : 'all users') },
      { title: 'accounts', value: (group) => group.accounts.join(', '), shrinks: true },
    ],
    'There are no groups yet. To make one: subgate group add NAME',
  )
}

function multiplierText({ config }: Context, { multiplierMicro }: Pick<Group, 'multiplierMicro'>): string {
  return multiplierMicro === null
    ? `${formatMultiplier(config.defaults.multiplierMicro)} (default)`
    : formatMultiplier(multiplierMicro)
}

async function show(context: Context, _flags: object, ref: string): Promise<void> {
  const { out } = context
  const store = await context.store()
  const group = await store.groups.find(ref)
  const accounts = (await store.accounts.list()).filter((account) => account.groupIds.includes(group.id))
  const email = await emails(store)
  const members = (await store.groups.members(group.id)).map((member) => ({
    ...member,
    email: email.get(member.userId) ?? member.userId,
  }))
  const fallback = group.fallbackGroupId === null ? null : await store.groups.find(group.fallbackGroupId)
  const names = accounts.map(({ id, name, provider, status }) => ({ id, name, provider, status }))
  const limits = await shownLimits(context, 'group', group)
  out.data({ ...group, limits, accounts: names, members }, () =>
    [
      out.facts([
        ['id', group.id],
        ['name', group.name],
        ['multiplier', multiplierText(context, group)],
        ['open to', group.exclusive ? 'attached users' : 'all users'],
        [
          'when a client leaves',
          group.whenClientLeaves ?? (context.config.runMode === 'saas' ? 'read_on (default)' : 'abort (default)'),
        ],
        ...limitFacts(context, limits),
        ['accounts', names.map((account) => account.name).join(', ') || 'none'],
        ...routingFacts(group, accounts, fallback),
      ]),
      members.length === 0
        ? ''
        : `\n${out.table(members, [
            { title: 'user', value: (member) => member.email },
            {
              title: 'multiplier',
              align: 'right',
              value: (member) =>
                member.multiplierMicro === null ? "the group's" : formatMultiplier(member.multiplierMicro),
            },
          ])}`,
    ]
      .filter(Boolean)
      .join('\n'),
  )
}

async function set(context: Context, flags: GroupFlags, ref: string): Promise<void> {
  const store = await context.store()
  const { id, limits: before } = await store.groups.find(ref)
  const limits = limitsAfter(context, flags, before)
  const changes: Partial<Omit<AddGroup, 'by' | 'accountIds'>> = {
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.multiplier !== undefined && { multiplierMicro: flags.multiplier }),
    ...(flags.exclusive !== undefined && { exclusive: flags.exclusive }),
    ...(flags.whenClientLeaves !== undefined && { whenClientLeaves: flags.whenClientLeaves }),
    ...(limits !== undefined && { limits }),
    ...(await routingAfter(store, flags)),
  }
  requireChange(changes)
  const group = await store.groups.set({ id, changes, by: context.actor })
  context.out.data(group, () => group.id)
  context.out.say(`Changed group '${group.name}'.`)
}

interface AttachFlags {
  account?: string
  user?: string
  multiplier?: number | null
}

async function attach(context: Context, flags: AttachFlags, ref: string): Promise<void> {
  requireOne(flags)
  const { multiplier } = flags
  if (multiplier !== undefined && flags.user === undefined) {
    throw new InvalidArgumentError('--multiplier is of a user: name one with --user USER')
  }
  const store = await context.store()
  const { id, name } = await store.groups.find(ref)
  const by = context.actor
  if (flags.account !== undefined) {
    const account = await store.accounts.find(flags.account)
    await store.groups.attachAccount({ id, accountId: account.id, by })
    context.out.say(`Calls of group '${name}' may now use ${account.name}.`)
  }
  if (flags.user !== undefined) {
    const user = await store.users.find(flags.user)
    const changes = multiplier === undefined ? {} : { multiplierMicro: multiplier }
    await store.groups.attachUser({ id, userId: user.id, ...changes, by })
    context.out.say(`${user.email} may now use group '${name}'.`)
  }
}

async function detach(context: Context, flags: AttachFlags, ref: string): Promise<void> {
  requireOne(flags)
  const store = await context.store()
  const { id, name } = await store.groups.find(ref)
  const by = context.actor
  if (flags.account !== undefined) {
    const account = await store.accounts.find(flags.account)
    await store.groups.detachAccount({ id, accountId: account.id, by })
    context.out.say(`Calls of group '${name}' no longer use ${account.name}.`)
  }
  if (flags.user !== undefined) {
    const user = await store.users.find(flags.user)
    await store.groups.detachUser({ id, userId: user.id, by })
    context.out.say(`${user.email} is no longer attached to group '${name}'.`)
  }
}

function requireOne(flags: AttachFlags): void {
  if (flags.account === undefined && flags.user === undefined) {
    throw new InvalidArgumentError('name what is meant: --account ACCOUNT or --user USER')
  }
}

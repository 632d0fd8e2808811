import { isCidr } from '../../config/schema.ts'
import type { ApiKey } from '../../domain/api-key.ts'
import { GatewayError, isGatewayError } from '../../domain/errors.ts'
import { formatUsd } from '../../domain/money.ts'
import { issueKey, rotateKey } from '../../operations/issue-key.ts'
import { allRows } from '../../operations/pages.ts'
import { DEFAULT_GROUP } from '../../operations/set-up.ts'
import type { KeyChanges, Store } from '../../store/store.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { byAge, type Column } from '../format.ts'
import { type LimitFlags, limitFacts, limitsAfter, newLimitOption, setLimitOption, shownLimits } from '../limits.ts'
import { flag, futureMoment, listFlag, orNone, requireChange, textListFlag, usdFlag, wholeFlag } from '../options.ts'
import type { Output } from '../output.ts'
import type { Fill } from '../program.ts'

const cidrList = listFlag((text) => {
  if (!isCidr(text)) throw new GatewayError('invalid_request', `'${text}' is not an address or a CIDR`)
  return text
})

export const fill: Fill = (key, act) => {
  key
    .command('issue <user>')
    .summary('make a key; it is printed once, alone on stdout')
    .option('--name <name>', 'for people')
    .option('--group <group>', 'the pool of accounts that it uses', DEFAULT_GROUP)
    .option('--expires <when>', 'such as 30d or 2027-01-31')
    .option('--quota <usd>', 'what it may spend in its lifetime', usdFlag)
    .addOption(newLimitOption('key'))
    .option('--concurrency <n>', 'calls at a time', wholeFlag(0))
    .option('--allow-ip <cidr>', 'only from here; may be repeated', cidrList)
    .option('--deny-ip <cidr>', 'not from here; may be repeated', cidrList)
    .option('--models <pattern>', 'only these models, such as claude-*; may be repeated', textListFlag)
    .option('--key-from-env <name>', "take the user's existing key from the environment instead of making one")
    .addHelpText(
      'after',
      examples(
        'subgate key issue ada@example.com --name laptop',
        'subgate key issue ada@example.com --expires 30d --quota 20 --models "claude-*"',
        'subgate key issue ada@example.com --limit requests=60/1m --limit usd=5/1d',
      ),
    )
    .action(act(issue))
  key
    .command('list')
    .summary('all keys')
    .option('--user <user>', 'only of this user')
    .addHelpText('after', examples('subgate key list --user ada@example.com'))
    .action(act(list))
  key
    .command('show <key>')
    .summary('one key, what it has spent, and what is used of its limits')
    .addHelpText('after', examples('subgate key show laptop'))
    .action(act(show))
  key
    .command('set <key>')
    .summary('change a key; lists are replaced, limits one by one')
    .option('--name <name>', 'none = take it away', orNone(String))
    .option('--group <group>')
    .option('--expires <when>', 'such as 30d or 2027-01-31; never = no end')
    .option('--quota <usd>', 'what it may spend in its lifetime; none = no limit', orNone(usdFlag))
    .addOption(setLimitOption('key'))
    .option('--concurrency <n>', 'calls at a time; none = no limit', orNone(wholeFlag(0)))
    .option('--allow-ip <cidr>', 'only from here; any = from everywhere', anyOr(cidrList))
    .option('--deny-ip <cidr>', 'not from here; any = nowhere denied', anyOr(cidrList))
    .option('--models <pattern>', 'only these models; any = all', anyOr(textListFlag))
    .addHelpText(
      'after',
      examples(
        'subgate key set laptop --expires 30d --quota none',
        'subgate key set laptop --limit usd=5/1d --limit requests=none',
      ),
    )
    .action(act(set))
  key
    .command('rotate <key>')
    .summary('exchange the key for a new one; everything else about it stays')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('subgate key rotate laptop'))
    .action(act(rotate))
  key
    .command('revoke <key>')
    .summary('end a key for good')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('subgate key revoke laptop'))
    .action(act(revoke))
}

/** A list flag whose word `any` empties the list. */
function anyOr<T>(read: (text: string, before: T[] | undefined) => T[]) {
  return (text: string, before: T[] | undefined): T[] => (text === 'any' ? [] : read(text, before))
}

interface IssueFlags extends LimitFlags {
  name?: string
  group: string
  expires?: string
  quota?: number
  concurrency?: number
  allowIp?: string[]
  denyIp?: string[]
  models?: string[]
  keyFromEnv?: string
}

async function issue(context: Context, flags: IssueFlags, userRef: string): Promise<void> {
  const { out, io, nowMs } = context
  const expiresAtMs = flags.expires === undefined ? null : futureMoment(flags.expires, nowMs, out.utc)
  const limits = limitsAfter(context, flags, []) ?? []
  const work = await context.work()
  const user = await work.store.users.find(userRef)
  const group = await work.store.groups.find(flags.group)
  const broughtKey = flags.keyFromEnv === undefined ? null : io.env[flags.keyFromEnv]?.trim()
  if (broughtKey === undefined || broughtKey === '') {
    throw new GatewayError('invalid_request', `the environment has no ${flags.keyFromEnv}`)
  }
  const { apiKey, key } = await issueKey(work, {
    userId: user.id,
    groupId: group.id,
    name: flags.name ?? null,
    expiresAtMs,
    concurrency: flags.concurrency ?? null,
    quotaNanoUsd: flags.quota ?? null,
    limits,
    allowIps: flags.allowIp ?? [],
    denyIps: flags.denyIp ?? [],
    models: flags.models ?? [],
    broughtKey,
  })
  out.data({ ...apiKey, key }, () => key)
  out.say(
    `This is the only time that the key is shown. It is ${apiKey.id}, of ${user.email}, for group '${group.name}'.`,
  )
  out.say(`To point a client at the gateway with it: subgate env ${await shortRef(work.store, apiKey)}`)
}

/** A key's name if that is enough to find it, else its id. */
async function shortRef({ keys }: Store, { id, name }: ApiKey): Promise<string> {
  if (name === null) return id
  try {
    await keys.find(name)
    return name
  } catch (error) {
    if (!isGatewayError(error)) throw error
    return id // others have that name
  }
}

async function list(context: Context, flags: { user?: string }): Promise<void> {
  const store = await context.store()
  const userId = flags.user === undefined ? undefined : (await store.users.find(flags.user)).id
  const keys = byAge(await allRows((page) => store.keys.list({ ...page, userId })))
  const owner = await emails(store)
  const ofUser: Column<ApiKey> = { title: 'user', value: (key) => owner.get(key.userId) ?? key.userId, shrinks: true }
  context.out.list(
    keys,
    keyColumns(context.out, [ofUser]),
    'There are no keys yet. To make one: subgate key issue USER',
  )
}

/** How keys are listed; `extra` columns stand behind the id. */
export function keyColumns(out: Output, extra: Column<ApiKey>[]): Column<ApiKey>[] {
  return [
    { title: 'id', value: (key) => key.id, shrinks: true },
    ...extra,
    { title: 'name', value: (key) => key.name, shrinks: true },
    { title: 'key', value: (key) => `…${key.last4}` },
    { title: 'status', value: (key) => key.status },
    { title: 'expires', value: (key) => (key.expiresAtMs === null ? 'never' : out.time(key.expiresAtMs)) },
    { title: 'created', value: (key) => out.time(key.createdAtMs) },
  ]
}

/** E-mails by user id. */
export async function emails(store: Store): Promise<Map<string, string>> {
  const users = await allRows((page) => store.users.list(page))
  return new Map(users.map((user) => [user.id, user.email]))
}

async function show(context: Context, _flags: object, ref: string): Promise<void> {
  const { out, config } = context
  const store = await context.store()
  const key = await store.keys.find(ref)
  const user = await store.users.find(key.userId)
  const group = await store.groups.find(key.groupId)
  const spending = config.runMode === 'simple' ? 'cost' : 'charged'
  const standing = await store.ledger.standing({ userId: user.id, keyId: key.id, spending, callIds: [] })
  const limits = await shownLimits(context, 'key', key)
  const facts = { ...key, limits, userEmail: user.email, groupName: group.name, spentNanoUsd: standing.keySpentNanoUsd }
  out.data(facts, () =>
    out.facts([
      ['id', key.id],
      ['name', key.name],
      ['key', `…${key.last4}`],
      ['user', `${user.email} (${user.id})`],
      ['group', group.name],
      ['status', key.status],
      ['spent', formatUsd(standing.keySpentNanoUsd)],
      ['quota', key.quotaNanoUsd === null ? 'none' : formatUsd(key.quotaNanoUsd)],
      ...limitFacts(context, limits),
      ['at a time', key.concurrency === null ? 'no limit of its own' : `${key.concurrency} calls`],
      ['models', key.models.join(', ') || 'all'],
      ['only from', key.allowIps.join(', ')],
      ['not from', key.denyIps.join(', ')],
      ['expires', key.expiresAtMs === null ? 'never' : out.time(key.expiresAtMs)],
      ['created', out.time(key.createdAtMs)],
    ]),
  )
}

interface SetFlags extends LimitFlags {
  name?: string | null
  group?: string
  expires?: string
  quota?: number | null
  concurrency?: number | null
  allowIp?: string[]
  denyIp?: string[]
  models?: string[]
}

async function set(context: Context, flags: SetFlags, ref: string): Promise<void> {
  const { out, nowMs } = context
  const expiry = (text: string) => (text === 'never' ? null : futureMoment(text, nowMs, out.utc))
  const store = await context.store()
  const { id, limits: before } = await store.keys.find(ref)
  const limits = limitsAfter(context, flags, before)
  const changes: KeyChanges = {
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.group !== undefined && { groupId: (await store.groups.find(flags.group)).id }),
    ...(flags.expires !== undefined && { expiresAtMs: flag(expiry)(flags.expires) }),
    ...(flags.quota !== undefined && { quotaNanoUsd: flags.quota }),
    ...(limits !== undefined && { limits }),
    ...(flags.concurrency !== undefined && { concurrency: flags.concurrency }),
    ...(flags.allowIp !== undefined && { allowIps: flags.allowIp }),
    ...(flags.denyIp !== undefined && { denyIps: flags.denyIp }),
    ...(flags.models !== undefined && { models: flags.models }),
  }
  requireChange(changes)
  const key = await store.keys.set({ id, changes, by: context.actor })
  out.data(key, () => key.id)
  out.say(`Changed ${key.id}; a running gateway sees it within a second.`)
}

async function rotate(context: Context, flags: { yes?: boolean }, ref: string): Promise<void> {
  const work = await context.work()
  const { id, last4, status } = await work.store.keys.find(ref)
  if (status === 'revoked') {
    throw new GatewayError('conflict', `${id} is revoked, and a new key in its place would be as well`, {
      hint: 'subgate key issue USER makes one that works.',
    })
  }
  await context.sure(`The key that ends in ${last4} stops working at once. Go on?`, flags.yes)
  const { apiKey, key } = await rotateKey(work, id)
  context.out.data({ ...apiKey, key }, () => key)
  context.out.say('This is the only time that the new key is shown; the old one no longer works.')
}

async function revoke(context: Context, flags: { yes?: boolean }, ref: string): Promise<void> {
  const store = await context.store()
  const { id, last4 } = await store.keys.find(ref)
  await context.sure(`The key that ends in ${last4} stops working for good. Go on?`, flags.yes)
  const key = await store.keys.set({ id, changes: { status: 'revoked' }, by: context.actor })
  context.out.data(key, () => key.id)
  context.out.say(`Revoked ${key.id}.`)
}

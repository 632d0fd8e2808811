import { type AccountStatus, type PauseAt, PROVIDERS, type ProviderName, type RestRule } from '../../domain/account.ts'
import { CLIENTS, type ClientName } from '../../domain/call.ts'
import { changedDeadlines, type DeadlineChange, formatDeadlines } from '../../domain/deadline.ts'
import { changedModelMap, type ModelMapChange } from '../../domain/model-map.ts'
import { type AccountUpdate, addAccount, updateAccount } from '../../operations/add-account.ts'
import { DEFAULT_GROUP } from '../../operations/set-up.ts'
import { testAccount } from '../../operations/test-account.ts'
import type { Workspace } from '../../operations/workspace.ts'
import { providers } from '../../providers/index.ts'
import type { StoredAccount } from '../../store/store.ts'
import {
  DEADLINES,
  deadlineList,
  groupsFor,
  HYBRID,
  headerList,
  MAP_MEANT,
  modelMapChanges,
  ONLY_CLIENT,
  PAUSE_AT,
  pauseList,
  pauseText,
  restRuleList,
  restRuleText,
} from '../account-flags.ts'
import { stateOf, usedText, weightText, windowText } from '../account-state.ts'
import { allowHostOf } from '../allowlist.ts'
import type { Context, SecretFlags } from '../context.ts'
import { examples } from '../examples.ts'
import { printable } from '../format.ts'
import { type LimitFlags, limitFacts, limitsAfter, newLimitOption, setLimitOption, shownLimits } from '../limits.ts'
import {
  choiceArgument,
  choiceOption,
  futureMoment,
  orNone,
  requireChange,
  textListFlag,
  wholeFlag,
} from '../options.ts'
import { type Action, ExitCode, type Fill } from '../program.ts'
import { fillImport } from './account-import.ts'

export const fill: Fill = (account, act) => {
  account
    .command('add')
    .addArgument(choiceArgument('provider', PROVIDERS))
    .summary('add one account; its key is asked for, or read from where you say')
    .option('--name <name>', "for people; the provider's name if left out")
    .option('--api-key-stdin', 'read the API key from standard input')
    .option('--from-env <name>', 'read the API key from an environment variable')
    .option('--from-file <path>', 'read the API key from a file; - = standard input')
    .option('--base-url <url>', "another address than the provider's own")
    .option('--allow-host', 'put the host of --base-url on the allowlist without asking')
    .option('--priority <n>', 'lower is tried first (default: 50)', wholeFlag(0))
    .option('--weight <n>', 'share among accounts of the same priority (default: 100)', wholeFlag(0))
    .option('--concurrency <n>', 'calls at a time', wholeFlag(0))
    .addOption(newLimitOption('account'))
    .option('--models <pattern>', 'models that it serves, such as claude-*; may be repeated', textListFlag)
    .option('--model-map <asked=sent>', `${MAP_MEANT}; may be repeated`, modelMapChanges)
    .addOption(choiceOption('--only-client <client>', ONLY_CLIENT, CLIENTS))
    .option('--hybrid', HYBRID)
    .option('--pause-at <window=share>', PAUSE_AT, pauseList)
    .option('--header <name=value>', 'sent with every call; may be repeated', headerList)
    .option('--deadline <name=time>', `${DEADLINES}; may be repeated`, deadlineList)
    .option('--expires <when>', 'such as 30d or 2027-01-31')
    .option('--group <group>', `groups that may use it (default: ${DEFAULT_GROUP}); may be repeated`, textListFlag)
    .addHelpText(
      'after',
      examples(
        'subgate account add anthropic --name work                      asks for the key',
        'subgate account add anthropic --from-env ANTHROPIC_API_KEY',
        'pass show anthropic | subgate account add anthropic --name work --api-key-stdin',
        'subgate account add anthropic --name relay --base-url https://relay.example.com --allow-host',
        'subgate account add anthropic --name mine --only-client claude-code --pause-at 5h=90% --pause-at 7d=80%',
      ),
    )
    .action(act(add))
  fillImport(account, act)
  account
    .command('list')
    .summary("all accounts, with what their vendors' windows have left")
    .addHelpText('after', examples('subgate account list', `subgate account list --json | jq -r '.[].name'`))
    .action(act(list))
  account
    .command('show <account>')
    .summary('one account, its rests and vendor windows, and what is used of its limits')
    .addHelpText('after', examples('subgate account show work'))
    .action(act(show))
  account
    .command('set <account>')
    .summary('change an account; lists are replaced, limits, deadlines and the model map one by one')
    .option('--name <name>')
    .option('--base-url <url>')
    .option('--allow-host', 'put the host of --base-url on the allowlist without asking')
    .option('--api-key-stdin', 'read a new API key from standard input')
    .option('--from-env <name>', 'read a new API key from an environment variable')
    .option('--from-file <path>', 'read a new API key from a file; - = standard input')
    .option('--priority <n>', 'lower is tried first', wholeFlag(0))
    .option('--weight <n>', 'share among accounts of the same priority', wholeFlag(0))
    .option('--concurrency <n>', 'calls at a time; none = no limit', orNone(wholeFlag(0)))
    .addOption(setLimitOption('account'))
    .option('--models <pattern>', "models that it serves; default = the provider's own", textListFlag)
    .option(
      '--model-map <asked=sent>',
      `${MAP_MEANT}; ASKED=none takes away, none takes all away; others stay; may be repeated`,
      modelMapChanges,
    )
    .addOption(choiceOption('--only-client <client>', `${ONLY_CLIENT}; none = any`, [...CLIENTS, 'none']))
    .option('--hybrid', HYBRID)
    .option('--no-hybrid', 'only the paths under /antigravity')
    .option('--pause-at <window=share>', `${PAUSE_AT}; none = never`, pauseList)
    .option('--header <name=value>', 'sent with every call; none = no headers', headerList)
    .option(
      '--deadline <name=time>',
      `${DEADLINES}; NAME=none or none for the configuration's again; others stay; may be repeated`,
      deadlineList,
    )
    .option('--expires <when>', 'such as 30d or 2027-01-31; never = no end')
    .option('--group <group>', 'groups that may use it', textListFlag)
    .option(
      '--rest-rule <rule>',
      'STATUS=TIME or STATUS:WORDS=TIME: what an error means for this account; may be repeated; none = no rules',
      restRuleList,
    )
    .addHelpText(
      'after',
      `\nA rest rule comes before what the gateway knows of the vendor: an upstream error with this status, and one of these words
(commas between them) in its text, rests the account for so long, and the call goes to another. Choose words that no client
can bring about: errors often repeat what was asked for.

--pause-at is for accounts that are also used elsewhere: once so much of a vendor window is used, by whomever, the account gets no calls
until the window's reset, and its conversations move. What is used is known from the last answer, so calls that run may go past it.

--only-client tells programs by what they say of themselves, which anybody can copy: it keeps mistakes away, not intent.\n${examples(
        'subgate account set work --concurrency 4 --priority 10',
        'subgate account set mine --only-client claude-code --pause-at 5h=90%',
        'subgate account set work --from-env NEW_KEY',
        'subgate account set work --deadline first_event=90s --deadline idle=none',
        "subgate account set work --model-map 'claude-haiku-*=claude-sonnet-5-5'",
        "subgate account set work --rest-rule '403:quota exceeded,plan limit=30m' --rest-rule 500=2m",
      )}`,
    )
    .action(act(set))
  account
    .command('test [account...]')
    .summary('ask upstreams for their model list: proves the credential, costs nothing')
    .addHelpText('after', examples('subgate account test', 'subgate account test work'))
    .action(act(test))
  account
    .command('pause <account>')
    .summary('send it no calls')
    .addHelpText('after', examples('subgate account pause work'))
    .action(act(setStatus('paused')))
  account
    .command('resume <account>')
    .summary('send it calls again; also ends a rest')
    .addHelpText('after', examples('subgate account resume work'))
    .action(act(setStatus('active')))
  account
    .command('wake <account>')
    .summary('end its rest: the next call may ask it at once')
    .addHelpText('after', examples('subgate account wake work'))
    .action(act(wake))
  account
    .command('remove <account>')
    .summary('delete it; usage keeps its id')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('subgate account remove work'))
    .action(act(remove))
}

interface AccountFlags extends SecretFlags, LimitFlags {
  name?: string
  baseUrl?: string
  allowHost?: boolean
  priority?: number
  weight?: number
  concurrency?: number | null
  models?: string[]
  modelMap?: ModelMapChange[]
  onlyClient?: ClientName | 'none'
  hybrid?: boolean
  pauseAt?: PauseAt[]
  header?: Record<string, string>
  expires?: string
  group?: string[]
  restRule?: RestRule[]
  deadline?: DeadlineChange[]
}

async function add(context: Context, flags: AccountFlags, provider: string): Promise<void> {
  const { out, nowMs } = context
  const expiresAtMs = flags.expires === undefined ? null : futureMoment(flags.expires, nowMs, out.utc)
  const limits = limitsAfter(context, flags, [])
  if (flags.baseUrl !== undefined) await allowHostOf(context, flags.baseUrl, flags.allowHost)
  const work = await context.work()
  const groupIds = await groupsFor(context, work.store, flags.group)
  const { title } = providers[provider as ProviderName]
  const account = await addAccount(work, {
    provider: provider as ProviderName,
    name: flags.name ?? provider,
    apiKey: await context.secret(flags, `${title} API key`),
    baseUrl: flags.baseUrl ?? null,
    priority: flags.priority,
    weight: flags.weight,
    concurrency: flags.concurrency,
    limits,
    deadlines: flags.deadline && changedDeadlines({}, flags.deadline),
    models: flags.models,
    modelMap: changedModelMap({}, flags.modelMap ?? []),
    onlyClient: onlyClientOf(flags),
    hybrid: flags.hybrid,
    pauseAt: flags.pauseAt,
    headers: flags.header,
    expiresAtMs,
    groupIds,
  })
  out.data(shown(account), () => account.id)
  out.say(`Added '${account.name}'. To see whether its key works: subgate account test ${account.name}`)
}

function onlyClientOf({ onlyClient }: AccountFlags): ClientName | null {
  return onlyClient === undefined || onlyClient === 'none' ? null : onlyClient
}

async function list(context: Context): Promise<void> {
  const { out, nowMs } = context
  const store = await context.store()
  const groups = new Map((await store.groups.list()).map((group) => [group.id, group.name]))
  const accounts = await store.accounts.list()
  const groupsOf = (account: StoredAccount) => account.groupIds.map((id) => groups.get(id) ?? id).join(', ')
  out.list(
    accounts.map(shown),
    [
      { title: 'id', value: (account) => account.id, shrinks: true },
      { title: 'name', value: (account) => account.name, shrinks: true },
      { title: 'provider', value: (account) => account.provider },
      {
        title: 'state',
        value: (account) => stateOf(account, nowMs),
        shrinks: true,
        color: (account) => (stateOf(account, nowMs) === 'active' ? 'green' : 'yellow'),
      },
      { title: 'priority', align: 'right', value: (account) => String(account.priority) },
      { title: 'weight', align: 'right', value: (account) => String(account.weight) },
      { title: 'at a time', align: 'right', value: (account) => account.concurrency ?? 'no limit' },
      {
        title: 'windows',
        value: ({ windows }) => windows.map((window) => `${window.name} ${usedText(window, nowMs)}`).join(', '),
        shrinks: true,
      },
      { title: 'groups', value: (account) => groupsOf(account as StoredAccount), shrinks: true },
      { title: 'key', value: (account) => `…${account.last4}` },
    ],
    'There are no accounts yet. To add one: subgate account add anthropic, or subgate account import --from-env',
  )
}

/** Without the sealed credentials: nobody needs them, and output ends up in strange places. */
function shown({ sealedCredentials: _, ...account }: StoredAccount): Omit<StoredAccount, 'sealedCredentials'> {
  return account
}

async function show(context: Context, _flags: object, ref: string): Promise<void> {
  const { out, nowMs } = context
  const store = await context.store()
  const account = await store.accounts.find(ref)
  const groups = (await store.groups.list()).filter((group) => account.groupIds.includes(group.id))
  const provider = providers[account.provider]
  const limits = await shownLimits(context, 'account', account)
  out.data({ ...shown(account), limits }, () =>
    out.facts([
      ['id', account.id],
      ['name', printable(account.name)],
      ['provider', provider.title],
      ['base URL', account.baseUrl],
      ['state', printable(stateOf(account, nowMs))],
      ...account.windows.map((window) => [`window ${window.name}`, windowText(window, context)] as const),
      ['key', `…${account.last4}`],
      ['priority', `${account.priority} (lower is tried first)`],
      ['weight', weightText(account, nowMs)],
      ['at a time', account.concurrency === null ? 'no limit' : `${account.concurrency} calls`],
      ...limitFacts(context, limits),
      ['models', account.models.join(', ') || `${provider.defaultModels.join(', ')} (default)`],
      ['hybrid', account.hybrid ? 'serves the general paths as well' : null],
      ['only for', account.onlyClient && `calls from ${account.onlyClient}`],
      ['pauses at', account.pauseAt.map(pauseText).join(', ')],
      [
        'model map',
        Object.entries(account.modelMap)
          .map(([asked, sent]) => `${printable(asked)} → ${printable(sent)}`)
          .join(', '),
      ],
      [
        'headers',
        Object.entries(account.headers)
          .map(([name, value]) => `${name}: ${value}`)
          .join(', '),
      ],
      ['rest rules', printable(account.restRules.map(restRuleText).join(' · '))],
      ['deadlines', formatDeadlines(account.deadlines)],
      ['groups', groups.map((group) => group.name).join(', ') || 'none: no calls reach it'],
      ['expires', account.expiresAtMs === null ? 'never' : out.time(account.expiresAtMs)],
      ['created', out.time(account.createdAtMs)],
    ]),
  )
}

async function set(context: Context, flags: AccountFlags, ref: string): Promise<void> {
  const { out, nowMs } = context
  const expires = flags.expires === 'never' ? null : flags.expires && futureMoment(flags.expires, nowMs, out.utc)
  const newKey = flags.fromEnv !== undefined || flags.fromFile !== undefined || flags.apiKeyStdin
  if (flags.baseUrl !== undefined) await allowHostOf(context, flags.baseUrl, flags.allowHost)
  const work = await context.work()
  const before = await work.store.accounts.find(ref)
  const { id, provider } = before
  const limits = limitsAfter(context, flags, before.limits)
  const isDefault = flags.models?.length === 1 && flags.models[0] === 'default'
  const update: AccountUpdate = {
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.baseUrl !== undefined && { baseUrl: flags.baseUrl }),
    ...(flags.priority !== undefined && { priority: flags.priority }),
    ...(flags.weight !== undefined && { weight: flags.weight }),
    ...(flags.concurrency !== undefined && { concurrency: flags.concurrency }),
    ...(limits !== undefined && { limits }),
    ...(flags.models !== undefined && { models: isDefault ? [] : flags.models }),
    ...(flags.modelMap !== undefined && { modelMap: changedModelMap(before.modelMap, flags.modelMap) }),
    ...(flags.onlyClient !== undefined && { onlyClient: onlyClientOf(flags) }),
    ...(flags.hybrid !== undefined && { hybrid: flags.hybrid }),
    ...(flags.pauseAt !== undefined && { pauseAt: flags.pauseAt }),
    ...(flags.header !== undefined && { headers: flags.header }),
    ...(flags.restRule !== undefined && { restRules: flags.restRule }),
    ...(flags.deadline !== undefined && { deadlines: changedDeadlines(before.deadlines, flags.deadline) }),
    ...(typeof expires !== 'undefined' && { expiresAtMs: expires as number | null }),
    ...(flags.group !== undefined && { groupIds: await groupsFor(context, work.store, flags.group) }),
    ...(newKey && { apiKey: await context.secret(flags, `${providers[provider].title} API key`) }),
  }
  requireChange(update)
  const account = await updateAccount(work, id, update)
  out.data(shown(account), () => account.id)
  out.say(`Changed '${account.name}'; a running gateway sees it within a second.`)
}

async function test(context: Context, _flags: object, ...refs: unknown[]): Promise<void> {
  const { out } = context
  const asked = refs.flat() as string[]
  const work = await context.work()
  const accounts =
    asked.length > 0
      ? await Promise.all(asked.map((ref) => work.store.accounts.find(ref)))
      : await work.store.accounts.list()
  const results = await Promise.all(accounts.map((account) => tested(work, account)))
  out.list(
    results,
    [
      { title: 'account', value: (one) => one.name },
      { title: 'result', value: (one) => one.result, color: (one) => TEST_COLORS[one.result] },
      { title: 'took', align: 'right', value: (one) => `${one.durationMs} ms` },
      { title: 'says', value: (one) => one.message, shrinks: true },
    ],
    'There are no accounts to test.',
  )
  if (results.some((one) => one.result === 'fails')) throw new ExitCode(1)
}

async function tested(work: Workspace, account: StoredAccount) {
  const test = await testAccount(work, account)
  return { id: account.id, name: account.name, ...test }
}

const TEST_COLORS = { works: 'green', reached: 'yellow', fails: 'red' } as const

function setStatus(status: AccountStatus): Action<object> {
  return async (context, _flags, ref = '') => {
    const store = await context.store()
    const { id } = await store.accounts.find(ref)
    const account = await store.accounts.set({ id, changes: { status, statusReason: null }, by: context.actor })
    context.out.data(shown(account), () => account.id)
    context.out.say(status === 'active' ? `'${account.name}' gets calls again.` : `'${account.name}' gets no calls.`)
  }
}

async function wake(context: Context, _flags: object, ref = ''): Promise<void> {
  const { out } = context
  const store = await context.store()
  const { id } = await store.accounts.find(ref)
  const account = await store.accounts.set({ id, changes: { wakes: true }, by: context.actor })
  out.data(shown(account), () => account.id)
  if (account.status !== 'active') {
    out.warn(`'${account.name}' is ${account.status} all the same: subgate account resume ${account.name}`)
  } else out.say(`'${account.name}' rests no more; a running gateway sees it within a second.`)
}

async function remove(context: Context, flags: { yes?: boolean }, ref: string): Promise<void> {
  const store = await context.store()
  const { id, name } = await store.accounts.find(ref)
  await context.sure(`Delete the account '${name}' and its credential?`, flags.yes)
  await store.accounts.remove({ id, by: context.actor })
  context.out.data({ id, removed: true }, () => id)
  context.out.say(`Removed '${name}'.`)
}

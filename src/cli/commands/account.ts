import { readFileSync } from 'node:fs'
import { InvalidArgumentError } from 'commander'
import type { Config } from '../../config/load.ts'
import {
  type AccountStatus,
  type PauseAt,
  PROVIDERS,
  type ProviderName,
  pausingWindow,
  type RestRule,
  usedPercent,
  type VendorWindow,
} from '../../domain/account.ts'
import { CLIENTS, type ClientName } from '../../domain/call.ts'
import { changedDeadlines, type DeadlineChange, formatDeadlines, parseDeadlineChange } from '../../domain/deadline.ts'
import { GatewayError, isGatewayError } from '../../domain/errors.ts'
import { changedModelMap, type ModelMapChange, parseModelMapChange } from '../../domain/model-map.ts'
import { effectiveWeight } from '../../gateway/rank.ts'
import { RULE_REST_MAX_MS } from '../../gateway/rests.ts'
import { formatDuration, parseDuration } from '../../lib/duration.ts'
import { accountsInFile, type FoundAccount } from '../../operations/account-files.ts'
import { type AccountUpdate, addAccount, updateAccount } from '../../operations/add-account.ts'
import { allowHosts } from '../../operations/allow-host.ts'
import { accountsInEnvironment, type ImportedAccount, importAccounts } from '../../operations/import-accounts.ts'
import { DEFAULT_GROUP } from '../../operations/set-up.ts'
import { testAccount } from '../../operations/test-account.ts'
import type { Workspace } from '../../operations/workspace.ts'
import { providers } from '../../providers/index.ts'
import type { Store, StoredAccount } from '../../store/store.ts'
import { checkBaseUrl, hostOf, isAllowedHost } from '../../upstream/urls.ts'
import { reloadDaemon } from '../admin-client.ts'
import type { Context, SecretFlags } from '../context.ts'
import { examples } from '../examples.ts'
import { printable } from '../format.ts'
import { type LimitFlags, limitFacts, limitsAfter, newLimitOption, setLimitOption, shownLimits } from '../limits.ts'
import {
  choiceArgument,
  choiceOption,
  flag,
  futureMoment,
  listFlag,
  orNone,
  requireChange,
  textListFlag,
  wholeFlag,
} from '../options.ts'
import { type Action, ExitCode, type Fill } from '../program.ts'
import { canAsk, confirm } from '../prompt.ts'

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
  account
    .command('import')
    .summary('add accounts found in the environment or in a file')
    .option('--from-env', "take API keys from the variables that the vendors' own tools read")
    .option(
      '--file <path>',
      "a JSON or YAML list, a Sub2API or claude-relay-service export, Codex's auth.json or Gemini CLI's oauth_creds.json; - = standard input",
    )
    .option('--allow-host', 'put the hosts of base URLs on the allowlist')
    .option('--group <group>', `groups that may use them (default: ${DEFAULT_GROUP}); may be repeated`, textListFlag)
    .option('--dry-run', 'only say what would be done')
    .addHelpText(
      'after',
      `\nA list has entries such as:\n  - { provider: anthropic, name: work, api_key: sk-ant-…, priority: 10, models: ["claude-*"] }\nand may give base_url, weight, concurrency, model_map, headers and expires as well.
Of a ChatGPT or Google login an access token will do in place of the key (access_token, and account_id for its workspace or project), or the file\nthat Codex or Gemini CLI keeps it in; nobody renews it here.\n\nExamples:\n  subgate account import --from-env\n  subgate account import --file sub2api-export.json --dry-run`,
    )
    .action(act(importThem))
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

const MAP_MEANT = 'asks it for SENT where a client asks for ASKED, a model or a pattern such as claude-*'
const modelMapChange = flag(parseModelMapChange)

function modelMapChanges(text: string, before: ModelMapChange[] = []): ModelMapChange[] {
  return [...before, modelMapChange(text)]
}

function headerList(text: string, before: Record<string, string> = {}): Record<string, string> {
  if (text === 'none') return {}
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError(`'${text}' is not NAME=VALUE`)
  return { ...before, [text.slice(0, at).trim()]: text.slice(at + 1).trim() }
}

const DEADLINES = 'how long connect, first_event, idle, answer or total may take here, such as first_event=90s'

const deadlineList = listFlag(parseDeadlineChange)

/** The words in it that an error may say are many enough. */
const RULE_WORDS_MAX = 20

/** `403:quota exceeded,plan limit=30m`: status, words if any, and how long. */
function restRuleList(text: string, before: RestRule[] = []): RestRule[] {
  if (text === 'none') return []
  const [, status, words, time = ''] = /^([1-5]\d\d)(?::(.+))?=([^=]+)$/.exec(text) ?? []
  const restMs = parseDuration(time)
  const keywords = words === undefined ? [] : words.split(',').map((word) => word.trim())
  if (status === undefined || restMs === null || keywords.includes('') || keywords.length > RULE_WORDS_MAX) {
    throw new InvalidArgumentError(`'${text}' is not STATUS=TIME or STATUS:WORDS=TIME, such as 403:quota exceeded=30m`)
  }
  if (restMs < 1000 || restMs > RULE_REST_MAX_MS) {
    throw new InvalidArgumentError(`a rest is 1s to ${formatDuration(RULE_REST_MAX_MS)} long`)
  }
  return [...before, { status: Number(status), keywords, restMs }]
}

const HYBRID = 'of an Antigravity account: it serves the general paths beside /antigravity/…'
const ONLY_CLIENT = 'serve only calls that come from this program'
const PAUSE_AT = 'no calls once so much of a vendor window is used, such as 5h=90%; may be repeated'
/** Of one account; vendors have four windows. */
const PAUSES_MAX = 16

/** `5h=90%`, or `none`. */
function pauseList(text: string, before: PauseAt[] = []): PauseAt[] {
  if (text === 'none') return []
  const [, window, percent] = /^([a-z0-9_]{1,64})=(\d{1,3}(?:\.\d{1,2})?)%$/.exec(text) ?? []
  const used = Number(percent) / 100
  if (window === undefined || !(used > 0 && used <= 1)) {
    throw new InvalidArgumentError(`'${text}' is not WINDOW=SHARE, such as 5h=90%`)
  }
  if (before.length === PAUSES_MAX) throw new InvalidArgumentError(`an account has ${PAUSES_MAX} of them at most`)
  return [...before.filter((one) => one.window !== window), { window, used }]
}

function pauseText({ window, used }: PauseAt): string {
  return `${Number((used * 100).toFixed(2))}% of ${window}`
}

function restRuleText({ status, keywords, restMs }: RestRule): string {
  return `${status}${keywords.length > 0 ? `:${keywords.join(',')}` : ''}=${formatDuration(restMs)}`
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

/** Groups by name; without any, the default one if it is there. */
async function groupsFor({ out }: Context, store: Store, names: string[] | undefined): Promise<string[]> {
  if (names) return Promise.all(names.map(async (name) => (await store.groups.find(name)).id))
  try {
    return [(await store.groups.find(DEFAULT_GROUP)).id]
  } catch (error) {
    if (!isGatewayError(error, 'not_found')) throw error
    out.warn(`there is no group '${DEFAULT_GROUP}': attach the account with subgate group attach GROUP --account …`)
    return []
  }
}

/** A host that is not on the allowlist is put there if the operator says so. Throws `conflict` otherwise. */
async function allowHostOf(context: Context, baseUrl: string, allowed: boolean | undefined): Promise<void> {
  const host = hostToAllow(context.config, baseUrl)
  if (host === null) return
  const question = `${host} is not on the allowlist of upstream hosts. Add it?`
  if (!allowed && !(canAsk(context.io) && (await confirm(context.io, question)))) {
    throw new GatewayError('conflict', `${host} is not on the allowlist of upstream hosts`, {
      hint: 'Add --allow-host to put it there (security.url_allowlist.upstream_hosts).',
    })
  }
  await allow(context, [host])
}

/** The URL's host, if the allowlist is all that stands against it; null if it is on it. Throws what else is wrong with the URL. */
function hostToAllow({ urls }: Config, baseUrl: string): string | null {
  const host = hostOf(new URL(checkBaseUrl(baseUrl, { ...urls, allowlist: false })))
  return !urls.allowlist || isAllowedHost(host, urls.upstreamHosts) ? null : host
}

async function allow(context: Context, hosts: string[]): Promise<void> {
  const file = allowHosts(context.load(), hosts)
  context.out.say(`Added ${hosts.join(', ')} to security.url_allowlist.upstream_hosts in ${file}.`)
  const { config } = context.reload()
  if (await reloadDaemon(config)) context.out.say('The running gateway has read it.')
}

interface ImportFlags {
  fromEnv?: boolean
  file?: string
  allowHost?: boolean
  group?: string[]
  dryRun?: boolean
}

async function importThem(context: Context, flags: ImportFlags): Promise<void> {
  const { out } = context
  if (!flags.fromEnv && flags.file === undefined) {
    throw new InvalidArgumentError('say where from: --from-env, or --file PATH')
  }
  const found = [
    ...(flags.fromEnv ? accountsInEnvironment(context.io.env) : []),
    ...(flags.file === undefined ? [] : accountsInFile(readInput(flags.file))),
  ]
  if (found.length === 0) {
    const names = Object.values(providers).flatMap(({ environment }) => environment?.apiKey ?? [])
    throw new GatewayError(
      'not_found',
      flags.file ? 'the file lists no accounts' : `the environment has no ${names.join(' or ')}`,
    )
  }
  if (flags.allowHost && !flags.dryRun) {
    const hosts = found.flatMap(({ account }) => hostToAllowFor(context.config, account))
    if (hosts.length > 0) await allow(context, [...new Set(hosts)])
  }
  const work = await context.work()
  const groupIds = await groupsFor(context, work.store, flags.group)
  const results = await importAccounts(work, found, { groupIds, dryRun: flags.dryRun ?? false })
  out.list(results, importColumns(), '')
  const count = (result: ImportedAccount['result']) => results.filter((one) => one.result === result).length
  const summary = `${count('added')} added, ${count('exists')} existed, ${count('refused')} refused`
  out.say(flags.dryRun ? `Nothing was written. It would be: ${summary}.` : `${summary}.`)
  if (count('refused') > 0) throw new ExitCode(1)
}

/** Nothing for an entry that is refused anyway. */
function hostToAllowFor(config: Config, account: FoundAccount['account']): string[] {
  if ('refusal' in account || account.baseUrl === null) return []
  try {
    const host = hostToAllow(config, account.baseUrl)
    return host === null ? [] : [host]
  } catch {
    return []
  }
}

function importColumns() {
  return [
    { title: 'from', value: (one: ImportedAccount) => one.from },
    { title: 'name', value: (one: ImportedAccount) => one.name },
    { title: 'provider', value: (one: ImportedAccount) => one.provider },
    { title: 'result', value: (one: ImportedAccount) => one.result },
    { title: 'detail', value: (one: ImportedAccount) => one.detail, shrinks: true },
  ]
}

function readInput(path: string): string {
  return readFileSync(path === '-' ? 0 : path, 'utf8')
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

/** How much of a window is used by now. */
function usedText(window: VendorWindow, nowMs: number): string {
  return window.resetAtMs > nowMs ? usedPercent(window) : '0%'
}

function windowText(window: VendorWindow, context: Context): string {
  const { resetAtMs, sampledAtMs } = window
  const { nowMs, out } = context
  const reset = resetAtMs > nowMs ? `whole again in ${formatDuration(resetAtMs - nowMs)}, ` : ''
  return `${usedText(window, nowMs)} used, ${reset}as of ${out.time(sampledAtMs)}`
}

function ofAllModels({ windows }: Pick<StoredAccount, 'windows'>): VendorWindow[] {
  return windows.filter(({ models }) => models === null)
}

/** The operator's weight, and what the vendor's windows make of it at the moment. */
function weightText(account: StoredAccount, nowMs: number): string {
  const { weight } = account
  const now = effectiveWeight(weight, ofAllModels(account), nowMs)
  if (now === weight) return String(weight)
  return `${weight}, at the moment ${Number(now.toPrecision(3))} by its windows`
}

/** `active`, or why it gets no calls and until when. */
export function stateOf(
  account: Pick<
    StoredAccount,
    'status' | 'statusReason' | 'rest' | 'modelRests' | 'expiresAtMs' | 'pauseAt' | 'windows'
  >,
  nowMs: number,
): string {
  if (account.status !== 'active')
    return account.statusReason ? `${account.status}: ${account.statusReason}` : account.status
  if (account.expiresAtMs !== null && account.expiresAtMs <= nowMs) return 'expired'
  const { rest } = account
  if (rest && rest.untilMs > nowMs) return `rests ${formatDuration(rest.untilMs - nowMs)} (${rest.reason})`
  const window = pausingWindow(account, ofAllModels(account), nowMs)
  if (window) return `paused ${formatDuration(window.resetAtMs - nowMs)} (${usedPercent(window)} of ${window.name})`
  const models = account.modelRests.filter(({ untilMs }) => untilMs > nowMs)
  if (models.length === 0) return 'active'
  const texts = models.map(({ model, untilMs }) => `${model} for ${formatDuration(untilMs - nowMs)}`)
  return `active, but not for ${texts.join(', ')}`
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

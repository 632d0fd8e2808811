import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { InvalidArgumentError } from 'commander'
import { loadConfig, userConfigFile } from '../../config/load.ts'
import type { ProviderName } from '../../domain/account.ts'
import { GatewayError } from '../../domain/errors.ts'
import { accountsInEnvironment, importAccounts } from '../../operations/import-accounts.ts'
import { issueKey } from '../../operations/issue-key.ts'
import {
  DEFAULT_GROUP,
  type FirstConfig,
  makeFirstRows,
  prepareDataDir,
  writeFirstConfig,
} from '../../operations/set-up.ts'
import { databaseName } from '../../store/place.ts'
import { clientLines, gatewayUrl } from '../client-lines.ts'
import type { Context } from '../context.ts'
import { choiceOption, flag, postgresUrlFlag } from '../options.ts'
import { ownCommand } from '../own-command.ts'
import type { Fill } from '../program.ts'
import { canAsk } from '../prompt.ts'
import type { WizardAnswers } from '../tui/init-wizard.ts'

const DEFAULT_ADMIN = 'admin@localhost'
const DEFAULT_PORT = 8080

export const fill: Fill = (init, act) => {
  init
    .addOption(
      choiceOption('--mode <mode>', 'simple: nobody is billed; saas: balances are debited', ['simple', 'saas']),
    )
    .option(
      '--database-url <url>',
      'PostgreSQL instead of a SQLite file: postgres://user:password@host/name',
      postgresUrlFlag,
    )
    .option('--listen <host:port>', 'where to listen (default: 127.0.0.1:8080)', listenFlag)
    .option('--admin-email <email>', `the first user (default: ${DEFAULT_ADMIN})`)
    .option('--yes', 'take the defaults, do not ask')
    .addHelpText(
      'after',
      '\nNothing that exists is overwritten: a second run says what is there.\n\nExamples:\n  subgate init\n  subgate init --yes --listen 127.0.0.1:9090\n  subgate init --mode saas --database-url postgres://subgate@db.example/subgate?sslmode=verify-full',
    )
    .action(act(init_))
}

/** Reads `HOST:PORT`, `[::1]:8080` or `:8080`. */
export const listenFlag = flag((text) => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:\s]*)):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3])
  if (!match || !URL.canParse(`http://${text.replace(/^:/, '0.0.0.0:')}`)) {
    throw new InvalidArgumentError(`'${text}' is not HOST:PORT`)
  }
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port }
})

/** Configuration values that a `--listen` flag stands for. */
export function listenValues(listen: { host: string; port: number } | undefined): Record<string, unknown> {
  return listen ? { 'server.host': listen.host, 'server.port': listen.port } : {}
}

interface InitFlags {
  mode?: 'simple' | 'saas'
  databaseUrl?: string
  listen?: { host: string; port: number }
  adminEmail?: string
  yes?: boolean
}

async function init_(context: Context, flags: InitFlags): Promise<void> {
  const { config: named } = context.flags
  const file = configFileOf(context)
  const isNew = !existsSync(file)
  if (isNew && !flags.yes && canAsk(context.io) && !context.out.json) {
    const { runInitWizard } = await import('../tui/init-wizard.ts')
    const answers = await runInitWizard({
      io: context.io,
      found: accountsInEnvironment(context.io.env),
      defaults: { ...firstConfigOf(context, flags), adminEmail: flags.adminEmail ?? DEFAULT_ADMIN },
    })
    if (!answers) throw new GatewayError('conflict', 'given up; nothing was written')
    return finishWizard(context, file, answers, named)
  }
  const made = await setUp(context, file, firstConfigOf(context, flags), flags.adminEmail ?? DEFAULT_ADMIN)
  context.out.data(made.facts, () => made.words.join('\n'))
  const { configMade, databaseMade, adminEmail } = made.facts
  if (!configMade && !databaseMade) return context.out.say('Nothing was overwritten.')
  context.out.say(`\nNext:\n${nextSteps(context, adminEmail, named)}`)
}

/** Where `init` writes: where it is told, else the file that is in force, else the usual place. */
function configFileOf(context: Context): string {
  const named = context.flags.config ?? context.io.env.SUBGATE_CONFIG
  if (named) return resolve(context.io.cwd, named)
  return context.load().file ?? userConfigFile(context.io.env)
}

function firstConfigOf({ flags: { dataDir }, io }: Context, flags: InitFlags): FirstConfig {
  const runMode = flags.mode ?? (flags.databaseUrl === undefined ? modeInEnvironment(io, dataDir) : 'saas')
  return {
    runMode,
    host: flags.listen?.host ?? (runMode === 'saas' ? '0.0.0.0' : '127.0.0.1'),
    port: flags.listen?.port ?? DEFAULT_PORT,
    dataDir: absolute(io.cwd, dataDir ?? io.env.SUBGATE_DATA_DIR),
    databaseUrl: flags.databaseUrl ?? null,
  }
}

/** Whoever has PostgreSQL in the environment is there to bill, as in any configuration that does not say otherwise. */
function modeInEnvironment({ env, cwd }: Context['io'], dataDir: string | undefined): FirstConfig['runMode'] {
  const { keys } = loadConfig({
    flags: { data_dir: dataDir },
    env: { ...env, SUBGATE_CONFIG: undefined }, // it may name the file that is about to be written
    cwd,
    terminal: false,
  })
  const said = keys.filter(({ source }) => source === 'environment').map(({ key }) => key.path)
  return said.includes('database.url') || said.includes('database.host') ? 'saas' : 'simple'
}

/** A relative path in a file would be read from the file's folder. */
function absolute(cwd: string, path: string | undefined): string | null {
  return path === undefined ? null : resolve(cwd, path)
}

/** `named` is the configuration file if it stands where nobody would look for it. */
function nextSteps({ io }: Context, adminEmail: string, named: string | undefined): string {
  const self = ownCommand(process.argv[1], io.cwd)
  const flags = named === undefined ? '' : ` --config ${named}`
  const steps = [
    [`${self} account import --from-env${flags}`, 'take the API key of this shell (or: account add anthropic)'],
    [`${self} key issue ${adminEmail}${flags}`, 'make a key for a client'],
    [`${self} serve${flags}`, 'run the gateway'],
  ] as const
  const width = Math.max(...steps.map(([command]) => command.length))
  return steps.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`).join('\n')
}

/** Writes what is missing and says of each thing whether it was made or there before. */
export async function setUp(context: Context, file: string, first: FirstConfig, adminEmail: string) {
  const configMade = writeFirstConfig(file, first)
  context.flags.config = file
  const { config } = context.reload()
  const { masterKeyMade, databaseMade } = await prepareDataDir(config)
  const store = await context.store()
  const { group, admin } = await makeFirstRows(store, { adminEmail, config, by: context.actor })
  const made = (isNew: boolean) => (isNew ? 'made' : 'exists')
  const facts = {
    configFile: file,
    configMade,
    dataDir: config.dataDir,
    masterKeyMade,
    databaseMade,
    groupMade: group !== null,
    adminMade: admin !== null,
    adminEmail: admin?.email ?? adminEmail,
  }
  const words = [
    `${made(configMade).padEnd(6)}  configuration  ${file}`,
    `${made(masterKeyMade).padEnd(6)}  master key     ${config.masterKey === null ? config.masterKeyFile : 'from the configuration'}`,
    `${made(databaseMade).padEnd(6)}  database       ${databaseName(config)}`,
    `${made(group !== null).padEnd(6)}  group          ${DEFAULT_GROUP}`,
    `${made(admin !== null).padEnd(6)}  admin          ${adminEmail}`,
  ]
  return { facts, words, config }
}

/** What the wizard was told, done: set-up, accounts, and the first key with lines to paste. */
async function finishWizard(
  context: Context,
  file: string,
  answers: WizardAnswers,
  named: string | undefined,
): Promise<void> {
  const { out } = context
  const { facts, words, config } = await setUp(context, file, answers, answers.adminEmail)
  out.say(`\n${words.join('\n')}`)
  const work = await context.work()
  const group = await work.store.groups.find(DEFAULT_GROUP)
  const pasted = answers.pastedKey && {
    ...{ from: 'typed', name: answers.pastedKey.provider, provider: answers.pastedKey.provider },
    account: { provider: answers.pastedKey.provider as ProviderName, apiKey: answers.pastedKey.apiKey, baseUrl: null },
    ...{ paused: false, leftOut: [] },
  }
  const wanted = [...answers.accounts, ...(pasted ? [pasted] : [])]
  for (const one of await importAccounts(work, wanted, { groupIds: [group.id], dryRun: false })) {
    out.say(`${one.result.padEnd(6)}  account        ${one.name}${one.detail ? ` (${one.detail})` : ''}`)
  }
  const admin = await work.store.users.find(facts.adminEmail)
  const { key } = await issueKey(work, { userId: admin.id, groupId: group.id, name: 'first' })
  const url = await gatewayUrl(config)
  out.say(`\nYour first key, shown only now. For Claude Code and the Anthropic SDKs:\n`)
  out.data({ ...facts, key, url }, () => clientLines('claude-code', url, key).join('\n'))
  out.say(
    `\nNow run the gateway: ${ownCommand(process.argv[1], context.io.cwd)} serve${named === undefined ? '' : ` --config ${named}`}`,
  )
}

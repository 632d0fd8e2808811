import { readFileSync } from 'node:fs'
import { InvalidArgumentError } from 'commander'
import type { Config } from '../../config/load.ts'
import { GatewayError } from '../../domain/errors.ts'
import { accountsInFile, type FoundAccount } from '../../operations/account-files.ts'
import { accountsInEnvironment, type ImportedAccount, importAccounts } from '../../operations/import-accounts.ts'
import { DEFAULT_GROUP } from '../../operations/set-up.ts'
import { providers } from '../../providers/index.ts'
import { groupsFor } from '../account-flags.ts'
import { allow, hostToAllow } from '../allowlist.ts'
import type { Context } from '../context.ts'
import { textListFlag } from '../options.ts'
import { ExitCode, type Fill } from '../program.ts'

/** `account import`. */
export const fillImport: Fill = (account, act) => {
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

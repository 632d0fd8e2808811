import { resolve } from 'node:path'
import { type Config, type EffectiveKey, loadConfig } from '../../config/load.ts'
import { configKeys } from '../../config/schema.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import type { Fill } from '../program.ts'

export const fill: Fill = (config, act) => {
  config
    .command('show')
    .summary('the values in force and where they come from; secrets masked')
    .option('--defaults', 'also keys that nobody has set')
    .addHelpText('after', examples('subgate config show', 'subgate config show --defaults'))
    .action(act(show))
  config
    .command('check [file]')
    .summary('check a configuration file, or the one in force')
    .addHelpText('after', examples('subgate config check', 'subgate config check ./config.yaml'))
    .action(act(check))
  config
    .command('keys')
    .summary('every key with its type, default and environment name')
    .addHelpText(
      'after',
      examples('subgate config keys', `subgate config keys --json | jq -r '.[] | "\\(.key)  \\(.help)"'`),
    )
    .action(act(keys))
}

const MASK = '••••••'

/** Defaults that follow from other values. */
const DERIVED: Record<string, (config: Config) => string> = {
  run_mode: (config) => config.runMode,
  data_dir: (config) => config.dataDir,
  master_key_file: (config) => config.masterKeyFile,
  unknown_price: (config) => config.unknownPrice,
  unmetered: (config) => config.unmetered,
  'server.host': (config) => config.server.host,
  'log.level': (config) => config.log.level,
  'log.format': (config) => config.log.format,
  'admin.socket': (config) => config.adminSocket,
}

function shownValue({ key, written }: EffectiveKey, config: Config): string {
  if (written === null) return DERIVED[key.path]?.(config) ?? ''
  if (key.secret) return MASK
  const texts = [written].flat().map((value) => (typeof value === 'object' ? JSON.stringify(value) : String(value)))
  return texts.join(', ')
}

async function show(context: Context, flags: { defaults?: boolean }): Promise<void> {
  const { out } = context
  const { keys, file, config } = context.load()
  const rows = keys
    .filter(({ source }) => flags.defaults || source !== 'default')
    .map((effective) => ({ key: effective.key.path, value: shownValue(effective, config), source: effective.source }))
  out.say(file ? `From ${file}:` : 'There is no configuration file; subgate init writes one.')
  out.list(
    rows,
    [
      { title: 'key', value: (row) => row.key },
      { title: 'value', value: (row) => row.value, shrinks: true },
      { title: 'source', value: (row) => row.source },
    ],
    'Every key has its default; --defaults shows them.',
  )
}

async function check(context: Context, _flags: object, file?: string): Promise<void> {
  const { io, out, flags } = context
  const named = file ?? flags.config
  const loaded = loadConfig({
    file: named && resolve(io.cwd, named),
    flags: { data_dir: flags.dataDir },
    env: io.env,
    cwd: io.cwd,
    terminal: false,
  })
  for (const warning of loaded.warnings) out.warn(warning)
  out.data({ file: loaded.file, warnings: loaded.warnings, problems: [] }, () => '')
  out.say(loaded.file ? `${loaded.file} is fine.` : 'There is no configuration file; the environment is fine.')
}

async function keys(context: Context): Promise<void> {
  const rows = configKeys().map(({ path, type, default: fallback, env, legacyEnv, help, reloads, secret }) => ({
    key: path,
    type,
    default: Array.isArray(fallback) ? fallback.join(', ') : fallback,
    environment: [env, ...(legacyEnv ?? [])],
    needsRestart: !reloads,
    secret: secret ?? false,
    help,
  }))
  context.out.list(
    rows,
    [
      { title: 'key', value: (row) => row.key },
      { title: 'type', value: (row) => row.type },
      { title: 'default', value: (row) => (row.default === null ? null : String(row.default)), shrinks: true },
      { title: 'environment', value: (row) => row.environment[0], shrinks: true },
      { title: 'help', value: (row) => row.help, shrinks: true },
    ],
    '',
  )
}

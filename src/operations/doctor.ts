import { existsSync, statfsSync, statSync } from 'node:fs'
import type { LoadedConfig } from '../config/load.ts'
import { isGatewayError } from '../domain/errors.ts'
import { upstreamModels } from '../domain/model-map.ts'
import type { Clock } from '../lib/clock.ts'
import type { Logger } from '../lib/log.ts'
import { formatSize } from '../lib/size.ts'
import { providers } from '../providers/index.ts'
import { migrationStatus } from '../store/migrate.ts'
import { openStore } from '../store/open.ts'
import { databaseFile, databaseName, withDatabase } from '../store/place.ts'
import type { Store, StoredAccount } from '../store/store.ts'
import { testAccount } from './test-account.ts'
import { openSecrets, type Workspace } from './workspace.ts'

/** One thing that was looked at. */
export interface Finding {
  check: string
  result: 'ok' | 'warning' | 'failed'
  detail: string
  /** What to do about it; null if all is well. */
  remedy: string | null
}

const DAY_MS = 86_400_000
/** Below this a full disk is near. */
const DISK_BYTES_MIN = 256 * 1024 * 1024
/** A record from further in the future means that one of two clocks is wrong. */
const CLOCK_SKEW_MS = 60_000

/** Looks at everything that has to be right for the gateway to work. Never throws for what it finds. */
export async function examine(
  loaded: LoadedConfig,
  options: { offline: boolean; by: string; clock: Clock; log: Logger },
): Promise<Finding[]> {
  const { config } = loaded
  const findings: Finding[] = [
    ...checkConfig(loaded),
    ...checkFiles(loaded),
    checkDisk(config.dataDir),
    checkListening(loaded),
    await checkMigrations(loaded),
    ...(await checkRedis(loaded)),
  ]
  const opened = await attempted('database', () =>
    openStore(config, 'command', { id: 'doctor', clock: options.clock, log: options.log }),
  )
  if ('finding' in opened) return [...findings, opened.finding]
  await using store = opened.value
  findings.push(ok('database', config.database ? `${databaseName(config)} answers` : 'it answers'))
  findings.push(
    await checkMoney(store),
    await checkClock(store, options.clock()),
    await checkPrices(store, options.clock()),
  )
  const secrets = await attempted('master key', () => openSecrets(config, store))
  if ('finding' in secrets) return [...findings, secrets.finding]
  findings.push(ok('master key', 'it opens what is sealed in the store'))
  findings.push(...(await checkPaths(store)), ...(await checkGroups(store)))
  const work = { config, store, secrets: secrets.value, by: options.by, clock: options.clock }
  return [...findings, ...(await checkAccounts(work, options.offline))]
}

function ok(check: string, detail: string): Finding {
  return { check, result: 'ok', detail, remedy: null }
}

function warning(check: string, detail: string, remedy: string): Finding {
  return { check, result: 'warning', detail, remedy }
}

function failed(check: string, detail: string, remedy: string): Finding {
  return { check, result: 'failed', detail, remedy }
}

/** What the work returns, or its refusal as a finding. */
async function attempted<T>(check: string, work: () => Promise<T>): Promise<{ value: T } | { finding: Finding }> {
  try {
    return { value: await work() }
  } catch (error) {
    const { message } = error as Error
    const hint = isGatewayError(error) ? error.facts.hint : undefined
    return { finding: failed(check, message, hint ?? 'The log of the gateway may tell more.') }
  }
}

function checkConfig({ file, warnings }: LoadedConfig): Finding[] {
  const where = file ?? 'no file; defaults and environment'
  if (warnings.length === 0) return [ok('configuration', where)]
  return warnings.map((text) => warning('configuration', text, 'subgate config keys lists what can be set.'))
}

/** Files that others must not read, where they exist. */
function checkFiles({ config, file }: LoadedConfig): Finding[] {
  const database = databaseFile(config)
  const wanted: [check: string, path: string, mustExist: boolean][] = [
    ['data directory', config.dataDir, true],
    ['master key file', config.masterKeyFile, config.masterKey === null],
    ...(config.database
      ? []
      : ([
          ['database file', database, true],
          ['write-ahead log', `${database}-wal`, false],
        ] satisfies typeof wanted)),
    ['spill file', `${config.dataDir}/spill.log`, false],
    ...(file ? ([['configuration file mode', file, true]] as [string, string, boolean][]) : []),
  ]
  return wanted.flatMap(([check, path, mustExist]) => {
    if (!existsSync(path)) return mustExist ? [failed(check, `${path} is not there`, 'subgate init makes it.')] : []
    const { mode, uid } = statSync(path)
    const others = (mode & 0o077).toString(8)
    if (others !== '0' && check !== 'configuration file mode') {
      return [failed(check, `${path} is open to others (mode ${(mode & 0o777).toString(8)})`, `chmod go-rwx ${path}`)]
    }
    if (process.getuid !== undefined && uid !== process.getuid() && process.getuid() !== 0) {
      return [failed(check, `${path} belongs to another user`, `chown ${process.getuid()} ${path}`)]
    }
    return [ok(check, path)]
  })
}

function checkDisk(dataDir: string): Finding {
  try {
    const { bavail, bsize } = statfsSync(dataDir)
    const free = bavail * bsize
    if (free >= DISK_BYTES_MIN) return ok('disk', `${formatSize(free)} free`)
    return warning(
      'disk',
      `only ${formatSize(free)} free at ${dataDir}`,
      'Make room: a full disk stops the recording of calls. subgate usage prune helps.',
    )
  } catch (error) {
    return failed('disk', (error as Error).message, 'subgate init makes the data directory.')
  }
}

/** Only where one is configured. What Redis throws away when its memory is full may be a slot that is held. */
async function checkRedis({ config: { redis } }: LoadedConfig): Promise<Finding[]> {
  if (!redis) return []
  const { askRedis } = await import('../live/redis-connection.ts')
  const asked = await attempted('redis', () => askRedis(redis))
  if ('finding' in asked) return [asked.finding]
  const { version, maxmemoryPolicy } = asked.value
  if (maxmemoryPolicy === 'noeviction') return [ok('redis', `${version}, ${maxmemoryPolicy}`)]
  return [
    failed(
      'redis',
      `maxmemory-policy is ${maxmemoryPolicy}: when its memory is full, limits and slots would be forgotten`,
      'redis-cli config set maxmemory-policy noeviction, and the same in redis.conf.',
    ),
  ]
}

function checkListening({ config }: LoadedConfig): Finding {
  const { host, port } = config.server
  const address = `${host}:${port}, ${config.runMode} mode`
  const local = host === 'localhost' || host === '::1' || host.startsWith('127.')
  if (local || config.runMode === 'saas') return ok('listening address', address)
  if (config.simpleModeConfirm) {
    return warning(
      'listening address',
      `${address}: whoever holds a key calls unbilled, from anywhere`,
      'Put a firewall or a reverse proxy with TLS in front.',
    )
  }
  return failed(
    'listening address',
    `${address}: simple mode beyond this machine is not confirmed`,
    'Set SIMPLE_MODE_CONFIRM=true, or listen on 127.0.0.1.',
  )
}

async function checkMigrations({ config }: LoadedConfig): Promise<Finding> {
  if (!config.database && !existsSync(databaseFile(config))) {
    return failed('migrations', 'there is no database', 'subgate init makes one.')
  }
  const status = await attempted('migrations', () => withDatabase(config, migrationStatus))
  if ('finding' in status) return status.finding
  const pending = status.value.filter(({ appliedAt }) => appliedAt === null)
  return pending.length === 0
    ? ok('migrations', 'all applied')
    : failed('migrations', `${pending.length} to be applied`, 'subgate migrate up')
}

async function checkMoney(store: Store): Promise<Finding> {
  const { problems, calls } = await store.usage.verify()
  return problems.length === 0
    ? ok('money', `${calls} ${calls === 1 ? 'call' : 'calls'}, ledger and balances add up`)
    : failed(
        'money',
        `${problems.length} things do not add up`,
        'subgate usage verify lists them; keep a copy of the database.',
      )
}

async function checkClock(store: Store, nowMs: number): Promise<Finding> {
  const [latest] = await store.usage.tail({ last: 1 })
  const aheadMs = (latest?.endedAtMs ?? 0) - nowMs
  return aheadMs > CLOCK_SKEW_MS
    ? failed(
        'clock',
        `the latest call ended ${Math.round(aheadMs / 1000)} s in the future`,
        'Set the clock of this machine (NTP).',
      )
    : ok('clock', new Date(nowMs).toISOString())
}

/** Models that were called lately and have no price. */
async function checkPrices(store: Store, nowMs: number): Promise<Finding> {
  const rows = await store.usage.report({ filter: { fromMs: nowMs - 30 * DAY_MS }, by: 'model' })
  const unpriced = rows.filter((row) => row.unpriced > 0).map((row) => row.value)
  return unpriced.length === 0
    ? ok('prices', 'every model that was called in the last 30 days has one')
    : warning(
        'prices',
        `without a (full) price: ${unpriced.join(', ')}`,
        `subgate price set ${unpriced[0]} input=… output=…`,
      )
}

/** Whether a call could get from a key to an account at all. */
async function checkPaths(store: Store): Promise<Finding[]> {
  const accounts = await store.accounts.list()
  const keys = await store.keys.list({ limit: 1000 })
  const groups = new Map((await store.groups.list()).map((group) => [group.id, group.name]))
  const used = new Set(keys.filter((key) => key.status === 'active').map((key) => key.groupId))
  const empty = [...used].filter((id) => !accounts.some((account) => account.groupIds.includes(id)))
  return [
    accounts.length > 0
      ? ok('accounts', `${accounts.length}`)
      : warning('accounts', 'there are none', 'subgate account add anthropic'),
    keys.length > 0 ? ok('keys', 'there are keys') : warning('keys', 'there are none', 'subgate key issue USER'),
    ...empty.map((id) => {
      const name = groups.get(id) ?? id
      return failed(
        'groups',
        `keys use group '${name}', which has no account`,
        `subgate group attach ${name} --account ACCOUNT`,
      )
    }),
  ]
}

/** A model that several vendors serve, whose thoughts only the one that signed them can read again. */
const SHARED_MODEL = 'claude-opus-5-5'

/** Conversations that move between accounts of vendors who sign otherwise lose what the model thought. */
async function checkGroups(store: Store): Promise<Finding[]> {
  const accounts = await store.accounts.list()
  const groups = await store.groups.list()
  return groups.flatMap(({ id, name }) => {
    const serving = accounts.filter((account) => account.groupIds.includes(id) && servesModel(account, SHARED_MODEL))
    const vendors = new Set(serving.map(({ provider }) => providers[provider].signedBy(SHARED_MODEL)))
    if (vendors.size < 2) return []
    const names = [...new Set(serving.map(({ provider }) => providers[provider].title))].join(' and ')
    return warning(
      'groups',
      `group '${name}' serves Claude from ${names}: a conversation that moves between them loses its thoughts`,
      `Give them groups of their own: subgate group detach ${name} --account ACCOUNT`,
    )
  })
}

function servesModel({ provider, models, modelMap }: StoredAccount, model: string): boolean {
  return upstreamModels(models.length > 0 ? models : providers[provider].defaultModels, modelMap)(model) !== null
}

async function checkAccounts(work: Workspace, offline: boolean): Promise<Finding[]> {
  const accounts = await work.store.accounts.list()
  return Promise.all(
    accounts.map(async (account): Promise<Finding> => {
      const check = `account ${account.name}`
      if (account.status === 'disabled') {
        return failed(
          check,
          `disabled: ${account.statusReason ?? 'no reason given'}`,
          `subgate account set ${account.name} --from-env NAME, or subgate account resume ${account.name}`,
        )
      }
      if (account.status === 'paused') return warning(check, 'paused', `subgate account resume ${account.name}`)
      const opened = await attempted(check, async () => work.secrets.openCredentials(account))
      if ('finding' in opened) return opened.finding
      if (offline) return ok(check, 'its credential opens; the upstream was not asked')
      const test = await testAccount(work, account)
      if (test.result === 'fails') {
        const remedy =
          test.blame === 'account'
            ? `Replace its key: subgate account set ${account.name} --from-env NAME`
            : `Is ${account.baseUrl} reachable from here? subgate account test ${account.name}`
        return failed(check, test.message, test.remedy ?? remedy)
      }
      return ok(check, test.message)
    }),
  )
}

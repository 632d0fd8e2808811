import { createHash } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { type ErrorRule, GatewayError } from '../domain/errors.ts'
import { Environment } from './environment.ts'
import { looksLikeOurs, readFileKeys } from './file.ts'
import type { PostgresServer, PostgresUrl, SslMode } from './postgres-server.ts'
import { type ConfigKey, configKeys } from './schema.ts'
import type { Written } from './written.ts'

/** The configuration as the program reads it: every value present, durations in ms, sizes in bytes, paths absolute. */
export interface Config {
  runMode: 'simple' | 'saas'
  simpleModeConfirm: boolean
  dataDir: string
  masterKeyFile: string
  masterKey: string | null
  /** Null = SQLite, in the data directory. */
  database: DatabaseConfig | null
  /** `record` or `refuse` calls whose model has no price. */
  unknownPrice: 'record' | 'refuse'
  unmetered: 'record' | 'refuse'
  errorRules: ErrorRule[]
  server: {
    host: string
    port: number
    /** Without a slash at its end; null = as requests say. */
    publicUrl: string | null
    trustedProxies: string[]
    maxBodyBytes: number
    maxConnections: number
    corsOrigins: string[]
  }
  defaults: {
    userConcurrency: number
    userBalanceNanoUsd: number
    keyPrefix: string
    multiplierMicro: number
    timeZone: string
  }
  urls: { allowlist: boolean; upstreamHosts: string[]; insecureHttp: boolean; privateHosts: boolean }
  /** Lower-case names. */
  answerHeaders: { add: string[]; remove: string[] }
  guard: { enabled: boolean; failureThreshold: number; resetTimeoutMs: number; halfOpenRequests: number }
  gateway: {
    waitMs: number
    lineExtra: number
    bufferedBytesMax: number
    stickyWaitMs: number
    stickyLine: number
    bindingTtlMs: number
    maxAttempts: number
    failoverBudgetMs: number
    connectTimeoutMs: number
    firstEventTimeoutMs: number
    idleTimeoutMs: number
    answerTimeoutMs: number
    totalTimeoutMs: number
    clientStallTimeoutMs: number
    preambleHoldMs: number
    keepAliveFirstMs: number
    keepAliveIntervalMs: number
    readOnMs: number
    chargeWaitMs: number
    shutdownGraceMs: number
    reserveOutputMax: number
    countTokensPerMinute: number
  }
  log: { level: 'trace' | 'debug' | 'info' | 'warn' | 'error'; format: 'text' | 'json' }
  adminSocket: string
  /** Null: live state is kept in memory. */
  redis: { url: string } | null
  /** What the operator said of what the run mode decides otherwise; null = nothing. */
  said: { unknownPrice: 'record' | 'refuse' | null; unmetered: 'record' | 'refuse' | null; guard: boolean }
}

/** A PostgreSQL database and how it is used. */
export interface DatabaseConfig {
  server: PostgresServer
  /** The same database without the pooler; the server itself where none is named. */
  direct: PostgresServer
  poolSize: number
  connectTimeoutMs: number
  statementTimeoutMs: number
  lockTimeoutMs: number
}

type RunMode = Config['runMode']
/** All that does not depend on the run mode. */
type InAnyMode = Omit<Config, 'runMode' | 'unknownPrice' | 'unmetered' | 'guard'> & {
  guard: Omit<Config['guard'], 'enabled'>
}

/** The configuration under this run mode: a running daemon keeps the mode that it was started in, whatever it reads later. */
export function inRunMode(config: InAnyMode, runMode: RunMode): Config {
  const { said, guard } = config
  const isBilled = runMode === 'saas'
  return {
    ...config,
    runMode,
    unknownPrice: said.unknownPrice ?? (isBilled ? 'refuse' : 'record'),
    unmetered: said.unmetered ?? (isBilled ? 'refuse' : 'record'),
    guard: { ...guard, enabled: said.guard && isBilled },
  }
}

/** Where a value came from. */
export type ConfigSource = 'default' | 'file' | 'environment' | 'flag'

/** One key as it is in force. */
export interface EffectiveKey {
  key: ConfigKey
  /** As written by the operator or the schema's default, not converted. */
  written: unknown
  source: ConfigSource
}

export interface LoadedConfig {
  config: Config
  keys: EffectiveKey[]
  /** The file that was read; null if there is none. */
  file: string | null
  warnings: string[]
}

export interface LoadInputs {
  /** `--config`; its absence means the usual places. */
  file?: string | undefined
  /** Values given on the command line, by key path. */
  flags?: Record<string, unknown>
  env: NodeJS.ProcessEnv
  cwd: string
  /** Whether a person reads the log. */
  terminal: boolean
}

/**
 * Reads file, environment and flags into one Config (flag over environment over file over default).
 * Throws `invalid_request` that lists every problem at once, with file and line.
 */
export function loadConfig(inputs: LoadInputs, keys: readonly ConfigKey[] = configKeys()): LoadedConfig {
  const problems: string[] = []
  const warnings: string[] = []
  const file = inputs.file ? resolve(inputs.cwd, inputs.file) : findConfigFile(inputs)
  const fromFile = file ? readFileKeys(file, keys, problems, warnings) : new Map<string, Written>()

  const environment = new Environment(inputs, keys, problems)
  const values = new Map<string, unknown>()
  const effective = keys.map((key): EffectiveKey => {
    const candidates: [ConfigSource, Written | undefined][] = [
      ['flag', flagValue(inputs, key)],
      ['environment', environment.valueOf(key)],
      ['file', fromFile.get(key.path)],
    ]
    const [source, found] = candidates.find(([, written]) => written !== undefined) ?? ['default', undefined]
    const written = found ?? { value: key.default, place: `the default of ${key.path}`, folder: inputs.cwd }
    if (written.value !== null) values.set(key.path, convert(key, written, problems))
    return { key, written: written.value, source }
  })
  warnings.push(...environment.slips())
  const saysTwice = values.has('database.url') && values.has('database.host')
  if (saysTwice) problems.push('database.url and database.host are both set: only one may be')
  if (problems.length > 0) {
    throw new GatewayError(
      'invalid_request',
      `the configuration has ${count(problems.length, 'problem')}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
      { hint: remedyFor(file) },
    )
  }
  return { config: meaningOf(values, inputs), keys: effective, file, warnings }
}

/** A file that is not there was named by the operator: the usual places are looked at only where there is one. */
function remedyFor(file: string | null): string {
  return file === null || mayBeThere(file)
    ? 'subgate config keys lists every key with its type and default.'
    : `subgate init --config ${file} makes this file; or name another one (--config, SUBGATE_CONFIG).`
}

/** Also what may not be looked at. */
function mayBeThere(file: string): boolean {
  try {
    return statSync(file, { throwIfNoEntry: false }) !== undefined
  } catch {
    return true
  }
}

function convert(key: ConfigKey, { value, place, folder }: Written, problems: string[]): unknown {
  const result = key.schema.safeParse(value)
  if (result.success) return key.isPath ? resolve(folder, result.data as string) : result.data
  const shown = key.secret ? 'the value' : `'${shownValue(value)}'`
  const issue = result.error.issues[0]
  problems.push(`${place}: ${key.path}: ${shown}: ${issue ? whereIn(issue.path) + issue.message : 'not valid'}`)
  return undefined
}

/** `2.answer.status: `: where inside a list of rules; nothing inside a plain list, whose items are shown. */
function whereIn(path: readonly PropertyKey[]): string {
  return path.length > 1
    ? `${path.map((part) => (typeof part === 'number' ? part + 1 : String(part))).join('.')}: `
    : ''
}

function shownValue(value: unknown): string {
  if (Array.isArray(value)) return value.map(shownValue).join(', ')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function flagValue({ flags, cwd }: LoadInputs, key: ConfigKey): Written | undefined {
  const value = flags?.[key.path]
  return value === undefined ? undefined : { value, place: 'command line', folder: cwd }
}

/** The name of a file in a data directory (that was named on the command line) or the working directory. */
export const CONFIG_NAME = 'subgate.yaml'

/** The first of the usual places that holds a file of ours. */
function findConfigFile({ env, cwd, flags }: LoadInputs): string | null {
  if (env.SUBGATE_CONFIG) return resolve(cwd, env.SUBGATE_CONFIG)
  const dataDir = flags?.data_dir
  if (typeof dataDir === 'string') {
    const beside = resolve(cwd, dataDir, CONFIG_NAME)
    if (existsSync(beside)) return beside
  }
  const here = join(cwd, CONFIG_NAME)
  if (existsSync(here)) return here
  const perhapsOurs = join(cwd, 'config.yaml')
  if (existsSync(perhapsOurs) && looksLikeOurs(perhapsOurs)) return perhapsOurs
  return [userConfigFile(env), '/etc/subgate/config.yaml'].find((path) => existsSync(path)) ?? null
}

/** Where `init` writes unless told otherwise. */
export function userConfigFile(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config'), 'subgate', 'config.yaml')
}

/** The second step: from names to meaning, with the defaults that depend on other values. */
function meaningOf(values: Map<string, unknown>, { env, cwd, terminal }: LoadInputs): Config {
  const get = <T>(path: string): T => values.get(path) as T
  const optional = <T>(path: string): T | null => (values.get(path) as T | undefined) ?? null
  const database = databaseOf(get, optional)
  const runMode = optional<RunMode>('run_mode') ?? (database ? 'saas' : 'simple')
  const dataDir = optional<string>('data_dir') ?? resolve(cwd, defaultDataDir(env))
  const changesHeaders = get<boolean>('security.response_headers.enabled')
  const config: InAnyMode = {
    simpleModeConfirm: get('simple_mode_confirm'),
    dataDir,
    masterKeyFile: optional('master_key_file') ?? join(dataDir, 'master.key'),
    masterKey: optional('master_key'),
    database,
    errorRules: get('error_rules'),
    server: {
      host: optional<string>('server.host') ?? (runMode === 'saas' ? '0.0.0.0' : '127.0.0.1'),
      port: get('server.port'),
      publicUrl: optional<string>('server.public_url')?.replace(/\/+$/, '') ?? null,
      trustedProxies: get('server.trusted_proxies'),
      maxBodyBytes: get('server.max_request_body_size'),
      maxConnections: get('server.max_connections'),
      corsOrigins: get('cors.allowed_origins'),
    },
    defaults: {
      userConcurrency: get('default.user_concurrency'),
      userBalanceNanoUsd: get('default.user_balance'),
      keyPrefix: get('default.api_key_prefix'),
      multiplierMicro: get('default.rate_multiplier'),
      timeZone: get('default.time_zone'),
    },
    urls: {
      allowlist: get('security.url_allowlist.enabled'),
      upstreamHosts: get('security.url_allowlist.upstream_hosts'),
      insecureHttp: get('security.url_allowlist.allow_insecure_http'),
      privateHosts: get('security.url_allowlist.allow_private_hosts'),
    },
    answerHeaders: {
      add: changesHeaders ? lowerCased(get('security.response_headers.additional_allowed')) : [],
      remove: changesHeaders ? lowerCased(get('security.response_headers.force_remove')) : [],
    },
    guard: {
      failureThreshold: get('billing.circuit_breaker.failure_threshold'),
      resetTimeoutMs: get<number>('billing.circuit_breaker.reset_timeout_seconds') * 1000,
      halfOpenRequests: get('billing.circuit_breaker.half_open_requests'),
    },
    gateway: {
      waitMs: get('gateway.wait'),
      lineExtra: get('gateway.line_extra'),
      bufferedBytesMax: get('gateway.buffered_bytes_max'),
      stickyWaitMs: get('gateway.sticky_wait'),
      stickyLine: get('gateway.sticky_line'),
      bindingTtlMs: get('gateway.binding_ttl'),
      maxAttempts: get('gateway.max_attempts'),
      failoverBudgetMs: get('gateway.failover_budget'),
      connectTimeoutMs: get('gateway.connect_timeout'),
      firstEventTimeoutMs: get('gateway.first_event_timeout'),
      idleTimeoutMs: get('gateway.idle_timeout'),
      answerTimeoutMs: get('gateway.answer_timeout'),
      totalTimeoutMs: get('gateway.total_timeout'),
      clientStallTimeoutMs: get('gateway.client_stall_timeout'),
      preambleHoldMs: get('gateway.preamble_hold'),
      keepAliveFirstMs: get('gateway.keep_alive_first'),
      keepAliveIntervalMs: get('gateway.keep_alive_interval'),
      readOnMs: get('gateway.read_on'),
      chargeWaitMs: get('gateway.charge_wait'),
      shutdownGraceMs: get('gateway.shutdown_grace'),
      reserveOutputMax: get('gateway.reserve_output_max'),
      countTokensPerMinute: get('gateway.count_tokens_per_minute'),
    },
    log: {
      level: optional<Config['log']['level']>('log.level') ?? (get('server.mode') === 'debug' ? 'debug' : 'info'),
      format: optional<Config['log']['format']>('log.format') ?? (terminal ? 'text' : 'json'),
    },
    adminSocket: optional<string>('admin.socket') ?? adminSocketFor(dataDir),
    redis: redisOf(get, optional),
    said: {
      unknownPrice: optional('unknown_price'),
      unmetered: optional('unmetered'),
      guard: get('billing.circuit_breaker.enabled'),
    },
  }
  return inRunMode(config, runMode)
}

/** The URL goes before the single keys, which say what it leaves out. */
function databaseOf(get: <T>(path: string) => T, optional: <T>(path: string) => T | null): DatabaseConfig | null {
  const url = optional<PostgresUrl>('database.url') ?? hostOnly(optional('database.host'))
  if (!url) return null
  const server: PostgresServer = {
    port: get('database.port'),
    user: get('database.user'),
    password: optional('database.password'),
    dbname: get('database.dbname'),
    sslMode: get<SslMode>('database.sslmode'),
    caFile: optional('database.sslrootcert'),
    ...url,
  }
  return {
    server,
    direct: { ...server, port: get('database.port'), ...(optional<PostgresUrl>('database.direct_url') ?? server) },
    poolSize: get('database.pool_size'),
    connectTimeoutMs: get('database.connect_timeout'),
    statementTimeoutMs: get('database.statement_timeout'),
    lockTimeoutMs: get('database.lock_timeout'),
  }
}

function hostOnly(host: string | null): PostgresUrl | null {
  return host === null ? null : { host }
}

/** One URL, whether it was written as one or in parts. */
function redisOf(get: <T>(path: string) => T, optional: <T>(path: string) => T | null): Config['redis'] {
  const url = optional<string>('redis.url')
  if (url !== null) return { url }
  const host = optional<string>('redis.host')
  if (host === null) return null
  const password = optional<string>('redis.password')
  const login = password ? `:${encodeURIComponent(password)}@` : ''
  const scheme = get<boolean>('redis.enable_tls') ? 'rediss' : 'redis'
  const address = host.includes(':') ? `[${host}]` : host
  return { url: `${scheme}://${login}${address}:${get<number>('redis.port')}/${get<number>('redis.db')}` }
}

function lowerCased(names: string[]): string[] {
  return names.map((name) => name.toLowerCase())
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
}

function defaultDataDir(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_DATA_HOME || join(env.HOME || homedir(), '.local', 'share'), 'subgate')
}

/**
 * Unix socket paths over about 100 bytes cannot be bound (EINVAL); such a data directory gets a short path instead, in a
 * folder that the daemon makes for itself. No passwd entry is asked for: a container's user may have none.
 */
function adminSocketFor(dataDir: string): string {
  const inside = join(dataDir, 'admin.sock')
  if (Buffer.byteLength(inside) <= 100) return inside
  const digest = createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
  return join('/tmp', `subgate-${process.getuid?.() ?? 0}-${digest}`, 'admin.sock') // not TMPDIR: it may differ from shell to shell
}

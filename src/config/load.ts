import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { homedir, tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml'
import { GatewayError } from '../domain/errors.ts'
import { nearest } from '../lib/pattern.ts'
import { type ConfigKey, configKeys } from './schema.ts'
import { isSub2apiKey, SUB2API_SERVICES_ENV } from './sub2api-keys.ts'

/** The configuration as the program reads it: every value present, durations in ms, sizes in bytes, paths absolute. */
export interface Config {
  runMode: 'simple' | 'saas'
  simpleModeConfirm: boolean
  dataDir: string
  masterKeyFile: string
  masterKey: string | null
  /** `record` or `refuse` calls whose model has no price. */
  unknownPrice: 'record' | 'refuse'
  server: {
    host: string
    port: number
    trustedProxies: string[]
    maxBodyBytes: number
    maxConnections: number
    corsOrigins: string[]
  }
  defaults: { userConcurrency: number; userBalanceNanoUsd: number; keyPrefix: string; multiplierMicro: number }
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
    countTokensPerMinute: number
  }
  log: { level: 'trace' | 'debug' | 'info' | 'warn' | 'error'; format: 'text' | 'json' }
  adminSocket: string
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
export function loadConfig(inputs: LoadInputs): LoadedConfig {
  const problems: string[] = []
  const warnings: string[] = []
  const keys = configKeys()
  const file = inputs.file ? resolve(inputs.cwd, inputs.file) : findConfigFile(inputs.env, inputs.cwd)
  const fromFile = file ? readFileKeys(file, keys, problems, warnings) : new Map<string, Written>()

  const values = new Map<string, unknown>()
  const effective = keys.map((key): EffectiveKey => {
    const candidates: [ConfigSource, Written | undefined][] = [
      ['flag', flagValue(inputs.flags, key)],
      ['environment', environmentValue(inputs.env, key)],
      ['file', fromFile.get(key.path)],
    ]
    const [source, found] = candidates.find(([, written]) => written !== undefined) ?? ['default', undefined]
    const written = found ? found.value : key.default
    if (written !== null)
      values.set(key.path, convert(key, written, found?.place ?? `the default of ${key.path}`, problems))
    return { key, written, source }
  })
  const services = SUB2API_SERVICES_ENV.filter((name) => inputs.env.RUN_MODE !== undefined && inputs.env[name])
  if (services.length > 0) {
    warnings.push(`${services.join(', ')}: this version keeps its data in SQLite and in memory, and does not use them`)
  }
  if (problems.length > 0) {
    throw new GatewayError(
      'invalid_request',
      `the configuration has ${count(problems.length, 'problem')}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
      {
        hint: 'subgate config keys lists every key with its type and default.',
      },
    )
  }
  return { config: meaningOf(values, inputs), keys: effective, file, warnings }
}

/** A value as written, and the place to name when it is wrong. */
interface Written {
  value: unknown
  place: string
}

function convert(key: ConfigKey, written: unknown, place: string, problems: string[]): unknown {
  const result = key.schema.safeParse(written)
  if (result.success) return result.data
  const shown = key.secret ? 'the value' : `'${Array.isArray(written) ? written.join(', ') : String(written)}'`
  problems.push(`${place}: ${key.path}: ${shown}: ${result.error.issues[0]?.message ?? 'not valid'}`)
  return undefined
}

function flagValue(flags: Record<string, unknown> | undefined, key: ConfigKey): Written | undefined {
  const value = flags?.[key.path]
  return value === undefined ? undefined : { value, place: 'command line' }
}

/** Unprefixed names count only beside RUN_MODE: a name exported for another project must not move anybody's data. */
function environmentValue(env: NodeJS.ProcessEnv, key: ConfigKey): Written | undefined {
  const names = [key.env, ...(key.legacyEnv && env.RUN_MODE !== undefined ? [key.legacyEnv] : [])]
  const name = names.find((candidate) => env[candidate] !== undefined && env[candidate] !== '')
  return name ? { value: env[name], place: name } : undefined
}

/** The first of the usual places that holds a file of ours. */
function findConfigFile(env: NodeJS.ProcessEnv, cwd: string): string | null {
  if (env.SUBGATE_CONFIG) return resolve(cwd, env.SUBGATE_CONFIG)
  const here = join(cwd, 'subgate.yaml')
  if (existsSync(here)) return here
  const perhapsOurs = join(cwd, 'config.yaml')
  if (existsSync(perhapsOurs) && looksLikeOurs(perhapsOurs)) return perhapsOurs
  return [userConfigFile(env), '/etc/subgate/config.yaml'].find((path) => existsSync(path)) ?? null
}

/** Where `init` writes unless told otherwise. */
export function userConfigFile(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config'), 'subgate', 'config.yaml')
}

/** `config.yaml` is a common name: it is ours only if every top-level key is. */
function looksLikeOurs(file: string): boolean {
  try {
    const contents = parseDocument(readFileSync(file, 'utf8')).contents
    const ours = new Set(configKeys().map((key) => key.path.split('.')[0]))
    return (
      isMap(contents) &&
      contents.items.length > 0 &&
      contents.items.every(
        (item) => isScalar(item.key) && (ours.has(String(item.key.value)) || isSub2apiKey(String(item.key.value))),
      )
    )
  } catch {
    return false
  }
}

function readFileKeys(file: string, keys: ConfigKey[], problems: string[], warnings: string[]): Map<string, Written> {
  const found = new Map<string, Written>()
  let source: string
  try {
    source = readFileSync(file, 'utf8')
  } catch (error) {
    problems.push(
      `${file}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message}`,
    )
    return found
  }
  const lines = new LineCounter()
  const document = parseDocument(source, { lineCounter: lines })
  const place = (offset: number) => `${file}:${lines.linePos(offset).line}`
  for (const error of document.errors) problems.push(`${place(error.pos[0])}: ${error.message.split('\n')[0]}`)
  const known = new Map(keys.map((key) => [key.path, key]))
  const sections = new Set(keys.flatMap((key) => parentsOf(key.path)))

  const visit = (node: unknown, prefix: string): void => {
    if (!isMap(node)) return
    for (const item of node.items) {
      if (!isScalar(item.key)) continue
      const path = prefix + String(item.key.value)
      const where = place(item.key.range?.[0] ?? 0)
      const value = item.value
      if (known.has(path)) {
        const written = value === null ? null : (value as { toJS(document: unknown): unknown }).toJS(document)
        if (written !== null) found.set(path, { value: written, place: where })
      } else if (sections.has(path)) {
        if (isMap(value)) visit(value, `${path}.`)
        else if (!(isScalar(value) && value.value === null))
          problems.push(`${where}: ${path} is a section, not a value`)
      } else if (isSub2apiKey(path)) {
        warnings.push(`${where}: ${path} has no meaning in this version of subgate and is ignored`)
      } else {
        const similar = nearest(path, [...known.keys(), ...sections])
        problems.push(`${where}: unknown key ${path}${similar ? `; did you mean ${similar}?` : ''}`)
      }
    }
  }
  if (document.contents !== null && !isMap(document.contents))
    problems.push(`${file}:1: must be a mapping of keys to values`)
  visit(document.contents, '')
  return found
}

function parentsOf(path: string): string[] {
  const parts = path.split('.')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'))
}

/** The second step: from names to meaning, with the defaults that depend on other values. */
function meaningOf(values: Map<string, unknown>, { env, terminal }: LoadInputs): Config {
  const get = <T>(path: string): T => values.get(path) as T
  const optional = <T>(path: string): T | null => (values.get(path) as T | undefined) ?? null
  const runMode = get<Config['runMode']>('run_mode')
  const dataDir = resolve(optional<string>('data_dir') ?? defaultDataDir(env))
  const changesHeaders = get<boolean>('security.response_headers.enabled')
  return {
    runMode,
    simpleModeConfirm: get('simple_mode_confirm'),
    dataDir,
    masterKeyFile: resolve(dataDir, optional<string>('master_key_file') ?? 'master.key'),
    masterKey: optional('master_key'),
    unknownPrice: optional<Config['unknownPrice']>('unknown_price') ?? (runMode === 'saas' ? 'refuse' : 'record'),
    server: {
      host: optional<string>('server.host') ?? (runMode === 'saas' ? '0.0.0.0' : '127.0.0.1'),
      port: get('server.port'),
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
      enabled: get<boolean>('billing.circuit_breaker.enabled') && runMode === 'saas',
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
      countTokensPerMinute: get('gateway.count_tokens_per_minute'),
    },
    log: {
      level: optional<Config['log']['level']>('log.level') ?? (get('server.mode') === 'debug' ? 'debug' : 'info'),
      format: optional<Config['log']['format']>('log.format') ?? (terminal ? 'text' : 'json'),
    },
    adminSocket: optional<string>('admin.socket') ?? adminSocketFor(dataDir),
  }
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

/** Unix socket paths over about 100 bytes cannot be bound (EINVAL); such a data directory gets a short private path instead. */
function adminSocketFor(dataDir: string): string {
  const inside = join(dataDir, 'admin.sock')
  if (Buffer.byteLength(inside) <= 100) return inside
  const digest = createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
  return join(tmpdir(), `subgate-${userInfo().uid}-${digest}`, 'admin.sock')
}

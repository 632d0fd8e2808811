import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { type ConfigKey, configKeys } from '../../src/config/schema.ts'
import { secretKey } from '../support/secrets.ts'
import { inputsIn, load, problems, write } from './files.ts'

t.test('without any configuration there is one: simple mode on this machine only', async (t) => {
  const home = '/home/somebody'
  const { config, file, warnings, keys } = load(home)
  t.match(config, {
    runMode: 'simple',
    dataDir: join(home, '.local/share/subgate'),
    masterKeyFile: join(home, '.local/share/subgate/master.key'),
    masterKey: null,
    database: null,
    adminSocket: join(home, '.local/share/subgate/admin.sock'),
    unknownPrice: 'record',
    server: { host: '127.0.0.1', port: 8080, maxBodyBytes: 32 * 1024 * 1024 },
    defaults: { userConcurrency: 5, userBalanceNanoUsd: 0, keyPrefix: 'sk-', multiplierMicro: 1_000_000 },
    urls: { allowlist: true, upstreamHosts: ['api.anthropic.com'], insecureHttp: false, privateHosts: false },
    guard: { enabled: false },
    gateway: { waitMs: 30_000, bufferedBytesMax: 256 * 1024 * 1024, totalTimeoutMs: 3_600_000, maxAttempts: 4 },
    log: { level: 'info', format: 'json' },
  })
  t.same([file, warnings], [null, []])
  t.ok(keys.every(({ source }) => source === 'default'))
  t.equal(load(home, { terminal: true }).config.log.format, 'text')
})

t.test('the run mode changes what goes without saying', async (t) => {
  const { config } = load(t.testdir(), { env: { SUBGATE_RUN_MODE: 'saas' } })
  t.match(config, { server: { host: '0.0.0.0' }, unknownPrice: 'refuse', guard: { enabled: true } })
  t.equal(load(t.testdir(), { env: { SUBGATE_RUN_MODE: 'standard' } }).config.runMode, 'saas')
  t.equal(load(t.testdir(), { env: { SUBGATE_SERVER_MODE: 'debug' } }).config.log.level, 'debug')
  const said = load(t.testdir(), { flags: { run_mode: 'saas', 'server.host': '::1', unknown_price: 'record' } })
  t.match(said.config, { server: { host: '::1' }, unknownPrice: 'record' })
})

t.test('a flag wins over the environment, the environment over the file, the file over the default', async (t) => {
  const home = t.testdir()
  const file = write(home, 'subgate.yaml', 'server: { port: 1001 }\ngateway: { wait: 1s }\n')
  const port = (inputs: Parameters<typeof load>[1]) => {
    const { config, keys } = load(home, inputs)
    return [config.server.port, keys.find(({ key }) => key.path === 'server.port')?.source]
  }
  const env = { SUBGATE_SERVER_PORT: '1002', RUN_MODE: 'simple', SERVER_PORT: '1003' }
  t.same(port({ env, flags: { 'server.port': 1004 } }), [1004, 'flag'])
  t.same(port({ env }), [1002, 'environment'])
  t.same(port({ env: { ...env, SUBGATE_SERVER_PORT: '' } }), [1003, 'environment'], 'prefixed, then unprefixed')
  t.same(port({ env: { SERVER_PORT: '1003' } }), [1001, 'file'], 'unprefixed names count only beside RUN_MODE')
  t.same(port({ env: { SERVER_PORT: '1003', RUN_MODE: '' } }), [1001, 'file'], 'RUN_MODE set to nothing is not set')
  t.same(port({ env: { SUBGATE_RUN_MODE: 'simple', SERVER_PORT: '1003' } }), [1001, 'file'])
  t.same(port({}), [1001, 'file'])
  t.equal(load(home).file, file)
  t.equal(load(home).config.gateway.waitMs, 1000)
})

t.test('every key can be set by its environment name, and by its older name beside RUN_MODE', async (t) => {
  const other: Record<string, string> = {
    'simple | saas': 'saas',
    'web address': 'https://ai.example.com',
    'true | false': 'yes',
    'release | debug': 'debug',
    'disable | prefer | require | verify-ca | verify-full': 'require',
    'record | refuse': 'refuse',
    'text | json': 'text',
    'trace | debug | info | warn | error': 'warn',
    path: '/elsewhere',
    text: 'else',
    'Redis URL': 'redis://elsewhere:6380/1',
    duration: '7s',
    size: '7KiB',
    USD: '7',
    number: '0.5',
    'time zone': 'Europe/Berlin',
    'list of CIDRs': '10.0.0.0/8, ::1',
    'list of origins': 'https://a.example',
    'list of host names': 'a.example,*.b.example',
    'list of header names': 'x-a',
    URL: 'postgres://host/name',
    'list of rules': '[{"when":{"status":400},"answer":{"status":418}}]',
  }
  const home = t.testdir()
  const wrong = configKeys().flatMap((key) => {
    const value = other[key.type] ?? (key.type.split('–')[0] as string)
    const names = [key.env, ...(key.legacyEnv ?? [])]
    return names.filter((name) => {
      const env = { ...(name !== key.env && { RUN_MODE: 'simple' }), [name]: value }
      const found = load(home, { env }).keys.find(({ key: { path } }) => path === key.path)
      return found?.source !== 'environment' || found.written !== value
    })
  })
  t.same(wrong, [])
})

t.test('Redis is named by one URL, or in parts', async (t) => {
  const home = t.testdir()
  const redisOf = (env: Record<string, string>) => load(home, { env }).config.redis
  t.equal(redisOf({}), null)
  t.equal(redisOf({ SUBGATE_REDIS_PASSWORD: 'x', SUBGATE_REDIS_PORT: '1' }), null)
  t.same(redisOf({ SUBGATE_REDIS_URL: 'rediss://a:b@c:1/2', SUBGATE_REDIS_HOST: 'd' }), { url: 'rediss://a:b@c:1/2' })
  t.same(redisOf({ SUBGATE_REDIS_HOST: 'd' }), { url: 'redis://d:6379/0' })
  const parts = { REDIS_HOST: '::1', REDIS_PORT: '7', REDIS_PASSWORD: 'p@:/', REDIS_DB: '3', REDIS_ENABLE_TLS: 'true' }
  t.same(redisOf({ RUN_MODE: 'saas', ...parts }), { url: 'rediss://:p%40%3A%2F@[::1]:7/3' })
  t.equal(redisOf(parts), null, 'unprefixed names count only beside RUN_MODE')
  t.match(
    problems(home, { env: { SUBGATE_REDIS_URL: 'http://secret' } })[0],
    /^SUBGATE_REDIS_URL: redis\.url: the value: must/,
  )
})

t.test('all problems are told at once, each with its place', async (t) => {
  const home = t.testdir()
  write(
    home,
    'subgate.yaml',
    `run_mode: complicated
server:
  port: 80800
  prot: 8080
  max_request_body_size: lots
  trusted_proxies: [10.0.0.0/8, 10.0.0.0/33]
gateway: 5s
defalt:
  user_concurrency: 5
log:
  level: [info]
master_key: { a: b }
? [1, 2]
: x
`,
  )
  const env = { SUBGATE_GATEWAY_WAIT: 'soon', SUBGATE_DEFAULT_USER_BALANCE: '1e3' }
  t.same(problems(home, { env, flags: { 'server.max_connections': 'many' } }), [
    'subgate.yaml:4: unknown key server.prot; did you mean server.port?',
    'subgate.yaml:7: gateway is a section, not a value',
    'subgate.yaml:8: unknown key defalt; did you mean default?',
    'subgate.yaml:13: unknown key [1,2]',
    "subgate.yaml:1: run_mode: 'complicated': must be simple or saas",
    'subgate.yaml:12: master_key: the value: must be a text',
    "subgate.yaml:3: server.port: '80800': must be a whole number from 0 to 65535",
    "subgate.yaml:6: server.trusted_proxies: '10.0.0.0/8, 10.0.0.0/33': must be an address or a CIDR, such as 10.0.0.0/8",
    "subgate.yaml:5: server.max_request_body_size: 'lots': must be a size such as 64KiB or 32MiB",
    "command line: server.max_connections: 'many': must be a whole number from 1 to 1000000",
    "SUBGATE_DEFAULT_USER_BALANCE: default.user_balance: '1e3': must be an amount in USD, such as 5 or 0.50",
    "SUBGATE_GATEWAY_WAIT: gateway.wait: 'soon': must be a duration such as 250ms, 10s, 5m or 1h",
    "subgate.yaml:11: log.level: 'info': must be one of trace, debug, info, warn, error",
  ])
})

t.test('values of the wrong kind are not bent into shape', async (t) => {
  const home = t.testdir()
  const wrong = [
    'server: { port: true }',
    'server: { port: 1.5 }',
    'server: { port: "" }',
    'server: { port: 0x50g }',
    'server: { port: [] }',
    'server: { port: -1 }',
    'server: { port: 1e9 }',
    'simple_mode_confirm: maybe',
    'simple_mode_confirm: 2',
    'gateway: { wait: 30 }',
    'gateway: { wait: -5s }',
    'gateway: { max_attempts: 0 }',
    'server: { trusted_proxies: [localhost] }',
    'server: { host: 127 }',
    'data_dir: ""',
    'default: { rate_multiplier: -1 }',
    'default: { rate_multiplier: .inf }',
    'default: { user_balance: .nan }',
    'default: { api_key_prefix: "a b" }',
    'security: { url_allowlist: { upstream_hosts: ["api.anthropic.com:443"] } }',
    'security: { url_allowlist: { upstream_hosts: ["*"] } }',
    'security: { url_allowlist: { upstream_hosts: ["https://a.example"] } }',
    'security: { url_allowlist: { upstream_hosts: ["a.*.example"] } }',
    'security: { url_allowlist: { upstream_hosts: [1] } }',
    'cors: { allowed_origins: { a: b } }',
  ]
  t.same(
    wrong.filter((text) => problems(home, { file: write(home, 'c.yaml', text) }).length !== 1),
    [],
  )
  const right = [
    'server: { port: "80" }',
    'simple_mode_confirm: "yes"',
    'server: { max_request_body_size: 1000 }',
    'server:',
    'server: {}',
    'data_dir:',
    'default: { user_balance: 0.1, rate_multiplier: 1.0 }',
    'security: { url_allowlist: { upstream_hosts: [a.example, "*.b.example", localhost, "::1", "[::1]", 10.0.0.1] } }',
  ]
  t.same(
    right.filter((text) => problems(home, { file: write(home, 'c.yaml', text) }).length > 0),
    [],
  )
})

t.test('a file that is no configuration is refused in words', async (t) => {
  const home = t.testdir()
  const cases: [string, RegExp][] = [
    ['- a\n- b\n', /^c\.yaml:1: must be a mapping of keys to values$/],
    ['server: {', /^c\.yaml:\d: /],
    ['server: {}\nserver: {}\n', /^c\.yaml:2: Map keys must be unique/],
    ['a: &a [*a]', /^c\.yaml:1: unknown key a$/],
    ['--- {}\n--- {}\n', /^c\.yaml:\d: .*multiple documents/],
    ['__proto__: { port: 1 }', /^c\.yaml:1: unknown key __proto__$/],
    ['server: { __proto__: 1, constructor: 2 }', /^c\.yaml:1: unknown key server\.__proto__$/],
  ]
  for (const [text, message] of cases) t.match(problems(home, { file: write(home, 'c.yaml', text) })[0], message, text)
  t.same(problems(home, { file: 'missing.yaml' }), ['missing.yaml: no such file'])
  t.match(problems(home, { file: '.' })[0], /EISDIR/)
  t.same(problems(home, { file: write(home, 'empty.yaml', '') }), [])
  t.same(problems(home, { file: write(home, 'comments.yaml', '# nothing\n') }), [])
  const anchored = write(home, 'anchors.yaml', 'server: &s { port: 1234 }\ngateway: { wait: &w 7s, read_on: *w }\n')
  t.match(load(home, { file: anchored }).config, { server: { port: 1234 }, gateway: { waitMs: 7000, readOnMs: 7000 } })
  t.equal(({} as Record<string, unknown>).port, undefined)
})

t.test('the first file that is ours is read', async (t) => {
  const home = t.testdir()
  const read = (env: NodeJS.ProcessEnv = {}) => load(home, { env }).config.server.port
  write(home, '.config/subgate/config.yaml', 'server: { port: 4 }')
  t.equal(read(), 4)
  write(home, 'xdg/subgate/config.yaml', 'server: { port: 5 }')
  t.equal(read({ XDG_CONFIG_HOME: join(home, 'xdg') }), 5)
  for (const foreign of [
    'name: my-app\nserver: { port: 3 }',
    '- a',
    'not: [yaml',
    '',
    'server: { port: 3 }\nplugins_of_mine: 1',
  ]) {
    write(home, 'config.yaml', foreign)
    t.equal(read(), 4, `somebody else's config.yaml: ${foreign}`)
  }
  write(home, 'config.yaml', 'server: { port: 3 }\njwt: { secret: x }')
  t.equal(read(), 3, 'its keys are ours, or Sub2API’s')
  write(home, 'subgate.yaml', 'server: { port: 2 }')
  t.equal(read(), 2)
  const inDataDir = { cwd: home, flags: { data_dir: 'data' } }
  t.equal(load(home, inDataDir).config.server.port, 2, 'where it holds no file, the usual places do')
  write(home, 'data/subgate.yaml', 'server: { port: 6 }')
  t.equal(load(home, inDataDir).config.server.port, 6, 'the file of the data directory that was named')
  t.equal(read({ SUBGATE_DATA_DIR: join(home, 'data') }), 2, 'and not of one that is meant for all commands')
  write(home, 'elsewhere/c.yaml', 'server: { port: 1 }')
  t.equal(load(home, { ...inDataDir, env: { SUBGATE_CONFIG: 'elsewhere/c.yaml' } }).config.server.port, 1)
  t.equal(read({ SUBGATE_CONFIG: 'elsewhere/c.yaml' }), 1, 'relative to the working directory')
  t.equal(load(home, { file: 'subgate.yaml', env: { SUBGATE_CONFIG: 'elsewhere/c.yaml' } }).config.server.port, 2)
  t.same(
    problems(home, { env: { SUBGATE_CONFIG: 'gone.yaml' } }),
    ['gone.yaml: no such file'],
    'named, so it must be there',
  )
})

t.test('a path is relative to the file that holds it, else to the working directory', async (t) => {
  const home = t.testdir({ work: {} })
  const cwd = join(home, 'work')
  const file = write(
    home,
    'etc/c.yaml',
    'data_dir: data\nmaster_key_file: ../keys/master.key\nadmin: { socket: run/admin.sock }',
  )
  t.match(load(home, { cwd, file }).config, {
    dataDir: join(home, 'etc/data'),
    masterKeyFile: join(home, 'keys/master.key'),
    adminSocket: join(home, 'etc/run/admin.sock'),
  })
  const env = { SUBGATE_DATA_DIR: 'from-env' }
  t.match(load(home, { cwd, file, env }).config, { dataDir: join(cwd, 'from-env') })
  t.match(load(home, { cwd, file, env, flags: { data_dir: '../from-flag' } }).config.dataDir, join(home, 'from-flag'))
  t.match(load(home, { cwd, env }).config.masterKeyFile, join(cwd, 'from-env/master.key'))
  t.equal(load(home, { env: { XDG_DATA_HOME: join(home, 'xdg') } }).config.dataDir, join(home, 'xdg/subgate'))
})

t.test('a data directory too deep for a socket gets a short path that is always the same', async (t) => {
  const home = t.testdir()
  const socket = (dir: string) => load(home, { flags: { data_dir: dir } }).config.adminSocket
  const fits = `/${'d'.repeat(88)}`
  t.equal(socket(fits), `${fits}/admin.sock`, '100 bytes')
  t.match(socket(`${fits}d`), /^\/tmp\/subgate-\d+-[0-9a-f]{16}\/admin\.sock$/)
  t.match(socket(`/${'é'.repeat(46)}`), /^\/tmp\//, 'bytes count, not characters')
  t.equal(socket(`${fits}d`), socket(`${fits}d`))
  t.not(socket(`${fits}d`), socket(`${fits}e`))
  t.equal(
    load(home, { flags: { data_dir: `${fits}d`, 'admin.socket': '/run/s.sock' } }).config.adminSocket,
    '/run/s.sock',
  )
})

const SECRET: ConfigKey = {
  ...(configKeys().find(({ path }) => path === 'master_key') as ConfigKey),
  path: 'jwt.secret',
  env: 'SUBGATE_JWT_SECRET',
  legacyEnv: ['JWT_SECRET'],
}

t.test('every secret may come from a file that the environment names', async (t) => {
  const home = t.testdir()
  const [first, second] = [secretKey(), secretKey()]
  write(home, 'run/secrets/jwt', `${first}\n`)
  write(home, 'legacy', second)
  const keys = [...configKeys(), SECRET]
  const read = (env: NodeJS.ProcessEnv) =>
    loadConfig(inputsIn(home, { env }), keys).keys.find(({ key }) => key === SECRET)
  t.match(read({ SUBGATE_JWT_SECRET_FILE: join(home, 'run/secrets/jwt') }), { written: first, source: 'environment' })
  t.match(read({ SUBGATE_JWT_SECRET_FILE: 'run/secrets/jwt' }), { written: first })
  t.match(read({ RUN_MODE: 'simple', JWT_SECRET_FILE: 'legacy' }), { written: second })
  t.match(read({ JWT_SECRET_FILE: 'legacy' }), { source: 'default' }, 'unprefixed only beside RUN_MODE')
  t.match(read({ SUBGATE_JWT_SECRET_FILE: '' }), { source: 'default' })
  const both = { RUN_MODE: 'simple', JWT_SECRET: first, SUBGATE_JWT_SECRET_FILE: 'legacy' }
  t.match(read(both), { written: second }, 'prefixed wins over unprefixed')
  const refused = (env: NodeJS.ProcessEnv) => {
    try {
      read(env)
      return ''
    } catch (error) {
      return (error as Error).message
    }
  }
  t.match(refused({ SUBGATE_JWT_SECRET_FILE: 'gone' }), 'SUBGATE_JWT_SECRET_FILE: gone: no such file')
  const twice = refused({ SUBGATE_JWT_SECRET: first, SUBGATE_JWT_SECRET_FILE: 'legacy' })
  t.match(twice, 'SUBGATE_JWT_SECRET and SUBGATE_JWT_SECRET_FILE are both set')
  t.notOk(twice.includes(first) || twice.includes(second))
  const empty = refused({ SUBGATE_JWT_SECRET_FILE: write(home, 'empty', '\n') })
  t.match(empty, 'SUBGATE_JWT_SECRET_FILE: jwt.secret: the value: ')
})

t.test('what is no secret is not read from a file', async (t) => {
  const home = t.testdir({ host: '0.0.0.0' })
  t.equal(load(home, { env: { SUBGATE_SERVER_HOST_FILE: join(home, 'host') } }).config.server.host, '127.0.0.1')
})

t.test('the file of the master key is a key of its own', async (t) => {
  const home = t.testdir()
  const { config } = load(home, { env: { SUBGATE_MASTER_KEY_FILE: 'keys/master.key' } })
  t.match(config, { masterKey: null, masterKeyFile: join(home, 'keys/master.key') })
  const key = secretKey('')
  t.equal(load(home, { env: { SUBGATE_MASTER_KEY: key } }).config.masterKey, key)
})

t.test('a name that is nearly one of ours is pointed out', async (t) => {
  const { warnings } = load(t.testdir(), {
    env: {
      SUBGATE_SERVER_PROT: '1',
      SUBGATE_LOG_LEVELS: 'x',
      SUBGATE_LOG_FORMAT: 'json',
      SUBGATE_CONFIG: '',
      SUBGATE_WHATEVER_THIS_IS: '1',
      SUBGATE_MASTER_KEY_FILE: 'x',
      SERVER_PROT: '1',
    },
  })
  t.same(warnings, [
    'SUBGATE_SERVER_PROT is no setting and is ignored; did you mean SUBGATE_SERVER_PORT?',
    'SUBGATE_LOG_LEVELS is no setting and is ignored; did you mean SUBGATE_LOG_LEVEL?',
  ])
})

t.test('a Sub2API file starts, and says what of it has no meaning here', async (t) => {
  const home = t.testdir()
  write(
    home,
    'config.yaml',
    `run_mode: "standard"
server:
  host: "0.0.0.0"
  port: 8080
  mode: "release"
  frontend_url: ""
  max_request_body_size: 268435456
  trusted_proxies: []
  h2c: { enabled: true }
database: { host: localhost, port: 5432, user: postgres, password: secret, dbname: sub2api, sslmode: disable }
redis: { host: localhost, port: 6379, password: "", db: 0 }
jwt: { secret: change-me, expire_hour: 24 }
totp: { encryption_key: "" }
default: { admin_email: admin@example.com, admin_password: x, user_concurrency: 5, user_balance: 0, api_key_prefix: "sk-", rate_multiplier: 1.0 }
rate_limit: { overload_cooldown_minutes: 10 }
pricing: { remote_url: "https://example.com", update_interval_hours: 24 }
billing: { circuit_breaker: { enabled: true, failure_threshold: 5, reset_timeout_seconds: 30, half_open_requests: 3 } }
security:
  url_allowlist: { enabled: false, upstream_hosts: ["api.anthropic.com", "*.openai.azure.com"], pricing_hosts: [a.example], crs_hosts: [], allow_private_hosts: true, allow_insecure_http: true }
  response_headers: { enabled: true, additional_allowed: [X-Extra], force_remove: [] }
  csp: { enabled: true, policy: "default-src 'self'" }
gateway: { response_header_timeout: 600, max_body_size: 268435456, scheduling: { sticky_session_max_waiting: 3 } }
log: { level: info, format: console, output: { to_stdout: true } }
cors: { allowed_origins: [], allow_credentials: true }
timezone: "Asia/Shanghai"
`,
  )
  const env = { RUN_MODE: 'standard', SERVER_PORT: '9000', DATABASE_HOST: 'db', REDIS_HOST: 'cache', TZ: 'UTC' }
  const { config, warnings } = load(home, { env })
  t.match(config, {
    runMode: 'saas',
    server: { host: '0.0.0.0', port: 9000, maxBodyBytes: 268_435_456 },
    urls: {
      allowlist: false,
      upstreamHosts: ['api.anthropic.com', '*.openai.azure.com'],
      insecureHttp: true,
      privateHosts: true,
    },
    answerHeaders: { add: ['x-extra'], remove: [] },
    database: {
      server: { host: 'db', port: 5432, user: 'postgres', password: 'secret', dbname: 'sub2api', sslMode: 'disable' },
    },
    guard: { enabled: true, failureThreshold: 5, resetTimeoutMs: 30_000, halfOpenRequests: 3 },
    redis: { url: 'redis://cache:6379/0' },
    log: { level: 'info', format: 'text' },
  })
  const ignored = warnings.flatMap((warning) => /config\.yaml:\d+: (\S+) has no meaning/.exec(warning)?.[1] ?? [])
  t.same(ignored, [
    'server.frontend_url',
    'server.h2c',
    'jwt',
    'totp',
    'default.admin_email',
    'default.admin_password',
    'rate_limit',
    'pricing',
    'security.url_allowlist.pricing_hosts',
    'security.url_allowlist.crs_hosts',
    'security.csp',
    'gateway.response_header_timeout',
    'gateway.max_body_size',
    'gateway.scheduling',
    'log.output',
    'cors.allow_credentials',
    'timezone',
  ])
  t.notOk(warnings.some((warning) => warning.includes('change-me')))
})

t.test('the lists of answer headers count only where they are switched on', async (t) => {
  const home = t.testdir()
  const lists = 'additional_allowed: [X-A], force_remove: [Y-B]'
  const read = (enabled: boolean) =>
    load(home, { file: write(home, 'c.yaml', `security: { response_headers: { enabled: ${enabled}, ${lists} } }`) })
  t.same(read(true).config.answerHeaders, { add: ['x-a'], remove: ['y-b'] })
  t.same(read(false).config.answerHeaders, { add: [], remove: [] })
})

t.test('where to listen is an address or a name, and nothing that has no URL', async (t) => {
  const host = (value: string) => load(t.testdir(), { flags: { 'server.host': value } }).config.server.host
  for (const fine of ['127.0.0.1', '0.0.0.0', '::', '::1', 'localhost', 'gateway-1.example.com'])
    t.equal(host(fine), fine)
  for (const wrong of ['[::1]', '127.0.0.1:8080', 'http://localhost', '999.1.1.1', 'a b', 'fe80::1%eth0', '']) {
    t.throws(
      () => host(wrong),
      { message: /server\.host: '.*': must be an address or a host name, without port/ },
      wrong,
    )
  }
})

t.test('a database of PostgreSQL, by URL or by single keys', async (t) => {
  const home = t.testdir()
  const database = (env: NodeJS.ProcessEnv) => load(home, { env }).config.database
  const elsewhere = { DATABASE_URL: 'postgres://other/project', DATABASE_HOST: 'db', POSTGRES_PASSWORD: 'secret' }
  t.equal(database(elsewhere), null, 'names of another project move nobody')
  t.equal(load(home, { env: elsewhere }).config.runMode, 'simple')

  const url = 'postgres://pat:p%40ss%2Fword@db.example:6432/gate?sslmode=verify-full&sslrootcert=/ca.pem'
  const direct = { SUBGATE_DATABASE_DIRECT_URL: 'postgresql://db.example/gate' }
  const loaded = load(home, { env: { SUBGATE_DATABASE_URL: url, ...direct } })
  const server = {
    ...{ host: 'db.example', port: 6432, user: 'pat', password: 'p@ss/word', dbname: 'gate' },
    ...{ sslMode: 'verify-full', caFile: '/ca.pem' },
  }
  t.match(loaded.config.database, { server, direct: { ...server, port: 5432 }, poolSize: 10, connectTimeoutMs: 5000 })
  t.equal(loaded.config.runMode, 'saas', 'who has a database bills')
  t.equal(load(home, { env: { SUBGATE_DATABASE_URL: url, RUN_MODE: 'simple' } }).config.runMode, 'simple')

  write(home, 'password', 'from a file\n')
  const parts = { SUBGATE_DATABASE_HOST: '/run/postgresql', SUBGATE_DATABASE_PASSWORD_FILE: 'password' }
  const local = { host: '/run/postgresql', port: 5432, user: 'subgate', password: 'from a file', dbname: 'subgate' }
  t.match(database(parts), { server: local, direct: local })
  t.match(database({ RUN_MODE: 'saas', DATABASE_HOST: 'db', POSTGRES_PASSWORD: 'x' })?.server, { password: 'x' })
  t.match(database({ SUBGATE_DATABASE_URL: 'postgres://[::1]/a', SUBGATE_DATABASE_PASSWORD: 'x' })?.server, {
    ...{ host: '::1', password: 'x', dbname: 'a', sslMode: 'prefer' },
  })
  t.match(database({ SUBGATE_DATABASE_URL: 'postgres:///a?host=/run' })?.server, { host: '/run', dbname: 'a' })
})

t.test('what is wrong with the URL of a database is told without it', async (t) => {
  const home = t.testdir()
  const complaint = (url: string) => problems(home, { env: { SUBGATE_DATABASE_URL: url } }).join()
  const told = 'SUBGATE_DATABASE_URL: database.url: the value: '
  const wrong: [string, RegExp][] = [
    ['mysql://u:hidden@h/d', /must be a URL such as/],
    ['postgres://u:hid/den@h/d', /must be a URL such as .* %40/],
    ['postgres://u:1#hidden@h/d', /must be a URL such as/],
    ['postgres://u:hidden%@h/d', /%25/],
    ['postgres://u:hidden@a,b/d', /must name one host/],
    ['postgres://u:hidden@/d', /must name one host|must be a URL/],
    ['postgres://u:hidden@h/d?sslmode=sometimes', /sslmode must be one of disable/],
    ['postgres://u:hidden@h/d?schema=hid', /parameter schema is unknown/],
  ]
  for (const [url, words] of wrong) {
    t.ok(complaint(url).startsWith(told), url)
    t.match(complaint(url), words)
    t.notMatch(complaint(url), /hid/)
  }
  t.same(problems(home, { env: { SUBGATE_DATABASE_URL: 'postgres://h/d', SUBGATE_DATABASE_HOST: 'h' } }), [
    'database.url and database.host are both set: only one may be',
  ])
})

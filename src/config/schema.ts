import { BlockList, isIP } from 'node:net'
import { z } from 'zod'
import { PROVIDERS } from '../domain/account.ts'
import type { ErrorRule } from '../domain/errors.ts'
import { checkedTimeZone } from '../domain/limit.ts'
import { parseMultiplier, parseUsd } from '../domain/money.ts'
import { parseDuration } from '../lib/duration.ts'
import { parseSize } from '../lib/size.ts'
import { parsePostgresUrl, SSL_MODES } from './postgres-server.ts'

/** What `config keys`, the example file and error messages say about a key. */
interface KeyFacts {
  help: string
  /** How the type is called in tables. */
  type: string
  /** The default as an operator would write it; null = none (the help says what happens then). */
  default: unknown
  /** The unprefixed environment names of the Sub2API documentation, if it has any; the first that is set counts. */
  legacyEnv?: readonly string[]
  /** Masked wherever it is shown; its environment name with `_FILE` behind it names a file that holds it. */
  secret?: true
  /** A path: in a file relative to that file's folder, else to the working directory. */
  isPath?: true
  /** A running daemon takes a new value on SIGHUP. */
  reloads?: true
}

const facts = z.registry<KeyFacts>()

/** One key: a zod type that also reads the text of an environment variable, with its facts. */
function key<T extends z.ZodType>(type: T, about: KeyFacts): z.ZodOptional<T> {
  const optional = type.optional()
  facts.add(optional, about)
  return optional
}

type Extra = Pick<KeyFacts, 'legacyEnv' | 'secret' | 'reloads'>

const someText = z.string('must be a text').min(1, 'must not be empty')

const text = (help: string, fallback: string | null, extra: Extra = {}) =>
  key(someText, { help, type: 'text', default: fallback, ...extra })

const path = (help: string) => key(someText, { help, type: 'path', default: null, isPath: true })

const oneOf = <const Values extends readonly [string, ...string[]]>(
  values: Values,
  help: string,
  fallback: string | null,
  extra: Extra = {},
) =>
  key(z.enum(values, `must be one of ${values.join(', ')}`), {
    help,
    type: values.join(' | '),
    default: fallback,
    ...extra,
  })

const yesNo = (help: string, fallback: boolean, extra: Extra = {}) =>
  key(
    z.preprocess(
      (value) => (typeof value === 'string' ? (YES_NO[value.toLowerCase()] ?? value) : value),
      z.boolean('must be true or false'),
    ),
    { help, type: 'true | false', default: fallback, ...extra },
  )
const YES_NO: Record<string, boolean> = { true: true, '1': true, yes: true, false: false, '0': false, no: false }

const whole = (min: number, max: number, help: string, fallback: number, extra: Extra = {}) => {
  const complaint = `must be a whole number from ${min} to ${max}`
  const number = z.number(complaint).int(complaint).min(min, complaint).max(max, complaint)
  return key(
    z.preprocess((value) => (typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value), number),
    { help, type: `${min}–${max}`, default: fallback, ...extra },
  )
}

/** Milliseconds in the program, `10s` or `5m` in the file. */
const duration = (help: string, fallback: string, extra: Extra = {}) =>
  key(
    converted((value) => parseDuration(value), 'must be a duration such as 250ms, 10s, 5m or 1h'),
    { help, type: 'duration', default: fallback, ...extra },
  )

/** Bytes in the program, `32MiB` or a plain number in the file. */
const size = (help: string, fallback: string, extra: Extra = {}) =>
  key(
    converted((value) => parseSize(value), 'must be a size such as 64KiB or 32MiB'),
    { help, type: 'size', default: fallback, ...extra },
  )

/** A YAML list, or commas in an environment variable. */
const list = (item: z.ZodType<string>, type: string, help: string, fallback: string[], extra: Extra = {}) =>
  key(
    z.preprocess(
      (value) =>
        typeof value === 'string'
          ? value
              .split(',')
              .map((part) => part.trim())
              .filter(Boolean)
          : value,
      z.array(item, 'must be a list'),
    ),
    { help, type: `list of ${type}`, default: fallback, ...extra },
  )

/** Text or a number in the file, something else in the program; `read` returns null or throws for what it cannot read. */
function converted<T>(read: (value: string) => T | null, complaint: string) {
  return z.union([z.string(), z.number()]).transform((value, context) => {
    try {
      const result = read(String(value))
      if (result !== null) return result
    } catch {}
    context.addIssue({ code: 'custom', message: complaint })
    return z.NEVER
  })
}

/** A name or an address as it stands in a URL; brackets are the URL's. */
const listenHost = z
  .string('must be a text')
  .refine(
    (host) =>
      (isIP(host) !== 0 || /^[a-z0-9.-]+$/i.test(host)) &&
      URL.canParse(`http://${host.includes(':') ? `[${host}]` : host}`),
    'must be an address or a host name, without port and brackets, such as 127.0.0.1, :: or localhost',
  )

/** Where a PostgreSQL is. */
const postgresUrl = z.string('must be a text').transform((text, context) => {
  try {
    return parsePostgresUrl(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message })
    return z.NEVER
  }
})

const hostName = z
  .string()
  .refine(
    (host) => isIP(host.replace(/^\[|\]$/g, '')) !== 0 || /^(?:\*\.)?(?:[a-z0-9-]+\.)*[a-z0-9-]+$/i.test(host),
    'must be a host name without a port, such as api.example.com or *.example.com',
  )

/** True if `text` is a CIDR or a single address. */
export function isCidr(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || more.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
}

/** A set of networks; `check(address, 'ipv4' | 'ipv6')` answers membership (IPv4-mapped IPv6 addresses count as IPv4). */
export function networks(cidrs: readonly string[]): BlockList {
  const set = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', bits] = cidr.split('/')
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
    if (bits === undefined) set.addAddress(address, family)
    else set.addSubnet(address, Number(bits), family)
  }
  return set
}

const cidr = z.string().refine(isCidr, 'must be an address or a CIDR, such as 10.0.0.0/8')

const reloads = { reloads: true } as const

/** One value, or a list of them. */
const oneOrMany = <T extends z.ZodType>(item: T) =>
  z.preprocess((value) => (value === undefined || Array.isArray(value) ? value : [value]), z.array(item).optional())

const errorStatus = z.number().int().min(400).max(599)

/** What an upstream's error has to be like, and what clients hear instead of it. */
const errorRule = z
  .strictObject({
    when: z.strictObject({
      provider: z.enum(PROVIDERS).optional(),
      status: oneOrMany(z.number().int().min(100).max(599)),
      keywords: oneOrMany(z.string().min(1)),
    }),
    answer: z.strictObject({ status: errorStatus.optional(), message: z.string().min(1).optional() }),
  })
  .refine(({ when }) => Object.values(when).some((value) => value !== undefined), {
    message: 'when must name a provider, a status or keywords',
  })
  .refine(({ answer }) => answer.status !== undefined || answer.message !== undefined, {
    message: 'answer must give a status or a message',
  })
  .transform(
    ({ when, answer }): ErrorRule => ({
      provider: when.provider ?? null,
      statuses: when.status ?? [],
      keywords: when.keywords ?? [],
      answer: { status: answer.status ?? null, message: answer.message ?? null },
    }),
  )

/** A YAML list, or JSON in an environment variable. */
const errorRules = z.preprocess(
  (value) => {
    try {
      return typeof value === 'string' ? JSON.parse(value) : value
    } catch {
      return value
    }
  },
  z.array(errorRule, 'must be a list of rules'),
)

/** The whole configuration file: every key with type, default and help. Nothing else defines a key. */
export const schema = z.strictObject({
  run_mode: key(
    z.preprocess(
      (value) => (value === 'standard' ? 'saas' : value),
      z.enum(['simple', 'saas'], 'must be simple or saas'),
    ),
    {
      help: 'simple: one person or a team that trusts each other; nobody is charged. saas: balances are debited and refused at zero. Default: saas with a PostgreSQL database, else simple.',
      type: 'simple | saas',
      default: null,
      legacyEnv: ['RUN_MODE'],
    },
  ),
  simple_mode_confirm: yesNo('Confirms that simple mode, which bills nobody, may listen beyond this machine.', false, {
    legacyEnv: ['SIMPLE_MODE_CONFIRM'],
  }),
  data_dir: path('Where the database, the master key and the admin socket live. Default: $XDG_DATA_HOME/subgate.'),
  master_key_file: path('The key that seals upstream credentials (0600). Default: master.key in the data directory.'),
  master_key: text(
    'The master key itself (32 bytes in base64), instead of a file; best given by the environment.',
    null,
    {
      secret: true,
    },
  ),
  unknown_price: oneOf(
    ['record', 'refuse'],
    'What happens to a call whose model has no price: pass it and record cost 0, flagged; or refuse it. Default: record in simple mode, refuse in saas mode.',
    null,
    reloads,
  ),
  unmetered: oneOf(
    ['record', 'refuse'],
    'What happens to a call of which nobody can tell what it costs, since its answer does not say (images, speech, some transcripts and embeddings; batches, caches and videos): pass it and record cost 0, flagged; or refuse it. Default: record in simple mode, refuse in saas mode.',
    null,
    reloads,
  ),
  error_rules: key(errorRules, {
    help: 'What clients hear instead of an upstream\'s error; the first rule that fits counts. Each as {when: {provider: anthropic, status: 400, keywords: [one, or another]}, answer: {status: 503, message: "In your own words."}}: of when and of answer at least one, lists or single values. In an environment variable as JSON.',
    type: 'list of rules',
    default: [],
    ...reloads,
  }),
  server: z
    .strictObject({
      host: key(listenHost, {
        help: 'The address to listen on. Default: 127.0.0.1 in simple mode, 0.0.0.0 in saas mode.',
        type: 'text',
        default: null,
        legacyEnv: ['SERVER_HOST'],
      }),
      port: whole(0, 65535, 'The port to listen on; 0 picks a free one.', 8080, { legacyEnv: ['SERVER_PORT'] }),
      mode: oneOf(['release', 'debug'], 'debug logs more; secrets stay redacted.', 'release', {
        legacyEnv: ['SERVER_MODE'],
      }),
      public_url: key(z.url({ protocol: /^https?$/ }), {
        help: 'How clients reach this gateway, for the addresses in its answers. Default: as the request says, and https where a trusted proxy says so.',
        type: 'web address',
        default: null,
        ...reloads,
      }),
      trusted_proxies: list(cidr, 'CIDRs', 'Reverse proxies whose X-Forwarded-For is believed.', [], reloads),
      max_request_body_size: size('Larger request bodies are refused with 413.', '32MiB', reloads),
      max_connections: whole(1, 1_000_000, 'More client connections than this are closed at once.', 20_000),
    })
    .optional(),
  database: z
    .strictObject({
      url: key(postgresUrl, {
        help: 'The PostgreSQL database, as postgres://user:password@host:5432/subgate?sslmode=verify-full; it may also be one behind PgBouncer. What it leaves out is taken from the keys below. Without it and without a host, data is kept in a SQLite file in the data directory.',
        type: 'URL',
        default: null,
        legacyEnv: ['DATABASE_URL'],
        secret: true,
      }),
      host: text(
        "PostgreSQL's host, or the folder of its unix socket, in place of a URL. Default: none, data is kept in a SQLite file in the data directory.",
        null,
        { legacyEnv: ['DATABASE_HOST'] },
      ),
      port: whole(1, 65535, 'The port of that host.', 5432, { legacyEnv: ['DATABASE_PORT'] }),
      user: text('Whom to log in as.', 'subgate', { legacyEnv: ['DATABASE_USER'] }),
      password: key(z.string('must be a text'), {
        help: 'The password of that user.',
        type: 'text',
        default: null,
        legacyEnv: ['DATABASE_PASSWORD', 'POSTGRES_PASSWORD'],
        secret: true,
      }),
      dbname: text('The name of the database.', 'subgate', { legacyEnv: ['DATABASE_DBNAME'] }),
      sslmode: oneOf(
        SSL_MODES,
        'TLS, in the words of libpq: prefer encrypts where the server can, require always, verify-ca also checks its certificate, verify-full also its name.',
        'prefer',
        { legacyEnv: ['DATABASE_SSLMODE'] },
      ),
      sslrootcert: path('Certificates (PEM) to check the server by. Default: those that Node comes with.'),
      direct_url: key(postgresUrl, {
        help: 'The same database without the pooler, where the URL above is that of PgBouncer in transaction mode: for migrations, and to hear of changes at once. What it leaves out is as above.',
        type: 'URL',
        default: null,
        secret: true,
      }),
      pool_size: whole(2, 1000, 'Connections of a gateway process at most, and one to hear of changes.', 10),
      connect_timeout: duration('Getting a connection: a new one, or one of the pool.', '5s'),
      statement_timeout: duration('What a statement may take, for recording and for calls.', '10s'),
      lock_timeout: duration("What a write may wait for another one's lock.", '4s'),
    })
    .optional(),
  default: z
    .strictObject({
      user_concurrency: whole(0, 1_000_000, 'Calls at a time of a new user.', 5),
      user_balance: key(
        converted((value) => parseUsd(value), 'must be an amount in USD, such as 5 or 0.50'),
        { help: 'Balance of a new user, in USD.', type: 'USD', default: '0' },
      ),
      api_key_prefix: key(z.string().regex(/^[A-Za-z0-9_-]{0,32}$/, 'may hold letters, digits, - and _'), {
        help: 'What issued API keys begin with.',
        type: 'text',
        default: 'sk-',
      }),
      rate_multiplier: key(
        converted((value) => parseMultiplier(value), 'must be a number of 0 or more, such as 1.0'),
        { help: 'Price multiplier of groups that set none.', type: 'number', default: '1.0', ...reloads },
      ),
      time_zone: key(
        converted((value) => checkedTimeZone(value), 'must be a time zone, such as UTC or Europe/Berlin'),
        {
          help: 'Time zone of new limits by day, week or month that name none.',
          type: 'time zone',
          default: 'UTC',
        },
      ),
    })
    .optional(),
  cors: z
    .strictObject({
      allowed_origins: list(z.string(), 'origins', 'Origins whose pages may call the gateway; * for all.', [], reloads),
    })
    .optional(),
  security: z
    .strictObject({
      url_allowlist: z
        .strictObject({
          enabled: yesNo('Upstream URLs must be on upstream_hosts.', true, {
            legacyEnv: ['SECURITY_URL_ALLOWLIST_ENABLED'],
            ...reloads,
          }),
          upstream_hosts: list(
            hostName,
            'host names',
            'Hosts that accounts may call; *.example.com covers subdomains.',
            [
              'api.anthropic.com',
              'api.openai.com',
              'chatgpt.com',
              'generativelanguage.googleapis.com',
              'cloudcode-pa.googleapis.com',
              'daily-cloudcode-pa.googleapis.com',
            ],
            reloads,
          ),
          allow_insecure_http: yesNo('Accounts may use http: URLs.', false, {
            legacyEnv: ['SECURITY_URL_ALLOWLIST_ALLOW_INSECURE_HTTP'],
            ...reloads,
          }),
          allow_private_hosts: yesNo(
            'Accounts may call loopback, private, link-local, CGNAT and metadata addresses.',
            false,
            { legacyEnv: ['SECURITY_URL_ALLOWLIST_ALLOW_PRIVATE_HOSTS'], ...reloads },
          ),
        })
        .optional(),
      response_headers: z
        .strictObject({
          enabled: yesNo('Apply the two lists below to answers.', false, reloads),
          additional_allowed: list(
            z.string(),
            'header names',
            'Upstream headers to pass on beside the usual ones.',
            [],
            reloads,
          ),
          force_remove: list(z.string(), 'header names', 'Upstream headers never to pass on.', [], reloads),
        })
        .optional(),
    })
    .optional(),
  billing: z
    .strictObject({
      circuit_breaker: z
        .strictObject({
          enabled: yesNo('In saas mode, stop taking calls while charges cannot be stored.', true, reloads),
          failure_threshold: whole(1, 1000, 'Store failures in a row that open it.', 5, reloads),
          reset_timeout_seconds: whole(1, 3600, 'How long it stays open before it lets probes through.', 30, reloads),
          half_open_requests: whole(1, 1000, 'Probes at a time while it is half open.', 3, reloads),
        })
        .optional(),
    })
    .optional(),
  gateway: z
    .strictObject({
      wait: duration('How long a call may wait in line for a slot, in all.', '30s', reloads),
      line_extra: whole(0, 100_000, 'Calls that may wait in one line beyond its limit of slots.', 20, reloads),
      buffered_bytes_max: size(
        "Request bodies held in memory at a time, over all calls; one user's may be half of it.",
        '256MiB',
        reloads,
      ),
      sticky_wait: duration(
        "How long a session's call waits for its own account that is busy, or rests.",
        '20s',
        reloads,
      ),
      sticky_line: whole(0, 100_000, "Calls in line for one session's account.", 3, reloads),
      binding_ttl: duration('How long a session stays bound to its account after its last call.', '1h', reloads),
      max_attempts: whole(1, 32, 'Attempts of one call: at different accounts, and again at the same one.', 4, reloads),
      failover_budget: duration('Time for all attempts of one call before one answers.', '180s', reloads),
      connect_timeout: duration('Connecting to an upstream.', '10s', reloads),
      first_event_timeout: duration("Waiting for a stream's head and first event.", '60s', reloads),
      idle_timeout: duration('Silence inside a stream.', '180s', reloads),
      answer_timeout: duration('Waiting for a non-stream answer, in all.', '600s', reloads),
      total_timeout: duration('The longest that any call may take.', '60m', reloads),
      client_stall_timeout: duration('A client that does not read its answer.', '60s', reloads),
      preamble_hold: duration(
        "How long a stream's preamble is held back so that an early error can still fail over.",
        '1s',
        reloads,
      ),
      keep_alive_first: duration('Silence before a waiting stream gets its head and a keep-alive.', '45s', reloads),
      keep_alive_interval: duration('Silence inside a stream before a keep-alive.', '15s', reloads),
      read_on: duration('With when_client_leaves read_on: how long to read on.', '60s', reloads),
      charge_wait: duration(
        "How long an answer's end waits for its charge to be stored before the charge is spilled to a file.",
        '5s',
      ),
      shutdown_grace: duration('How long running calls may go on after SIGTERM.', '120s', reloads),
      reserve_output_max: whole(
        0,
        100_000_000,
        'Output tokens that a running call counts for in limits at most, until it ends and the truth is known.',
        16_384,
        reloads,
      ),
      count_tokens_per_minute: whole(1, 1_000_000, 'count_tokens calls of one key per minute.', 3000, reloads),
    })
    .optional(),
  redis: z
    .strictObject({
      url: key(
        z
          .string('must be a text')
          .regex(
            /^rediss?(?:\+sentinel)?:\/\/\S+$/,
            'must be redis://…, rediss://… (TLS) or redis+sentinel://HOST:26379,HOST:26379/MASTER/0',
          ),
        {
          help: 'The Redis in which gateway processes share slots, lines, limits and balances: redis://[USER:PASSWORD@]HOST:6379/0, rediss://… for TLS, or redis+sentinel://HOST:26379,HOST:26379/MASTER/0. Default: none, and the one process keeps them in memory.',
          type: 'Redis URL',
          default: null,
          legacyEnv: ['REDIS_URL'],
          secret: true,
        },
      ),
      host: text('The same in parts, where there is no redis.url. Default: none.', null, { legacyEnv: ['REDIS_HOST'] }),
      port: whole(1, 65535, 'With redis.host.', 6379, { legacyEnv: ['REDIS_PORT'] }),
      password: key(z.string('must be a text'), {
        help: 'With redis.host.',
        type: 'text',
        default: null,
        legacyEnv: ['REDIS_PASSWORD'],
        secret: true,
      }),
      db: whole(0, 9999, 'With redis.host: the number of the database.', 0, { legacyEnv: ['REDIS_DB'] }),
      enable_tls: yesNo('With redis.host: connect by TLS.', false, { legacyEnv: ['REDIS_ENABLE_TLS'] }),
    })
    .optional(),
  log: z
    .strictObject({
      level: oneOf(
        ['trace', 'debug', 'info', 'warn', 'error'],
        'The least severe level that is logged. Default: info, or debug with server.mode: debug.',
        null,
        reloads,
      ),
      format: key(
        z.preprocess(
          (value) => (value === 'console' ? 'text' : value),
          z.enum(['text', 'json'], 'must be text or json'),
        ),
        {
          help: 'text for people, json for machines. Default: text on a terminal, else json.',
          type: 'text | json',
          default: null,
        },
      ),
    })
    .optional(),
  admin: z
    .strictObject({
      socket: path('Unix socket through which commands ask the daemon. Default: admin.sock in the data directory.'),
    })
    .optional(),
})

export type RawConfig = z.infer<typeof schema>

/** One row of `config keys`. */
export interface ConfigKey extends KeyFacts {
  /** `gateway.line_extra` */
  path: string
  /** `SUBGATE_GATEWAY_LINE_EXTRA` */
  env: string
  type: string
  schema: z.ZodType
}

/** Every key, in the order of the schema. */
export function configKeys(): ConfigKey[] {
  return leavesOf(schema, '')
}

function leavesOf(object: z.ZodObject, prefix: string): ConfigKey[] {
  return Object.entries(object.shape).flatMap(([name, child]) => {
    const path = prefix + name
    const about = facts.get(child)
    if (about) return [{ path, env: `SUBGATE_${path.toUpperCase().replaceAll('.', '_')}`, schema: child, ...about }]
    return leavesOf((child as z.ZodOptional<z.ZodObject>).unwrap(), `${path}.`)
  })
}

import { Redis, type RedisOptions } from 'ioredis'
import { GatewayError } from '../domain/errors.ts'
import { functionOf, LIBRARY, type StepName } from './redis-library.ts'

/** All keys lie under one hash tag, and the run of Redis that they belong to. */
const TAG = '{subgate}'
/** An answer that takes longer is none. */
const COMMAND_TIMEOUT_MS = 5000
const CONNECT_TIMEOUT_MS = 5000
/** Between two tries to connect again: doubling from the one to the other, with jitter. */
const RECONNECT_MIN_MS = 50
const RECONNECT_MAX_MS = 2000
/** The oldest Redis that has functions. */
const VERSION_MIN = 7
/** Keys of runs that are over are cleared away so many at a time. */
const CLEARED_AT_ONCE = 500

/** Where Redis is. */
export interface RedisSettings {
  /** `redis://` or `rediss://`; `redis+sentinel://host:26379,host:26379/master/0` by sentinels, with `rediss+sentinel` by TLS. */
  url: string
}

/** What a Redis says of itself. */
export interface RedisFacts {
  version: string
  /** Another one after each start, and at each replica. */
  runId: string
  isCluster: boolean
  maxmemoryPolicy: string
}

/** How answers come to be is not ours to choose. */
type ConnectOptions = Omit<RedisOptions, 'replyMapping'>

/** Hears what others told this process: pairs of call id and outcome, as steps give them. */
type Listener = (outcomes: unknown) => void

/**
 * Two connections to one Redis: one to take steps, one to hear what others' steps tell. Nothing waits for a connection
 * that is lost: what is asked meanwhile fails at once with `unavailable`.
 */
export class RedisConnection implements AsyncDisposable {
  readonly #commands: Redis
  readonly #messages: Redis
  readonly #listeners = new Map<string, Listener>()
  readonly #reconnected = new Set<() => void>()
  /** Null while there is no connection. */
  #prefix: string | null = null
  #isClosed = false

  private constructor(settings: RedisSettings) {
    this.#commands = newClient(settings, COMMAND_TIMEOUT_MS)
    this.#messages = newClient(settings, undefined)
  }

  /** Throws `unavailable` with the remedy if there is no Redis, or none that will do. */
  static async open(settings: RedisSettings): Promise<RedisConnection> {
    const connection = new RedisConnection(settings)
    try {
      // One after the other: whoever is let go of amid a TLS handshake may throw where nobody listens.
      await connect(connection.#commands)
      await connect(connection.#messages)
      await connection.#greet()
    } catch (error) {
      await connection[Symbol.asyncDispose]()
      throw unavailable(error)
    }
    connection.#keepGoing()
    return connection
  }

  /**
   * Has Redis take a step for a process, and returns what it replies. `space` keeps several live states of one Redis
   * apart; a time stands in for Redis's own. Throws `unavailable`; the step may have been taken all the same.
   */
  async take(step: StepName, space: string, nowMs: number | null, processId: string, body: string): Promise<unknown> {
    if (this.#prefix === null) throw unavailable(new Error('the connection is lost'))
    const args = [1, this.#prefix + space, nowMs === null ? '' : String(nowMs), processId, body] as const
    const name = functionOf(step)
    try {
      const reply = this.#commands.fcall(name, ...args).catch(async (error: Error) => {
        if (!error.message.includes('Function not found')) throw error
        await this.#load() // somebody has flushed them
        return this.#commands.fcall(name, ...args)
      })
      return JSON.parse((await reply) as string)
    } catch (error) {
      throw unavailable(error)
    }
  }

  /** From now on hears what is told to a process; resolves when that is sure. Throws `unavailable`. */
  async listen(space: string, processId: string, listener: Listener): Promise<void> {
    const name = `${space}to:${processId}`
    this.#listeners.set(name, listener)
    await this.#messages.subscribe(this.#prefix + name).catch((error) => {
      throw unavailable(error)
    })
  }

  async stopListening(space: string, processId: string): Promise<void> {
    const name = `${space}to:${processId}`
    this.#listeners.delete(name)
    await this.#messages.unsubscribe(this.#prefix + name).catch(() => {})
  }

  /** Calls back when a connection that was lost is there again, be it to the same Redis or to one that knows nothing. Returns how to stop that. */
  onReconnect(listener: () => void): () => void {
    this.#reconnected.add(listener)
    return () => this.#reconnected.delete(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#prefix = null
    this.#commands.disconnect()
    this.#messages.disconnect()
  }

  #keepGoing(): void {
    this.#commands.on('close', () => {
      this.#prefix = null
    })
    this.#commands.on('ready', () => void this.#comeBack())
    this.#messages.on('ready', () => void this.#comeBack())
    this.#messages.on('message', (channel: string, message: string) => {
      const prefix = this.#prefix
      if (prefix !== null && channel.startsWith(prefix))
        this.#listeners.get(channel.slice(prefix.length))?.(JSON.parse(message))
    })
  }

  async #comeBack(): Promise<void> {
    try {
      if (this.#commands.status === 'ready') await this.#greet()
      for (const listener of this.#reconnected) listener()
    } catch {
      // It is lost again, or will not do, now or for good. Whoever asks is told so, and it is tried again.
      this.#prefix = null
      setTimeout(() => {
        if (!this.#isClosed) this.#commands.disconnect(true)
      }, RECONNECT_MAX_MS).unref()
    }
  }

  /** Finds out which Redis this is, and gives it our functions. What another run of it held is out of date, as is what its replica has. */
  async #greet(): Promise<void> {
    const { runId } = fitting(factsIn(await this.#commands.info()))
    await this.#load()
    const prefix = `${TAG}:${runId.slice(0, 10)}:`
    const channels = Array.from(this.#listeners.keys(), (name) => prefix + name)
    if (channels.length > 0 && this.#messages.status === 'ready') await this.#messages.subscribe(...channels)
    this.#prefix = prefix
    void this.#clearOldRuns(prefix).catch(() => {}) // the next one does it
  }

  async #load(): Promise<void> {
    await this.#commands.function('LOAD', 'REPLACE', LIBRARY)
  }

  async #clearOldRuns(prefix: string): Promise<void> {
    let cursor = '0'
    do {
      const [next, keys] = await this.#commands.scan(cursor, 'MATCH', `${TAG}:*`, 'COUNT', CLEARED_AT_ONCE)
      const old = keys.filter((key) => !key.startsWith(prefix))
      if (old.length > 0) await this.#commands.unlink(...old)
      cursor = next
    } while (cursor !== '0')
  }
}

/** Asks a Redis once what it is. Throws `unavailable` with the remedy. */
export async function askRedis(settings: RedisSettings): Promise<RedisFacts> {
  const client = newClient(settings, COMMAND_TIMEOUT_MS)
  try {
    await connect(client)
    return fitting(factsIn(await client.info()))
  } catch (error) {
    throw unavailable(error)
  } finally {
    client.disconnect()
  }
}

function newClient({ url }: RedisSettings, commandTimeout: number | undefined): Redis {
  const options: ConnectOptions = {
    ...optionsOf(url),
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    ...(commandTimeout !== undefined && { commandTimeout }),
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    reconnectOnError: ({ message }) => message.startsWith('READONLY'), // it was a master, and is a replica now
    retryStrategy: (times: number) => {
      const longest = Math.min(RECONNECT_MIN_MS * 2 ** Math.min(times - 1, 10), RECONNECT_MAX_MS)
      return Math.ceil(longest * (0.5 + Math.random() / 2))
    },
  }
  const client = new Redis(options)
  client.on('error', () => {}) // whoever asks is told
  return client
}

/** The first connection is tried once: whoever starts wants to know at once. */
async function connect(client: Redis): Promise<void> {
  let failure: unknown
  const note = (error: unknown) => {
    failure = error
  }
  client.on('error', note)
  try {
    await client.connect()
  } catch (error) {
    client.disconnect()
    throw failure ?? error
  } finally {
    client.off('error', note)
  }
}

/** What ioredis wants to know of a URL. Throws `invalid_request` if it is none of Redis. */
export function optionsOf(url: string): ConnectOptions {
  const match = /^(rediss?)(\+sentinel)?:\/\/(?:([^@/]*)@)?([^/]*)((?:\/.*)?)$/.exec(url)
  if (!match) throw new GatewayError('invalid_request', 'redis.url is no address of a Redis', { hint: URL_FORMS })
  const [, scheme, sentinel, userInfo = '', hosts = '', path = ''] = match
  const [username = '', password] = userInfo.split(':').map(decodeURIComponent)
  const [first = '', second = ''] = path.slice(1).split('/')
  const database = sentinel ? second : first
  const common: ConnectOptions = {
    ...(username !== '' && { username }),
    ...(password !== undefined && { password }),
    ...(scheme === 'rediss' && { tls: {} }),
    db: /^\d+$/.test(database) ? Number(database) : 0,
  }
  if (database !== '' && !/^\d+$/.test(database))
    throw new GatewayError('invalid_request', `'${database}' is no number of a Redis database`, { hint: URL_FORMS })
  if (!sentinel) {
    const { host, port } = hostOf(hosts, 6379)
    return { ...common, host, port }
  }
  if (first === '')
    throw new GatewayError('invalid_request', 'redis.url names no master for the sentinels', { hint: URL_FORMS })
  return {
    ...common,
    name: first,
    sentinels: hosts.split(',').map((one) => hostOf(one, 26379)),
    ...(scheme === 'rediss' && { enableTLSForSentinelMode: true, sentinelTLS: {} }),
    ...(password !== undefined && { sentinelPassword: password }),
  }
}

const URL_FORMS =
  'Forms: redis://[user:password@]host:6379/0, rediss:// for TLS, redis+sentinel://[user:password@]host:26379,host:26379/master/0.'

function hostOf(text: string, fallback: number): { host: string; port: number } {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(text)
  if (!match) throw new GatewayError('invalid_request', `'${text}' is no host of a Redis`, { hint: URL_FORMS })
  return {
    host: (match[1] as string).replace(/^\[|\]$/g, ''),
    port: match[2] === undefined ? fallback : Number(match[2]),
  }
}

function factsIn(info: string): RedisFacts {
  const fieldOf = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
  return {
    version: fieldOf('redis_version'),
    runId: fieldOf('run_id'),
    isCluster: fieldOf('cluster_enabled') === '1',
    maxmemoryPolicy: fieldOf('maxmemory_policy'),
  }
}

/** Throws `unavailable` with the remedy for a Redis that will not do. */
function fitting(facts: RedisFacts): RedisFacts {
  const { version, isCluster } = facts
  if (isCluster) {
    throw wrong(
      'Redis Cluster cannot be used: all of live state lies on one shard',
      'Give redis.url a Redis without cluster mode; one for high availability is reached by Sentinel.',
    )
  }
  if (Number.parseInt(version, 10) < VERSION_MIN) {
    throw wrong(`Redis ${version} is too old`, `Use Redis ${VERSION_MIN} or newer.`)
  }
  return facts
}

function wrong(message: string, hint: string): GatewayError {
  return new GatewayError('unavailable', message, { hint })
}

/** What kept Redis from answering, as whoever asked is told. A function that failed is a bug, and stays what it is. */
function unavailable(error: unknown): unknown {
  if (error instanceof GatewayError) return error
  const { message } = error as Error
  if (/user_function|script: subgate_/.test(message) && !/^(OOM|READONLY|MASTERDOWN)/.test(message)) {
    return new Error(`bug: a function failed: ${message}`)
  }
  return new GatewayError('unavailable', `Redis does not answer: ${message}`, {
    retryAfterMs: 1000,
    hint: /NOAUTH|WRONGPASS/.test(message)
      ? 'Check the password in redis.url or redis.password.'
      : 'Check redis.url, and that Redis runs: redis-cli -u URL ping',
  })
}

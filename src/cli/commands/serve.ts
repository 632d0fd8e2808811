import { setTimeout as sleep } from 'node:timers/promises'
import { InvalidArgumentError } from 'commander'
import { type Config, userConfigFile } from '../../config/load.ts'
import { GatewayError, isGatewayError } from '../../domain/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { databaseName, hasDatabase } from '../../store/place.ts'
import type { Context } from '../context.ts'
import { type Daemon, startDaemon } from '../daemon.ts'
import { createLogger } from '../logger.ts'
import { flag } from '../options.ts'
import type { Fill } from '../program.ts'
import { sayReady, superviseWorkers, WORKER_VARIABLE } from '../workers.ts'
import { listenFlag, listenValues, setUp } from './init.ts'

export const fill: Fill = (serve, act) => {
  serve
    .option('--listen <host:port>', 'where to listen, whatever the configuration says', listenFlag)
    .option('--workers <n>', 'so many gateway processes on this machine, with PostgreSQL and Redis', workersFlag)
    .addHelpText(
      'after',
      `
Where nothing is configured yet, it sets up what 'subgate init --yes' does and starts in simple mode.
SIGTERM or Ctrl-C lets running calls end (gateway.shutdown_grace); a second one ends them at once.
SIGHUP reads the configuration again.

Example:
  subgate serve --listen 127.0.0.1:9090`,
    )
    .action(act(run))
}

const WORKERS_MAX = 64

const workersFlag = flag((text) => {
  const count = Number(text)
  if (Number.isInteger(count) && count >= 1 && count <= WORKERS_MAX) return count
  throw new InvalidArgumentError(`must be a whole number of 1 to ${WORKERS_MAX}`)
})

async function run(
  context: Context,
  flags: { listen?: { host: string; port: number }; workers?: number },
): Promise<void> {
  const { out, io } = context
  const values = listenValues(flags.listen)
  const before = context.load(values)
  const isThere = await hasDatabase(before.config)
  // Somebody has configured it: an empty database would hide that theirs is elsewhere, or its disk not mounted.
  if (before.file !== null && !isThere) {
    throw new GatewayError('unavailable', `there is no database at ${databaseName(before.config)}`, {
      hint: 'subgate init makes one; --data-dir says which one is meant.',
    })
  }
  if (!isThere) {
    const { host, port } = before.config.server
    const dataDir = context.flags.dataDir === undefined ? null : before.config.dataDir
    const first = { runMode: before.config.runMode, host, port, dataDir, databaseUrl: null }
    const { words } = await setUp(context, userConfigFile(io.env), first, 'admin@localhost')
    out.say(`Nothing was configured, so this was set up:\n${words.join('\n')}\n`)
  }
  const { config } = context.reload(values)
  const log = createLogger(config.log)
  // Whoever collects JSON lines wants nothing else among them.
  const say = config.log.format === 'json' ? (text: string) => log.info(text) : (text: string) => out.say(text)
  const isWorker = io.env[WORKER_VARIABLE] !== undefined
  const { workers = 1 } = flags
  if (workers > 1 && !isWorker) return supervise(config, log, workers, say)
  await using daemon = await startDaemon(config, log, { isWorker })
  if (isWorker) sayReady(() => process.kill(process.pid, 'SIGTERM'))
  else say(`subgate listens on ${daemon.url} (${config.runMode} mode)`)
  if (config.database && !config.redis && !isWorker)
    say('Slots, lines and limits are in the memory of this process: more than one needs Redis.')
  if (!isWorker) for (const text of await whatIsMissing(daemon)) say(text)
  const onHangUp = () => reload(context, daemon, values)
  process.on('SIGHUP', onHangUp)
  try {
    await stopSignal()
    say('Stopping: running calls may end. Once more to end them now.')
    const again = stopSignal().then(() => daemon.gateway.running.stopAll())
    await Promise.race([daemon.drain(), again.then(() => sleep(60_000, undefined, { ref: false }))])
  } finally {
    process.off('SIGHUP', onHangUp)
  }
  say('Stopped.')
}

/** Runs several gateways on one address. Throws `invalid_request` where they would not know of each other. */
async function supervise(config: Config, log: Logger, count: number, say: (text: string) => void): Promise<void> {
  requireShared(config)
  const { host, port } = config.server
  const onAllReady = () =>
    say(`subgate listens on http://${host}:${port} (${config.runMode} mode) with ${count} processes`)
  await superviseWorkers({ count, log, stopSignal, onAllReady })
  say('Stopped.')
}

function requireShared({ database, redis, server }: Config): void {
  if (!database || !redis) {
    throw new GatewayError(
      'invalid_request',
      'several processes need PostgreSQL and Redis: their slots, limits and balances are shared there',
      {
        hint: 'Set database.url and redis.url, or leave --workers out.',
      },
    )
  }
  if (server.port === 0) {
    throw new GatewayError('invalid_request', 'several processes share one port: 0 would give each another', {
      hint: 'Set server.port, or --listen HOST:PORT.',
    })
  }
}

/** Resolves at the next SIGTERM or SIGINT. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      process.off('SIGTERM', stop)
      process.off('SIGINT', stop)
      resolve()
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}

/** What has to be there before a call can succeed. */
async function whatIsMissing({ gateway }: Daemon): Promise<string[]> {
  const missing: string[] = []
  if (gateway.directory.accounts().length === 0) {
    missing.push('There are no accounts yet. In another terminal: subgate account add anthropic')
  }
  const keys = await gateway.store.keys.list({ limit: 1 })
  const [user] = await gateway.store.users.list({ limit: 1 })
  if (keys.length === 0) {
    missing.push(`There are no keys yet. In another terminal: subgate key issue ${user?.email ?? 'USER'}`)
  }
  return missing
}

function reload(context: Context, daemon: Daemon, values: Record<string, unknown>): void {
  const { log } = daemon.gateway
  try {
    const fixed = daemon.reload(context.reload(values).config)
    if (fixed.length > 0) log.warn({ keys: fixed }, 'configuration read again; these keys need a restart')
    else log.info('configuration read again')
  } catch (error) {
    if (!isGatewayError(error)) throw error
    log.error({ reason: error.message }, 'the configuration could not be read again; the old one stays in force')
  }
}

import { type Config, inRunMode } from '../config/load.ts'
import { networks } from '../config/schema.ts'
import { GatewayError } from '../domain/errors.ts'
import { BillingGuard } from '../gateway/billing-guard.ts'
import { Breakers } from '../gateway/breakers.ts'
import { Counters } from '../gateway/counters.ts'
import { Directory } from '../gateway/directory.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { ModelLists } from '../gateway/list-models.ts'
import { RunningCalls } from '../gateway/running-calls.ts'
import { VendorWindows } from '../gateway/windows.ts'
import { systemClock, systemTimer } from '../lib/clock.ts'
import { newId } from '../lib/id.ts'
import type { Logger } from '../lib/log.ts'
import { Ticker } from '../lib/ticker.ts'
import { openLiveState } from '../live/open.ts'
import { openSecrets } from '../operations/workspace.ts'
import { builtInPrices } from '../pricing/open.ts'
import { priceList } from '../pricing/price-list.ts'
import { AdminSocket, prepareAdminFolder } from '../server/admin.ts'
import { adminSocketAt, PLACES_MAX } from '../server/admin-place.ts'
import { GatewayServer } from '../server/server.ts'
import { openStore } from '../store/open.ts'
import { lockFileOf } from '../store/place.ts'
import { Presence } from '../store/presence.ts'
import { lockDataDir, lockFile } from '../store/sqlite.ts'
import type { Store } from '../store/store.ts'
import { UpstreamClient } from '../upstream/client.ts'
import { VERSION } from '../version.ts'

/** A running gateway. */
export interface Daemon extends AsyncDisposable {
  /** `http://127.0.0.1:8080` */
  url: string
  gateway: Gateway
  /** Takes over a new configuration; returns the keys whose new values need a restart. */
  reload(config: Config): string[]
  /** Takes no new calls and resolves when the running ones are over, at most the shutdown grace later. */
  drain(): Promise<void>
}

/**
 * Puts a gateway together from its configuration and starts it. Throws with the remedy if the configuration, the store,
 * the master key or the address do not allow it.
 */
export async function startDaemon(config: Config, log: Logger, { isWorker = false } = {}): Promise<Daemon> {
  requireSafeListening(config)
  await using parts = new AsyncDisposableStack()
  if (!config.database) parts.use(lockDataDir(lockFileOf(config)))
  const clock = systemClock
  const processId = newId('prs')
  const store = parts.use(await openStore(config, 'daemon', { id: processId, clock, log }))
  const secrets = await openSecrets(config, store)
  if (config.database) await parts.use(new Presence({ store, setTimer: systemTimer, log })).start()
  else await closeLastLife(store, log)

  const ticker = parts.use(new Ticker(clock))
  const builtIn = builtInPrices()
  const gateway: Gateway = {
    config,
    trustedProxies: networks(config.server.trustedProxies),
    prices: priceList(builtIn, await store.prices.list()),
    clock,
    random: Math.random,
    ticker,
    log,
    store,
    live: parts.use(await openLiveState(config, { id: processId, clock, setTimer: systemTimer })),
    upstream: parts.use(
      new UpstreamClient({
        rules: () => gateway.config.urls,
        connectTimeoutMs: () => gateway.config.gateway.connectTimeoutMs,
      }),
    ),
    directory: parts.use(new Directory({ store, ...secrets, log, clock, setTimer: systemTimer })),
    breakers: new Breakers(),
    windows: parts.use(new VendorWindows({ store, clock, setTimer: systemTimer, log })),
    guard: new BillingGuard(() => gateway.config.guard, clock),
    running: new RunningCalls(ticker),
    counters: new Counters(),
    models: new ModelLists(),
  }
  await gateway.directory.start()
  gateway.directory.onChange(async (changes) => {
    if (changes === null) void gateway.live.forget(null)
    for (const change of changes ?? []) if (change.kind === 'user') void gateway.live.forget(change.subject)
    if (changes === null || changes.some((change) => change.kind === 'price')) {
      gateway.prices = priceList(builtIn, await store.prices.list())
    }
  })

  const server = parts.use(new GatewayServer(gateway))
  const port = await server.listen(config.server.host, config.server.port, isWorker)
  const url = `http://${config.server.host.includes(':') ? `[${config.server.host}]` : config.server.host}:${port}`
  const socket = config.database ? ownAdminSocket(config.adminSocket, parts) : config.adminSocket
  const facts = { version: VERSION, processId, startedAtMs: clock(), listening: url }
  const admin = parts.use(new AdminSocket(gateway, facts, socket))
  await admin.listen()

  const running = parts.move()
  return {
    url,
    gateway,
    reload(next) {
      const fixed = keysThatNeedRestart(config, next)
      gateway.config = withFixedKeys(config, next)
      gateway.trustedProxies = networks(next.server.trustedProxies)
      gateway.upstream.reload()
      log.level = next.log.level
      return fixed
    },
    drain: () => server.drain(gateway.config.gateway.shutdownGraceMs),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** The lock of the data directory says that nobody else is alive. */
async function closeLastLife(store: Store, log: Logger): Promise<void> {
  const calls = await store.usage.closeInterrupted({ processId: null })
  if (calls.length > 0) log.warn({ calls }, 'calls were interrupted when the gateway was last killed')
}

/** The first that no other process has; its lock goes to `held`. Throws `unavailable`. */
function ownAdminSocket(path: string, held: AsyncDisposableStack): string {
  prepareAdminFolder(path)
  for (let place = 1; place <= PLACES_MAX; place++) {
    const own = adminSocketAt(path, place)
    const lock = lockFile(`${own}.lock`)
    if (!lock) continue
    held.use(lock)
    return own
  }
  throw new GatewayError('unavailable', `${PLACES_MAX} processes already have an admin socket beside ${path}`)
}

/** Simple mode bills nobody: it serves only this machine unless the operator confirms that more is meant. */
function requireSafeListening(config: Config): void {
  const { host } = config.server
  const isLoopback = host === 'localhost' || host === '::1' || host.startsWith('127.')
  if (config.runMode !== 'simple' || isLoopback || config.simpleModeConfirm) return
  throw new GatewayError(
    'forbidden',
    `simple mode gives unbilled access to whoever holds a key, and ${host} is not only this machine`,
    {
      hint: 'Set SIMPLE_MODE_CONFIRM=true if that is what you want, listen on 127.0.0.1, or use run_mode: saas.',
    },
  )
}

/** What only a restart can change: where things are, and what has been opened with its value. */
const FIXED_KEYS: [string, (config: Config) => unknown][] = [
  ['run_mode', (config) => config.runMode],
  ['data_dir', (config) => config.dataDir],
  ['database', (config) => JSON.stringify(config.database)],
  ['master_key_file', (config) => config.masterKeyFile],
  ['server.host', (config) => config.server.host],
  ['server.port', (config) => config.server.port],
  ['server.max_connections', (config) => config.server.maxConnections],
  ['gateway.charge_wait', (config) => config.gateway.chargeWaitMs],
  ['log.format', (config) => config.log.format],
  ['admin.socket', (config) => config.adminSocket],
  ['redis.url', (config) => config.redis?.url],
]

function keysThatNeedRestart(before: Config, after: Config): string[] {
  return FIXED_KEYS.filter(([, read]) => read(before) !== read(after)).map(([key]) => key)
}

function withFixedKeys(before: Config, after: Config): Config {
  const { runMode, dataDir, masterKeyFile, masterKey, database, adminSocket, redis } = before
  const { host, port, maxConnections } = before.server
  const { chargeWaitMs } = before.gateway
  return {
    ...inRunMode(after, runMode),
    ...{ dataDir, masterKeyFile, masterKey, database, adminSocket, redis },
    server: { ...after.server, host, port, maxConnections },
    gateway: { ...after.gateway, chargeWaitMs },
  }
}

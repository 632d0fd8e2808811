import type { Config } from '../config/load.ts'
import type { Clock } from '../lib/clock.ts'
import type { Logger } from '../lib/log.ts'
import type { StoreDriver } from './driver.ts'
import { kyselyStore } from './kysely-store.ts'
import { requireCurrentSchema } from './migrate.ts'
import { databaseFile, spillFileOf, type WhichDatabase } from './place.ts'
import { SpillFile } from './spill.ts'
import { ownSpillFile } from './spill-place.ts'
import { openSqlite } from './sqlite.ts'
import type { Store } from './store.ts'
import { requireWholeCopy } from './to-postgres/half-copied.ts'

type Role = 'daemon' | 'command'

/**
 * Opens the store that the configuration names. `daemon` never lets the event loop wait for the disk and has a spill file;
 * `command` does the same operations with less around them. Throws `unavailable` with the remedy if it cannot be opened or
 * is not migrated.
 */
export async function openStore(
  config: WhichDatabase & Pick<Config, 'gateway'>,
  role: Role,
  process: { id: string; clock: Clock; log: Logger },
): Promise<Store> {
  await using opened = new AsyncDisposableStack()
  const driver = opened.use(await openDriver(config, role, process.log))
  await requireCurrentSchema(driver.reader)
  if (config.database) await requireWholeCopy(driver.reader)
  const locks = opened.use(new DisposableStack())
  const store = await kyselyStore(driver, {
    clock: process.clock,
    log: process.log,
    processId: process.id,
    chargeWaitMs: config.gateway.chargeWaitMs,
    spill: role === 'daemon' ? opened.use(await openSpill(config, locks)) : null,
  })
  opened.move() // they are the store's now
  return {
    ...store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      locks.dispose()
    },
  }
}

async function openDriver(config: WhichDatabase, role: Role, log: Logger): Promise<StoreDriver> {
  if (!config.database) return openSqlite(databaseFile(config), role === 'daemon' ? 'thread' : 'here')
  const { openPostgres } = await import('./postgres.ts') // 20 ms of start-up that nobody else needs
  return openPostgres(config.database, role, { log })
}

/** On SQLite the data directory has one `serve`; on PostgreSQL each of several takes a spill file of its own. */
function openSpill({ dataDir, database }: WhichDatabase, locks: DisposableStack): Promise<SpillFile> {
  return database ? ownSpillFile(dataDir, locks) : SpillFile.open(spillFileOf({ dataDir }))
}

import { join } from 'node:path'
import type { Config } from '../config/load.ts'
import type { Clock } from '../lib/clock.ts'
import type { Logger } from '../lib/log.ts'
import { kyselyStore } from './kysely-store.ts'
import { requireCurrentSchema } from './migrate.ts'
import { SpillFile } from './spill.ts'
import { openSqlite } from './sqlite.ts'
import type { Store } from './store.ts'

/** The database file of a data directory. */
export function databaseFile(config: Pick<Config, 'dataDir'>): string {
  return join(config.dataDir, 'subgate.db')
}

/**
 * Opens the store that the configuration names. `daemon` writes through a thread and has a spill file; `command` does
 * the same operations in its own process. Throws `unavailable` with the remedy if it cannot be opened or is not migrated.
 */
export async function openStore(
  config: Pick<Config, 'dataDir' | 'gateway'>,
  role: 'daemon' | 'command',
  process: { id: string; clock: Clock; log: Logger },
): Promise<Store> {
  await using opened = new AsyncDisposableStack()
  const driver = opened.use(openSqlite(databaseFile(config), role === 'daemon' ? 'thread' : 'here'))
  await requireCurrentSchema(driver.reader)
  const store = await kyselyStore(driver, {
    clock: process.clock,
    log: process.log,
    processId: process.id,
    chargeWaitMs: config.gateway.chargeWaitMs,
    spill: role === 'daemon' ? opened.use(await SpillFile.open(join(config.dataDir, 'spill.log'))) : null,
  })
  opened.move() // they are the store's now
  return store
}

import { chmodSync, mkdirSync } from 'node:fs'
import type { Config } from '../config/load.ts'
import { migrateUp } from '../store/migrate.ts'
import { databaseFile } from '../store/open.ts'
import { connectForMigration, createSqliteFile } from '../store/sqlite.ts'
import { createMasterKey } from './master-key.ts'

/** Makes what a data directory needs and does not have yet: the folder (0700), the master key (0600), the database, its tables. */
export async function prepareDataDir(config: Config): Promise<{ masterKeyMade: boolean; migrations: string[] }> {
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
  chmodSync(config.dataDir, 0o700)
  const masterKeyMade = createMasterKey(config)
  const file = databaseFile(config)
  createSqliteFile(file)
  const database = connectForMigration(file)
  try {
    return { masterKeyMade, migrations: await migrateUp(database) }
  } finally {
    await database.destroy()
  }
}

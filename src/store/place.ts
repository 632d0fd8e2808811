import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/load.ts'
import { serverName } from '../config/postgres-server.ts'
import { GatewayError } from '../domain/errors.ts'
import { migrationStatus } from './migrate.ts'
import type { Db } from './queries/db.ts'
import { connectForMigration, createSqliteFile } from './sqlite.ts'

/** Which database a configuration means. */
export type WhichDatabase = Pick<Config, 'dataDir' | 'database'>

/** The database file of a data directory, where no PostgreSQL is configured. */
export function databaseFile(config: Pick<Config, 'dataDir'>): string {
  return join(config.dataDir, 'subgate.db')
}

/** Locked by the one `serve` that a data directory may have on SQLite: see `lockDataDir`. */
export function lockFileOf(config: Pick<Config, 'dataDir'>): string {
  return join(config.dataDir, 'lock.db')
}

/** Where its records wait meanwhile while the database cannot take them. */
export function spillFileOf(config: Pick<Config, 'dataDir'>): string {
  return join(config.dataDir, 'spill.log')
}

/** The database as operators know it: a file, or a server without its password. */
export function databaseName(config: WhichDatabase): string {
  return config.database ? serverName(config.database.server) : databaseFile(config)
}

/** Whether there is a database of ours. Throws `unavailable` if PostgreSQL does not answer. */
export async function hasDatabase(config: WhichDatabase): Promise<boolean> {
  if (!config.database) return existsSync(databaseFile(config))
  const migrations = await withDatabase(config, migrationStatus)
  return migrations.some(({ appliedAt }) => appliedAt !== null)
}

/** Runs `work` on the database, whatever its schema. Throws `unavailable` if there is none. */
export async function withDatabase<T>(config: WhichDatabase, work: (database: Db) => Promise<T>): Promise<T> {
  if (config.database) {
    const { connectPostgresForMigration } = await import('./postgres.ts')
    await using database = await connectPostgresForMigration(config.database)
    return await work(database)
  }
  const file = databaseFile(config)
  if (!existsSync(file)) {
    throw new GatewayError('unavailable', `there is no database at ${file}`, { hint: 'subgate init makes one.' })
  }
  const database = connectForMigration(file)
  try {
    return await work(database)
  } finally {
    await database.destroy()
  }
}

/** Makes an empty database file if there is none; on PostgreSQL the operator makes the database. Throws `unavailable`. */
export function createDatabase(config: WhichDatabase): void {
  if (!config.database) createSqliteFile(databaseFile(config))
}

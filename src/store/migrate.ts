import { Migrator } from 'kysely/migration'
import { migrations } from '../../migrations/index.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Db } from './queries/db.ts'

export interface MigrationStatus {
  name: string
  /** Null = pending. */
  appliedAt: Date | null
}

export async function migrationStatus(db: Db): Promise<MigrationStatus[]> {
  const infos = await migratorOf(db).getMigrations()
  return infos.map((info) => ({ name: info.name, appliedAt: info.executedAt ?? null }))
}

/** Applies what is pending, in one transaction where the database can, and returns the names. Throws what went wrong. */
export async function migrateUp(db: Db): Promise<string[]> {
  const { error, results } = await migratorOf(db).migrateToLatest()
  if (error) throw error
  return (results ?? []).map((result) => result.migrationName)
}

/** Throws `unavailable` with the remedy unless the schema is exactly the one that this program knows. */
export async function requireCurrentSchema(db: Db): Promise<void> {
  const status = await migrationStatus(db).catch((error: Error) => {
    if (/corrupted migrations/.test(error.message)) {
      throw new GatewayError('unavailable', 'the database was made by a newer subgate', {
        hint: 'Run the newer version, or restore a backup made by this one.',
      })
    }
    throw error
  })
  const pending = status.filter((migration) => migration.appliedAt === null)
  if (pending.length > 0) {
    throw new GatewayError('unavailable', `the database needs ${pending.length} migration(s) before it can be used`, {
      hint: 'subgate migrate up',
    })
  }
}

function migratorOf(db: Db): Migrator {
  return new Migrator({ db, provider: { getMigrations: async () => migrations } })
}

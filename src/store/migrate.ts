import { sql } from 'kysely'
import { DEFAULT_MIGRATION_LOCK_TABLE, DEFAULT_MIGRATION_TABLE, MIGRATION_LOCK_ID, Migrator } from 'kysely/migration'
import { migrations } from '../../migrations/index.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Db } from './queries/db.ts'

export interface MigrationStatus {
  name: string
  /** Null = pending. */
  appliedAt: Date | null
}

/** Throws `unavailable` with the remedy if the database was made by a newer program. */
export async function migrationStatus(db: Db): Promise<MigrationStatus[]> {
  const infos = await migratorOf(db).getMigrations()
  if (infos.some((info) => info.executedAt)) await requireKnownMigrations(db)
  return infos.map((info) => ({ name: info.name, appliedAt: info.executedAt ?? null }))
}

/** kysely tells of the migrations that it is given only. */
async function requireKnownMigrations(db: Db): Promise<void> {
  const { rows } = await sql<{ name: string }>`select name from ${sql.table(DEFAULT_MIGRATION_TABLE)}`.execute(db)
  if (rows.every(({ name }) => name in migrations)) return
  throw new GatewayError('unavailable', 'the database was made by a newer subgate', {
    hint: 'Run the newer version, or restore a backup made by this one.',
  })
}

/**
 * Applies what is pending, in one transaction where the database can and one process at a time, and returns the names. Throws `unavailable` if the
 * database was made by a newer program, or what went wrong.
 */
export async function migrateUp(db: Db): Promise<string[]> {
  const { adapter } = db.getExecutor()
  if (!adapter.supportsTransactionalDdl) return applyPending(db)
  return db.transaction().execute(async (trx) => {
    // Also the tables in which it is kept what was applied are made by one process at a time.
    await adapter.acquireMigrationLock(trx, { lockTable: DEFAULT_MIGRATION_LOCK_TABLE, lockRowId: MIGRATION_LOCK_ID })
    return applyPending(trx)
  })
}

async function applyPending(db: Db): Promise<string[]> {
  await migrationStatus(db)
  const { error, results } = await migratorOf(db).migrateToLatest()
  if (error) throw error
  return (results ?? []).map((result) => result.migrationName)
}

/** Throws `unavailable` with the remedy unless the schema is exactly the one that this program knows. */
export async function requireCurrentSchema(db: Db): Promise<void> {
  const pending = (await migrationStatus(db)).filter((migration) => migration.appliedAt === null)
  if (pending.length > 0) {
    throw new GatewayError('unavailable', `the database needs ${pending.length} migration(s) before it can be used`, {
      hint: 'subgate migrate up',
    })
  }
}

function migratorOf(db: Db): Migrator {
  return new Migrator({ db, provider: { getMigrations: async () => migrations } })
}

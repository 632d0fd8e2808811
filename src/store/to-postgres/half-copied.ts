import { sql } from 'kysely'
import { GatewayError } from '../../domain/errors.ts'
import type { Db } from '../queries/db.ts'

/** Holds how far a copy from SQLite has come; there until the copy is whole and proved. */
export const PROGRESS_TABLE = 'copy_from_sqlite'

/** Throws `unavailable` with the remedy for a PostgreSQL database that a copy has not finished with. */
export async function requireWholeCopy(database: Db): Promise<void> {
  const { rows } = await sql<{ is_half: boolean }>`
    select to_regclass(${PROGRESS_TABLE}) is not null as is_half`.execute(database)
  if (!rows[0]?.is_half) return
  throw new GatewayError('unavailable', 'this database holds a copy from SQLite that is not complete', {
    hint: 'subgate migrate to-postgres again goes on with it, and proves it at the end.',
  })
}

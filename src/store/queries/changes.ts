import { sql } from 'kysely'
import { newId } from '../../lib/id.ts'
import type { Actor, AuditEntry, Change } from '../store.ts'
import { type Db, fromJson, isServer, type Trx } from './db.ts'

/** Entries that the revision feed keeps; a listener that is further behind reloads everything. */
const CHANGES_KEPT = 10_000

/** Where PostgreSQL notifies of changes. */
export const CHANGES_CHANNEL = 'subgate_changes'

/** Bumps the revision, so that every running daemon sees the change. */
export async function announce(trx: Trx, change: Change): Promise<void> {
  const { revision } = await trx
    .updateTable('revision')
    .set((row) => ({ revision: row('revision', '+', 1) }))
    .where('id', '=', 1)
    .returning('revision')
    .executeTakeFirstOrThrow()
  await trx
    .insertInto('changes')
    .values({ revision, ...change })
    .execute()
  if (isServer(trx)) await sql`select pg_notify(${CHANGES_CHANNEL}, '')`.execute(trx)
  if (revision % 1000 === 0) {
    await trx
      .deleteFrom('changes')
      .where('revision', '<=', revision - CHANGES_KEPT)
      .execute()
  }
}

/** An operator's change: announced, and on record with who, what and when. `detail` must hold no secret. */
export async function announceBy(
  trx: Trx,
  atMs: number,
  act: { by: Actor; action: string; change: Change; detail: Record<string, unknown> },
): Promise<void> {
  await announce(trx, act.change)
  await audit(trx, atMs, { by: act.by, action: act.action, subject: act.change.subject, detail: act.detail })
}

export async function audit(
  trx: Trx,
  atMs: number,
  entry: { by: Actor; action: string; subject: string; detail: Record<string, unknown> },
): Promise<void> {
  await trx
    .insertInto('audit_log')
    .values({
      id: newId('aud'),
      at_ms: atMs,
      actor: entry.by,
      action: entry.action,
      subject: entry.subject,
      detail: JSON.stringify(entry.detail),
    })
    .execute()
}

/** The newest entries, oldest first. */
export async function lastAudits(db: Db, last: number): Promise<AuditEntry[]> {
  const rows = await db
    .selectFrom('audit_log')
    .selectAll()
    .orderBy('at_ms', 'desc')
    .orderBy('id', 'desc')
    .limit(last)
    .execute()
  return rows.reverse().map((row) => ({
    id: row.id,
    atMs: row.at_ms,
    actor: row.actor,
    action: row.action,
    subject: row.subject,
    detail: fromJson(row.detail),
  }))
}

export async function readRevision(db: Db): Promise<number> {
  const row = await db.selectFrom('revision').select('revision').where('id', '=', 1).executeTakeFirstOrThrow()
  return row.revision
}

/** What changed after a revision, up to a later one; null if the feed does not begin there. */
export async function changesBetween(db: Db, after: number, upTo: number): Promise<Change[] | null> {
  const rows = await db
    .selectFrom('changes')
    .selectAll()
    .where('revision', '>', after)
    .where('revision', '<=', upTo)
    .orderBy('revision')
    .execute()
  if (rows[0]?.revision !== after + 1) return null
  return rows.map((row) => ({ kind: row.kind as Change['kind'], subject: row.subject }))
}

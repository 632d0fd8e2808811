import type { Selectable } from 'kysely'
import type { AccountObject, ObjectKind } from '../../domain/account-object.ts'
import type { AccountObjectsTable } from '../schema.ts'
import type { ObjectStore } from '../store.ts'
import { type Db, inSlices, type Trx } from './db.ts'

export async function findObjects(
  db: Db,
  { ids }: Parameters<ObjectStore['find']>[0],
  nowMs: number,
): Promise<AccountObject[]> {
  const kept = await inSlices(ids, (slice) => living(db, nowMs).where('id', 'in', slice).execute())
  const stored = await inSlices(ids, (slice) =>
    db
      .selectFrom('usage')
      .select((e) => ['stored_as', 'account_id', 'user_id', e.fn.max('at_ms').as('at_ms')])
      .where('stored_as', 'in', slice)
      .groupBy(['stored_as', 'account_id', 'user_id'])
      .execute(),
  )
  const responses = stored.map((row) => ({
    ...{ kind: 'response' as const, id: row.stored_as as string, userId: row.user_id },
    ...{ accountId: row.account_id, createdAtMs: row.at_ms, expiresAtMs: null },
  }))
  return [...kept.map(toObject), ...responses].sort((a, b) => b.createdAtMs - a.createdAtMs)
}

export async function listObjects(
  db: Db,
  input: Parameters<ObjectStore['list']>[0],
  nowMs: number,
): Promise<AccountObject[]> {
  const { userId, kind, accountIds, order, after, limit } = input
  if (accountIds.length === 0) return []
  const [direction, beyond] = order === 'newest' ? (['desc', '<'] as const) : (['asc', '>'] as const)
  const rows = await living(db, nowMs)
    .where('user_id', '=', userId)
    .where('kind', '=', kind)
    .where('account_id', 'in', accountIds)
    .$if(after !== null, (query) => {
      const { createdAtMs, id } = after as AccountObject
      return query.where((e) =>
        e.or([
          e('created_at_ms', beyond, createdAtMs),
          e.and([e('created_at_ms', '=', createdAtMs), e('id', beyond, id)]),
        ]),
      )
    })
    .orderBy('created_at_ms', direction)
    .orderBy('id', direction)
    .limit(limit)
    .execute()
  return rows.map(toObject)
}

function living(db: Db, nowMs: number) {
  return db
    .selectFrom('account_objects')
    .selectAll()
    .where((e) => e.or([e('expires_at_ms', 'is', null), e('expires_at_ms', '>', nowMs)]))
}

/** Forgets by the way what of the same users has expired. */
export async function keepObjects(
  trx: Trx,
  { objects, areNew }: Parameters<ObjectStore['keep']>[0],
  atMs: number,
): Promise<void> {
  const userIds = objects.map(({ userId }) => userId)
  await trx.deleteFrom('account_objects').where('user_id', 'in', userIds).where('expires_at_ms', '<=', atMs).execute()
  await trx
    .insertInto('account_objects')
    .values(objects.map(toRow))
    .onConflict((conflict) => {
      const same = conflict.columns(['id', 'account_id'])
      if (!areNew) return same.doNothing()
      return same
        .doUpdateSet((e) => ({
          user_id: e.ref('excluded.user_id'),
          kind: e.ref('excluded.kind'),
          created_at_ms: e.ref('excluded.created_at_ms'),
          expires_at_ms: e.ref('excluded.expires_at_ms'),
        }))
        .where((e) => e('account_objects.user_id', '<>', e.ref('excluded.user_id')))
    })
    .execute()
}

export async function dropObject(trx: Trx, { accountId, id }: Parameters<ObjectStore['drop']>[0]): Promise<void> {
  await trx.deleteFrom('account_objects').where('account_id', '=', accountId).where('id', '=', id).execute()
}

function toRow({ accountId, id, kind, userId, createdAtMs, expiresAtMs }: AccountObject): AccountObjectsTable {
  return {
    ...{ account_id: accountId, id, kind, user_id: userId },
    ...{ created_at_ms: createdAtMs, expires_at_ms: expiresAtMs },
  }
}

function toObject(row: Selectable<AccountObjectsTable>): AccountObject {
  return {
    ...{ kind: row.kind as ObjectKind, id: row.id, accountId: row.account_id, userId: row.user_id },
    ...{ createdAtMs: row.created_at_ms, expiresAtMs: row.expires_at_ms },
  }
}

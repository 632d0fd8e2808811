import type { AccountObject, ObjectKind } from '../../domain/account-object.ts'
import type { ObjectStore } from '../store.ts'
import { type Db, inSlices, type Trx } from './db.ts'

export async function findObjects(db: Db, { ids }: Parameters<ObjectStore['find']>[0]): Promise<AccountObject[]> {
  const kept = await inSlices(ids, (slice) =>
    db.selectFrom('account_objects').selectAll().where('id', 'in', slice).execute(),
  )
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
    ...{ accountId: row.account_id, createdAtMs: row.at_ms },
  }))
  return [...kept.map(toObject), ...responses].sort((a, b) => b.createdAtMs - a.createdAtMs)
}

export async function listObjects(db: Db, input: Parameters<ObjectStore['list']>[0]): Promise<AccountObject[]> {
  const { userId, kind, accountIds, order, after, limit } = input
  if (accountIds.length === 0) return []
  const [direction, beyond] = order === 'newest' ? (['desc', '<'] as const) : (['asc', '>'] as const)
  const rows = await db
    .selectFrom('account_objects')
    .selectAll()
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

export async function keepObjects(trx: Trx, { objects }: Parameters<ObjectStore['keep']>[0]): Promise<void> {
  const rows = objects.map(({ accountId, id, kind, userId, createdAtMs }) => ({
    ...{ account_id: accountId, id, kind, user_id: userId, created_at_ms: createdAtMs },
  }))
  await trx
    .insertInto('account_objects')
    .values(rows)
    .onConflict((conflict) =>
      conflict
        .columns(['id', 'account_id'])
        .doUpdateSet((e) => ({
          user_id: e.ref('excluded.user_id'),
          kind: e.ref('excluded.kind'),
          created_at_ms: e.ref('excluded.created_at_ms'),
        }))
        .where((e) => e('account_objects.user_id', '<>', e.ref('excluded.user_id'))),
    )
    .execute()
}

export async function dropObject(trx: Trx, { accountId, id }: Parameters<ObjectStore['drop']>[0]): Promise<void> {
  await trx.deleteFrom('account_objects').where('account_id', '=', accountId).where('id', '=', id).execute()
}

function toObject(row: {
  account_id: string
  id: string
  kind: string
  user_id: string
  created_at_ms: number
}): AccountObject {
  return {
    ...{ kind: row.kind as ObjectKind, id: row.id, accountId: row.account_id },
    ...{ userId: row.user_id, createdAtMs: row.created_at_ms },
  }
}

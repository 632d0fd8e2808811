import type { Selectable } from 'kysely'
import { GatewayError } from '../../domain/errors.ts'
import type { Group, GroupMember } from '../../domain/group.ts'
import { newId } from '../../lib/id.ts'
import type { GroupsTable } from '../schema.ts'
import type { AddGroup, GroupStore } from '../store.ts'
import { attachToGroup } from './attach.ts'
import { announceBy } from './changes.ts'
import { type Db, fromJson, given, notFound, requireRow, resolveRef, type Trx } from './db.ts'
import { requireAttached, requireChain } from './routes.ts'

export async function findGroup(db: Db, ref: string): Promise<Group> {
  return getGroup(db, await resolveRef(db, 'groups', ref))
}

export async function getGroup(db: Db, id: string): Promise<Group> {
  const row = await db.selectFrom('groups').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw notFound('groups', id)
  return toGroup(row)
}

export async function listGroups(db: Db): Promise<Group[]> {
  return (await db.selectFrom('groups').selectAll().orderBy('name').execute()).map(toGroup)
}

export async function listMembers(db: Db, groupId: string): Promise<GroupMember[]> {
  const rows = await db
    .selectFrom('group_users')
    .selectAll()
    .where('group_id', '=', groupId)
    .orderBy('user_id')
    .execute()
  return rows.map((row) => ({ userId: row.user_id, multiplierMicro: row.multiplier_micro }))
}

export async function addGroup(trx: Trx, input: AddGroup, atMs: number): Promise<Group> {
  const id = newId('grp')
  await requireFreeName(trx, input.name)
  await requireChain(trx, { id, name: input.name }, input.fallbackGroupId ?? null)
  await trx
    .insertInto('groups')
    .values({
      id,
      name: input.name,
      multiplier_micro: input.multiplierMicro,
      exclusive: input.exclusive ? 1 : 0,
      when_client_leaves: input.whenClientLeaves,
      limits: JSON.stringify(input.limits ?? []),
      routes: JSON.stringify(input.routes ?? []),
      fallback_group_id: input.fallbackGroupId ?? null,
      created_at_ms: atMs,
    })
    .execute()
  for (const accountId of input.accountIds) await attachToGroup(trx, id, accountId)
  await requireAttached(trx, id, input.routes ?? [])
  const { by, ...detail } = input
  await announceBy(trx, atMs, { by, action: 'group.add', change: { kind: 'group', subject: id }, detail })
  return getGroup(trx, id)
}

export async function setGroup(trx: Trx, input: Parameters<GroupStore['set']>[0], atMs: number): Promise<Group> {
  const { id, changes, by } = input
  if (changes.name !== undefined) await requireFreeName(trx, changes.name, id)
  await requireAttached(trx, id, changes.routes ?? [])
  await requireChain(trx, { id }, changes.fallbackGroupId ?? null)
  const columns = given({
    name: changes.name,
    multiplier_micro: changes.multiplierMicro,
    exclusive: changes.exclusive === undefined ? undefined : changes.exclusive ? (1 as const) : (0 as const),
    when_client_leaves: changes.whenClientLeaves,
    limits: changes.limits && JSON.stringify(changes.limits),
    routes: changes.routes && JSON.stringify(changes.routes),
    fallback_group_id: changes.fallbackGroupId,
  })
  if (Object.keys(columns).length > 0) await trx.updateTable('groups').set(columns).where('id', '=', id).execute()
  await announceBy(trx, atMs, { by, action: 'group.set', change: { kind: 'group', subject: id }, detail: changes })
  return getGroup(trx, id)
}

export async function attachAccount(
  trx: Trx,
  input: Parameters<GroupStore['attachAccount']>[0],
  atMs: number,
): Promise<void> {
  await attachToGroup(trx, input.id, input.accountId)
  await announceAttachment(trx, atMs, 'group.attach', input)
}

export async function detachAccount(
  trx: Trx,
  input: Parameters<GroupStore['detachAccount']>[0],
  atMs: number,
): Promise<void> {
  await requireRow(trx, 'groups', input.id)
  await trx
    .deleteFrom('group_accounts')
    .where('group_id', '=', input.id)
    .where('account_id', '=', input.accountId)
    .execute()
  await announceAttachment(trx, atMs, 'group.detach', input)
}

export async function attachUser(
  trx: Trx,
  input: Parameters<GroupStore['attachUser']>[0],
  atMs: number,
): Promise<void> {
  await requireRow(trx, 'groups', input.id)
  await requireRow(trx, 'users', input.userId)
  const { multiplierMicro } = input
  await trx
    .insertInto('group_users')
    .values({ group_id: input.id, user_id: input.userId, multiplier_micro: multiplierMicro ?? null })
    .onConflict((conflict) => {
      const attached = conflict.columns(['group_id', 'user_id'])
      return multiplierMicro === undefined
        ? attached.doNothing()
        : attached.doUpdateSet({ multiplier_micro: multiplierMicro })
    })
    .execute()
  await announceAttachment(trx, atMs, 'group.attach', input)
}

export async function detachUser(
  trx: Trx,
  input: Parameters<GroupStore['detachUser']>[0],
  atMs: number,
): Promise<void> {
  await requireRow(trx, 'groups', input.id)
  await trx.deleteFrom('group_users').where('group_id', '=', input.id).where('user_id', '=', input.userId).execute()
  await announceAttachment(trx, atMs, 'group.detach', input)
}

async function announceAttachment(
  trx: Trx,
  atMs: number,
  action: string,
  { id, by, ...detail }: { id: string; by: string },
): Promise<void> {
  await announceBy(trx, atMs, { by, action, change: { kind: 'group', subject: id }, detail })
}

async function requireFreeName(trx: Trx, name: string, exceptId?: string): Promise<void> {
  const taken = await trx.selectFrom('groups').select('id').where('name', '=', name).executeTakeFirst()
  if (taken && taken.id !== exceptId) throw new GatewayError('conflict', `there is already a group '${name}'`)
}

export function toGroup(row: Selectable<GroupsTable>): Group {
  return {
    id: row.id,
    name: row.name,
    multiplierMicro: row.multiplier_micro,
    exclusive: row.exclusive === 1,
    whenClientLeaves: row.when_client_leaves as Group['whenClientLeaves'],
    limits: fromJson(row.limits),
    routes: fromJson(row.routes),
    fallbackGroupId: row.fallback_group_id,
    createdAtMs: row.created_at_ms,
  }
}

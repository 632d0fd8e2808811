import type { Selectable } from 'kysely'
import type { ApiKey } from '../../domain/api-key.ts'
import { GatewayError } from '../../domain/errors.ts'
import { newId } from '../../lib/id.ts'
import type { ApiKeysTable } from '../schema.ts'
import type { AddKey, KeyStore, StoredCaller } from '../store.ts'
import { announceBy } from './changes.ts'
import { type Db, fromJson, given, notFound, requireRow, resolveRef, type Trx } from './db.ts'
import { getGroup } from './groups.ts'
import { getUser } from './users.ts'

export async function findKey(db: Db, ref: string): Promise<ApiKey> {
  return getKey(db, await resolveRef(db, 'api_keys', ref))
}

async function getKey(db: Db, id: string): Promise<ApiKey> {
  const row = await db.selectFrom('api_keys').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw notFound('api_keys', id)
  return toApiKey(row)
}

export async function listKeys(db: Db, page: Parameters<KeyStore['list']>[0]): Promise<ApiKey[]> {
  const rows = await db
    .selectFrom('api_keys')
    .selectAll()
    .$if(page.userId !== undefined, (query) => query.where('user_id', '=', page.userId as string))
    .$if(page.after !== undefined, (query) => query.where('id', '>', page.after as string))
    .orderBy('id')
    .limit(page.limit)
    .execute()
  return rows.map(toApiKey)
}

export async function callerOf(db: Db, hash: string): Promise<StoredCaller | null> {
  const row = await db.selectFrom('api_keys').selectAll().where('hash', '=', hash).executeTakeFirst()
  if (!row) return null
  const member = await db
    .selectFrom('group_users')
    .selectAll()
    .where('group_id', '=', row.group_id)
    .where('user_id', '=', row.user_id)
    .executeTakeFirst()
  return {
    key: toApiKey(row),
    user: await getUser(db, row.user_id),
    group: await getGroup(db, row.group_id),
    member: member ? { userId: member.user_id, multiplierMicro: member.multiplier_micro } : null,
  }
}

export async function addKey(trx: Trx, input: AddKey, atMs: number): Promise<ApiKey> {
  const id = newId('key')
  await requireUnknownHash(trx, input.hash)
  await requireRow(trx, 'users', input.userId)
  await requireUsableGroup(trx, input.groupId, input.userId)
  await trx
    .insertInto('api_keys')
    .values({
      id,
      user_id: input.userId,
      group_id: input.groupId,
      name: input.name,
      hash: input.hash,
      last4: input.last4,
      status: 'active',
      expires_at_ms: input.expiresAtMs,
      concurrency: input.concurrency,
      quota_nano_usd: input.quotaNanoUsd,
      limits: JSON.stringify(input.limits ?? []),
      allow_ips: JSON.stringify(input.allowIps),
      deny_ips: JSON.stringify(input.denyIps),
      models: JSON.stringify(input.models),
      created_at_ms: atMs,
    })
    .execute()
  const { by, hash: _, ...detail } = input
  await announceBy(trx, atMs, { by, action: 'key.issue', change: { kind: 'key', subject: id }, detail })
  return getKey(trx, id)
}

export async function setKey(trx: Trx, input: Parameters<KeyStore['set']>[0], atMs: number): Promise<ApiKey> {
  const { id, changes, by } = input
  const key = await getKey(trx, id)
  if (changes.hash !== undefined) await requireUnknownHash(trx, changes.hash)
  if (changes.groupId !== undefined) await requireUsableGroup(trx, changes.groupId, key.userId)
  const columns = given({
    group_id: changes.groupId,
    name: changes.name,
    hash: changes.hash,
    last4: changes.last4,
    status: changes.status,
    expires_at_ms: changes.expiresAtMs,
    concurrency: changes.concurrency,
    quota_nano_usd: changes.quotaNanoUsd,
    limits: changes.limits && JSON.stringify(changes.limits),
    allow_ips: changes.allowIps && JSON.stringify(changes.allowIps),
    deny_ips: changes.denyIps && JSON.stringify(changes.denyIps),
    models: changes.models && JSON.stringify(changes.models),
  })
  if (Object.keys(columns).length > 0) await trx.updateTable('api_keys').set(columns).where('id', '=', id).execute()
  const { hash, ...rest } = changes
  const detail = hash === undefined ? rest : { ...rest, rotated: true }
  await announceBy(trx, atMs, { by, action: 'key.set', change: { kind: 'key', subject: id }, detail })
  return getKey(trx, id)
}

async function requireUnknownHash(trx: Trx, hash: string): Promise<void> {
  const taken = await trx.selectFrom('api_keys').select('id').where('hash', '=', hash).executeTakeFirst()
  if (taken) throw new GatewayError('conflict', `this key is already issued, as ${taken.id}`)
}

async function requireUsableGroup(trx: Trx, groupId: string, userId: string): Promise<void> {
  const group = await getGroup(trx, groupId)
  if (!group.exclusive) return
  const member = await trx
    .selectFrom('group_users')
    .select('user_id')
    .where('group_id', '=', groupId)
    .where('user_id', '=', userId)
    .executeTakeFirst()
  if (!member) {
    throw new GatewayError('forbidden', `group '${group.name}' is exclusive and the user is not attached to it`, {
      hint: `subgate group attach ${group.name} --user ${userId}`,
    })
  }
}

function toApiKey(row: Selectable<ApiKeysTable>): ApiKey {
  return {
    id: row.id,
    userId: row.user_id,
    groupId: row.group_id,
    name: row.name,
    last4: row.last4,
    status: row.status as ApiKey['status'],
    expiresAtMs: row.expires_at_ms,
    concurrency: row.concurrency,
    quotaNanoUsd: row.quota_nano_usd,
    limits: fromJson(row.limits),
    allowIps: fromJson(row.allow_ips),
    denyIps: fromJson(row.deny_ips),
    models: fromJson(row.models),
    createdAtMs: row.created_at_ms,
  }
}

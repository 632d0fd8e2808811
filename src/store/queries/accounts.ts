import type { Selectable } from 'kysely'
import { type Account, isWoken, type ModelRest, type Rest } from '../../domain/account.ts'
import { GatewayError } from '../../domain/errors.ts'
import type { AccountsTable } from '../schema.ts'
import type { AccountStore, AddAccount, StoredAccount } from '../store.ts'
import { attachToGroup } from './attach.ts'
import { announce, announceBy } from './changes.ts'
import { type Db, fromJson, given, notFound, requireRow, resolveRef, type Trx } from './db.ts'
import { requireNoRoute } from './routes.ts'

export async function findAccount(db: Db, ref: string): Promise<StoredAccount> {
  return getAccount(db, await resolveRef(db, 'accounts', ref))
}

async function getAccount(db: Db, id: string): Promise<StoredAccount> {
  const row = await db.selectFrom('accounts').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw notFound('accounts', id)
  const groups = await db.selectFrom('group_accounts').select('group_id').where('account_id', '=', id).execute()
  return toAccount(
    row,
    groups.map((group) => group.group_id),
  )
}

export async function listAccounts(db: Db): Promise<StoredAccount[]> {
  const rows = await db.selectFrom('accounts').selectAll().orderBy('name').execute()
  const attachments = await db.selectFrom('group_accounts').selectAll().orderBy('group_id').execute()
  const groupIds = Map.groupBy(attachments, (attachment) => attachment.account_id)
  return rows.map((row) =>
    toAccount(
      row,
      (groupIds.get(row.id) ?? []).map((attachment) => attachment.group_id),
    ),
  )
}

export async function addAccount(trx: Trx, input: AddAccount, atMs: number): Promise<StoredAccount> {
  await requireFreeName(trx, input.name)
  await trx
    .insertInto('accounts')
    .values({
      id: input.id,
      provider: input.provider,
      name: input.name,
      base_url: input.baseUrl,
      status: 'active',
      status_reason: null,
      priority: input.priority,
      weight: input.weight,
      concurrency: input.concurrency,
      limits: JSON.stringify(input.limits ?? []),
      models: JSON.stringify(input.models),
      model_map: JSON.stringify(input.modelMap ?? {}),
      only_client: input.onlyClient ?? null,
      hybrid: input.hybrid ? 1 : 0,
      pause_at: JSON.stringify(input.pauseAt ?? []),
      headers: JSON.stringify(input.headers),
      expires_at_ms: input.expiresAtMs,
      rest: null,
      model_rests: '[]',
      rest_rules: '[]',
      deadlines: JSON.stringify(input.deadlines ?? {}),
      windows: '[]',
      woken_at_ms: null,
      last4: input.last4,
      sealed_credentials: input.sealedCredentials,
      created_at_ms: atMs,
    })
    .execute()
  for (const groupId of input.groupIds) await attachToGroup(trx, groupId, input.id)
  const { by, id, sealedCredentials: _, headers, ...detail } = input
  await announceBy(trx, atMs, {
    by,
    action: 'account.add',
    change: { kind: 'account', subject: id },
    detail: { ...detail, headers: Object.keys(headers) },
  })
  return getAccount(trx, id)
}

export async function setAccount(
  trx: Trx,
  input: Parameters<AccountStore['set']>[0],
  atMs: number,
): Promise<StoredAccount> {
  const { id, changes, by } = input
  await requireRow(trx, 'accounts', id)
  if (changes.name !== undefined) await requireFreeName(trx, changes.name, id)
  // A new credential, or the operator's word that the account is fine, ends its rests.
  const wakes = changes.wakes || changes.sealedCredentials !== undefined || changes.status === 'active'
  const columns = given({
    name: changes.name,
    base_url: changes.baseUrl,
    status: changes.status,
    status_reason: changes.statusReason,
    priority: changes.priority,
    weight: changes.weight,
    concurrency: changes.concurrency,
    limits: changes.limits && JSON.stringify(changes.limits),
    models: changes.models && JSON.stringify(changes.models),
    model_map: changes.modelMap && JSON.stringify(changes.modelMap),
    only_client: changes.onlyClient,
    hybrid: changes.hybrid === undefined ? undefined : ((changes.hybrid ? 1 : 0) as 0 | 1),
    pause_at: changes.pauseAt && JSON.stringify(changes.pauseAt),
    headers: changes.headers && JSON.stringify(changes.headers),
    expires_at_ms: changes.expiresAtMs,
    last4: changes.last4,
    sealed_credentials: changes.sealedCredentials,
    rest_rules: changes.restRules && JSON.stringify(changes.restRules),
    deadlines: changes.deadlines && JSON.stringify(changes.deadlines),
    ...(wakes && { rest: null, model_rests: '[]', woken_at_ms: atMs }),
  })
  if (Object.keys(columns).length > 0) await trx.updateTable('accounts').set(columns).where('id', '=', id).execute()
  if (changes.groupIds !== undefined) {
    await trx.deleteFrom('group_accounts').where('account_id', '=', id).execute()
    for (const groupId of changes.groupIds) await attachToGroup(trx, groupId, id)
  }
  const { sealedCredentials, headers, ...rest } = changes
  await announceBy(trx, atMs, {
    by,
    action: 'account.set',
    change: { kind: 'account', subject: id },
    detail: {
      ...rest,
      ...(headers && { headers: Object.keys(headers) }),
      ...(sealedCredentials && { credentialsReplaced: true }),
    },
  })
  return getAccount(trx, id)
}

export async function removeAccount(
  trx: Trx,
  input: Parameters<AccountStore['remove']>[0],
  atMs: number,
): Promise<void> {
  const account = await getAccount(trx, input.id)
  await requireNoRoute(trx, account)
  await trx.deleteFrom('group_accounts').where('account_id', '=', input.id).execute()
  await trx.deleteFrom('account_objects').where('account_id', '=', input.id).execute()
  await trx.deleteFrom('accounts').where('id', '=', input.id).execute()
  await announceBy(trx, atMs, {
    by: input.by,
    action: 'account.remove',
    change: { kind: 'account', subject: input.id },
    detail: { name: account.name, provider: account.provider },
  })
}

export async function restAccount(trx: Trx, input: Parameters<AccountStore['rest']>[0]): Promise<void> {
  await requireRow(trx, 'accounts', input.id)
  await trx
    .updateTable('accounts')
    .set({
      rest: input.rest && JSON.stringify(input.rest),
      model_rests: JSON.stringify(input.modelRests),
      ...(input.disabledReason !== null && { status: 'disabled', status_reason: input.disabledReason }),
    })
    .where('id', '=', input.id)
    .execute()
  await announce(trx, { kind: 'account', subject: input.id })
}

export async function keepWindows(trx: Trx, { samples }: Parameters<AccountStore['keepWindows']>[0]): Promise<void> {
  for (const { id, windows } of samples.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    await trx
      .updateTable('accounts')
      .set({ windows: JSON.stringify(windows) })
      .where('id', '=', id)
      .execute()
  }
}

async function requireFreeName(trx: Trx, name: string, exceptId?: string): Promise<void> {
  const taken = await trx.selectFrom('accounts').select('id').where('name', '=', name).executeTakeFirst()
  if (taken && taken.id !== exceptId) throw new GatewayError('conflict', `there is already an account '${name}'`)
}

function toAccount(row: Selectable<AccountsTable>, groupIds: string[]): StoredAccount {
  // A gateway may have written it just after the operator ended it.
  const isOver = (rest: Rest) => isWoken(rest, row.woken_at_ms)
  const rest = row.rest === null ? null : fromJson<Rest>(row.rest)
  return {
    id: row.id,
    provider: row.provider as Account['provider'],
    name: row.name,
    baseUrl: row.base_url,
    status: row.status as Account['status'],
    statusReason: row.status_reason,
    priority: row.priority,
    weight: row.weight,
    concurrency: row.concurrency,
    limits: fromJson(row.limits),
    models: fromJson(row.models),
    modelMap: fromJson(row.model_map),
    onlyClient: row.only_client as Account['onlyClient'],
    hybrid: row.hybrid === 1,
    pauseAt: fromJson(row.pause_at),
    headers: fromJson(row.headers),
    expiresAtMs: row.expires_at_ms,
    rest: rest && !isOver(rest) ? rest : null,
    modelRests: fromJson<ModelRest[]>(row.model_rests).filter((one) => !isOver(one)),
    restRules: fromJson(row.rest_rules),
    deadlines: fromJson(row.deadlines),
    windows: fromJson(row.windows),
    wokenAtMs: row.woken_at_ms,
    last4: row.last4,
    sealedCredentials: row.sealed_credentials,
    groupIds,
    createdAtMs: row.created_at_ms,
  }
}

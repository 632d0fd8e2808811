import type { Selectable } from 'kysely'
import { GatewayError } from '../../domain/errors.ts'
import type { User } from '../../domain/user.ts'
import { newId } from '../../lib/id.ts'
import type { UsersTable } from '../schema.ts'
import type { AddUser, Page, UserStore } from '../store.ts'
import { announceBy } from './changes.ts'
import { type Db, fromJson, given, notFound, resolveRef, type Trx } from './db.ts'
import { enterLedger } from './ledger.ts'

export async function findUser(db: Db, ref: string): Promise<User> {
  return getUser(db, await resolveRef(db, 'users', ref))
}

export async function getUser(db: Db, id: string): Promise<User> {
  const row = await db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw notFound('users', id)
  return toUser(row)
}

export async function listUsers(db: Db, page: Page): Promise<User[]> {
  const rows = await db
    .selectFrom('users')
    .selectAll()
    .$if(page.after !== undefined, (query) => query.where('id', '>', page.after as string))
    .orderBy('id')
    .limit(page.limit)
    .execute()
  return rows.map(toUser)
}

export async function addUser(trx: Trx, input: AddUser, atMs: number): Promise<User> {
  const id = newId('usr')
  const email = checkedEmail(input.email)
  await requireFreeEmail(trx, email)
  await trx
    .insertInto('users')
    .values({
      id,
      email,
      name: input.name,
      role: input.role,
      status: 'active',
      balance_nano_usd: 0,
      concurrency: input.concurrency,
      limits: JSON.stringify(input.limits ?? []),
      created_at_ms: atMs,
    })
    .execute()
  if (input.balanceNanoUsd !== 0) {
    const opening = {
      userId: id,
      amountNanoUsd: input.balanceNanoUsd,
      kind: 'credit' as const,
      note: 'opening balance',
    }
    await enterLedger(trx, { ...opening, by: input.by }, atMs)
  }
  const { by, ...detail } = input
  await announceBy(trx, atMs, { by, action: 'user.add', change: { kind: 'user', subject: id }, detail })
  return getUser(trx, id)
}

export async function setUser(trx: Trx, input: Parameters<UserStore['set']>[0], atMs: number): Promise<User> {
  const { id, changes, by } = input
  const email = changes.email === undefined ? undefined : checkedEmail(changes.email)
  if (email !== undefined) await requireFreeEmail(trx, email, id)
  const columns = given({ ...changes, email, limits: changes.limits && JSON.stringify(changes.limits) })
  if (Object.keys(columns).length > 0) await trx.updateTable('users').set(columns).where('id', '=', id).execute()
  await announceBy(trx, atMs, { by, action: 'user.set', change: { kind: 'user', subject: id }, detail: { ...changes } })
  return getUser(trx, id)
}

export async function creditUser(trx: Trx, input: Parameters<UserStore['credit']>[0], atMs: number): Promise<User> {
  const { id, amountNanoUsd, note, by } = input
  await enterLedger(trx, { userId: id, amountNanoUsd, kind: 'credit', note, by }, atMs)
  const detail = { amountNanoUsd, note }
  await announceBy(trx, atMs, { by, action: 'user.credit', change: { kind: 'user', subject: id }, detail })
  return getUser(trx, id)
}

async function requireFreeEmail(trx: Trx, email: string, exceptId?: string): Promise<void> {
  const taken = await trx.selectFrom('users').select('id').where('email', '=', email).executeTakeFirst()
  if (taken && taken.id !== exceptId) throw new GatewayError('conflict', `there is already a user ${email}`)
}

/** An e-mail address as it is kept: RFC 5321's longest, and no more of its grammar than tells it from a typing mistake. */
function checkedEmail(text: string): string {
  if (text.length > 254 || !/^[^\s@]+@[^\s@]+$/.test(text)) {
    throw new GatewayError('invalid_request', `'${text}' is not an e-mail address`)
  }
  return text.toLowerCase()
}

export function toUser(row: Selectable<UsersTable>): User {
  return {
    id: row.id,
    email: row.email,
    name: row.name,
    role: row.role as User['role'],
    status: row.status as User['status'],
    balanceNanoUsd: row.balance_nano_usd,
    concurrency: row.concurrency,
    limits: fromJson(row.limits),
    createdAtMs: row.created_at_ms,
  }
}

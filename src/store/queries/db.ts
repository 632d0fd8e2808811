import { type Kysely, SqliteAdapter, type Transaction } from 'kysely'
import { GatewayError } from '../../domain/errors.ts'
import type { Database } from '../schema.ts'

/** What reads take: the database, or a transaction on it. */
export type Db = Kysely<Database>
/** What writes take: never the database itself, which inside a transaction would wait for ever on SQLite. */
export type Trx = Transaction<Database>

/** PostgreSQL: several write at a time, so rows have locks; each statement is a round trip; it tells of what happens. */
export function isServer(db: Db): boolean {
  return !(db.getExecutor().adapter instanceof SqliteAdapter)
}

type Referable = 'users' | 'api_keys' | 'groups' | 'accounts'

const NOUN: Record<Referable, string> = { users: 'user', api_keys: 'key', groups: 'group', accounts: 'account' }

/** `usr_`, `key_` …: what all ids of a kind begin with names none of them. */
const ID_KIND_CHARACTERS = 4

/** Ids that are named when a reference fits several. */
const NAMED_MAX = 3

/**
 * The id of the row that `ref` means: an id, else a unique name (e-mail for users), else a unique prefix of an id. A key
 * that was revoked does not claim its name against one that was not: a new key often takes the old one's name.
 * Throws `not_found`, or `conflict` when several fit.
 */
export async function resolveRef(db: Db, table: Referable, ref: string): Promise<string> {
  const candidates = db
    .selectFrom(table)
    .select('id')
    .orderBy('id')
    .limit(NAMED_MAX + 1)
  const nameColumn = db.dynamic.ref(table === 'users' ? 'email' : 'name')
  const named = candidates.where(nameColumn, '=', table === 'users' ? ref.toLowerCase() : ref)
  const ways = [
    candidates.where('id', '=', ref),
    ...(table === 'api_keys' ? [named.where('status', '<>', 'revoked')] : []),
    named,
    ...(ref.length > ID_KIND_CHARACTERS
      ? [candidates.where((e) => e(e.fn('substr', ['id', e.lit(1), e.lit(ref.length)]), '=', ref))]
      : []),
  ]
  for (const way of ways) {
    const ids = (await way.execute()).map((row) => row.id)
    if (ids.length === 1) return ids[0] as string
    if (ids.length > 1) {
      const some = [...ids.slice(0, NAMED_MAX), ...(ids.length > NAMED_MAX ? ['…'] : [])].join(', ')
      throw new GatewayError('conflict', `'${ref}' fits several ${NOUN[table]}s: ${some}`)
    }
  }
  throw notFound(table, ref)
}

/** What to throw for a row that is not there. */
export function notFound(table: Referable, ref: string): GatewayError {
  return new GatewayError('not_found', `there is no ${NOUN[table]} '${ref}'`, {
    hint: `subgate ${NOUN[table]} list shows them all.`,
  })
}

/** Throws `not_found` unless there is a row with this id. */
export async function requireRow(db: Db, table: Referable, id: string): Promise<void> {
  const row = await db.selectFrom(table).select('id').where('id', '=', id).executeTakeFirst()
  if (!row) throw notFound(table, id)
}

/** Ids in one statement at most: SQLite takes 32,766 parameters, PostgreSQL 65,535. */
const IDS_MAX = 10_000

/** Asks for any number of ids, so many at a time, and gives the answers together. */
export async function inSlices<Id, Row>(
  ids: readonly Id[],
  ask: (slice: readonly Id[]) => Promise<Row[]>,
): Promise<Row[]> {
  const rows: Row[] = []
  for (let start = 0; start < ids.length; start += IDS_MAX) rows.push(...(await ask(ids.slice(start, start + IDS_MAX))))
  return rows
}

/** JSON text of a column that only we write. */
export function fromJson<T>(text: string): T {
  return JSON.parse(text) as T
}

/** Drops the keys whose value is undefined: a change that was not asked for. */
export function given<T extends object>(changes: T): Partial<T> {
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) as Partial<T>
}

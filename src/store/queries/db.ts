import type { Kysely, Transaction } from 'kysely'
import { GatewayError } from '../../domain/errors.ts'
import type { Database } from '../schema.ts'

/** What reads take: the database, or a transaction on it. */
export type Db = Kysely<Database>
/** What writes take: never the database itself, which inside a transaction would wait for ever on SQLite. */
export type Trx = Transaction<Database>

type Referable = 'users' | 'api_keys' | 'groups' | 'accounts'

const NOUN: Record<Referable, string> = { users: 'user', api_keys: 'key', groups: 'group', accounts: 'account' }

/**
 * The id of the row that `ref` means: an id, else a unique name (e-mail for users), else a unique prefix of an id.
 * Throws `not_found`, or `conflict` when several fit.
 */
export async function resolveRef(db: Db, table: Referable, ref: string): Promise<string> {
  const dynamic = db.dynamic
  const nameColumn = table === 'users' ? 'email' : 'name'
  const name = table === 'users' ? ref.toLowerCase() : ref
  const candidates = (where: 'id' | 'name' | 'prefix') => {
    const query = db.selectFrom(table).select('id').limit(3)
    if (where === 'id') return query.where('id', '=', ref).execute()
    if (where === 'name') return query.where(dynamic.ref(nameColumn), '=', name).execute()
    return query.where((e) => e(e.fn('substr', ['id', e.val(1), e.val(ref.length)]), '=', ref)).execute()
  }
  for (const where of ['id', 'name', 'prefix'] as const) {
    const found = await candidates(where)
    if (found.length === 1) return (found[0] as { id: string }).id
    if (found.length > 1) {
      const ids = found.map((row) => row.id).join(', ')
      throw new GatewayError(
        'conflict',
        `'${ref}' fits several ${NOUN[table]}s: ${ids}${found.length === 3 ? ', …' : ''}`,
      )
    }
  }
  throw new GatewayError('not_found', `there is no ${NOUN[table]} '${ref}'`, {
    hint: `subgate ${NOUN[table]} list shows them all.`,
  })
}

/** JSON text of a column that only we write. */
export function fromJson<T>(text: string): T {
  return JSON.parse(text) as T
}

/** Drops the keys whose value is undefined: a change that was not asked for. */
export function given<T extends object>(changes: T): Partial<T> {
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) as Partial<T>
}

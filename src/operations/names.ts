import type { Store } from '../store/store.ts'
import { allRows } from './pages.ts'

/** Readable names of ids; what was removed keeps its id. */
export interface Names {
  user(id: string): string
  key(id: string): string
  account(id: string): string
  group(id: string): string
}

/** Reads the names of all users, keys, accounts and groups. */
export async function names(store: Store): Promise<Names> {
  const users = new Map((await allRows((page) => store.users.list(page))).map((user) => [user.id, user.email]))
  const keys = new Map(
    (await allRows((page) => store.keys.list(page))).map((key) => [key.id, `${key.name ?? key.id} (…${key.last4})`]),
  )
  const accounts = new Map((await store.accounts.list()).map((account) => [account.id, account.name]))
  const groups = new Map((await store.groups.list()).map((group) => [group.id, group.name]))
  const lookUp = (known: Map<string, string>) => (id: string) => known.get(id) ?? id
  return { user: lookUp(users), key: lookUp(keys), account: lookUp(accounts), group: lookUp(groups) }
}

import { requireRow, type Trx } from './db.ts'

/** Puts an account into a group; nothing happens if it is there already. Throws `not_found`. */
export async function attachToGroup(trx: Trx, groupId: string, accountId: string): Promise<void> {
  await requireRow(trx, 'groups', groupId)
  await requireRow(trx, 'accounts', accountId)
  await trx
    .insertInto('group_accounts')
    .values({ group_id: groupId, account_id: accountId })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

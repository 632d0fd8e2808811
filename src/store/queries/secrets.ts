import type { Db, Trx } from './db.ts'

export async function getSecret(db: Db, name: string): Promise<string | null> {
  const row = await db.selectFrom('secrets').select('sealed').where('name', '=', name).executeTakeFirst()
  return row?.sealed ?? null
}

export async function putSecretIfAbsent(trx: Trx, input: { name: string; sealed: string }): Promise<string> {
  await trx
    .insertInto('secrets')
    .values(input)
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  return (await getSecret(trx, input.name)) as string
}

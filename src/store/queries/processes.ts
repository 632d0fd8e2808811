import type { KnownProcess } from '../store.ts'
import type { Db, Trx } from './db.ts'

export async function beat(trx: Trx, { id }: { id: string }): Promise<KnownProcess[]> {
  await trx
    .insertInto('processes')
    .values({ id, beats: 1 })
    .onConflict((conflict) => conflict.column('id').doUpdateSet((e) => ({ beats: e('processes.beats', '+', 1) })))
    .execute()
  return (await knownProcesses(trx)).filter((known) => known.id !== id)
}

async function knownProcesses(db: Db): Promise<KnownProcess[]> {
  const beating = await db.selectFrom('processes').selectAll().orderBy('id').execute()
  const journaling = await db
    .selectFrom('running_calls')
    .select('process_id as id')
    .distinct()
    .where('process_id', 'not in', (e) => e.selectFrom('processes').select('id'))
    .orderBy('process_id')
    .execute()
  return [...beating, ...journaling.map(({ id }) => ({ id, beats: 0 }))]
}

export async function leave(trx: Trx, { id }: { id: string }): Promise<void> {
  await trx.deleteFrom('processes').where('id', '=', id).execute()
}

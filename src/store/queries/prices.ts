import type { PriceRow } from '../../domain/price.ts'
import type { PriceStore } from '../store.ts'
import { announceBy } from './changes.ts'
import { type Db, fromJson, type Trx } from './db.ts'

export async function listPrices(db: Db): Promise<PriceRow[]> {
  const rows = await db.selectFrom('prices').selectAll().orderBy('model').orderBy('effective_from_ms').execute()
  return rows.map((row) => ({
    ...fromJson<Pick<PriceRow, 'base' | 'long'>>(row.price),
    provider: row.provider,
    model: row.model,
    effectiveFromMs: row.effective_from_ms,
    source: row.source,
  }))
}

export async function setPrices(trx: Trx, input: Parameters<PriceStore['set']>[0], atMs: number): Promise<void> {
  for (const { provider, model, effectiveFromMs, source, base, long } of input.rows) {
    const value = { price: JSON.stringify({ base, long }), source }
    await trx
      .insertInto('prices')
      .values({ provider, model, effective_from_ms: effectiveFromMs, ...value })
      .onConflict((conflict) => conflict.columns(['provider', 'model', 'effective_from_ms']).doUpdateSet(value))
      .execute()
    const subject = `${provider}/${model}`
    const detail = { effectiveFromMs, base, long, source }
    await announceBy(trx, atMs, { by: input.by, action: 'price.set', change: { kind: 'price', subject }, detail })
  }
}

import type { PriceRow } from '../domain/price.ts'
import { readAsset } from '../lib/assets.ts'
import { parsePriceFile } from './price-list.ts'

/** The prices that come with the program. */
export function builtInPrices(): PriceRow[] {
  return parsePriceFile(readAsset('src/pricing/prices.yaml'), 'built in')
}

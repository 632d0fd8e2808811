import { type Expression, sql } from 'kysely'
import { GatewayError } from '../../domain/errors.ts'

/** Sums travel as text: SQLite's driver loses digits above 2^53, and PostgreSQL returns sums as text anyway. */
export function asText(sum: Expression<unknown>) {
  return sql<string>`cast(${sum} as text)`
}

/** A sum as a number, if a number can say it exactly. Throws `internal` beyond ±2^53. */
export function exactNumber(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) {
    throw new GatewayError('internal', `a sum of ${text} is beyond what a number can say`)
  }
  return value
}

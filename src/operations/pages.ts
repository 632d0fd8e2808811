import type { Page } from '../store/store.ts'

const PAGE_ROWS = 500

/** All rows of a paged read, page by page. */
export async function* eachRow<T extends { id: string }>(read: (page: Page) => Promise<T[]>): AsyncGenerator<T> {
  let after: string | undefined
  for (;;) {
    const rows = await read({ after, limit: PAGE_ROWS })
    yield* rows
    if (rows.length < PAGE_ROWS) return
    after = rows.at(-1)?.id
  }
}

/** The same as one list; for what fits into memory. */
export function allRows<T extends { id: string }>(read: (page: Page) => Promise<T[]>): Promise<T[]> {
  return Array.fromAsync(eachRow(read))
}

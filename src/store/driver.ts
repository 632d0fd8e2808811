import type { Db } from './queries/db.ts'
import type { Change } from './store.ts'
import type { WriteInput, WriteName, WriteOutput } from './writes.ts'

/** What differs from database to database: how reads and writes get there, and how a change by another process is noticed. */
export interface StoreDriver extends AsyncDisposable {
  /** For reads only; `transaction()` on it gives a consistent view. */
  reader: Db
  /** Batches of records that may be under way at a time: several where whoever writes them puts them together again. */
  recordLanes: number
  /** Runs one write operation in one transaction. Throws `unavailable` if the database cannot be written. */
  write<Name extends WriteName>(name: Name, input: WriteInput<Name>, atMs: number): Promise<WriteOutput<Name>>
  onRevision(listener: (changes: Change[] | null) => void): () => void
}

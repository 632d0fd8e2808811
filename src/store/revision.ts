import { changesSince, readRevision } from './queries/changes.ts'
import type { Db } from './queries/db.ts'
import type { Change } from './store.ts'

/** How often another process's changes are looked for: one read of one row, 5 µs. */
const POLL_MS = 250

/**
 * Looks for changes by the clock, for databases that cannot tell of them. While the store does not answer, nothing is
 * known to have changed; when it answers again, anything may have. Returns the way to stop.
 */
export function followRevision(reader: Db, listener: (changes: Change[] | null) => void): () => void {
  let seen: number | null = null
  let missed = false
  let looking = false

  /** What is new; undefined for nothing. */
  async function news(): Promise<Change[] | null | undefined> {
    const before = seen
    seen = await readRevision(reader)
    if (missed) return null
    return before === null || before === seen ? undefined : changesSince(reader, before)
  }

  async function look(): Promise<void> {
    if (looking) return
    looking = true
    const changes = await news().catch(() => 'unknown' as const)
    looking = false
    missed = changes === 'unknown'
    if (changes !== undefined && changes !== 'unknown') listener(changes)
  }

  void look()
  const poll = setInterval(look, POLL_MS)
  return () => clearInterval(poll)
}

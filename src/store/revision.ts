import { changesBetween, readRevision } from './queries/changes.ts'
import type { Db } from './queries/db.ts'
import type { Change } from './store.ts'

/** How often another process's changes are looked for: one read of one row, 5 µs. */
const POLL_MS = 250

/** Calls `look` whenever there may be something new; returns the way to stop that. */
export type Wake = (look: () => void) => () => void

const byTheClock: Wake = (look) => {
  const poll = setInterval(look, POLL_MS)
  return () => clearInterval(poll)
}

/**
 * Looks for changes when it is woken: by the clock, for databases that cannot tell of them. While the store does not
 * answer, nothing is known to have changed; when it answers again, anything may have. Returns the way to stop.
 */
export function followRevision(
  reader: Db,
  listener: (changes: Change[] | null) => void,
  wake: Wake = byTheClock,
): () => void {
  let seen: number | null = null
  let missed = false
  let looking = false
  let wokenMeanwhile = false
  let stopped = false

  /** What is new; undefined for nothing. */
  async function news(): Promise<Change[] | null | undefined> {
    const before = seen
    const now = await readRevision(reader)
    seen = now
    if (missed) return null
    // What comes in between the two reads is the next look's.
    return before === null || before === now ? undefined : changesBetween(reader, before, now)
  }

  async function look(): Promise<void> {
    wokenMeanwhile = looking
    if (looking) return
    looking = true
    const changes = await news().catch(() => 'unknown' as const)
    looking = false
    missed = changes === 'unknown'
    if (stopped) return
    if (changes !== undefined && changes !== 'unknown') listener(changes)
    if (wokenMeanwhile) void look()
  }

  void look()
  const sleep = wake(look)
  return () => {
    stopped = true
    sleep()
  }
}

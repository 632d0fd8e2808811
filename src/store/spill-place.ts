import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { GatewayError } from '../domain/errors.ts'
import { SpillFile } from './spill.ts'
import { lockFile } from './sqlite.ts'

/** Processes that serve from one data directory at most. */
const PLACES_MAX = 64

/**
 * A spill file that is this process's alone: `spill.log`, `spill-2.log` … of a data directory that several processes may
 * serve from; its lock goes to `held`. What dead ones have left in theirs is taken over, to be replayed. Throws `unavailable`.
 */
export async function ownSpillFile(dataDir: string, held: DisposableStack): Promise<SpillFile> {
  await using opened = new AsyncDisposableStack()
  let own: SpillFile | null = null
  for (let place = 1; place <= PLACES_MAX; place++) {
    const path = join(dataDir, place === 1 ? 'spill.log' : `spill-${place}.log`)
    if (own && !existsSync(path)) continue
    const lock = lockFile(`${path}.lock`)
    if (!lock) continue
    if (own) await takeOver(path, own, lock)
    else {
      held.use(lock)
      own = opened.use(await SpillFile.open(path))
    }
  }
  if (!own) throw new GatewayError('unavailable', `${PLACES_MAX} processes already serve from ${dataDir}`)
  opened.move()
  return own
}

/** In this order: if the process dies in between, the records are in both files, and count once. */
async function takeOver(path: string, own: SpillFile, lock: Disposable): Promise<void> {
  using _lock = lock
  await using left = await SpillFile.open(path)
  const { entries } = left
  if (entries.length === 0) return
  await own.append([...entries])
  await left.clear(entries.length)
}

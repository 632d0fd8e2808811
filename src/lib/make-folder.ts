import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { GatewayError } from '../domain/errors.ts'

/**
 * Makes a folder and those above it, where they are missing, for their owner alone (0700). Level by level: where the
 * kernel answers ENOENT to a new folder in one that is there, as in /proc, Node's own `recursive` tries for ever (26.10).
 * Throws what the file system says, or `forbidden` for such a place.
 */
export function makeFolder(path: string): void {
  if (isFolder(path)) return
  const above = dirname(path)
  if (above !== path && !existsSync(above)) makeFolder(above)
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && isFolder(path)) return // another process was faster
    if (code !== 'ENOENT') throw error
    throw new GatewayError('forbidden', `no folder can be made in ${above}`, {
      hint: 'It is no place for files: name one on a disk.',
    })
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

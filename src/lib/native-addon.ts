import { createHash, randomBytes } from 'node:crypto'
import { accessSync, constants, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRawAsset } from 'node:sea'
import { GatewayError } from '../domain/errors.ts'
import { inBinary } from './assets.ts'
import { privateFolder } from './private-folder.ts'

/**
 * The path of a native addon for the package that wants it. Run from source, packages find their own (undefined). The
 * binary carries its addons as assets: a shared library must be a file, so it is written once to a private folder.
 * Throws `unavailable` with the remedy if there is no place for it.
 */
export function addonPath(name: 'better_sqlite3.node', env: NodeJS.ProcessEnv = process.env): string | undefined {
  return inBinary ? placeAddon(name, Buffer.from(getRawAsset(name)), addonFolders(env)) : undefined
}

/** The user's cache; where that cannot be written to (a service without a home, sudo), a folder of its own beside other temporary ones. */
function addonFolders(env: NodeJS.ProcessEnv): string[] {
  const cache = env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache')
  return [join(cache, 'subgate'), join(tmpdir(), `subgate-${process.getuid?.() ?? 'addons'}`)]
}

/** Sees to it that an addon is in the first of the folders that will have it; returns its path, whose name is made of its contents. */
export function placeAddon(name: string, bytes: Buffer, folders: string[]): string {
  const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
  const refusals: string[] = []
  for (const folder of folders) {
    try {
      const path = join(privateFolder(folder), `${digest}-${name}`)
      if (!holds(path, bytes)) writeWhole(path, bytes)
      accessSync(path, constants.X_OK) // nothing can be loaded from a file system that is mounted noexec
      return path
    } catch (error) {
      refusals.push((error as Error).message)
    }
  }
  throw new GatewayError('unavailable', `there is no folder to put ${name} into: ${refusals.join('; ')}`, {
    hint: 'Set XDG_CACHE_HOME to a folder of your own, in which files can be written and run.',
  })
}

/** The file will be run: it must be what we carry, to the byte. */
function holds(path: string, bytes: Buffer): boolean {
  try {
    return readFileSync(path).equals(bytes)
  } catch {
    return false
  }
}

/** Other processes see the whole file or none. */
function writeWhole(path: string, bytes: Buffer): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  try {
    writeFileSync(temporary, bytes, { mode: 0o500, flag: 'wx' })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

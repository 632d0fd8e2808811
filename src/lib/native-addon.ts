import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { getRawAsset } from 'node:sea'
import { inBinary } from './assets.ts'

/**
 * The path of a native addon. Run from source, packages find their own (null). The binary carries its addons as assets:
 * a shared library must be a file, so it is written once to a private cache folder under a name made of its contents.
 * Throws if no private folder can be made.
 */
export function addonPath(name: 'better_sqlite3.node', env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (!inBinary) return undefined
  const bytes = Buffer.from(getRawAsset(name))
  const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
  const folder = privateFolder(join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'subgate'))
  const path = join(folder, `${digest}-${name}`)
  if (!existsSync(path) || statSync(path).size !== bytes.length) {
    const temporary = `${path}.${process.pid}`
    writeFileSync(temporary, bytes, { mode: 0o500 })
    renameSync(temporary, path) // another process may be at it: each sees a whole file
  }
  return path
}

/** A folder that nobody else can write to: what is in it will be run. */
function privateFolder(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const owner = statSync(path).uid
  if (process.getuid !== undefined && owner !== process.getuid()) {
    throw new Error(`${path} belongs to somebody else; set XDG_CACHE_HOME to a folder of your own`)
  }
  chmodSync(path, 0o700)
  return path
}

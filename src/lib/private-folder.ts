import { chmodSync, lstatSync } from 'node:fs'
import { makeFolder } from './make-folder.ts'

/** Makes a folder that nobody else can write to or look into (0700), if need be. Throws if somebody else's is in its place. */
export function privateFolder(path: string): string {
  makeFolder(path)
  const { uid } = lstatSync(path)
  if (process.getuid !== undefined && uid !== process.getuid()) throw new Error(`${path} belongs to somebody else`)
  chmodSync(path, 0o700)
  return path
}

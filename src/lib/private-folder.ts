import { chmodSync, lstatSync, mkdirSync } from 'node:fs'

/** Makes a folder that nobody else can write to or look into (0700), if need be. Throws if somebody else's is in its place. */
export function privateFolder(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const { uid } = lstatSync(path)
  if (process.getuid !== undefined && uid !== process.getuid()) throw new Error(`${path} belongs to somebody else`)
  chmodSync(path, 0o700)
  return path
}

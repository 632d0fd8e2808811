import { dirname, join, relative } from 'node:path'

/** Where the source's entry is in a checkout. */
const ENTRY = join('src', 'cli', 'main.ts')

/**
 * What to type to run this program again: `subgate`, which is taken to be on the PATH; or from source the checkout's
 * script, relative to `cwd` if it is below it. `entry` is the file that was run.
 */
export function ownCommand(entry: string | undefined, cwd: string | null): string {
  if (!entry?.endsWith(`/${ENTRY}`)) return 'subgate'
  const script = join(dirname(entry), '..', '..', 'bin', 'subgate')
  const near = cwd === null ? '..' : relative(cwd, script)
  return near.startsWith('..') ? script : near
}

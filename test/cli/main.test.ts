import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { newCli } from '../support/cli.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts')

/** The program as a process with this as its standard output. */
function start(t: Test, stdout: 'pipe' | number, ...argv: string[]) {
  const child = spawn(process.execPath, [MAIN, ...argv], {
    env: { HOME: newCli().home },
    stdio: ['ignore', stdout, 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const said = text(child.stderr as NonNullable<typeof child.stderr>)
  return { child, over: once(child, 'close').then(async ([code]) => ({ code, stderr: await said })) }
}

t.test('whoever reads may stop: no error, no words', async (t) => {
  const { child, over } = start(t, 'pipe', 'config', 'keys')
  child.stdout?.destroy()
  t.same(await over, { code: 0, stderr: '' })
})

t.test(
  'data that cannot be written is no success',
  { skip: process.platform !== 'linux' && 'needs /dev/full' },
  async (t) => {
    const { over } = start(t, openSync('/dev/full', 'w'), 'config', 'keys')
    t.match(await over, { code: 1, stderr: /^error: the output cannot be written: \S+: the disk is full\n$/ })
  },
)

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'

/** Twenty seconds of bench/chaos.ts, each time with another seed; SUBGATE_TEST_SEED repeats a run. */

const SCRIPT = join(import.meta.dirname, '..', '..', 'bench', 'chaos.ts')

t.test('twenty seconds of everything at once lose nothing and leave nothing behind', async (t) => {
  const seed = process.env.SUBGATE_TEST_SEED
  const args = [SCRIPT, '--seconds', '20', ...(seed === undefined ? [] : ['--seed', seed])]
  const chaos = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const [said, complained, [code]] = await Promise.all([
    text(chaos.stdout),
    text(chaos.stderr),
    once(chaos, 'close') as Promise<[number | null]>,
  ])
  t.comment(said)
  const answers = Number(/complete (\d+)/.exec(said)?.[1])
  t.ok(answers > 200, `${answers} answers came to their end`)
  t.match(said, /[1-9]\d* times killed/)
  t.same(said.match(/^VIOLATION .*$/gm) ?? [], [])
  t.match({ code, complained }, { code: 0, complained: '' })
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'

/**
 * What is promised of the choice of accounts and of the line, by more than a million calls of bench/simulate.ts: in a process
 * of its own, for under tap's hooks a call costs more than twice as much. SUBGATE_TEST_SEED plays another course of events.
 */

const SCRIPT = join(import.meta.dirname, '..', '..', 'bench', 'simulate.ts')
t.setTimeout(600_000)

t.test('all claims hold over a million calls', async (t) => {
  const simulation = spawn(process.execPath, [SCRIPT, '--seed', process.env.SUBGATE_TEST_SEED ?? '1'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [said, complained, [code]] = await Promise.all([
    text(simulation.stdout),
    text(simulation.stderr),
    once(simulation, 'close') as Promise<[number | null]>,
  ])
  t.comment(said)
  const calls = Number(/^(\d+) calls in/m.exec(said)?.[1])
  t.ok(calls >= 1_000_000, `${calls} calls`)
  t.same(said.match(/^ {2}BROKEN .*\n.*$/gm) ?? [], [])
  t.match({ code, complained }, { code: 0, complained: '' })
})

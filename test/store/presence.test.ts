import t from 'tap'
import type { SetTimer } from '../../src/lib/clock.ts'
import { Presence } from '../../src/store/presence.ts'
import type { KnownProcess, Store } from '../../src/store/store.ts'
import { keptLog } from '../support/store.ts'

/** A store that knows some processes, a timer that runs when it is told to, and what was done. */
function rig() {
  const others = new Map<string, number>()
  const done: string[] = []
  let error: Error | null = null
  const store = {
    processes: {
      async beat(): Promise<KnownProcess[]> {
        if (error) throw error
        return Array.from(others, ([id, beats]) => ({ id, beats }))
      },
      leave: async () => void done.push('left'),
    },
    usage: {
      async closeInterrupted({ processId }: { processId: string }) {
        others.delete(processId)
        done.push(`closed ${processId}`)
        return [`call of ${processId}`]
      },
    },
  } as unknown as Store
  let callback: (() => void) | null = null
  const setTimer: SetTimer = (_ms, next) => {
    callback = next
    return () => {
      callback = null
    }
  }
  const { log, lines } = keptLog()
  const presence = new Presence({ store, setTimer, log })
  /** So many times ten seconds; `living` beat meanwhile. */
  const pass = async (times: number, ...living: string[]) => {
    for (let n = 0; n < times; n++) {
      for (const id of living) others.set(id, (others.get(id) ?? 0) + 1)
      callback?.()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const answer = (isThere: boolean) => {
    error = isThere ? null : new Error('gone')
  }
  return { presence, others, done, lines, pass, answer }
}

t.test('who is silent for a minute of our own beats is closed, once; who lives is not', async (t) => {
  const { presence, others, done, lines, pass } = rig()
  others.set('dead', 7).set('living', 1).set('never seen', 0)
  await presence.start()
  await pass(5, 'living')
  t.same(done, [])
  await pass(1, 'living')
  t.same(done.toSorted(), ['closed dead', 'closed never seen'])
  await pass(30, 'living')
  t.equal(done.length, 2)
  t.match(lines, [{ processId: 'dead', calls: ['call of dead'] }, { processId: 'never seen' }])
  await presence[Symbol.asyncDispose]()
  t.equal(done.at(-1), 'left')
  await pass(10)
  t.equal(done.length, 3)
})

t.test('while the database does not answer us, nobody looks dead', async (t) => {
  const { presence, others, done, pass, answer } = rig()
  others.set('neighbour', 1)
  await presence.start()
  await pass(4)
  answer(false)
  await pass(100)
  answer(true)
  await pass(1, 'neighbour')
  await pass(5)
  t.same(done, [], 'its first beat after that counts')
  await pass(1)
  t.same(done, ['closed neighbour'])
  await presence[Symbol.asyncDispose]()
})

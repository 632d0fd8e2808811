import t from 'tap'
import { GroupCommit } from '../../src/store/group-commit.ts'

/** A target whose commits end when the test says so. */
function target<T>(lanes: number) {
  const batches: { items: T[]; done: PromiseWithResolvers<void> }[] = []
  const outages = new Set<unknown>()
  const group = new GroupCommit<T>({
    lanes,
    commit: (items) => {
      const done = Promise.withResolvers<void>()
      batches.push({ items, done })
      return done.promise
    },
    isOutage: (error) => outages.has(error),
  })
  return { group, batches, outages }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('what comes in one turn is one batch, and the next gathers while it commits', async (t) => {
  const { group, batches } = target<number>(1)
  const first = [group.add(1), group.add(2)]
  await Promise.resolve()
  first.push(group.add(3))
  await turn()
  t.same(
    batches.map(({ items }) => items),
    [[1, 2, 3]],
  )
  const second = [group.add(4)]
  await turn()
  second.push(group.add(5))
  await turn()
  t.equal(batches.length, 1, 'one at a time')
  batches[0]?.done.resolve()
  await Promise.all(first)
  await turn()
  t.same(
    batches.map(({ items }) => items),
    [
      [1, 2, 3],
      [4, 5],
    ],
  )
  batches[1]?.done.resolve()
  await Promise.all(second)
})

t.test('as many batches at a time as there are lanes, and no more than 512 items in each', async (t) => {
  const { group, batches } = target<number>(2)
  const all = Array.from({ length: 1600 }, (_, n) => group.add(n))
  await turn()
  t.same(
    batches.map(({ items }) => items.length),
    [512, 512],
  )
  batches[1]?.done.resolve()
  await turn()
  await turn()
  t.same(
    batches.map(({ items }) => items.length),
    [512, 512, 512],
  )
  batches[0]?.done.resolve()
  batches[2]?.done.resolve()
  await turn()
  await turn()
  t.same(
    batches.map(({ items }) => items.length),
    [512, 512, 512, 64],
  )
  batches[3]?.done.resolve()
  await Promise.all(all)
  t.same(
    batches.flatMap(({ items }) => items),
    Array.from({ length: 1600 }, (_, n) => n),
    'in order, each once',
  )
})

t.test('a poisonous item fails alone', async (t) => {
  const commits: number[][] = []
  const group = new GroupCommit<number>({
    lanes: 1,
    commit: async (items) => {
      commits.push(items)
      if (items.includes(3)) throw new Error(`poison in ${items}`)
    },
    isOutage: () => false,
  })
  const outcomes = await Promise.allSettled([1, 2, 3, 4].map((n) => group.add(n)))
  t.same(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  )
  t.match(outcomes[2], { reason: { message: 'poison in 3' } })
  t.same(commits, [[1, 2, 3, 4], [1], [2], [3], [4]])
  await t.rejects(group.add(3), { message: 'poison in 3' })
  t.equal(commits.length, 6, 'one that was alone is not tried again')
})

t.test('an outage fails all at once, and what comes later is tried again', async (t) => {
  const { group, batches, outages } = target<number>(1)
  const outage = new Error('gone')
  outages.add(outage)
  const all = [group.add(1), group.add(2)]
  const outcomes = Promise.allSettled(all)
  await turn()
  const later = group.add(3)
  batches[0]?.done.reject(outage)
  t.same(
    (await outcomes).map((outcome) => outcome.status === 'rejected' && outcome.reason),
    [outage, outage],
  )
  await turn()
  t.same(
    batches.map(({ items }) => items),
    [[1, 2], [3]],
  )
  batches[1]?.done.resolve()
  await later
})

t.test('a commit that throws instead of rejecting is no different', async (t) => {
  const group = new GroupCommit<number>({
    lanes: 1,
    commit: () => {
      throw new Error('thrown')
    },
    isOutage: () => true,
  })
  await t.rejects(group.add(1), { message: 'thrown' })
  await t.rejects(group.add(2), { message: 'thrown' }, 'the lane is free again')
})

t.test('it is idle when everything is settled', async (t) => {
  const { group, batches } = target<number>(1)
  await group.idle()
  const all = Promise.allSettled([group.add(1)])
  let idle = false
  const waiting = group.idle().then(() => {
    idle = true
  })
  await turn()
  void group.add(2)
  batches[0]?.done.reject(new Error('x'))
  await all
  await turn()
  await turn()
  t.equal(batches.length, 2)
  t.equal(idle, false)
  batches[1]?.done.resolve()
  await waiting
})

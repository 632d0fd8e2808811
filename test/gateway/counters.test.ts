import t from 'tap'
import { Counters } from '../../src/gateway/counters.ts'

t.test('counts by name, in order of names', async (t) => {
  const counters = new Counters()
  counters.add('models')
  counters.refused('forbidden')
  counters.add('models')
  t.same(Object.entries(counters.all()), [
    ['models', 2],
    ['refused.forbidden', 1],
  ])
})

t.test('a warning is due once in a while for each subject', async (t) => {
  const counters = new Counters()
  t.ok(counters.mayWarn('a', 1000, 0))
  t.notOk(counters.mayWarn('a', 1000, 999))
  t.ok(counters.mayWarn('b', 1000, 999))
  t.ok(counters.mayWarn('a', 1000, 1000))
})

t.test('so many subjects are remembered, and no more', async (t) => {
  const counters = new Counters()
  for (let i = 0; i < 1001; i++) counters.mayWarn(`model ${i}`, 1000, 0)
  t.notOk(counters.mayWarn('model 1', 1000, 1))
  t.ok(counters.mayWarn('model 0', 1000, 1), 'the oldest was forgotten')
})

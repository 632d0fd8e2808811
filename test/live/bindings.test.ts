import t from 'tap'
import { Bindings } from '../../src/live/bindings.ts'

t.test('beyond their limit the bindings used longest ago go', async (t) => {
  const bindings = new Bindings(() => 0, 3)
  for (const key of ['a', 'b', 'c', 'a', 'd', 'e']) bindings.bind(key, `account of ${key}`, 1000)
  t.same(
    bindings.all().map(({ sessionKey }) => sessionKey),
    ['a', 'd', 'e'],
  )
  t.equal(bindings.accountOf('b'), null)
  t.equal(bindings.accountOf('a'), 'account of a')
})

t.test('a binding is over at the end of its time', async (t) => {
  let nowMs = 0
  const bindings = new Bindings(() => nowMs)
  bindings.bind('a', 'A', 1000)
  nowMs = 999
  t.equal(bindings.accountOf('a'), 'A')
  nowMs = 1000
  t.equal(bindings.accountOf('a'), null)
  t.same(bindings.all(), [])
})

import t from 'tap'
import { addUsage, hasUsage, NO_USAGE, USAGE_KINDS } from '../../src/domain/usage.ts'

t.test('any one kind counts as usage', async (t) => {
  t.notOk(hasUsage(NO_USAGE))
  t.same(
    USAGE_KINDS.filter((kind) => !hasUsage({ ...NO_USAGE, [kind]: 1 })),
    [],
  )
})

t.test('usage adds up kind by kind and leaves its parts alone', async (t) => {
  const one = Object.fromEntries(USAGE_KINDS.map((kind, i) => [kind, i + 1])) as typeof NO_USAGE
  const sum = addUsage(one, one)
  t.same(
    USAGE_KINDS.map((kind) => sum[kind]),
    USAGE_KINDS.map((_, i) => 2 * (i + 1)),
  )
  t.equal(one[USAGE_KINDS[0] as keyof typeof one], 1)
  t.same(addUsage(one, NO_USAGE), one)
})

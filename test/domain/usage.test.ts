import t from 'tap'
import { hasUsage, NO_USAGE, USAGE_KINDS } from '../../src/domain/usage.ts'

t.test('any one kind counts as usage', async (t) => {
  t.notOk(hasUsage(NO_USAGE))
  t.same(
    USAGE_KINDS.filter((kind) => !hasUsage({ ...NO_USAGE, [kind]: 1 })),
    [],
  )
})

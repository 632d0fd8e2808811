import t from 'tap'
import type { LimitMetric, LimitStanding, LimitSubject } from '../../src/domain/limit.ts'
import { spendingIn } from '../../src/gateway/limits.ts'

const standing = (subject: LimitSubject, metric: LimitMetric, used: number, max: number): LimitStanding => ({
  ...{ subject, subjectId: subject, used, resetAtMs: null },
  limit: { metric, max, window: { kind: 'sliding', ms: 60_000 } },
})

t.test('the limit of money that is nearest to its end is the one that a client is told of', async (t) => {
  const key = standing('key', 'usd', 40, 100)
  const user = standing('user', 'usd', 40, 50)
  const nothing = standing('group', 'usd', 0, 0)
  const others = [standing('key', 'requests', 9, 10), standing('account', 'usd', 99, 100)]
  t.equal(spendingIn([key, ...others, user]), user)
  t.equal(spendingIn([user, ...others, key]), user)
  t.equal(spendingIn([user, nothing, key]), nothing, 'a limit of nothing is used up')
  t.equal(spendingIn(others), undefined, 'an account’s is no business of clients')
})

import t from 'tap'
import { bucketOf, HISTOGRAM_BOUNDS_MS, HISTOGRAM_BUCKETS, quantile } from '../../src/store/histogram.ts'

const none = () => new Array<number>(HISTOGRAM_BUCKETS).fill(0)

t.test('a latency falls into the first bucket whose bound it does not pass', async (t) => {
  t.same([0, 10, 11, 25, 26, 50, 600_000, 600_001, 2 ** 40].map(bucketOf), [0, 0, 1, 1, 2, 2, 14, 15, 15])
  t.equal(HISTOGRAM_BUCKETS, HISTOGRAM_BOUNDS_MS.length + 1)
  t.same(
    HISTOGRAM_BOUNDS_MS,
    HISTOGRAM_BOUNDS_MS.toSorted((a, b) => a - b),
    'in order',
  )
})

t.test('a quantile lies in its bucket, in proportion', async (t) => {
  t.equal(quantile(none(), 0.5), null)
  const counts = none()
  counts[4] = 100 // 101 to 200 ms
  t.same(
    [0, 0.5, 0.95, 1].map((share) => quantile(counts, share)),
    [100, 150, 195, 200],
  )
  counts[0] = 100
  t.same(
    [0.25, 0.5, 0.75].map((share) => quantile(counts, share)),
    [5, 10, 150],
  )
  const slow = none()
  slow[15] = 1 // beyond the last bound: up to twice as long
  t.equal(quantile(slow, 1), 1_200_000)
})

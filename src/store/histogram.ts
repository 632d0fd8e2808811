/** Upper bounds of the latency buckets in roll-ups, in ms; the last bucket takes the rest. Changing them needs a migration. */
export const HISTOGRAM_BOUNDS_MS = [
  10, 25, 50, 100, 200, 400, 800, 1500, 3000, 6000, 12_000, 25_000, 60_000, 180_000, 600_000,
]

export const HISTOGRAM_BUCKETS = HISTOGRAM_BOUNDS_MS.length + 1

/** The bucket that a latency falls into. */
export function bucketOf(ms: number): number {
  let bucket = 0
  while (bucket < HISTOGRAM_BOUNDS_MS.length && ms > (HISTOGRAM_BOUNDS_MS[bucket] as number)) bucket++
  return bucket
}

/** The latency below which `share` (0..1) of the counted calls lie, interpolated inside its bucket; null without calls. */
export function quantile(counts: readonly number[], share: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  let left = share * total
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && left <= count) {
      const from = bucket === 0 ? 0 : (HISTOGRAM_BOUNDS_MS[bucket - 1] as number)
      const to = HISTOGRAM_BOUNDS_MS[bucket] ?? from * 2
      return Math.round(from + (to - from) * (left / count))
    }
    left -= count
  }
  return null
}

import fc from 'fast-check'
import t from 'tap'
import {
  changedLimits,
  formatAmount,
  formatWindow,
  LIMITS_MAX,
  type Limit,
  limitName,
  parseLimitChange,
} from '../../src/domain/limit.ts'

const read = (text: string, timeZone = 'UTC') => parseLimitChange(text, timeZone)
const set = (text: string): Limit => {
  const change = read(text)
  if (change.kind !== 'set') throw new Error(`'${text}' sets nothing`)
  return change.limit
}

t.test('limits as operators write them', async (t) => {
  const day = 86_400_000
  t.same(
    ['requests=60/1m', 'tokens=200k/5h', 'all_tokens=1.5M/90s', 'input_tokens=2g/30d', 'output_tokens=0/1s'].map(set),
    [
      { metric: 'requests', max: 60, window: { kind: 'sliding', ms: 60_000 } },
      { metric: 'tokens', max: 200_000, window: { kind: 'sliding', ms: 5 * 3_600_000 } },
      { metric: 'all_tokens', max: 1_500_000, window: { kind: 'sliding', ms: 90_000 } },
      { metric: 'input_tokens', max: 2_000_000_000, window: { kind: 'sliding', ms: 30 * day } },
      { metric: 'output_tokens', max: 0, window: { kind: 'sliding', ms: 1000 } },
    ],
  )
  t.same(set('usd=5/1w'), { metric: 'usd', max: 5_000_000_000, window: { kind: 'sliding', ms: 7 * day } })
  t.same(set('usd=0.000000001/day'), {
    metric: 'usd',
    max: 1,
    window: { kind: 'calendar', unit: 'day', timeZone: 'UTC' },
  })
  t.same(set('usd=$50/month@Europe/Berlin').window, { kind: 'calendar', unit: 'month', timeZone: 'Europe/Berlin' })
  t.match(read('tokens=1/week', 'Asia/Tokyo'), { limit: { window: { unit: 'week', timeZone: 'Asia/Tokyo' } } })
  t.equal(set('requests=8.2k/1m').max, 8200, 'not a little less')
})

t.test('what is no limit is refused with what is wrong', async (t) => {
  for (const [text, message] of [
    ['requests=abc/1m', "'abc' is not a whole number such as 60, 200k or 1.5m"],
    ['requests=1.5/1m', "'1.5' is not a whole number such as 60, 200k or 1.5m"],
    ['requests=-1/1m', "'-1' is not a whole number such as 60, 200k or 1.5m"],
    ['requests=99999999g/1m', "'99999999g' is too large"],
    ['usd=5k/1d', "'5k' is not an amount in USD, such as 12.50"],
    ['usd=-5/1d', "'-5' is below 0: a limit is 0 (nothing at all) or more"],
    ['request=60/1m', /^'request' is no metric\. Possible: requests, input_tokens, .*; did you mean requests\?$/],
    ['concurrent=5/1m', /^'concurrent' is no metric\. Possible: [^;]*$/],
    ['requests=60/500ms', /^'500ms' is not a window: 1s to 30d/],
    ['requests=60/0s', 'a window of 0s is too short: 1s to 30d are possible'],
    ['requests=60/31d', 'a window of 31d is too long: 1s to 30d are possible'],
    ['requests=60/1h30m', /^'1h30m' is not a window/],
    ['requests=60/year', /^'year' is not a window: 1s to 30d such as 1m, 5h or 1d, or day, week or month\.$/],
    ['requests=60/1d@UTC', /Only day, week and month have a time zone; a start is such as 2026-11-01T00:00Z\.$/],
    ['requests=60/5h@2026-11-31', "'2026-11-31' is no start: a time such as 2026-11-01 or 2026-11-01T08:15Z"],
    ['requests=60/5h@2026-11-01T24:15Z', /is no start/],
    ['requests=60/5h@2026-11-01 08:15', /is no start/],
    [
      'requests=60/5h@2026-11-01T08:20Z',
      /^a start is at a quarter of an hour, such as 08:00 or 08:15, and '2026.*' is not$/,
    ],
    ['requests=60/100m@2026-11-01', 'windows of 100m from a start are not of whole quarters of an hour, such as 75m'],
    ['requests=60/45m@2026-11-01', 'windows of 45m are too short: 1h to 366d are possible from a start'],
    ['requests=60/367d@2026-11-01', 'windows of 367d are too long: 1h to 366d are possible from a start'],
    ['requests=60/year@2026-11-01', /^'year@2026-11-01' is not a window/],
    ['requests[]=60/1m', /is not METRIC=N\/WINDOW/],
    ['requests[a[b]=60/1m', /is not METRIC=N\/WINDOW/],
    ['request[opus]=60/1m', /^'request' is no metric/],
    ['usd=5/month@Mars/Olympus', "'Mars/Olympus' is no time zone: name one such as UTC or Europe/Berlin"],
    ['usd=5/month@', /is no time zone/],
    ['requests=60', /^'requests=60' is not METRIC=N\/WINDOW, such as/],
    ['requests', /^'requests' is not METRIC=N\/WINDOW/],
    ['', /^'' is not METRIC=N\/WINDOW/],
    ['=5/1m', /is not METRIC=N\/WINDOW/],
  ] as const) {
    t.throws(() => read(text), { code: 'invalid_request', message }, text)
  }
})

t.test('windows from a start, and limits for some models', async (t) => {
  const start = Date.parse('2026-11-01T00:00Z')
  t.same(set('usd=50/7d@2026-11-01T00:00Z').window, { kind: 'anchored', every: 7 * 86_400_000, startMs: start })
  t.same(set('usd=50/7d@2026-11-01').window, set('usd=50/week@2026-11-01T01:00+01:00').window)
  t.same(set('usd=50/month@2026-11-01').window, { kind: 'anchored', every: 'month', startMs: start })
  t.match(read('usd=1/day@2026-11-01T02:00', 'Europe/Berlin'), {
    limit: { window: { every: 86_400_000, startMs: start + 3_600_000 } },
  })
  t.same(
    ['7d@2026-11-01', 'month@2026-08-31T23:45Z', '75m@2026-11-01T08:15+05:45'].map((text) =>
      formatWindow(set(`usd=1/${text}`).window),
    ),
    ['7d@2026-11-01T00:00Z', 'month@2026-08-31T23:45Z', '75m@2026-11-01T02:30Z'],
  )
  t.same(set('requests[claude-opus-*]=100/5h'), {
    metric: 'requests',
    models: 'claude-opus-*',
    max: 100,
    window: { kind: 'sliding', ms: 5 * 3_600_000 },
  })
  t.equal(limitName(set('tokens[a/b=c]=1k/1m')), 'tokens[a/b=c]/1m')
  const before = ['requests=1/1m', 'requests[a]=2/1m', 'requests[a]=3/1h', 'requests[b]=4/1m'].map(set)
  const after = (...changes: string[]) =>
    changedLimits(
      before,
      changes.map((text) => read(text)),
    ).map((limit) => `${limitName(limit)} ${limit.max}`)
  t.same(after('requests[a]=5/60s'), ['requests/1m 1', 'requests[a]/1m 5', 'requests[a]/1h 3', 'requests[b]/1m 4'])
  t.same(after('requests[a]=none/1m', 'requests[b]=none'), ['requests/1m 1', 'requests[a]/1h 3'])
  t.same(after('requests=none'), ['requests[a]/1m 2', 'requests[a]/1h 3', 'requests[b]/1m 4'], 'each by its name')
  t.same(after('none'), [])
})

t.test('changes add, replace by metric and window, and take away', async (t) => {
  const after = (before: string[], ...changes: string[]) =>
    changedLimits(
      before.map(set),
      changes.map((text) => read(text)),
    ).map((limit) => `${limit.metric}=${limit.max}/${formatWindow(limit.window)}`)
  const two = ['requests=60/1m', 'requests=1000/1d']
  t.same(after(two, 'tokens=5/1m'), ['requests=60/1m', 'requests=1000/1d', 'tokens=5/1m'])
  t.same(after(two, 'requests=70/60s'), ['requests=70/1m', 'requests=1000/1d'], '60s is 1m')
  t.same(after(two, 'requests=none/1m'), ['requests=1000/1d'])
  t.same(after(two, 'requests=none'), [])
  t.same(after([...two, 'tokens=1/day'], 'requests=none', 'requests=5/1h'), ['tokens=1/day@UTC', 'requests=5/1h'])
  t.same(after(two, 'none', 'tokens=5/1m'), ['tokens=5/1m'])
  t.same(after(two, 'usd=none'), two, 'what is not there need not go')
  const many = Array.from({ length: LIMITS_MAX }, (_, n) => `requests=1/${n + 1}s`)
  t.equal(after(many, 'requests=2/1s').length, LIMITS_MAX)
  t.throws(() => after(many, 'requests=1/1h'), { message: 'that makes 17 limits, and 16 are the most' })
})

t.test('each window has one text, which says it exactly', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 * 86_400 }), (seconds) => {
      const text = formatWindow(set(`requests=1/${seconds}s`).window)
      const back = set(`requests=1/${text}`)
      return back.window.kind === 'sliding' && back.window.ms === seconds * 1000
    }),
  )
  t.same(
    ['60s', '3600s', '90m', '24h', '1w', '25h'].map((text) => formatWindow(set(`requests=1/${text}`).window)),
    ['1m', '1h', '90m', '1d', '7d', '25h'],
  )
  t.equal(limitName(set('usd=5/month@Europe/Berlin')), 'usd/month@Europe/Berlin')
  t.same([formatAmount('usd', 5_000_000_000), formatAmount('tokens', 1_234_567)], ['$5.00', '1,234,567'])
})

import t from 'tap'
import { isGatewayError } from '../../src/domain/errors.ts'
import type { PriceRow } from '../../src/domain/price.ts'
import { parseDay, parsePrice, parsePriceFile, priceList } from '../../src/pricing/price-list.ts'

const row = (model: string, input: number, from = '1970-01-01', provider = 'anthropic'): PriceRow => ({
  provider,
  model,
  effectiveFromMs: Date.parse(from),
  base: { input, output: null, cacheRead: null, cacheWrite5m: null, cacheWrite1h: null },
  long: null,
  source: 'test',
})

const NOW = Date.parse('2026-11-25T10:00:00Z')

function refusal(read: () => unknown): string | null {
  try {
    read()
    return null
  } catch (error) {
    if (isGatewayError(error, 'invalid_request')) return error.message
    throw error
  }
}

t.test('a call is priced by the row that was in force at its instant', async (t) => {
  const list = priceList([row('m', 2, '2026-10-07'), row('m', 3, '2026-12-01'), row('m', 1)], [])
  const priced = (at: string) => list.find('anthropic', 'm', Date.parse(at))?.base.input
  t.equal(priced('2026-10-06T23:59:59.999Z'), 1)
  t.equal(priced('2026-10-07T00:00:00.000Z'), 2)
  t.equal(priced('2026-11-30T23:59:59.999Z'), 2)
  t.equal(priced('2026-12-01T00:00:00.000Z'), 3)
  t.equal(priceList([row('m', 3, '2026-12-01')], []).find('anthropic', 'm', NOW), null, 'not yet priced')
})

t.test('a name is priced exactly, or as one release of its model, never as what it resembles', async (t) => {
  const list = priceList(
    [
      row('claude-opus-5', 1),
      row('claude-opus-5-20260101', 2),
      row('gpt-5', 3, '1970-01-01', 'openai'),
      row('gemini-3-pro', 4, '1970-01-01', 'gemini'),
      row('gemini-2.0-flash-001', 5, '1970-01-01', 'gemini'),
    ],
    [],
  )
  const priced = (provider: string, model: string) => list.find(provider, model, NOW)?.base.input ?? null
  const cases: [string, string, number | null][] = [
    ['anthropic', 'claude-opus-5', 1],
    ['anthropic', 'claude-opus-5-20260301', 1],
    ['anthropic', 'claude-opus-5-20260101', 2],
    ['openai', 'gpt-5-2025-08-07', 3],
    ['gemini', 'gemini-3-pro-001', 4],
    ['gemini', 'gemini-3-pro-latest', 4],
    ['gemini', 'gemini-2.0-flash-001', 5],
    ['gemini', 'gemini-2.0-flash', null],
    ['anthropic', 'claude-opus-5-5', null],
    ['anthropic', 'claude-opus-5-5-20260301', null],
    ['anthropic', 'claude-opus', null],
    ['anthropic', 'claude-opus-5-latest', null],
    ['anthropic', 'claude-opus-5-2026-03-01', null],
    ['anthropic', 'claude-opus-5-20260301-20260301', null],
    ['anthropic', 'Claude-Opus-5', null],
    ['anthropic', 'anthropic/claude-opus-5', null],
    ['anthropic', 'gpt-5', null],
    ['anthropic', '-20260301', null],
    ['openai', 'gpt-5-20250807', null],
    ['openai', 'gpt-5-mini', null],
    ['nobody', 'gpt-5', null],
    ['__proto__', 'constructor', null],
  ]
  t.same(
    cases.map(([provider, model]) => [provider, model, priced(provider, model)]),
    cases,
  )
})

t.test('the operator’s prices win over those that came with the program, from their own day on', async (t) => {
  const list = priceList([row('m', 1), row('m', 2, '2026-10-07'), row('n', 5)], [row('m', 8, '2026-11-01')])
  const priced = (model: string, at: string) => list.find('anthropic', model, Date.parse(at))?.base.input
  t.equal(priced('m', '2026-10-08'), 2)
  t.equal(priced('m', '2026-11-01'), 8)
  t.equal(priced('n', '2026-11-01'), 5)
  t.equal(
    priceList([row('m', 2, '2026-10-07')], [row('m', 0)]).find('anthropic', 'm', NOW)?.base.input,
    0,
    'also with an older day, and free',
  )
  t.same(
    list.rows().map(({ model, base }) => [model, base.input]),
    [
      ['m', 1],
      ['m', 2],
      ['m', 8],
      ['n', 5],
    ],
  )
  t.same(
    priceList([row('m', 1), row('m', 2, '2026-10-07')], [row('m', 8, '2026-10-07')])
      .rows()
      .map(({ base }) => base.input),
    [1, 8],
    'a row of the same day is replaced',
  )
})

t.test('a price file says USD per million tokens', async (t) => {
  const file = `
anthropic:
  - { model: a, input: 3, output: "15", cache_read: 0.3, cache_write_5m: 3.75, cache_write_1h: 6, source: D }
  - { model: a, from: 2026-10-07, input: 0.000001, long: { above: 200000, input: 6 } }
openai: []
`
  t.same(parsePriceFile(file, 'a file'), [
    {
      provider: 'anthropic',
      model: 'a',
      effectiveFromMs: 0,
      base: { input: 3e6, output: 15e6, cacheRead: 0.3e6, cacheWrite5m: 3.75e6, cacheWrite1h: 6e6 },
      long: null,
      source: 'D',
    },
    {
      provider: 'anthropic',
      model: 'a',
      effectiveFromMs: Date.UTC(2026, 9, 7),
      base: { input: 1, output: null, cacheRead: null, cacheWrite5m: null, cacheWrite1h: null },
      long: {
        abovePromptTokens: 200_000,
        rates: { input: 6e6, output: null, cacheRead: null, cacheWrite5m: null, cacheWrite1h: null },
      },
      source: 'a file',
    },
  ])
})

t.test('a price file that is wrong is refused at the place', async (t) => {
  const cases: [string, RegExp][] = [
    ['anthropic: [', /^not valid YAML: /],
    ['anthropic: {}', /^anthropic: /],
    ['- a', /^the price list: /],
    ['', /^the price list: /],
    ['anthropic: [{ input: 3 }]', /^anthropic\.0\.model: /],
    ['anthropic: [{ model: a, inptu: 3 }]', /^anthropic\.0: .*inptu/],
    ['anthropic: [{ model: a, input: -3 }]', /^anthropic\.0\.input: '-3' is below 0/],
    ['anthropic: [{ model: a, input: .nan }]', /^anthropic\.0\.input: /],
    ['anthropic: [{ model: a, input: .inf }]', /^anthropic\.0\.input: /],
    ['anthropic: [{ model: a, input: 0.0000001 }]', /^anthropic\.0\.input: /],
    ['anthropic: [{ model: a, long: { input: 3 } }]', /^anthropic\.0\.long\.above: /],
    ['anthropic: [{ model: a, from: tomorrow }]', /'tomorrow' is not a day/],
    ['anthropic: [{ model: a }, { model: a }]', /^anthropic: a has two prices from the same day/],
    ['anthropic: [{ model: a, from: 2026-01-01 }, { model: a, from: "2026-01-01T00:00:00Z" }]', /two prices/],
    ['anthropic: []\nanthropic: []', /^not valid YAML: /],
  ]
  for (const [file, message] of cases)
    t.match(
      refusal(() => parsePriceFile(file, 's')),
      message,
      file,
    )
})

t.test('a day is a day in UTC, wherever the gateway runs', async (t) => {
  const zone = process.env.TZ
  process.env.TZ = 'Asia/Tokyo'
  t.teardown(() => {
    if (zone === undefined) delete process.env.TZ
    else process.env.TZ = zone
  })
  t.equal(new Date(2026, 0, 1).getUTCHours(), 15, 'the zone is in force')
  const days: [string, number][] = [
    ['2026-10-07', Date.UTC(2026, 9, 7)],
    ['2026-10-07T10:00:00Z', Date.UTC(2026, 9, 7, 10)],
    ['2026-10-07 10:00+02:00', Date.UTC(2026, 9, 7, 8)],
    ['2026-10-07T10:00:00.5Z', Date.UTC(2026, 9, 7, 10, 0, 0, 500)],
    ['2028-02-29', Date.UTC(2028, 1, 29)],
  ]
  t.same(
    days.map(([text]) => parseDay(text)),
    days.map(([, ms]) => ms),
  )
  t.equal(parseDay(new Date(7)), 7)
  const wrong = [
    '2026-02-31',
    '2026-02-29',
    '2026-13-01',
    '2026-10-07T10:00:00',
    '2026-10-07 10:00',
    '10/07/2026',
    '7.10.2026',
    '2026-1-1',
    '2026',
    '5',
    '',
    'tomorrow',
    '2026-10-07T25:00:00Z',
  ]
  t.same(
    wrong.filter((text) => refusal(() => parseDay(text)) === null),
    [],
  )
})

t.test('a price is a decimal of at most six places', async (t) => {
  t.same(['3', '0', '2.5', '0.000001'].map(parsePrice), [3e6, 0, 2.5e6, 1])
  t.same(
    ['-1', '0.0000001', '$3', '3 USD', '1e3', ''].filter((text) => refusal(() => parsePrice(text)) === null),
    [],
  )
})

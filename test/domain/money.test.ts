import fc from 'fast-check'
import t from 'tap'
import { isGatewayError } from '../../src/domain/errors.ts'
import { formatMultiplier, formatUsd, parseDecimal, parseMultiplier, parseUsd } from '../../src/domain/money.ts'

const amounts = fc.maxSafeInteger()

/** `12.5` by long division: slow and obviously right. */
function decimal(value: bigint, digits: number): string {
  const text = (value < 0n ? -value : value).toString().padStart(digits + 1, '0')
  return `${value < 0n ? '-' : ''}${text.slice(0, -digits)}.${text.slice(-digits)}`
}

function refuses(read: (text: string) => number, text: string): boolean {
  try {
    read(text)
    return false
  } catch (error) {
    return isGatewayError(error, 'invalid_request')
  }
}

t.test('an amount that is shown reads back as itself, to the last nano-USD', async () => {
  fc.assert(fc.property(amounts, (nano) => parseUsd(formatUsd(nano).replaceAll(',', '')) === nano))
})

t.test('an amount is read exactly, however many zeros it is written with', async () => {
  fc.assert(
    fc.property(amounts, fc.nat(20), (nano, zeros) => {
      return parseUsd(decimal(BigInt(nano), 9) + '0'.repeat(zeros)) === (nano === 0 ? 0 : nano)
    }),
  )
})

t.test('a multiplier that is shown reads back as itself', async () => {
  fc.assert(fc.property(fc.nat(Number.MAX_SAFE_INTEGER), (micro) => parseMultiplier(formatMultiplier(micro)) === micro))
})

t.test('amounts are shown with the digits that matter', async (t) => {
  const cases: [number | bigint, string][] = [
    [0, '$0.00'],
    [1, '$0.000000001'],
    [1_230_000, '$0.00123'],
    [123_000, '$0.000123'],
    [-500_000_000, '-$0.50'],
    [1_234_567_000_000_000, '$1,234,567.00'],
    [12_345_678_901_234_567_890n, '$12,345,678,901.23456789'],
  ]
  t.same(
    cases.map(([nano]) => formatUsd(nano)),
    cases.map(([, text]) => text),
  )
  t.same([1_000_000, 850_000, 0, 1, 1_500_000].map(formatMultiplier), ['1', '0.85', '0', '0.000001', '1.5'])
})

t.test('people write amounts in some ways, and these are all', async (t) => {
  t.same(
    ['12.5', '-3', '$0.000001', '-$5', ' 7 ', '1.000000000000'].map(parseUsd),
    [12_500_000_000, -3_000_000_000, 1000, -5_000_000_000, 7_000_000_000, 1_000_000_000],
  )
  t.ok(Object.is(parseUsd('-0'), 0), 'there is no negative zero')
  const wrong = ['', '.', '1.', '.5', '1e3', '0x10', '1,000', '١', 'NaN', 'Infinity', '+1', '--1', '1 2', '$', '1.5.5']
  t.same(
    wrong.filter((text) => !refuses(parseUsd, text)),
    [],
  )
  t.ok(refuses(parseUsd, '0.0000000001'), 'finer than a nano-USD')
  t.ok(refuses(parseUsd, '9007200'), 'more than nine million')
  t.ok(refuses(parseUsd, '9'.repeat(40)))
  t.ok(refuses(parseMultiplier, '-1'))
  t.ok(refuses(parseMultiplier, '0.0000001'))
  t.throws(() => parseDecimal('x', 2, 'a price'), { message: "'x' is not a price" })
  t.throws(() => parseDecimal('1.234', 2, 'a price'), { message: "'1.234' is not a price with at most 2 decimals" })
})

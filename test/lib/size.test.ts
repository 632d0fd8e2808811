import fc from 'fast-check'
import t from 'tap'
import { formatSize, parseSize } from '../../src/lib/size.ts'

t.test('sizes are read exactly', async (t) => {
  const cases: [string, number | null][] = [
    ['32MiB', 33_554_432],
    ['64 KiB', 65_536],
    ['8 MB', 8_000_000],
    ['4.35MB', 4_350_000],
    ['1gib', 1_073_741_824],
    ['512', 512],
    ['512B', 512],
    [' 1kb ', 1000],
    ['0', 0],
    ['1.5', null],
    ['0.1KiB', null],
    ['-1', null],
    ['1e6', null],
    ['MiB', null],
    ['', null],
    ['9'.repeat(30), null],
  ]
  t.same(
    cases.map(([text]) => parseSize(text)),
    cases.map(([, bytes]) => bytes),
  )
})

t.test('a size that is shown reads back as about the same', async (t) => {
  t.equal(formatSize(33_554_432), '32 MiB')
  t.equal(formatSize(1536), '1.5 KiB')
  t.equal(formatSize(1023), '1023 B')
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 45 }), (bytes) => {
      const [amount, unit] = formatSize(bytes).split(' ')
      const shown = Number(amount) * (parseSize(`1${unit}`) as number)
      return Math.abs(shown - bytes) <= bytes * 0.06
    }),
  )
})

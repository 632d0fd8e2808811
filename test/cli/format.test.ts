import t from 'tap'
import {
  type Column,
  displayWidth,
  formatCount,
  formatPrice,
  formatTime,
  printable,
  shortUsd,
  tableLines,
} from '../../src/cli/format.ts'

const plain = (_style: string, text: string) => text

t.test('tables align, fit the width, and give way in the columns that may', async (t) => {
  const columns: Column<{ name: string; count: number | null }>[] = [
    { title: 'name', value: (row) => row.name, shrinks: true },
    { title: 'count', value: (row) => row.count, align: 'right' },
  ]
  const rows = [
    { name: 'a', count: 1234567 },
    { name: 'a name that is much too long for the terminal', count: null },
  ]
  t.same(tableLines(rows, columns, 30, plain), [
    'NAME                     COUNT',
    'a                    1,234,567',
    'a name that is muc…          -',
  ])
  t.equal(tableLines(rows, columns, null, plain)[2], 'a name that is much too long for the terminal          -')
  t.ok(
    tableLines(rows, columns, 5, plain).every((line) => displayWidth(line) <= 19),
    'columns keep a minimum',
  )
})

t.test('wide characters and emoji take two cells, marks none', async (t) => {
  t.same(['abc', '日本', '🙂', 'e\u0301', ''].map(displayWidth), [3, 4, 2, 1, 0])
  const columns: Column<string>[] = [
    { title: 'a', value: (text) => text },
    { title: 'b', value: () => 'x' },
  ]
  t.same(tableLines(['日本', 'abcd'], columns, null, plain), ['A     B', '日本  x', 'abcd  x'])
})

t.test('colours go around what is padded, so that columns stay aligned', async (t) => {
  const columns: Column<string>[] = [
    { title: 'a', value: (text) => text, color: (text) => (text === 'bad' ? 'red' : null) },
    { title: 'b', value: () => 'x' },
  ]
  const paint = (style: string, text: string) => `<${style}>${text}</>`
  t.same(tableLines(['bad', 'good'], columns, null, paint), ['<bold>A     B</>', '<red>bad </>  x', 'good  x'])
})

t.test('nothing that a terminal would obey comes through', async (t) => {
  t.equal(printable('a\u001b[31mb\u0007c\nd\te\u009b'), 'a�[31mb�c d e�')
})

t.test('numbers, money, prices and times', async (t) => {
  t.same([0, 999, 1000, 1234567].map(formatCount), ['0', '999', '1,000', '1,234,567'])
  const amounts: [number, string][] = [
    [0, '$0.00'],
    [1, '$0.000000001'],
    [999_999, '$0.000999999'],
    [1_234_567, '$0.001235'],
    [1_234_567_890, '$1.2346'],
    [123_456_789_012, '$123.46'],
    [-1_234_567_890, '-$1.2346'],
    [1_234_567_000_000_000, '$1,234,567.00'],
  ]
  for (const [nano, text] of amounts) t.equal(shortUsd(nano), text)
  t.same([4_000_000, 2_500_000, 1, 18_750_000].map(formatPrice), ['4', '2.50', '0.000001', '18.75'])
  t.equal(formatTime(Date.UTC(2026, 10, 25, 14, 3, 12), true), '2026-11-25 14:03:12Z')
  const local = new Date(2026, 10, 25, 14, 3, 12)
  t.equal(formatTime(local.getTime(), false), '2026-11-25 14:03:12')
})

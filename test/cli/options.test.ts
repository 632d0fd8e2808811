import { InvalidArgumentError } from 'commander'
import t from 'tap'
import { listenFlag } from '../../src/cli/commands/init.ts'
import { futureMoment, listFlag, orNone, pastMoment, usdFlag, wholeFlag, withNulls } from '../../src/cli/options.ts'

const NOW = Date.UTC(2026, 10, 25, 14, 30)
const DAY = 86_400_000

t.test('moments of the past: days, times, how long ago', async (t) => {
  const past = (text: string) => new Date(pastMoment(text, NOW, true)).toISOString()
  t.equal(past('2026-11-01'), '2026-11-01T00:00:00.000Z')
  t.equal(past('2026-11-01T08:15'), '2026-11-01T08:15:00.000Z')
  t.equal(past('2026-11-01T08:15:30+02:00'), '2026-11-01T06:15:30.000Z')
  t.equal(past('today'), '2026-11-25T00:00:00.000Z')
  t.equal(past('yesterday'), '2026-11-24T00:00:00.000Z')
  t.equal(past('7d'), new Date(NOW - 7 * DAY).toISOString())
  t.equal(past('1h30m'), '2026-11-25T13:00:00.000Z')
  t.equal(pastMoment('2026-11-01', NOW, false), new Date(2026, 10, 1).getTime(), 'days are local ones')
  for (const text of ['soon', '2026-13-01', '01/02/2026', '', '7 days']) {
    t.throws(() => pastMoment(text, NOW, true), InvalidArgumentError, text)
  }
})

t.test('moments to come are not in the past', async (t) => {
  t.equal(futureMoment('30d', NOW, true), NOW + 30 * DAY)
  t.equal(futureMoment('2027-01-31', NOW, true), Date.UTC(2027, 0, 31))
  t.throws(() => futureMoment('2026-11-25', NOW, true), /in the past/)
  t.throws(() => futureMoment('0s', NOW, true), /in the past/)
})

t.test('lists, amounts, whole numbers and none', async (t) => {
  const list = listFlag((text) => text)
  t.same(list('a, b,,c', list('x', undefined)), ['x', 'a', 'b', 'c'])
  t.equal(usdFlag('1.5'), 1_500_000_000)
  t.throws(() => usdFlag('1,5'), InvalidArgumentError)
  t.equal(wholeFlag(0)('7'), 7)
  for (const text of ['-1', '1.5', '1e3', '', '99999999999999999999']) {
    t.throws(() => wholeFlag(0)(text), InvalidArgumentError, text)
  }
  t.throws(() => wholeFlag(1)('0'), InvalidArgumentError)
  t.same(withNulls({ a: orNone(Number)('none'), b: orNone(Number)('3'), c: '' }), { a: null, b: 3, c: '' })
})

t.test('addresses to listen on', async (t) => {
  t.same(listenFlag('127.0.0.1:80'), { host: '127.0.0.1', port: 80 })
  t.same(listenFlag('[::1]:8080'), { host: '::1', port: 8080 })
  t.same(listenFlag(':9090'), { host: '0.0.0.0', port: 9090 })
  for (const text of ['8080', 'a:b', '1.2.3.4:70000', '[zz]:1', '300.1.1.1:1', 'x y:1']) {
    t.throws(() => listenFlag(text), InvalidArgumentError, text)
  }
})

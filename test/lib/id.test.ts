import fc from 'fast-check'
import t from 'tap'
import { callIdPrefix, newCallId, newId, newLedgerId } from '../../src/lib/id.ts'

/** Any moment that 50 bits of milliseconds can say. */
const moments = fc.integer({ min: 0, max: 2 ** 50 - 1 })

t.test('call ids sort by time to the millisecond, whatever their random part', async () => {
  fc.assert(
    fc.property(moments, moments, (a, b) => {
      const [first, second] = [newCallId(a), newCallId(b)]
      return a === b || a < b === first < second
    }),
  )
})

t.test('the prefix of a moment parts the ids before it from those at and after it', async () => {
  fc.assert(
    fc.property(
      moments.filter((ms) => ms > 0),
      (ms) => {
        const prefix = callIdPrefix(ms)
        return newCallId(ms - 1) < prefix && prefix < newCallId(ms) && newCallId(ms).startsWith(prefix)
      },
    ),
  )
})

t.test('ids say what they are of and never repeat', async (t) => {
  t.match(newId('key'), /^key_[0-9a-f]{20}$/)
  t.match(newCallId(1), /^call_[0-9a-z]{10}[0-9a-f]{20}$/)
  t.match(newLedgerId(1), /^led_[0-9a-z]{10}[0-9a-f]{20}$/)
  t.equal(new Set(Array.from({ length: 10_000 }, () => newId('acc'))).size, 10_000)
})

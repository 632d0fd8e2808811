import { randomBytes } from 'node:crypto'
import t from 'tap'
import { secretBox } from '../../src/lib/secret-box.ts'
import { secretKey } from '../support/secrets.ts'

const box = secretBox(randomBytes(32))

function opens(sealed: string, identity = 'acc_1', withBox = box): boolean {
  try {
    withBox.open(sealed, identity)
    return true
  } catch {
    return false
  }
}

t.test('what was sealed opens, of any length', async (t) => {
  const secret = secretKey()
  t.equal(box.open(box.seal(secret, 'acc_1'), 'acc_1').toString(), secret)
  t.equal(box.open(box.seal('', 'acc_1'), 'acc_1').length, 0)
  const bytes = randomBytes(100_000)
  t.same(box.open(box.seal(bytes, ''), ''), bytes)
})

t.test('the same secret is never sealed the same way twice, and is not in what was sealed', async (t) => {
  const secret = secretKey()
  const sealed = Array.from({ length: 100 }, () => box.seal(secret, 'acc_1'))
  t.equal(new Set(sealed).size, 100)
  t.notOk(sealed.some((text) => Buffer.from(text, 'base64').includes(secret)))
})

t.test('a secret does not open for another row, or under another key', async (t) => {
  const sealed = box.seal(secretKey(), 'acc_1')
  t.notOk(opens(sealed, 'acc_2'))
  t.notOk(opens(sealed, ''))
  t.notOk(opens(sealed, 'acc_1', secretBox(randomBytes(32))))
  t.ok(opens(sealed))
})

t.test('a sealed secret of which any byte or character was changed does not open', async (t) => {
  const sealed = box.seal(secretKey(), 'acc_1')
  const bytes = Buffer.from(sealed, 'base64')
  const changedBytes = Array.from(bytes, (byte, i) => {
    const changed = Buffer.from(bytes)
    changed[i] = byte ^ (1 << (i % 8))
    return changed.toString('base64')
  })
  const changedText = Array.from(sealed).flatMap((character, i) => {
    const put = (other: string) => sealed.slice(0, i) + other + sealed.slice(i + 1)
    return [put(character === 'A' ? 'B' : 'A'), put(''), put(`${character}\n`), put(`${character}!`), put('=')]
  })
  const cutOff = Array.from(sealed, (_, i) => sealed.slice(0, i))
  const stillOpen = [...changedBytes, ...changedText, ...cutOff].filter((text) => text !== sealed && opens(text))
  t.same(stillOpen, [])
})

t.test('a text that never was sealed is refused, and a key of the wrong length', async (t) => {
  for (const text of ['', 'AQ==', 'not base64 at all', secretKey()]) t.notOk(opens(text))
  t.throws(() => secretBox(randomBytes(31)), RangeError)
})

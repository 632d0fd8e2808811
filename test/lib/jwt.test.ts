import t from 'tap'
import { claimsOf } from '../../src/lib/jwt.ts'

t.test('what a token says of itself', async (t) => {
  const token = `e30.${Buffer.from('{"exp":1,"name":"é"}').toString('base64url')}.sig`
  t.same(claimsOf(token), { exp: 1, name: 'é' })
  for (const other of ['', 'sk-plain', 'a.b.c', 'e30.bnVsbA.x', 'a.Nw.c']) t.equal(claimsOf(other), null, other)
})

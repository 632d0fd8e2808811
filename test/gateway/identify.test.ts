import t from 'tap'
import { networks } from '../../src/config/schema.ts'
import { clientAddress, presentedKey } from '../../src/gateway/identify.ts'

t.test('a key may stand wherever clients put it', async (t) => {
  const key = 'sk-abc'
  for (const headers of [
    { authorization: 'Bearer sk-abc' },
    { authorization: 'bearer sk-abc' },
    { authorization: 'BEARER  sk-abc ' },
    { 'x-api-key': key },
    { 'x-goog-api-key': key },
    { authorization: 'Bearer sk-abc', 'x-api-key': key, 'x-goog-api-key': key },
    { authorization: 'Basic c2stZWxzZQ==', 'x-api-key': key },
    { authorization: '', 'x-api-key': key },
  ]) {
    t.equal(presentedKey(headers), key, JSON.stringify(headers))
  }
})

t.test('no key, two keys and what cannot be a key are refused', async (t) => {
  const refused = (headers: Record<string, string>, message: RegExp) =>
    t.throws(() => presentedKey(headers), { code: 'unauthenticated', message, facts: { shouldRetry: false } })
  refused({}, /no API key: send it as/)
  refused({ authorization: 'Bearer ' }, /no API key/)
  refused({ authorization: 'Basic c2stZWxzZQ==' }, /no API key/)
  refused({ authorization: 'Bearer sk-a', 'x-api-key': 'sk-b' }, /two different API keys/)
  refused({ 'x-api-key': 'sk-a', 'x-goog-api-key': 'sk-b' }, /two different API keys/)
  refused({ 'x-api-key': 'a'.repeat(513) }, /not known/)
  for (const url of ['/v1/messages?key=sk-a', '/v1/messages?key=sk-a&like=/models']) {
    t.throws(() => presentedKey({}, url), { message: /no API key/ }, url)
  }
})

t.test('x-forwarded-for is read from the right, through trusted proxies only', async (t) => {
  const trusted = networks(['10.0.0.0/8', 'fd00::/8'])
  const of = (socket: string, forwarded?: string) =>
    clientAddress(socket, forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }, trusted)
  t.equal(of('203.0.113.7'), '203.0.113.7')
  t.equal(of('203.0.113.7', '198.51.100.1'), '203.0.113.7', 'a stranger may write what he likes')
  t.equal(of('10.0.0.1', '198.51.100.1'), '198.51.100.1')
  t.equal(of('::ffff:10.0.0.1', '198.51.100.1'), '198.51.100.1', 'IPv4 in IPv6')
  t.equal(of('fd00::1', '2001:db8::5'), '2001:db8::5')
  t.equal(of('10.0.0.1', '1.1.1.1, 198.51.100.1, 10.2.3.4'), '198.51.100.1', 'what a client claims stands to the left')
  t.equal(of('10.0.0.1', '10.9.9.9, 10.2.3.4'), '10.9.9.9', 'all are trusted: the first of them')
  t.equal(of('10.0.0.1', '198.51.100.1, nonsense'), '10.0.0.1', 'nonsense is not believed, nor what is left of it')
  t.equal(of('10.0.0.1', ''), '10.0.0.1')
  t.equal(of('10.0.0.1'), '10.0.0.1')
})

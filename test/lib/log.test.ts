import { randomBytes } from 'node:crypto'
import t from 'tap'
import { REDACTED, redact } from '../../src/lib/log.ts'
import { keepSecret, secretKey } from '../support/secrets.ts'

const random = (bytes: number) => randomBytes(bytes).toString('base64url')

const KEYS: Record<string, string> = {
  'an Anthropic key': secretKey(),
  'an Anthropic OAuth token': secretKey('sk-ant-oat01-'),
  'an OpenAI key': secretKey('sk-proj-'),
  'one of our own': secretKey('sk-'),
  'one of our own with a prefix of the operator': keepSecret(`acme_${random(32)}1aA`),
  'a Google key': keepSecret(`AIza${random(24)}`),
  'a Google token': keepSecret(`ya29.${random(24)}`),
  'a JWT': keepSecret(`eyJ${random(12)}.eyJ${random(24)}.${random(24)}`),
}

/** Texts in which a key may turn up. */
const PLACES: Record<string, (key: string) => string> = {
  'by itself': (key) => key,
  'in a sentence': (key) => `the key ${key}, which was refused`,
  'in quotes': (key) => `invalid key '${key}'.`,
  'in JSON': (key) => JSON.stringify({ error: { message: key, nested: [key] } }),
  'in JSON inside JSON': (key) => JSON.stringify({ body: JSON.stringify({ api_key: key }) }),
  'as a header': (key) => `x-api-key: ${key}\r\n`,
  'as a bearer token': (key) => `authorization: Bearer ${key}`,
  'in a URL': (key) => `https://api.example.com/v1/models?key=${key}&alt=sse`,
  'in a URL inside a URL': (key) => `https://example.com/?to=${encodeURIComponent(`https://example.com/?key=${key}`)}`,
  'as the password of a URL': (key) => `postgres://user:${key}@db.example.com/app`,
  'behind a line end': (key) => `a\n${key}\nb`,
}

t.test('no form of key is left, wherever it stands', async (t) => {
  const left = Object.entries(KEYS).flatMap(([form, key]) =>
    Object.entries(PLACES)
      .filter(([, write]) => redact(write(key)).includes(key) || !redact(write(key)).includes(REDACTED))
      .map(([place]) => `${form} ${place}`),
  )
  t.same(left, [])
})

t.test('what a name or a scheme says is a secret goes too, whatever its form', async (t) => {
  const cases: [string, string][] = [
    ['password=correct-horse-battery&user=a', 'password=[redacted]&user=a'],
    ['{"client_secret":"abcdefgh1234"}', '{"client_secret":"[redacted]"}'],
    ['{\\"refresh_token\\": \\"abcdefgh1234\\"}', '{\\"refresh_token\\": \\"[redacted]\\"}'],
    ["x-api-key: 'abcdefgh1234'", "x-api-key: '[redacted]'"],
    ['authorization: Basic dXNlcjpwYXNz', 'authorization: Basic [redacted]'],
    ['redis://:p@ss:word@localhost:6379/0', 'redis://:[redacted]@localhost:6379/0'],
    ['https://user:pw@host/path?x=1', 'https://user:[redacted]@host/path?x=1'],
  ]
  t.same(
    cases.map(([text]) => redact(text)),
    cases.map(([, expected]) => expected),
  )
})

t.test('what is no secret stays as it is', async (t) => {
  const harmless = [
    'a disk-based-assessment-of-everything',
    'the risk-assessment-methodology',
    'input_tokens: 128000, max_tokens: 32000',
    'call_01k5a8zj3m5b0e4f2a1c9d8e7f6a5b4c3',
    'acc_5b0e4f2a1c9d8e7f6a5b',
    '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    'claude-opus-5-5-20260922',
    'http://127.0.0.1:8080/v1/messages?beta=true',
    '    at file:///work/subgate/src/protocols/anthropic-messages/usage.ts:42:7',
    'mail bearer of news to a@b.example',
    'the bearer is late',
  ]
  t.same(harmless.map(redact), harmless)
})

t.test('no text takes more than linear time', async (t) => {
  const evil = [
    'eyJ-',
    'a-',
    'sk-',
    'bearer ',
    'bearer\t\t',
    'a://b:',
    '?key=',
    'password"',
    'https',
    'eyJaaaaaaaaa.',
    'A1a-',
  ]
  const before = performance.now()
  for (const piece of evil) redact(piece.repeat(Math.ceil(500_000 / piece.length)))
  redact(`bearer${' '.repeat(500_000)}`)
  redact(`password:${' '.repeat(500_000)}`)
  t.ok(performance.now() - before < 20_000, 'half a megabyte of each takes milliseconds, not hours')
})

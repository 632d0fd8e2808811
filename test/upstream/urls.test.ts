import t from 'tap'
import { type ErrorFacts, isGatewayError } from '../../src/domain/errors.ts'
import { checkBaseUrl, isAllowedHost, isPrivateAddress, type UrlRules } from '../../src/upstream/urls.ts'

const STRICT: UrlRules = {
  allowlist: true,
  upstreamHosts: ['api.anthropic.com', '*.example.com', '[2606:4700::1111]'],
  insecureHttp: false,
  privateHosts: false,
}
const OPEN: UrlRules = { allowlist: false, upstreamHosts: [], insecureHttp: true, privateHosts: true }

function refusal(url: string, rules: UrlRules): { message: string; hint: ErrorFacts['hint'] } | null {
  try {
    checkBaseUrl(url, rules)
    return null
  } catch (error) {
    if (isGatewayError(error, 'invalid_request')) return { message: error.message, hint: error.facts.hint }
    throw error
  }
}

/** IPv4 literals in all the spellings that URL parsers and C libraries take. */
const LOOPBACK_SPELLINGS = [
  '127.0.0.1',
  '127.1',
  '127.0.1',
  '2130706433',
  '0x7f.1',
  '0x7f000001',
  '0x7F.0x0.0x0.0x1',
  '0177.0.0.1',
  '017700000001',
  '127.0.0.1.',
  '１２７.0.0.1',
  '127。0。0。1',
  '%31%32%37.0.0.1',
  '127.255.255.254',
  '0',
  '0.0.0.0',
  '0x0',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::]',
  '[::127.0.0.1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::FFFF:7F00:0001]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b:1::7f00:1]',
  '[2002:7f00:1::]',
  '[2001:0:1::1]',
  'localhost',
  'LOCALHOST',
  'localhost.',
  'a.localhost',
  'a.localhost.',
]
const PRIVATE_SPELLINGS = [
  '10.0.0.1',
  '0xa.1',
  '167772161',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.0.1',
  '192.168.257',
  '100.64.0.1',
  '100.127.255.255',
  '169.254.169.254',
  '0xa9fea9fe',
  '2852039166',
  '0251.0376.0251.0376',
  '[::ffff:169.254.169.254]',
  '[64:ff9b::a9fe:a9fe]',
  '192.0.0.192',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '240.0.0.1',
  '192.0.2.1',
  '198.51.100.1',
  '203.0.113.1',
  '[fe80::1]',
  '[fec0::1]',
  '[fc00::1]',
  '[fd00:ec2::254]',
  '[ff02::1]',
  '[2001:db8::1]',
  '[100::1]',
  '[3fff::1]',
  '[5f00::1]',
]

t.test('no spelling of an address that is not public gets through', async (t) => {
  const rules = { ...STRICT, allowlist: false }
  const through = [...LOOPBACK_SPELLINGS, ...PRIVATE_SPELLINGS].filter((host) => {
    const refused = refusal(`https://${host}/v1`, rules)
    return !refused || !/^Invalid base URL: (?:.* is a private address|'.*' is not a URL)$/.test(refused.message)
  })
  t.same(through, [])
  const refusedThough = [...LOOPBACK_SPELLINGS, ...PRIVATE_SPELLINGS].filter((host) =>
    refusal(`https://${host}/v1`, OPEN),
  )
  t.same(refusedThough, [], 'and each is a URL that the operator can allow')
})

t.test('public addresses and names are let through', async (t) => {
  const rules = { ...STRICT, allowlist: false }
  const hosts = [
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '169.253.0.1',
    '192.169.0.1',
    '223.255.255.255',
    '[2606:4700::1111]',
    '[::ffff:1.1.1.1]',
    'api.anthropic.com',
    'localhost.example.com',
    'notlocalhost',
  ]
  t.same(
    hosts.filter((host) => refusal(`https://${host}`, rules)),
    [],
  )
})

t.test('what is no address is nothing that may be connected to', async (t) => {
  t.same(['', 'localhost', '1.2.3', '::g', '1.2.3.4.5', '999.1.1.1'].map(isPrivateAddress), Array(6).fill(true))
  t.same(['fe80::1%lo', '::ffff:10.0.0.1', '127.0.0.1'].map(isPrivateAddress), [true, true, true])
  t.same(['8.8.8.8', '2606:4700::1111', '::ffff:8.8.8.8'].map(isPrivateAddress), [false, false, false])
})

t.test('a URL is kept in its normal form', async (t) => {
  const cases: [string, string][] = [
    ['https://api.anthropic.com', 'https://api.anthropic.com'],
    ['https://API.Anthropic.com:443/', 'https://api.anthropic.com'],
    ['https://api.anthropic.com/a/../b//', 'https://api.anthropic.com/b'],
    [' https://api.anthropic.com/x ', 'https://api.anthropic.com/x'],
    ['http://127.0.0.1:8080/', 'http://127.0.0.1:8080'],
    ['http://[::1]:8080/p', 'http://[::1]:8080/p'],
    ['http://0x7f.1', 'http://127.0.0.1'],
  ]
  t.same(
    cases.map(([url]) => checkBaseUrl(url, OPEN)),
    cases.map(([, normal]) => normal),
  )
})

t.test('a refusal says what is wrong and which line of the configuration would allow it', async (t) => {
  const cases: [string, UrlRules, string, string | undefined][] = [
    [
      'http://api.anthropic.com',
      STRICT,
      'Invalid base URL: invalid url scheme: http',
      'Set security.url_allowlist.allow_insecure_http: true to allow http: URLs.',
    ],
    ['ftp://api.anthropic.com', OPEN, 'Invalid base URL: invalid url scheme: ftp', undefined],
    ['file:///etc/passwd', OPEN, 'Invalid base URL: invalid url scheme: file', undefined],
    [
      'https://10.0.0.1',
      { ...STRICT, allowlist: false },
      'Invalid base URL: 10.0.0.1 is a private address',
      'Set security.url_allowlist.allow_private_hosts: true to allow loopback and private addresses.',
    ],
    [
      'https://other.example',
      STRICT,
      'Invalid base URL: the host other.example is not on the allowlist',
      "Add 'other.example' to security.url_allowlist.upstream_hosts.",
    ],
    [
      'http://127.0.0.1:11434',
      STRICT,
      'Invalid base URL: invalid url scheme: http; 127.0.0.1 is a private address; the host 127.0.0.1 is not on the allowlist',
      "Set security.url_allowlist.allow_insecure_http: true to allow http: URLs. Set security.url_allowlist.allow_private_hosts: true to allow loopback and private addresses. Add '127.0.0.1' to security.url_allowlist.upstream_hosts.",
    ],
    [
      'https://user:pw@api.anthropic.com',
      OPEN,
      'Invalid base URL: a URL must not hold a user name or password',
      undefined,
    ],
    [
      'https://user@api.anthropic.com',
      OPEN,
      'Invalid base URL: a URL must not hold a user name or password',
      undefined,
    ],
    ['https://api.anthropic.com?x=1', OPEN, 'Invalid base URL: a base URL has no ? or # part', undefined],
    ['https://api.anthropic.com#x', OPEN, 'Invalid base URL: a base URL has no ? or # part', undefined],
    ['api.anthropic.com', OPEN, "Invalid base URL: 'api.anthropic.com' is not a URL", undefined],
    ['', OPEN, "Invalid base URL: '' is not a URL", undefined],
    ['https://', OPEN, "Invalid base URL: 'https://' is not a URL", undefined],
  ]
  t.same(
    cases.map(([url, rules]) => refusal(url, rules)),
    cases.map(([, , message, hint]) => ({ message, hint })),
  )
})

t.test('the allowlist takes hosts and their subdomains, and nothing that looks like them', async (t) => {
  const allowed = ['api.anthropic.com', 'a.example.com', 'a.b.example.com', '[2606:4700::1111]', 'API.ANTHROPIC.COM']
  t.same(
    allowed.filter((host) => refusal(`https://${host}`, STRICT)),
    [],
  )
  const refused = [
    'example.com',
    'badexample.com',
    'api.anthropic.com.evil.net',
    'xapi.anthropic.com',
    'anthropic.com',
    'a.example.com.',
    'api.anthropic.com@evil.net',
    'evil.net/api.anthropic.com',
    '1.1.1.1',
  ]
  t.same(
    refused.filter((host) => !refusal(`https://${host}`, STRICT)),
    [],
  )
  t.ok(isAllowedHost('a.example.com', ['*.EXAMPLE.com']))
  t.notOk(isAllowedHost('a', []))
})

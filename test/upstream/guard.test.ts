import t from 'tap'
import type { Resolve } from '../../src/upstream/client.ts'
import type { UrlRules } from '../../src/upstream/urls.ts'
import { answer, RawServer } from './raw-server.ts'
import { bodyOf, client, failureOf, OPEN, post } from './sinks.ts'

const GUARDED: UrlRules = { ...OPEN, privateHosts: false }

/** A resolver that knows one address for every name. */
const resolvingTo =
  (...addresses: string[]): Resolve =>
  (_, __, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )

t.test('a literal of a private address is never connected to', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(answer('secret')))
  await using upstream = client({ rules: () => GUARDED })
  const spellings = [
    '127.0.0.1',
    '0x7f.1',
    '2130706433',
    '127.1',
    '[::ffff:127.0.0.1]',
    '[::1]',
    'localhost',
    '0.0.0.0',
  ]
  for (const host of spellings) {
    const failure = await failureOf(upstream.send(post(`http://${host}:${server.port}`)))
    t.match(failure, { kind: 'refused', message: /is a private address/ }, host)
  }
  t.equal(server.connections, 0)
})

t.test('a name that resolves to a private address is not connected to, whatever else it resolves to', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(answer('secret')))
  const url = `http://upstream.example:${server.port}`
  for (const address of [
    '127.0.0.1',
    '::1',
    '::ffff:127.0.0.1',
    '169.254.169.254',
    '10.0.0.1',
    'fe80::1%lo',
    'fd00:ec2::254',
  ]) {
    await using upstream = client({ rules: () => GUARDED, resolve: resolvingTo(address, address) })
    const failure = await failureOf(upstream.send(post(url)))
    t.match(
      failure,
      { kind: 'refused', message: /^Invalid base URL: upstream\.example is a private address$/ },
      address,
    )
  }
  const connected: string[] = []
  const watched: Resolve = (_, __, callback) => {
    connected.push('asked')
    callback(null, [
      { address: '127.0.0.1', family: 4 },
      { address: 'not an address', family: 4 },
    ])
  }
  await using upstream = client({ rules: () => GUARDED, resolve: watched })
  t.match(await failureOf(upstream.send(post(url))), { kind: 'refused' })
  t.match(await failureOf(upstream.send(post(url))), { kind: 'refused' })
  t.equal(connected.length, 2, 'every connection asks anew')
  t.equal(server.connections, 0)
})

t.test('a name is resolved by the system unless told otherwise', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(answer('yes')))
  await using upstream = client()
  t.equal((await bodyOf(upstream.send(post(`http://localhost:${server.port}`)))).toString(), 'yes')
})

t.test('where private addresses are allowed, literals and names of both families are connected to', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(answer('yes')))
  await using upstream = client({ resolve: resolvingTo('127.0.0.1') })
  for (const host of ['127.0.0.1', '0x7f.1', '[::ffff:127.0.0.1]', 'upstream.example']) {
    const body = await bodyOf(upstream.send(post(`http://${host}:${server.port}`)))
    t.equal(body.toString(), 'yes', host)
  }
})

t.test('the address that was really connected is looked at once more', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(answer('secret')))
  let rules = OPEN
  const resolve: Resolve = (_, __, callback) => {
    callback(null, [{ address: '127.0.0.1', family: 4 }])
    rules = GUARDED // as if what was connected were not what was resolved
  }
  await using upstream = client({ rules: () => rules, resolve })
  const failure = await failureOf(upstream.send(post(`http://upstream.example:${server.port}`)))
  t.match(failure, { kind: 'refused', message: /127\.0\.0\.1 is a private address/ })
  t.equal(server.requests.length, 0, 'nothing was sent')
})

t.test('the rules are asked at each call, also of a base URL that was fine when it was stored', async (t) => {
  await using upstream = client({ rules: () => ({ ...OPEN, allowlist: true, upstreamHosts: ['api.anthropic.com'] }) })
  t.match(await failureOf(upstream.send(post('https://upstream.example'))), { kind: 'refused', message: /allowlist/ })
  await using strict = client({ rules: () => ({ ...OPEN, insecureHttp: false }) })
  t.match(await failureOf(strict.send(post('http://upstream.example'))), {
    kind: 'refused',
    message: /invalid url scheme: http/,
  })
})

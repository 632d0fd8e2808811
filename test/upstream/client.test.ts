import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls'
import t from 'tap'
import { collectBody, type Resolve } from '../../src/upstream/client.ts'
import { answer, openAnswer, RawServer } from './raw-server.ts'
import { bodyOf, client, failureOf, headOf, OPEN, post, RecordingSink, until } from './sinks.ts'

t.test('a request goes out as it was given, under the path of its base URL', async (t) => {
  await using server = await RawServer.start(({ socket }) =>
    socket.write(answer('{"ok":true}', { 'request-id': 'req_1' })),
  )
  await using upstream = client()
  const exchange = upstream.send({
    method: 'POST',
    baseUrl: `${server.url}/prefix`,
    path: '/v1/messages?beta=true',
    headers: ['x-api-key', 'k', 'anthropic-beta', 'a', 'anthropic-beta', 'b'],
    body: Buffer.from('{"a":1}'),
  })
  t.match(await headOf(exchange), { status: 200, headers: { 'request-id': 'req_1' } })
  t.equal((await bodyOf(exchange)).toString(), '{"ok":true}')
  const [request] = server.requests
  const [line, ...headers] = request?.head.split('\r\n') ?? []
  t.equal(line, 'POST /prefix/v1/messages?beta=true HTTP/1.1')
  t.same(headers.filter((header) => !/^(host|connection):/.test(header)).sort(), [
    'anthropic-beta: a',
    'anthropic-beta: b',
    'content-length: 7',
    'x-api-key: k',
  ])
  t.equal(request?.body, '{"a":1}')
})

t.test('redirects are answers like any other', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(answer('', { location: '/elsewhere' }, 302)))
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  t.match(await headOf(exchange), { status: 302, headers: { location: '/elsewhere' } })
  await bodyOf(exchange)
  t.equal(server.requests.length, 1)
})

t.test('an interim answer is not the answer', async (t) => {
  await using server = await RawServer.start(({ socket }) => {
    socket.write('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n')
    socket.write(answer('yes'))
  })
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  t.equal((await headOf(exchange)).status, 200)
  t.equal((await bodyOf(exchange)).toString(), 'yes')
})

t.test('each way to fail before the head has its kind', async (t) => {
  const before = (write: (socket: Socket) => void) => RawServer.start(({ socket }) => write(socket))
  const cases: [string, (socket: Socket) => void, string][] = [
    ['reset', (socket) => socket.resetAndDestroy(), 'reset'],
    ['closed', (socket) => socket.end(), 'reset'],
    ['closed within the head', (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-'), 'reset'],
    ['not HTTP', (socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'), 'invalid'],
    ['a bad header', (socket) => socket.write('HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n'), 'invalid'],
    [
      'two lengths',
      (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n'),
      'invalid',
    ],
    [
      'headers without end',
      (socket) => socket.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`),
      'invalid',
    ],
    ['a compression nobody knows', (socket) => socket.write(answer('x', { 'content-encoding': 'lzma' })), 'invalid'],
    ['two compressions', (socket) => socket.write(answer('x', { 'content-encoding': 'gzip, br' })), 'invalid'],
  ]
  for (const [name, write, kind] of cases) {
    await using server = await before(write)
    await using upstream = client()
    const exchange = upstream.send(post(server.url))
    t.match(await failureOf(exchange), { kind, reused: false, message: /./ }, name)
    await until(() => server.sockets.size === 0)
  }
})

t.test('no connection is no connection, whyever', async (t) => {
  await using server = await RawServer.start(() => {})
  const { url } = server
  await server[Symbol.asyncDispose]()
  await using upstream = client()
  const exchange = upstream.send(post(url))
  t.match(await failureOf(exchange), { kind: 'connect', message: /ECONNREFUSED/ })

  const unknown: Resolve = (_, __, callback) =>
    callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), [])
  await using unresolving = client({ resolve: unknown })
  t.match(await failureOf(unresolving.send(post('http://nowhere.example'))), { kind: 'connect', message: /ENOTFOUND/ })

  await using _ = await RawServer.start(() => {}) // undici's timers alone do not keep a process alive
  await using waiting = client({ resolve: () => {}, connectTimeoutMs: () => 50 })
  t.match(await failureOf(waiting.send(post('http://slow.example'))), { kind: 'connect', message: /timeout/i })

  const unfit = upstream.send({ ...post('http://127.0.0.1:1'), headers: ['x-api-key', 'two\r\nlines'] })
  t.match(await failureOf(unfit), { kind: 'connect', message: /header/ })
  t.match(await failureOf(upstream.send(post('not a url'))), { kind: 'refused', message: /not a URL/ })
})

t.test('a connection that the peer closed while it was idle is told from a fresh one', async (t) => {
  await using server = await RawServer.start(({ socket, request }) => {
    if (request === 1) socket.write(answer('first'))
    else socket.resetAndDestroy()
  })
  await using upstream = client()
  const first = upstream.send(post(server.url))
  await headOf(first)
  await bodyOf(first)
  t.equal(first.reused, false)
  await nextTurn() // in which the connection comes free
  const second = upstream.send(post(server.url))
  t.match(await failureOf(second), { kind: 'reset', reused: true })
  t.same(
    server.requests.map(({ connection }) => connection),
    [1, 1],
  )
  const third = upstream.send(post(server.url))
  t.equal((await bodyOf(third)).toString(), 'first', 'the next one gets a connection of its own')
  t.equal(third.reused, false)
})

t.test('a connection that is reset at the first request on it is not reused, whatever ran before', async (t) => {
  await using server = await RawServer.start(({ socket, connection }) => {
    if (connection === 1) socket.write(answer('first', { connection: 'close' }))
    else socket.resetAndDestroy()
  })
  await using upstream = client()
  await bodyOf(upstream.send(post(server.url)))
  t.match(await failureOf(upstream.send(post(server.url))), { kind: 'reset', reused: false })
})

t.test('over TLS a fresh connection is fresh too, and only a trusted peer is spoken to', async (t) => {
  const pem = (name: string) => readFileSync(new URL(`../fixtures/tls-${name}.pem`, import.meta.url), 'utf8')
  let requests = 0
  const server = createTlsServer({ key: pem('key'), cert: pem('cert') }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', () => {
      if (++requests === 1) socket.write(answer('over TLS'))
      else socket.destroy()
    })
  }).listen(0, '127.0.0.1')
  server.on('tlsClientError', () => {})
  await once(server, 'listening')
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`

  await using strict = client()
  const untrusted = strict.send(post(url))
  t.match(await failureOf(untrusted), { kind: 'connect', message: /certificate/i })
  t.equal(requests, 0, 'it was told nothing')

  const before = getCACertificates('default')
  setDefaultCACertificates([...before, pem('cert')])
  t.teardown(() => setDefaultCACertificates(before))
  await using upstream = client()
  t.equal((await bodyOf(upstream.send(post(url)))).toString(), 'over TLS')
  await nextTurn()
  t.match(await failureOf(upstream.send(post(url))), { kind: 'reset', reused: true })
  t.match(await failureOf(upstream.send(post(url))), { kind: 'reset', reused: false })
  await new Promise((resolve) => server.close(resolve))
})

t.test('calls to a host do not wait for each other’s connections', async (t) => {
  const names: ((error: null, addresses: { address: string; family: number }[]) => void)[] = []
  await using server = await RawServer.start(({ socket }) => socket.write(answer('yes')))
  const resolve: Resolve = (_, __, callback) => void names.push(callback)
  await using upstream = client({ resolve })
  for (const scheme of ['http', 'https']) {
    const exchanges = [1, 2, 3].map(() => upstream.send(post(`${scheme}://upstream.example:${server.port}`)))
    t.equal(names.length, 3, `${scheme}: all three connect at once`)
    for (const exchange of exchanges) exchange.cancel('enough')
    names.length = 0
  }
})

t.test('an answer that breaks off is a failure, however it breaks', async (t) => {
  const cases: [string, string, (socket: Socket) => void, string, string][] = [
    ['reset', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345', (s) => s.resetAndDestroy(), 'reset', '12345'],
    ['closed too early', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345', (s) => s.end(), 'reset', '12345'],
    [
      'closed too early, as announced',
      'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\n12345',
      (s) => s.end(),
      'reset',
      '12345',
    ],
    [
      'closed within chunks',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n',
      (s) => s.end(),
      'reset',
      '12345',
    ],
    [
      'closed within a chunk',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n12345',
      (s) => s.end(),
      'reset',
      '12345',
    ],
    [
      'no chunk at all',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n',
      (s) => s.write('oops\r\n'),
      'invalid',
      '12345',
    ],
  ]
  for (const [name, start, breakOff, kind, body] of cases) {
    await using server = await RawServer.start(({ socket }) => socket.write(start))
    await using upstream = client()
    const exchange = upstream.send(post(server.url))
    await headOf(exchange)
    const sink = new RecordingSink()
    exchange.attach(sink)
    await until(() => sink.bytes === 5)
    breakOff(server.requests[0]?.socket as Socket)
    t.match(await sink.over, { kind, reused: false }, name)
    t.equal(sink.body.toString(), body)
    t.equal(sink.told.length, 1)
  }
})

t.test('an answer without a length ends with its connection', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.end(`${openAnswer()}all of it`))
  await using upstream = client()
  t.equal((await bodyOf(upstream.send(post(server.url)))).toString(), 'all of it')
})

t.test('a request that is cancelled before its connection stands is never made', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(answer('yes')))
  const asked = Promise.withResolvers<void>()
  const known = Promise.withResolvers<void>()
  const resolve: Resolve = (_, __, callback) => {
    asked.resolve()
    void known.promise.then(() => callback(null, [{ address: '127.0.0.1', family: 4 }]))
  }
  await using upstream = client({ resolve })
  const url = `http://upstream.example:${server.port}`
  const exchange = upstream.send(post(url, 'cancelled'))
  await asked.promise
  exchange.cancel('client_left')
  t.match(await failureOf(exchange), { kind: 'cancelled', message: 'client_left' })
  known.resolve()
  t.equal((await bodyOf(upstream.send(post(url, 'next')))).toString(), 'yes')
  t.same(
    server.requests.map(({ body }) => body),
    ['next'],
  )
})

t.test('a request that is cancelled while it waits for its head closes its connection', async (t) => {
  await using server = await RawServer.start(() => {})
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  await until(() => server.requests.length === 1)
  exchange.cancel('timed_out')
  exchange.cancel('again')
  t.match(await failureOf(exchange), { kind: 'cancelled', message: 'timed_out' })
  await until(() => server.sockets.size === 0)
  const sink = new RecordingSink()
  exchange.attach(sink)
  t.match(sink.told, [{ kind: 'cancelled' }], 'whoever comes late is told too')
})

t.test('an answer that is cancelled in the middle closes its connection, and nothing more comes of it', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(`${openAnswer()}one`))
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  const sink = new RecordingSink(() => exchange.cancel('client_left'))
  exchange.attach(sink)
  t.match(await sink.over, { kind: 'cancelled', message: 'client_left' })
  await until(() => server.sockets.size === 0)
  t.same(sink.told.length, 1)
  t.equal(sink.body.toString(), 'one')
})

t.test('a body is collected up to a limit, and with what came before a break', async (t) => {
  await using server = await RawServer.start(({ socket, body }) => {
    if (body === 'break') {
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345')
    } else socket.write(answer('x'.repeat(1000)))
  })
  await using upstream = client()
  const read = async (body: string, max: number) => {
    const { body: read, failure } = await collectBody(upstream.send(post(server.url, body)), max)
    return { text: read.toString(), failure }
  }
  t.same(await read('', 2000), { text: 'x'.repeat(1000), failure: null })
  t.same(await read('', 10), { text: 'x'.repeat(10), failure: null })
  const broken = await read('break', 2000)
  t.match(broken, { text: '12345', failure: { kind: 'reset' } })
})

t.test('a reload applies new rules to new calls and lets the running ones end', async (t) => {
  let rules = OPEN
  await using server = await RawServer.start(({ socket }) => socket.write(`${openAnswer()}one`))
  await using upstream = client({ rules: () => rules })
  const running = upstream.send(post(server.url))
  await headOf(running)
  rules = { ...OPEN, privateHosts: false }
  upstream.reload()
  t.match(await failureOf(upstream.send(post(server.url))), { kind: 'refused', message: /private address/ })
  for (const socket of server.sockets) socket.end(' two')
  t.equal((await bodyOf(running)).toString(), 'one two')
})

t.test('whoever disposes of the client ends what still runs, also what a reload had let go on', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(`${openAnswer()}one`))
  const upstream = client()
  const before = upstream.send(post(server.url))
  await headOf(before)
  upstream.reload()
  const after = upstream.send(post(server.url))
  await headOf(after)
  const sinks = [before, after].map((exchange) => {
    const sink = new RecordingSink()
    exchange.attach(sink)
    return sink
  })
  await upstream[Symbol.asyncDispose]()
  for (const sink of sinks) t.match(await sink.over, { kind: 'reset' })
  await until(() => server.sockets.size === 0)
})

t.test('two thousand streams are open at a time', async (t) => {
  const streams = 2000
  await using server = await RawServer.start(({ socket }) => socket.write(`${openAnswer()}one`))
  await using upstream = client()
  const exchanges = Array.from({ length: streams }, () => upstream.send(post(server.url)))
  const sinks = exchanges.map((exchange) => {
    const sink = new RecordingSink()
    exchange.attach(sink)
    return sink
  })
  await until(() => sinks.every((sink) => sink.bytes === 3))
  t.equal(server.sockets.size, streams)
  for (const socket of server.sockets) socket.end(' two')
  const ends = await Promise.all(sinks.map((sink) => sink.over))
  t.ok(ends.every((end) => end === 'end') && sinks.every((sink) => sink.body.toString() === 'one two'))
})

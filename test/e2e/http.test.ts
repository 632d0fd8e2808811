import { Agent } from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { GatewayServer } from '../../src/server/server.ts'
import { type Answer, ClientCall, messageRequest, RawConnection, until } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

/** HTTP itself: what a client gets that breaks its rules, and one that keeps rules that few use. */

const JSON_CALL = messageRequest(false)

/** A request as text, for a connection on which the test says every byte itself. */
function request(key: string, { method = 'POST', path = '/v1/messages', headers = '', body = '' } = {}): string {
  const length = method === 'GET' || method === 'HEAD' ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`
  return `${method} ${path} HTTP/1.1\r\nhost: gateway\r\nx-api-key: ${key}\r\n${length}${headers}\r\n${body}`
}

/** What an error of ours says, wherever it was made. */
function errorOf(answer: Pick<Answer, 'text'>): { type: string; message: string } {
  return JSON.parse(answer.text).error
}

t.test('on a healthy gateway', async (t) => {
  const gw = await startGateway(t, {
    config: { 'cors.allowed_origins': ['https://app.example.com'], 'server.max_request_body_size': '1MiB' },
    setUp: (site) => site.scene(),
  })
  const { key } = gw.scenes

  t.test('a path that there is not is 404, in the shape that clients read', async (t) => {
    const answer = await gw.call({ path: '/v1/nothing', key, body: {} })
    t.equal(answer.status, 404)
    t.match(errorOf(answer), { type: 'not_found_error', message: 'this gateway has no POST /v1/nothing' })
    t.match(answer.headers, { 'x-should-retry': 'false', 'x-subgate-call-id': /^call_/ })
  })

  t.test('another method than the path has is 405, and says which it has', async (t) => {
    const get = await gw.call({ method: 'GET', key })
    t.match(get, { status: 405, headers: { allow: 'POST' } })
    t.match(errorOf(get), { message: 'use POST here' })
    t.match(await gw.call({ method: 'DELETE', path: '/', key, body: '' }), {
      status: 405,
      headers: { allow: 'GET, HEAD' },
    })
    t.match(await gw.call({ method: 'OPTIONS', key, body: '' }), { status: 405 })
    const head = await gw.call({ method: 'HEAD', key })
    t.match(head, { status: 405, text: '' }, 'HEAD has no body')
  })

  t.test('probes of clients at their start are answered without a key', async (t) => {
    for (const [method, path] of [
      ['HEAD', '/'],
      ['GET', '/'],
      ['HEAD', '/api/hello'],
      ['GET', '/api/hello'],
      ['GET', '/health'],
      ['GET', '/ready'],
    ] as const) {
      const answer = await gw.call({ method, path })
      t.match(answer, { status: 200, ended: 'whole' }, `${method} ${path}`)
    }
    for (const path of ['/api/event_logging/batch', '/api/event_logging/v2/batch']) {
      t.match(await gw.call({ path, body: { events: [1, 2, 3] } }), { status: 200, text: '{}' })
    }
    t.equal(gw.upstream.seen.length, 0, 'none of them goes any further')
  })

  t.test('doubled slashes, from a base URL that ends in one, are no other path', async (t) => {
    t.equal((await gw.call({ path: '//v1/messages', key, body: JSON_CALL })).status, 200)
  })

  t.test('headers beyond 64 KiB are 431', async (t) => {
    const connection = new RawConnection(gw.url)
    connection.send(request(key, { headers: `x-long: ${'a'.repeat(70_000)}\r\n` }))
    const text = await connection.untilClosed()
    t.match(text, /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/)
    t.match(text, /\r\nconnection: close\r\n/)
    t.match(text, /"type":"request_too_large","message":"the request's headers are larger than 64 KiB"/)
  })

  t.test('what is no HTTP is 400', async (t) => {
    for (const nonsense of [
      'HELLO\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      `\u0016\u0003\u0001${'x'.repeat(100)}\r\n\r\n`,
    ]) {
      const connection = new RawConnection(gw.url)
      connection.send(nonsense)
      t.match(await connection.untilClosed(), /^HTTP\/1\.1 400 Bad Request\r\n.*"invalid_request_error"/s)
    }
  })

  t.test('a length that is announced twice, or both ways, is refused: proxies disagree about it', async (t) => {
    for (const headers of [
      'content-length: 3\r\ncontent-length: 4\r\n',
      'content-length: 3\r\ntransfer-encoding: chunked\r\n',
    ]) {
      const connection = new RawConnection(gw.url)
      connection.send(`POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: ${key}\r\n${headers}\r\n{}`)
      t.match(await connection.untilClosed(), /^HTTP\/1\.1 400 /)
    }
  })

  t.test('expect: 100-continue is continued', async (t) => {
    const body = JSON.stringify(JSON_CALL)
    const connection = new RawConnection(gw.url)
    const whole = request(key, { headers: 'expect: 100-continue\r\n', body })
    connection.send(whole.slice(0, whole.length - body.length))
    await connection.has('HTTP/1.1 100 Continue\r\n\r\n')
    connection.send(body)
    await connection.has('HTTP/1.1 200 OK')
    t.match(connection.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/)
    connection.leave()
  })

  t.test('a request that is sent before the answer to the one before it waits for that, and is answered', async (t) => {
    const before = gw.upstream.seen.length
    const connection = new RawConnection(gw.url)
    const body = (name: string) =>
      JSON.stringify(messageRequest(false, { messages: [{ role: 'user', content: name }] }))
    connection.send(request(key, { body: body('first') }) + request(key, { body: body('second') }))
    await connection.has('You said: second')
    t.match(connection.text, /HTTP\/1\.1 200 OK.*You said: first.*HTTP\/1\.1 200 OK.*You said: second/s)
    t.equal(gw.upstream.seen.length, before + 2)
    connection.leave()
    await gw.settled()
  })

  t.test('nor does one begin that waits behind an answer whose client has left', async (t) => {
    const scene = await gw.site.scene({ accounts: [{ scripts: [{ breaks: { after: 3, how: 'silence' } }] }] })
    await gw.seen()
    const before = gw.upstream.seen.length
    const connection = new RawConnection(gw.url)
    const body = JSON.stringify(messageRequest(true))
    connection.send(request(scene.key, { body }) + request(scene.key, { body }))
    await connection.has('content_block_start')
    connection.leave()
    await gw.settled()
    t.equal(gw.upstream.seen.length, before + 1)
  })

  t.test('HTTP/1.0 is answered, and closed', async (t) => {
    const connection = new RawConnection(gw.url)
    connection.send(request(key, { body: JSON.stringify(messageRequest(true)) }).replace('HTTP/1.1', 'HTTP/1.0'))
    t.match(await connection.untilClosed(), /200 OK.*event: message_stop\n/s)
  })

  t.test('a body that is too large is 413, announced or not, whole or compressed', async (t) => {
    const large = JSON.stringify(messageRequest(false, { padding: 'a'.repeat(1024 * 1024) }))
    const announced = await gw.call({ key, body: large })
    t.equal(announced.status, 413)
    t.match(errorOf(announced), { type: 'request_too_large', message: /larger than 1 MiB/ })
    const chunked = gw.open({ key, headers: { 'transfer-encoding': 'chunked' } })
    chunked.request.end(large)
    t.equal((await chunked.over).status, 413)
    const compressed = await gw.call({ key, headers: { 'content-encoding': 'gzip' }, body: gzipSync(large) })
    t.equal(compressed.status, 413)
    t.equal(gw.gateway.running.bufferedBytes, 0)
  })

  t.test('an upload that is refused is not listened to for long', async (t) => {
    const head = `POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: ${key}\r\n`
    for (const refused of [
      `${head}content-length: 2000000\r\n\r\n{`,
      `${head}transfer-encoding: chunked\r\n\r\n${'10000\r\n'}${'a'.repeat(65_536)}\r\n`.replace(key, 'sk-nobody'),
    ]) {
      const connection = new RawConnection(gw.url)
      connection.send(refused)
      await connection.has('"request_id"')
      const more = setInterval(() => connection.send('1\r\na\r\n'), 50)
      t.match(await connection.untilClosed().finally(() => clearInterval(more)), /^HTTP\/1\.1 (413|401) /)
    }
  })

  t.test('compressed bodies are read; what is not compressed as it says is 400', async (t) => {
    const body = gzipSync(JSON.stringify(JSON_CALL))
    t.equal((await gw.call({ key, headers: { 'content-encoding': 'gzip' }, body })).status, 200)
    const broken = await gw.call({ key, headers: { 'content-encoding': 'gzip' }, body: 'nonsense' })
    t.match(errorOf(broken), { type: 'invalid_request_error', message: 'the request body is not valid gzip' })
    const unknown = await gw.call({ key, headers: { 'content-encoding': 'lzma' }, body })
    t.match(errorOf(unknown), { message: /'lzma' is not supported/ })
  })

  t.test('a refusal that comes before the body is whole can be read, and the connection used again', async (t) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    const body = Buffer.alloc(900_000, 'a')
    const refused = await gw.call({ agent, key: 'sk-nobody-has-this-key', body })
    t.equal(refused.status, 401)
    t.equal((await gw.call({ agent, key, body: JSON_CALL })).status, 200)
    const closing = await gw.call({ key: 'sk-nobody-has-this-key', body, headers: { connection: 'close' } })
    t.equal(closing.status, 401)
  })

  t.test('browsers of allowed origins may call; others are told nothing', async (t) => {
    const preflight = (origin: string) =>
      gw.call({
        method: 'OPTIONS',
        body: '',
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-api-key' },
      })
    t.match(await preflight('https://app.example.com'), {
      status: 204,
      headers: {
        'access-control-allow-origin': 'https://app.example.com',
        'access-control-allow-methods': 'GET, POST, PATCH, DELETE, OPTIONS',
        'access-control-allow-headers': 'x-api-key',
        vary: 'origin',
      },
    })
    const other = await preflight('https://evil.example.com')
    t.equal(other.status, 204)
    t.equal(other.headers['access-control-allow-origin'], undefined)
    const call = await gw.call({ key, body: JSON_CALL, headers: { origin: 'https://app.example.com' } })
    t.match(call, {
      status: 200,
      headers: { 'access-control-allow-origin': 'https://app.example.com', 'access-control-expose-headers': '*' },
    })
  })

  t.test('x-subgate-timing asks for the share of the time that is our own', async (t) => {
    const scene = await gw.site.scene({ accounts: [{ scripts: [{ headDelayMs: 300 }, { headDelayMs: 300 }] }] })
    await gw.seen()
    for (const stream of [false, true]) {
      const timed = gw.open({ key: scene.key, headers: { 'x-subgate-timing': '1', 'transfer-encoding': 'chunked' } })
      timed.request.write(' ')
      await new Promise((resolve) => setTimeout(resolve, 100)) // a slow client is not our share either
      timed.request.end(JSON.stringify(messageRequest(stream)))
      const { headers } = await timed.over
      const ownMs = Number(/^gateway;dur=([\d.]+)$/.exec(String(headers['server-timing']))?.[1])
      t.ok(ownMs > 0 && ownMs < 300, `${ownMs} ms`)
    }
    t.equal((await gw.call({ key, body: JSON_CALL })).headers['server-timing'], undefined)
  })

  t.test('nothing of all that is held', async (t) => {
    await gw.settled()
    t.match(gw.gateway.counters.all(), {
      'refused.not_found': 1,
      'refused.too_large': 5,
      'refused.unauthenticated': 3,
    })
  })
})

t.test('clients that take their time to ask', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene() })
  const { key } = gw.scenes
  const server = new GatewayServer(gw.gateway, { headMs: 150, requestMs: 300, keepAliveMs: 300, checkMs: 30 })
  t.teardown(() => server[Symbol.asyncDispose]())
  const url = `http://127.0.0.1:${await server.listen('127.0.0.1', 0)}`

  t.test('a head that does not end is 408', async (t) => {
    const connection = new RawConnection(url)
    connection.send('POST /v1/messages HTTP/1.1\r\nhost: gate')
    const text = await connection.untilClosed()
    t.match(text, /^HTTP\/1\.1 408 Request Timeout\r\n.*connection: close\r\n.*"timeout_error"/s)
  })

  t.test('a body that does not end is 408, and what came of it is not held', async (t) => {
    const connection = new RawConnection(url)
    connection.send(
      `POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: ${key}\r\ncontent-length: 500\r\n\r\n{"mod`,
    )
    await until('the body to be held', () => gw.gateway.running.bufferedBytes > 0)
    t.match(await connection.untilClosed(), /^HTTP\/1\.1 408 Request Timeout\r\n/)
    await gw.settled()
    t.equal(gw.gateway.running.bufferedBytes, 0)
  })

  t.test('a connection that says nothing is closed', async () => {
    await new RawConnection(url).untilClosed()
  })

  t.test('neither time-out covers the answer', async (t) => {
    const scene = await gw.site.scene({ accounts: [{ scripts: [{ headDelayMs: 400, eventDelayMs: 30 }] }] })
    await gw.seen()
    const slow = await new ClientCall(url, { key: scene.key, body: messageRequest(true) }).over
    t.match(slow, { status: 200, ended: 'whole', text: /message_stop/ })
  })

  t.test('bytes behind a request that are no HTTP do not get into its answer', async (t) => {
    const scene = await gw.site.scene({ accounts: [{ scripts: [{ breaks: { after: 3, how: 'silence' } }] }] })
    await gw.seen()
    const connection = new RawConnection(url)
    connection.send(request(scene.key, { body: JSON.stringify(messageRequest(true)) }))
    await connection.has('content_block_start')
    connection.send('this is no HTTP\r\n\r\n')
    t.notMatch(await connection.untilClosed(), /400/)
    await gw.settled()
  })
})

t.test('a body is held only up to the limit of all bodies', async (t) => {
  const gw: TestGateway & { scenes: { key: string } } = await startGateway(t, {
    config: { 'gateway.buffered_bytes_max': '64KiB' },
    setUp: (site) => site.scene(),
  })
  const { key } = gw.scenes
  const held = new RawConnection(gw.url)
  held.send(`POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: ${key}\r\ncontent-length: 60001\r\n\r\n`)
  held.send('{'.padEnd(60_000))
  await until('the body to be held', () => gw.gateway.running.bufferedBytes >= 60_000)
  const refused = await gw.call({ key, body: messageRequest(false, { padding: 'a'.repeat(10_000) }) })
  t.match(refused, { status: 503, headers: { 'retry-after': '2' } })
  t.match(errorOf(refused), { message: /holds as many request bodies as it may/ })
  held.leave()
  await gw.settled()
  t.equal((await gw.call({ key, body: messageRequest(false, { padding: 'a'.repeat(10_000) }) })).status, 200)
})

import { createHash, randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createDeflate,
  createGzip,
  createZstdCompress,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib'
import t from 'tap'
import type { UpstreamExchange } from '../../src/upstream/client.ts'
import { answer, openAnswer, RawServer } from './raw-server.ts'
import { bodyOf, client, headOf, post, RecordingSink, settled, until } from './sinks.ts'

const MiB = 1024 * 1024
const digest = (bytes: Buffer | Buffer[]) => {
  const hash = createHash('sha256')
  for (const part of Array.isArray(bytes) ? bytes : [bytes]) hash.update(part)
  return hash.digest('hex')
}

/** Writes a large answer as fast as its reader takes it. */
async function pour(socket: Socket, head: string, body: Buffer): Promise<void> {
  socket.write(head)
  for (let at = 0; at < body.length && !socket.destroyed; at += 65_536) {
    await new Promise((resolve) => socket.write(body.subarray(at, at + 65_536), resolve))
  }
  socket.end()
}

/** Bytes that left the server's process. */
const sentBy = (server: RawServer) =>
  server.requests.reduce((sum, { socket }) => sum + socket.bytesWritten - socket.writableLength, 0)

t.test('a sink that pauses holds the upstream back, and loses nothing', async (t) => {
  const body = randomBytes(32 * MiB)
  await using server = await RawServer.start(({ socket }) => void pour(socket, openAnswer(), body))
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  const sink = new RecordingSink(() => {
    if (sink.chunks.length === 1) exchange.pause()
  })
  exchange.attach(sink)
  await until(() => sink.bytes > 0)
  const sent = await settled(() => sentBy(server))
  t.ok(sink.bytes < MiB, 'the sink is left alone')
  t.ok(sent < 20 * MiB, 'no more than the system buffers has left the upstream')
  exchange.resume()
  t.equal(await sink.over, 'end')
  t.equal(digest(sink.chunks), digest(body))
})

t.test('an answer that nobody reads yet is held up to a limit, and then its upstream waits', async (t) => {
  const body = randomBytes(32 * MiB)
  await using server = await RawServer.start(({ socket }) => void pour(socket, openAnswer(), body))
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  await headOf(exchange)
  t.ok((await settled(() => sentBy(server))) < 20 * MiB)
  const first = new RecordingSink(() => exchange.detach())
  exchange.attach(first)
  t.equal(first.chunks.length, 1)
  t.ok((await settled(() => sentBy(server))) < 20 * MiB, 'it goes on waiting for the next sink')
  const second = new RecordingSink()
  exchange.attach(second)
  t.equal(await second.over, 'end')
  t.equal(digest([...first.chunks, ...second.chunks]), digest(body))
})

t.test('behind a decoder, too, a pause holds everything back', async (t) => {
  const zeros = Buffer.alloc(64 * MiB)
  const noise = randomBytes(32 * MiB)
  const cases = [
    { name: 'what grows when it is decoded', body: zeros, compressed: gzipSync(zeros, { level: 1 }) },
    { name: 'what does not', body: noise, compressed: gzipSync(noise, { level: 0 }) },
  ]
  for (const { name, body, compressed } of cases) {
    const head = openAnswer({ 'content-encoding': 'gzip' })
    await using server = await RawServer.start(({ socket }) => void pour(socket, head, compressed))
    await using upstream = client()
    const exchange = upstream.send(post(server.url))
    let bytes = 0
    const hash = createHash('sha256')
    const sink = new RecordingSink((chunk) => {
      hash.update(chunk)
      sink.chunks.length = 0
      bytes += chunk.length
      if (bytes === chunk.length) exchange.pause()
    })
    exchange.attach(sink)
    await until(() => bytes > 0)
    const sent = await settled(() => sentBy(server) + bytes)
    t.ok(bytes < MiB, `${name}: the sink is left alone`)
    t.ok(sent < 20 * MiB, `${name}: the upstream waits`)
    exchange.resume()
    t.equal(await sink.over, 'end', name)
    t.equal(bytes, body.length, name)
    t.equal(hash.digest('hex'), digest(body), name)
  }
})

t.test('a pause that comes while held chunks are handed over stays', async (t) => {
  const body = randomBytes(32 * MiB)
  await using server = await RawServer.start(({ socket }) => void pour(socket, openAnswer(), body))
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  await headOf(exchange)
  await settled(() => sentBy(server))
  const sink = new RecordingSink(() => {
    if (sink.chunks.length === 1) exchange.pause()
  })
  exchange.attach(sink)
  const handedOver = sink.bytes
  t.ok(handedOver > 0)
  await settled(() => sentBy(server) + sink.bytes)
  t.equal(sink.bytes, handedOver)
  exchange.resume()
  t.equal(await sink.over, 'end')
  t.equal(digest(sink.chunks), digest(body))
})

t.test('sinks may take turns, and each byte goes to one of them, in order', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(`${openAnswer()}one `))
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  const socket = () => server.requests[0]?.socket as Socket
  await headOf(exchange)
  const first = new RecordingSink()
  exchange.attach(first)
  await until(() => first.bytes === 4)
  exchange.detach()
  socket().write('two ')
  await settled(() => sentBy(server))
  socket().write('three ')
  await settled(() => sentBy(server))
  const second = new RecordingSink()
  exchange.attach(second)
  t.equal(second.body.toString(), 'two three ')
  exchange.detach()
  socket().end('four')
  await until(() => server.sockets.size === 0)
  const third = new RecordingSink()
  exchange.attach(third)
  t.equal(await third.over, 'end')
  t.equal(third.body.toString(), 'four')
  t.same([first.told, second.told], [[], []])
})

t.test('a sink that lets go while it takes what was held gets no more of it', async (t) => {
  await using server = await RawServer.start(({ socket }) => socket.write(`${openAnswer()}one`))
  await using upstream = client()
  const held = async (): Promise<UpstreamExchange> => {
    const exchange = upstream.send(post(server.url))
    await headOf(exchange)
    const { socket } = server.requests.at(-1) as { socket: Socket }
    await settled(() => socket.bytesWritten)
    socket.write('two')
    await settled(() => socket.bytesWritten)
    return exchange
  }
  const exchange = await held()
  const first = new RecordingSink(() => exchange.detach())
  exchange.attach(first)
  const second = new RecordingSink(() => exchange.cancel('enough'))
  exchange.attach(second)
  t.same([first.body.toString(), second.body.toString()], ['one', 'two'])
  t.match([first.told, second.told], [[], [{ kind: 'cancelled' }]])

  const other = await held()
  const third = new RecordingSink(() => other.cancel('enough'))
  other.attach(third)
  t.equal(third.body.toString(), 'one')
  t.match(third.told, [{ kind: 'cancelled' }], 'told once, and nothing after it')
})

const COMPRESSIONS = {
  gzip: { whole: gzipSync, stream: createGzip },
  'x-gzip': { whole: gzipSync, stream: createGzip },
  deflate: { whole: deflateSync, stream: createDeflate },
  br: { whole: brotliCompressSync, stream: createBrotliCompress },
  zstd: { whole: zstdCompressSync, stream: createZstdCompress },
} as const

t.test('answers that are compressed unasked are decoded, wherever they are cut', async (t) => {
  const body = Buffer.from('event: ping\ndata: {"type": "ping"}\n\n'.repeat(3) + randomBytes(60).toString('hex'))
  for (const [encoding, { whole }] of Object.entries(COMPRESSIONS)) {
    const compressed = whole(body)
    await using server = await RawServer.start(async ({ socket, body: at }) => {
      socket.write(
        `HTTP/1.1 200 OK\r\ncontent-encoding: ${encoding.toUpperCase()}\r\ncontent-length: ${compressed.length}\r\n\r\n`,
      )
      socket.write(compressed.subarray(0, Number(at)))
      setImmediate(() => socket.write(compressed.subarray(Number(at))))
    })
    await using upstream = client()
    const wrong: number[] = []
    for (let at = 0; at < compressed.length; at++) {
      const read = await bodyOf(upstream.send(post(server.url, String(at))))
      if (!read.equals(body)) wrong.push(at)
    }
    t.same(wrong, [], encoding)
  }
})

t.test('a compressed stream is decoded as it comes: nothing waits for its end', async (t) => {
  for (const [encoding, { stream }] of Object.entries(COMPRESSIONS)) {
    const flush =
      encoding === 'br'
        ? constants.BROTLI_OPERATION_FLUSH
        : encoding === 'zstd'
          ? constants.ZSTD_e_flush
          : constants.Z_SYNC_FLUSH
    const compressor = stream({ flush } as never)
    await using server = await RawServer.start(({ socket }) => {
      socket.write(openAnswer({ 'content-encoding': encoding }))
      compressor.on('data', (chunk) => socket.write(chunk))
      compressor.on('end', () => socket.end())
    })
    await using upstream = client()
    const exchange = upstream.send(post(server.url))
    await headOf(exchange)
    const sink = new RecordingSink()
    exchange.attach(sink)
    for (const text of ['event: a\n\n', 'event: b\n\n']) {
      const before = sink.bytes
      compressor.write(text)
      await until(() => sink.bytes === before + text.length)
    }
    compressor.end()
    t.equal(await sink.over, 'end', encoding)
    t.equal(sink.body.toString(), 'event: a\n\nevent: b\n\n', encoding)
  }
})

t.test('a broken compression is an invalid answer', async (t) => {
  const body = Buffer.from(randomBytes(2500).toString('hex'))
  for (const [encoding, { whole }] of Object.entries(COMPRESSIONS)) {
    const compressed = whole(body)
    const damaged = Buffer.from(compressed)
    damaged.fill(0xff, 20, 60)
    const broken = {
      'cut off': compressed.subarray(0, -10),
      nothing: Buffer.alloc(0),
      ...(encoding !== 'br' && { damaged, 'not compressed': body }), // Brotli has no checksum and no magic number
    }
    for (const [name, bytes] of Object.entries(broken)) {
      await using server = await RawServer.start(({ socket }) =>
        socket.write(answer(bytes, { 'content-encoding': encoding })),
      )
      await using upstream = client()
      const exchange = upstream.send(post(server.url))
      const sink = new RecordingSink()
      exchange.attach(sink)
      t.match(await sink.over, { kind: 'invalid', message: /compression is broken/ }, `${encoding}, ${name}`)
      t.equal(sink.told.length, 1)
    }
  }
})

t.test('what came before a break is decoded before the break is told', async (t) => {
  const text = 'event: message_delta\n\n'.repeat(5000)
  const compressor = createGzip()
  compressor.write(text)
  compressor.flush()
  const compressed: Buffer[] = []
  compressor.on('data', (chunk: Buffer) => compressed.push(chunk))
  await settled(() => compressed.length)
  await using server = await RawServer.start(({ socket }) => {
    socket.write(
      Buffer.concat([
        Buffer.from(openAnswer({ 'content-encoding': 'gzip', 'content-length': '999999' })),
        ...compressed,
      ]),
    )
    socket.end()
  })
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  const sink = new RecordingSink()
  exchange.attach(sink)
  t.match(await sink.over, { kind: 'reset' })
  t.equal(sink.body.toString(), text)
})

t.test('a compressed answer that is cancelled is over at once, also while it is paused', async (t) => {
  const compressed = gzipSync(Buffer.alloc(8 * MiB))
  await using server = await RawServer.start(({ socket }) =>
    socket.write(answer(compressed, { 'content-encoding': 'gzip' })),
  )
  await using upstream = client()
  const exchange = upstream.send(post(server.url))
  const sink = new RecordingSink(() => exchange.pause())
  exchange.attach(sink)
  await until(() => sink.bytes > 0)
  await settled(() => sink.bytes) // all of it is in, and most of it not decoded yet
  t.same(sink.told, [])
  exchange.cancel('client_left')
  t.match(await sink.over, { kind: 'cancelled' })
  t.equal(await settled(() => sink.bytes), sink.bytes)
})

import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { brotliCompressSync, constants, createZstdCompress, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import t from 'tap'
import { type ReadLimits, readBody } from '../../src/gateway/read-call.ts'
import { RunningCalls } from '../../src/gateway/running-calls.ts'
import { Ticker } from '../../src/lib/ticker.ts'
import { until } from '../support/client.ts'

const LIMITS: ReadLimits = { userId: 'usr_1', maxBodyBytes: 100_000, bufferedBytesMax: 1_000_000 }

const ticker = new Ticker(Date.now)
t.teardown(() => ticker[Symbol.dispose]())

function newRunning(): RunningCalls {
  return new RunningCalls(ticker)
}

/** A request whose body the test writes. */
function newRequest(headers: Record<string, string> = {}) {
  const stream = Object.assign(new PassThrough({ highWaterMark: 10_000_000 }), { headers })
  return { stream, req: stream as unknown as IncomingMessage }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('what is announced holds nothing; what has come is held until it is released', async (t) => {
  const running = newRunning()
  const { stream, req } = newRequest({ 'content-length': '90000' })
  const reading = readBody(req, running, LIMITS)
  t.equal(running.bufferedBytes, 0)
  stream.write(Buffer.alloc(40_000))
  await turn()
  t.ok(running.bufferedBytes >= 40_000 && running.bufferedBytes < 41_000, 'the bytes, and a little for the piece')
  stream.end(Buffer.alloc(50_000))
  const body = await reading
  t.equal(body.bytes.length, 90_000)
  t.equal(running.bufferedBytes, 90_000)
  body.release()
  t.equal(running.bufferedBytes, 0)
})

t.test('pieces cost memory too, however small they are', async (t) => {
  const running = newRunning()
  const { stream, req } = newRequest()
  const reading = readBody(req, running, { ...LIMITS, bufferedBytesMax: 50_000 })
  for (let i = 0; i < 1000 && !running.bufferedBytes; i++) for (let j = 0; j < 1000; j++) stream.write('a')
  await t.rejects(reading, { code: 'unavailable' })
  t.equal(running.bufferedBytes, 0)
})

t.test('one user holds half of it at most, and others have the rest', async (t) => {
  const running = newRunning()
  const limits = { ...LIMITS, bufferedBytesMax: 400_000 }
  const open = async (userId: string, bytes: number) => {
    const { stream, req } = newRequest()
    const reading = readBody(req, running, { ...limits, userId })
    reading.catch(() => {})
    stream.write(Buffer.alloc(bytes))
    await turn()
    return { stream, reading }
  }
  const calls = [await open('usr_1', 90_000), await open('usr_1', 90_000)]
  const third = await open('usr_1', 90_000)
  await t.rejects(third.reading, { code: 'limited', message: /of one user/, facts: { retryAfterMs: 2000 } })
  const { req } = newRequest({ 'content-length': '90000' })
  await t.rejects(readBody(req, running, { ...limits, userId: 'usr_1' }), { code: 'limited' }, 'nor is one begun')
  calls.push(await open('usr_2', 90_000), await open('usr_2', 90_000))
  const ofThird = await open('usr_3', 90_000)
  await t.rejects(ofThird.reading, { code: 'unavailable', message: /as many request bodies as it may;/ })
  for (const { stream } of calls) stream.end()
  for (const { reading } of calls) (await reading).release()
  t.equal(running.bufferedBytes, 0)
})

t.test('one body of full size is always allowed', async (t) => {
  const running = newRunning()
  for (const encoding of ['identity', 'gzip']) {
    const { stream, req } = newRequest({ 'content-encoding': encoding })
    const body = randomBytes(99_000)
    stream.end(encoding === 'gzip' ? gzipSync(body) : body)
    const read = await readBody(req, running, { ...LIMITS, bufferedBytesMax: 300_000 })
    t.ok(read.bytes.equals(body), encoding)
    read.release()
  }
})

t.test('neither a refused body nor one that was given up is kept by its request', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const isGone = (piece: WeakRef<Buffer>) =>
    until('a piece to be collected', async () => {
      await turn()
      collect()
      return !piece.deref()
    })
  const running = newRunning()
  const write = (stream: PassThrough) => {
    const piece = Buffer.alloc(60_000)
    stream.write(piece)
    return new WeakRef(piece)
  }
  const refused = newRequest()
  const refusal = t.rejects(readBody(refused.req, running, LIMITS), { code: 'too_large' })
  const pieces = [write(refused.stream), write(refused.stream)]
  await refusal
  for (const piece of pieces) await isGone(piece)

  const read = newRequest()
  const reading = readBody(read.req, running, LIMITS)
  const piece = write(read.stream)
  read.stream.end('and its end')
  const body = await reading
  t.equal(body.bytes.length, 60_011)
  await isGone(piece)
  t.ok(refused.req.headers && read.req.headers, 'both requests are still there')
})

t.test('every encoding that is offered is read', async (t) => {
  const text = 'a body that repeats itself, '.repeat(1000)
  const encodings = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdCompressSync }
  for (const [encoding, compress] of Object.entries(encodings)) {
    const running = newRunning()
    const { stream, req } = newRequest({ 'content-encoding': encoding })
    stream.end(compress(text))
    const body = await readBody(req, running, LIMITS)
    t.equal(body.bytes.toString(), text, encoding)
    t.equal(running.bufferedBytes, text.length, 'what was sent is counted no more')
    const cut = newRequest({ 'content-encoding': encoding })
    const whole = compress(text)
    cut.stream.end(whole.subarray(0, whole.length / 2))
    await t.rejects(readBody(cut.req, running, LIMITS), { code: 'invalid_request', message: /is not valid/ }, encoding)
    body.release()
    t.equal(running.bufferedBytes, 0)
  }
})

t.test('what a body unpacks to is counted as it grows, over all of them', async (t) => {
  const running = newRunning()
  const limits = { ...LIMITS, maxBodyBytes: 900_000, bufferedBytesMax: 1_000_000 }
  const bomb = gzipSync(Buffer.alloc(890_000))
  let most = 0
  const { count } = running.bodies
  running.bodies.count = function (userId, bytes) {
    count.call(this, userId, bytes)
    most = Math.max(most, this.bytes)
  }
  const reads = Array.from({ length: 6 }, (_, index) => {
    const { stream, req } = newRequest({ 'content-encoding': 'gzip' })
    stream.end(bomb)
    return readBody(req, running, { ...limits, userId: `usr_${index}` })
  })
  const results = await Promise.allSettled(reads)
  t.ok(results.filter(({ status }) => status === 'rejected').length >= 5, 'they do not fit beside each other')
  for (const result of results) {
    if (result.status === 'fulfilled') result.value.release()
    else t.match(result.reason, { code: 'unavailable' })
  }
  t.ok(most <= 1_000_000, `never more than allowed (${most})`)
  t.equal(running.bufferedBytes, 0)
})

t.test('a zstd frame may not ask for more memory than its encoding allows', async (t) => {
  const encoder = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: 27 } })
  const { stream, req } = newRequest({ 'content-encoding': 'zstd' })
  encoder.pipe(stream)
  encoder.write('the first part, so that the frame cannot know its length')
  encoder.flush(() => encoder.end('the second'))
  await t.rejects(readBody(req, newRunning(), LIMITS), { code: 'invalid_request', message: /is not valid zstd/ })
})

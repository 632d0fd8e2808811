import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/domain/errors.ts'
import { ClientAnswer } from '../../src/gateway/client-answer.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { UpstreamRefusal } from '../../src/gateway/upstream-refusal.ts'
import { protocols } from '../../src/protocols/index.ts'
import { ClientCall, RawConnection, until } from '../support/client.ts'

const HEAD = { status: 200, headers: ['content-type', 'text/event-stream'] }
const TIMES = { keepAliveFirstMs: 45_000, keepAliveIntervalMs: 15_000, clientStallTimeoutMs: 60_000 }
const LARGE = Buffer.alloc(64 * 1024 * 1024, 'x')

/** A server whose answers the test writes, under a clock that goes when it is told to. */
async function start(t: Test) {
  const watchers = new Set<(nowMs: number) => void>()
  const time = { ms: 1000 }
  const gateway = {
    clock: () => time.ms,
    config: { gateway: TIMES },
    log: pino({ level: 'silent' }),
    ticker: {
      watch(watcher: (nowMs: number) => void) {
        watchers.add(watcher)
        return () => watchers.delete(watcher)
      },
    },
  } as unknown as Gateway
  const answers: ClientAnswer[] = []
  const server = createServer((req, res) => {
    req.resume()
    const context = { callId: 'call_1', arrivedMs: time.ms }
    answers.push(new ClientAnswer(gateway, protocols['anthropic-messages'], res, context))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    watchers,
    answer: () => until('a request', () => answers.shift()),
    tick(ms: number) {
      time.ms += ms
      for (const watcher of watchers) watcher(time.ms)
    },
    now: () => time.ms,
  }
}

const open = (url: string) => new ClientCall(url, { body: {} })
const overloaded = new GatewayError('overloaded', 'nobody could answer', { retryAfterMs: 1000 })

t.test('nothing sent: an error has its status; nothing of the answer is watched after it', async (t) => {
  const { url, answer, watchers } = await start(t)
  const call = open(url)
  ;(await answer()).sendError(overloaded)
  const { status, headers, text, ended } = await call.over
  t.match({ status, ended, headers }, { status: 529, ended: 'whole', headers: { 'retry-after': '1' } })
  t.match(headers, { 'x-subgate-call-id': 'call_1', 'content-type': 'application/json' })
  t.match(JSON.parse(text).error, { type: 'overloaded_error', message: 'nobody could answer' })
  await until('the watcher to be gone', () => watchers.size === 0)
})

t.test('head sent: keep-alives in silence, then the error is an event', async (t) => {
  const { url, answer, tick } = await start(t)
  const call = open(url)
  const client = await answer()
  client.streams = true
  tick(44_999)
  t.equal(client.state, 'nothing sent')
  tick(1)
  t.equal(client.state, 'head sent')
  tick(14_999)
  tick(1)
  client.sendError(new UpstreamRefusal({ status: 400, headers: [], body: Buffer.from('{}'), message: 'too long' }))
  const { status, text } = await call.over
  t.equal(status, 200)
  t.match(
    text,
    /^(event: ping\ndata: \{"type": "ping"\}\n\n){2}event: error\ndata: .*"invalid_request_error","message":"too long"/,
  )
})

t.test('who wants no stream gets no keep-alives', async (t) => {
  const { url, answer, tick } = await start(t)
  const call = open(url)
  const client = await answer()
  tick(200_000)
  t.equal(client.state, 'nothing sent')
  client.end(Buffer.from('{}'), { status: 200, headers: ['content-type', 'application/json'] })
  t.match(await call.over, { status: 200, text: '{}', headers: { 'content-length': '2' } })
})

t.test('upstream relayed: events end with an error event, a body with a reset, for any version of HTTP', async (t) => {
  const { url, answer, now } = await start(t)
  const events = open(url)
  const client = await answer()
  client.streams = true
  client.relay(Buffer.from('event: a\n\n'), HEAD, now())
  client.sendError(overloaded)
  t.match((await events.over).text, /^event: a\n\nevent: error\n/)

  const body = open(url)
  const second = await answer()
  second.relay(Buffer.from('{"half'), HEAD, now())
  await body.has('{"half')
  second.sendError(overloaded)
  t.match(await body.over, { ended: 'cut', text: '{"half' })

  const old = new RawConnection(url)
  old.send('POST / HTTP/1.0\r\ncontent-length: 0\r\n\r\n')
  const third = await answer()
  third.relay(Buffer.from('{"half'), HEAD, now())
  await old.has('{"half')
  let failure: Error | null = null
  old.socket.on('error', (error) => {
    failure = error
  })
  third.sendError(overloaded)
  await old.untilClosed()
  t.match(failure, { code: 'ECONNRESET' }, 'an HTTP/1.0 client takes a mere end for success')
})

t.test('nothing of ours follows the terminal event', async (t) => {
  const { url, answer, tick, now } = await start(t)
  const call = open(url)
  const client = await answer()
  client.streams = true
  client.relayEnd(Buffer.from('event: message_stop\n\n'), HEAD, now())
  tick(15_000)
  client.sendError(overloaded)
  t.equal((await call.over).text, 'event: message_stop\n\n')
})

t.test(
  'a client that takes nothing is given up, in the middle and at the end; one that takes something is not',
  async (t) => {
    const { url, answer, tick, now } = await start(t)
    for (const how of ['middle', 'end'] as const) {
      const call = open(url)
      call.stopReading()
      const client = await answer()
      if (how === 'middle') client.relay(LARGE, HEAD, now())
      else client.end(LARGE, HEAD)
      tick(100)
      tick(59_900)
      t.equal(client.left, false)
      let left = false
      client.onLeave(() => {
        left = true
      })
      tick(100)
      await until(`the client to be given up in the ${how}`, () => left)
      call.leave()
    }
    const slow = open(url)
    slow.stopReading()
    const client = await answer()
    client.relay(LARGE, HEAD, now())
    tick(59_000)
    let drained = false
    client.onDrain(() => {
      drained = true
    })
    slow.readOn()
    await until('the client to have read all', () => drained)
    slow.stopReading()
    client.relay(LARGE, HEAD, now())
    tick(59_000)
    tick(900)
    t.equal(client.left, false)
    slow.leave()
  },
)

t.test('what was delivered is what the socket took', async (t) => {
  const { url, answer, now } = await start(t)
  const call = open(url)
  const client = await answer()
  client.countsDelivered = true
  client.relay(Buffer.from('taken'), HEAD, now())
  await call.has('taken')
  t.equal(client.deliveredBytes, 5)
  call.stopReading()
  client.relay(LARGE, HEAD, now())
  t.equal(client.blocked, true)
  call.leave()
  await until('the client to be gone', () => client.left)
  t.equal(client.deliveredBytes, 5, 'and not what lay with us')
  t.equal(client.blocked, false)
})

t.test('a bug is told to nobody but the log', async (t) => {
  const { url, answer } = await start(t)
  const call = open(url)
  ;(await answer()).sendError(new TypeError('secret internals'))
  t.match(await call.over, { status: 500, text: /"the gateway made a mistake; its log tells more under this call id"/ })
})

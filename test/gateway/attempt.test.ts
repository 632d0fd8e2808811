import t, { type Test } from 'tap'
import { type AttemptLimits, attempt, type StopReason } from '../../src/gateway/attempt.ts'
import type { Call } from '../../src/gateway/call.ts'
import type { ServingAccount } from '../../src/gateway/directory.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { type Wire, wireTo } from '../../src/gateway/wire.ts'
import { protocols } from '../../src/protocols/index.ts'
import { providers } from '../../src/providers/index.ts'
import type { OutgoingRequest } from '../../src/upstream/client.ts'
import { answer, type RawRequest, RawServer } from '../upstream/raw-server.ts'
import { client, until } from '../upstream/sinks.ts'

const DEADLINE_MS = 60_000
const ERROR_BODY_MS = 5000
const WORDS = '{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'

/** Attempts at an upstream whose bytes the test writes, under a clock that goes when it is told to. */
async function start(t: Test, respond: (request: RawRequest) => void) {
  const server = await RawServer.start(respond)
  const upstream = client()
  t.teardown(async () => {
    await upstream[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })
  const watchers = new Set<(nowMs: number) => void>()
  const answered: string[] = []
  let headsSeen = 0
  let headsAwaited = 0
  const gateway = {
    clock: () => 0,
    config: { gateway: { preambleHoldMs: 1000 } },
    ticker: {
      watch(watcher: (nowMs: number) => void) {
        watchers.add(watcher)
        return () => watchers.delete(watcher)
      },
    },
    upstream,
    windows: { saw: () => void headsSeen++ },
    breakers: { answered: (host: string) => void answered.push(host) },
    directory: { poolsOf: () => [] },
  } as unknown as Gateway
  const serving = {
    account: { name: 'a', baseUrl: server.url, headers: {}, deadlines: {} },
    host: 'the host',
    provider: providers.anthropic,
    credentials: () => ({ apiKey: 'k' }),
  } as unknown as ServingAccount
  let stop: (reason: StopReason) => void = () => {}
  const limits: AttemptLimits = {
    deadlineMs: DEADLINE_MS,
    mustStream: () => false,
    onStart(how) {
      stop = how
    },
  }
  return {
    gateway,
    server,
    watchers,
    answered,
    stop: (reason: StopReason) => stop(reason),
    /** The next attempt's answer has begun, and what follows its head is waited for. */
    headRead() {
      headsAwaited++
      return until(() => headsSeen === headsAwaited)
    },
    tick(ms: number) {
      for (const watcher of [...watchers]) watcher(ms)
    },
    attempt(stream: boolean) {
      const protocol = protocols['anthropic-messages']
      const facts = { stream, requestedModel: 'claude-sonnet-5-5' }
      const body = Buffer.from('{}')
      const wanted = { headers: {}, query: '', path: '', operation: 'messages', onlyProvider: null }
      const call = { ...wanted, protocol, body, facts, caller: { group: { id: 'grp_1' } } } as unknown as Call
      return attempt(gateway, call, serving, wireTo(gateway, call, serving, facts.requestedModel) as Wire, limits)
    },
  }
}

/** An error whose body stops half-way. */
const stalled = (status: number) =>
  answer(WORDS, { 'content-type': 'application/json', 'retry-after': '60' }, status).subarray(0, -20)

t.test('an error whose body stalls is the fault that its head tells of', async (t) => {
  for (const stream of [true, false]) {
    const { attempt, tick, headRead, watchers, server } = await start(t, ({ socket }) => socket.write(stalled(429)))
    for (const ms of [ERROR_BODY_MS, DEADLINE_MS]) {
      const result = attempt(stream)
      await headRead()
      tick(ERROR_BODY_MS - 1)
      tick(ms)
      t.match(await result, {
        fault: { blame: 'account', rest: 'rate_limit', reason: 'http_429', retryAfterMs: 60_000, mayBeRunning: false },
        used: null,
      })
      t.equal(watchers.size, 0)
    }
    await until(() => server.sockets.size === 0)
  }
  const { attempt, tick, headRead } = await start(t, ({ socket }) => socket.write(stalled(400)))
  const result = attempt(true)
  await headRead()
  tick(ERROR_BODY_MS)
  t.match(await result, { fault: { blame: 'request', upstreamStatus: 400 } })
})

t.test('an error whose body is only slow is read whole', async (t) => {
  const { attempt, tick, headRead, server } = await start(t, ({ socket }) => socket.write(stalled(429)))
  const result = attempt(true)
  await headRead()
  tick(ERROR_BODY_MS - 1)
  server.requests[0]?.socket.write(WORDS.slice(-20))
  t.match(await result, { fault: { reason: 'rate_limit_error', message: 'slow down' } })
})

t.test('who leaves while an error is read is nobody’s fault', async (t) => {
  const { attempt, stop, headRead } = await start(t, ({ socket }) => socket.write(stalled(429)))
  const result = attempt(true)
  await headRead()
  stop('client_left')
  t.match(await result, { fault: { blame: 'client', reason: 'client_left', rest: null } })
})

t.test(
  'a connection that had gone stale is tried once more, and twice in a row it is nobody’s fault still',
  async (t) => {
    const body = '{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}'
    const stale = { kind: 'reset', message: 'other side closed', reused: true }
    for (const times of [1, 2]) {
      const { attempt, gateway } = await start(t, ({ socket }) => socket.write(answer(body)))
      const { upstream } = gateway
      let tries = 0
      const send = (request: OutgoingRequest) =>
        ++tries <= times ? ({ head: Promise.resolve(stale), cancel: () => {} } as never) : upstream.send(request)
      Object.assign(gateway, { upstream: { send } })
      const result = await attempt(false)
      t.equal(tries, 2)
      if (times === 1) t.match(result, { answer: { whole: true } })
      else t.match(result, { fault: { blame: 'upstream', reason: 'stale_connection', rest: null }, used: null })
    }
  },
)

t.test('an address that our own rules refuse is the fault of its account', async (t) => {
  const { attempt, gateway } = await start(t, () => {})
  const refused = { kind: 'refused', message: 'not on the allowlist', reused: false }
  const send = () => ({ head: Promise.resolve(refused), cancel: () => {} })
  Object.assign(gateway, { upstream: { send } })
  t.match(await attempt(true), { fault: { blame: 'account', reason: 'address_refused', rest: null, scope: 'account' } })
})

t.test('who could not be reached is the host, until the first bytes of an answer are there', async (t) => {
  const STREAM_HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n'
  const partial = answer('{"type":"message","content":"long"}', { 'content-type': 'application/json' }).subarray(0, -9)
  const cases: [what: string, stream: boolean, bytes: string | Buffer | null, scope: string, heard: string[]][] = [
    ['no head of a stream in time', true, '', 'host', []],
    ['a head, and no event in time', true, STREAM_HEAD, 'host', []],
    ['no JSON answer in time: it may be generating', false, '', 'account', []],
    ['closed before the head', true, null, 'host', []],
    ['an error', true, answer(WORDS, {}, 429), 'account', ['the host']],
    ['part of an answer', false, partial, 'account', ['the host']],
  ]
  for (const [what, stream, bytes, scope, heard] of cases) {
    const { attempt, answered, tick, headRead, server } = await start(t, ({ socket }) => {
      if (bytes === null) socket.destroy()
      else if (bytes !== '') socket.write(bytes)
    })
    const result = attempt(stream)
    if (bytes === '') await until(() => server.requests.length === 1)
    else if (bytes !== null) await headRead()
    await until(() => answered.length === heard.length)
    tick(DEADLINE_MS)
    t.match(await result, { fault: { scope } }, what)
    t.same(answered, heard, what)
  }
})

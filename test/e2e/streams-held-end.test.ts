import { join } from 'node:path'
import BetterSqlite3 from 'better-sqlite3'
import t from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import { messageBody, messageEvents } from '../../src/demo/messages.ts'
import { GatewayError } from '../../src/domain/errors.ts'
import { type ClientCall, messageRequest, until } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

/** The end of an answer goes out when its call is charged, and not before. */

const CHARGE_WAIT_MS = 600

/** One body, in packets of its own. */
const IN_PIECES: Script = {
  body: messageBody({ model: 'claude-sonnet-5-5', text: ['hi'], usage: { input: 5, output: 4 } }, 'msg_1'),
  cuts: [10, 50],
}

async function start(t: Parameters<typeof startGateway>[0]) {
  return startGateway(t, {
    config: { 'gateway.charge_wait': `${CHARGE_WAIT_MS}ms` },
    setUp: async (site) => ({
      stream: await site.scene(),
      json: await site.scene(),
      pieces: await site.scene({ accounts: [{ scripts: [IN_PIECES, IN_PIECES] }] }),
      refused: await site.scene({ accounts: [{ scripts: [{ status: 400 }] }] }),
    }),
  })
}

/** Keeps every other connection from writing, as a long transaction of another program would, until it is let go. */
function lock(gw: TestGateway): () => void {
  const other = new BetterSqlite3(join(gw.site.config.dataDir, 'subgate.db'))
  other.exec('begin immediate')
  return () => other.close()
}

t.test('while the store is busy, the client has everything but the end', async (t) => {
  const gw = await start(t)
  const { stream, json, refused } = gw.scenes
  const unlock = lock(gw)
  const calls = {
    stream: gw.open({ key: stream.key, body: messageRequest(true) }),
    json: gw.open({ key: json.key, body: messageRequest(false) }),
    refused: gw.open({ key: refused.key, body: messageRequest(false) }),
  }
  await calls.stream.has('event: message_delta\n')
  await until('all upstream calls to have ended', () => gw.upstream.seen.filter(({ over }) => over).length === 3)
  t.notMatch(calls.stream.text, 'message_stop')
  t.equal(calls.json.status, 0, 'of one body nothing goes out before')
  t.equal(calls.refused.status, 0, 'nor a refusal')
  t.equal((await gw.gateway.live.admissions()).length, 3, 'it is a running call still')
  unlock()
  t.match(await calls.stream.over, {
    ended: 'whole',
    text: /event: message_stop\ndata: \{"type":"message_stop"\}\n\n$/,
  })
  t.match(await calls.json.over, { status: 200, ended: 'whole' })
  t.match(await calls.refused.over, { status: 400, ended: 'whole' })
  t.equal((await gw.settled()).length, 3)
  t.notOk(
    gw.log.some(({ msg }) => /spilled/.test(msg)),
    'it came in time',
  )
})

t.test('when it does not come in time, the record is spilled, and the end goes out', async (t) => {
  const gw = await start(t)
  const unlock = lock(gw)
  const startedAt = performance.now()
  const answer = await gw.call({ key: gw.scenes.stream.key, body: messageRequest(true) })
  t.match(answer, { ended: 'whole', text: /event: message_stop\n/ })
  t.ok(performance.now() - startedAt >= CHARGE_WAIT_MS, 'not before')
  t.match(
    gw.log.filter(({ msg }) => /spilled/.test(msg)),
    [{ reason: 'the store did not answer in time' }],
  )
  t.same(await gw.settled(), [], 'it is not in the store yet')
  unlock()
  await until('the spilled record to be in the store', async () => (await gw.settled()).length === 1)
  t.same((await gw.gateway.store.usage.verify()).problems, [])
})

t.test(
  'when it cannot be stored at all, the client gets an error instead of the end, and nothing stays behind',
  async (t) => {
    const gw = await start(t)
    const { stream, json, pieces, refused } = gw.scenes
    gw.gateway.store.usage.record = async () => {
      throw new GatewayError('unavailable', 'the spill file is full')
    }
    const broken = await gw.call({ key: stream.key, body: messageRequest(true) })
    t.match(broken, { status: 200, ended: 'whole', text: /event: message_delta\n/ })
    t.notMatch(broken.text, 'message_stop')
    t.match(
      broken.text,
      /event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"the gateway cannot keep its books/,
    )
    for (const { key } of [json, pieces]) {
      const whole = await gw.call({ key, body: messageRequest(false) })
      t.match(whole, {
        status: 503,
        ended: 'whole',
        text: /"message":"the gateway cannot keep its books at the moment/,
      })
    }
    t.match(await gw.call({ key: refused.key, body: messageRequest(false) }), { status: 400 }, 'what the upstream said')
    t.same(await gw.settled(), [])
    t.match(gw.gateway.counters.all(), { 'usage.lost': 4 })
    const lost = gw.log.filter(({ msg }) => msg === 'a usage record is lost')
    t.match(
      lost,
      [
        { reason: 'the spill file is full', record: { userId: stream.user.id, usage: { outputTokens: 4 } } },
        {},
        {},
        {},
      ],
      'the log has all of it',
    )
    t.ok(
      gw.upstream.seen.every(({ over }) => over !== null),
      'no upstream call is left',
    )
  },
)

t.test('an upstream that stays silent while the store is busy does not run on when the record fails', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ scripts: [{ breaks: { after: 100, how: 'silence' } }] }] }),
  })
  gw.gateway.store.usage.record = async () => {
    throw new GatewayError('unavailable', 'the spill file is full')
  }
  const answer = await gw.call({ key: gw.scenes.key, body: messageRequest(true) })
  t.match(answer.text, /event: error\n/)
  t.equal(await until('the upstream call to end', () => gw.upstream.seen[0]?.over), 'cancelled')
  await gw.settled()
})

t.test('one body goes out in one piece with its length, in however many it came', async (t) => {
  const gw = await start(t)
  const { status, headers, text } = await gw.call({ key: gw.scenes.pieces.key, body: messageRequest(false) })
  t.equal(status, 200)
  t.equal(text, IN_PIECES.body)
  t.match(headers, { 'content-length': String(text.length), 'transfer-encoding': undefined })
  t.match(await gw.settled(), [{ outcome: 'complete', usage: { inputTokens: 5, outputTokens: 4 } }])
})

t.test('an upstream that goes on and on behind its terminal event is cut off', async (t) => {
  const stream = messageEvents(
    { model: 'claude-sonnet-5-5', text: ['hi'], usage: { input: 5, output: 4 } },
    'msg_1',
  ).join('')
  const endless = { 'whole events': ': more\n\n', 'one event without an end': 'data: more ' }
  const gw = await startGateway(t, {
    setUp: (site) =>
      Promise.all(
        Object.values(endless).map((more) => {
          const script = { body: stream + more.repeat(1_000_000), headers: { 'content-type': 'text/event-stream' } }
          return site.scene({ accounts: [{ scripts: [script] }] })
        }),
      ),
  })
  const unlock = lock(gw)
  const calls: ClientCall[] = []
  for (const [index, what] of Object.keys(endless).entries()) {
    const call = gw.open({ key: gw.scenes[index]?.key ?? '', body: messageRequest(true) })
    await call.has('event: message_delta\n')
    t.equal(await until('the upstream call to end', () => gw.upstream.seen[index]?.over), 'cancelled', what)
    t.notMatch(call.text, 'message_stop')
    calls.push(call)
  }
  unlock()
  for (const { text, ended } of await Promise.all(calls.map(({ over }) => over))) {
    t.equal(ended, 'whole')
    t.ok(text.startsWith(stream), 'all of the answer is there')
    t.ok(text.length < stream.length + 200_000, `and of the rest ${text.length - stream.length} bytes`)
  }
  t.match(await gw.settled(), [{ outcome: 'complete' }, { outcome: 'complete' }])
})

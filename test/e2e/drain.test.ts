import { Agent } from 'node:http'
import t from 'tap'
import { secretOf } from '../../src/domain/account.ts'
import { GatewayServer } from '../../src/server/server.ts'
import { ClientCall, messageRequest, until } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

/** What SIGTERM does: nothing is lost, nothing is cut that ends in time, and everything ends. */

const TEXT = ['one ', 'two ', 'three ']
const SILENT = { text: TEXT, breaks: { after: 6, how: 'silence' as const }, usage: { input: 40, output: 99 } }
/** A conversation of its own, which no account is kept for. */
const about = (content: string) => messageRequest(false, { messages: [{ role: 'user', content }] })
const errorOf = ({ text }: { text: string }) => JSON.parse(/\{"type":"error".*\}/.exec(text)?.[0] ?? '{}').error

t.test('what runs ends in its own time, what is new is refused', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      runs: await site.scene({ user: { concurrency: 1 }, accounts: [{ scripts: [{ text: TEXT, eventDelayMs: 60 }] }] }),
      other: await site.scene(),
    }),
  })
  const { runs, other } = gw.scenes
  const kept = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => kept.destroy())
  t.equal((await gw.call({ agent: kept, method: 'GET', path: '/ready' })).status, 200)
  const running = gw.open({ key: runs.key, body: messageRequest(true) })
  await running.has('"one "')
  const waits = gw.open({ key: runs.key, body: messageRequest(true) })
  await until('a call in line', async () => (await gw.gateway.live.tickets()).length === 1)
  let drained = false
  const drain = gw.daemon.drain().then(() => {
    drained = true
  })
  const ready = await gw.call({ agent: kept, method: 'GET', path: '/ready' })
  t.match(ready, { status: 503, headers: { connection: 'close' }, text: '{"status":"not ready","reason":"draining"}' })
  t.equal((await gw.call({ method: 'GET', path: '/health' })).status, 200, 'the process lives')
  for (const path of ['/v1/messages', '/v1/messages/count_tokens']) {
    const refused = await gw.call({ path, key: other.key, body: messageRequest(false) })
    t.match(refused, { status: 503, headers: { connection: 'close', 'retry-after': '2' } }, path)
    t.match(errorOf(refused), { message: 'the gateway is shutting down' })
  }
  t.equal(drained, false)
  for (const call of [running, waits]) t.match(await call.over, { ended: 'whole', text: /event: message_stop\n/ })
  await drain
  const rows = await gw.settled()
  t.same(
    rows.map(({ outcome, userId }) => [outcome, userId]),
    Array(2).fill(['complete', runs.user.id]),
  )
  t.same((await gw.gateway.store.usage.verify()).problems, [])
  await t.rejects(fetch(gw.url), 'nobody listens any more')
})

t.test('an answer that its client still has to read is not cut', async (t) => {
  // Larger than what the kernel holds for a client that does not read; and its handler is over as soon as it is written.
  const models = Array.from({ length: 1000 }, (_, index) => ({ id: `claude-${index}-${'x'.repeat(3900)}` }))
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ elsewhere: { body: JSON.stringify({ data: models }) } }] }),
  })
  const call = gw.open({ method: 'GET', path: '/v1/models?limit=1000', key: gw.scenes.key })
  call.stopReading()
  await call.head()
  const drain = gw.daemon.drain()
  call.readOn()
  const answer = await call.over
  t.equal(answer.ended, 'whole')
  t.equal(JSON.parse(answer.text).data.length, 1000)
  await drain
})

t.test("when the grace is over, everything ends with its protocol's error", async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.shutdown_grace': '200ms' },
    setUp: async (site) => ({
      stream: await site.scene({ user: { concurrency: 1 }, accounts: [{ scripts: [SILENT] }] }),
      json: await site.scene({ accounts: [{ scripts: [{ headDelayMs: 'forever' }] }] }),
      moving: await site.scene({
        accounts: [{ scripts: [{ status: 500 }] }, { concurrency: 1, scripts: [{ headDelayMs: 'forever' }] }],
      }),
      counts: await site.scene({ accounts: [{ elsewhere: { headDelayMs: 'forever' } }] }),
      sends: await site.scene(),
    }),
  })
  const { stream, json, moving, counts, sends } = gw.scenes
  const holds = gw.open({ key: moving.key, body: about('this') })
  await until('the account to be taken', () => gw.upstream.seen.length === 2)
  const credential = gw.gateway.directory.account(moving.accounts[0]?.id ?? '')?.credentials()
  gw.site.script(credential ? secretOf(credential) : '', { status: 500 })
  const calls = {
    stream: gw.open({ key: stream.key, body: messageRequest(true) }),
    json: gw.open({ key: json.key, body: messageRequest(false) }),
    holds,
    moves: gw.open({ key: moving.key, body: about('that') }),
    counts: gw.open({ path: '/v1/messages/count_tokens', key: counts.key, body: messageRequest(false) }),
    sends: gw.open({ key: sends.key, headers: { 'content-length': '1000' } }),
  }
  calls.sends.request.write('{"model":')
  await calls.stream.has('"three "')
  const waits = gw.open({ key: stream.key, body: messageRequest(true) })
  await until('two calls in line', async () => (await gw.gateway.live.tickets()).length === 2)
  await until('all upstream calls to be there', () => gw.upstream.seen.length === 6)
  await gw.daemon.drain()
  const answers = await Promise.all(Object.values(calls).map(({ over }) => over))
  const [streamed, ...others] = [...answers, await waits.over]
  t.match(streamed, { status: 200, ended: 'whole' })
  t.match(streamed?.text, /"three "[\s\S]*event: error\ndata: .*"the gateway is shutting down"/)
  for (const answer of others) {
    t.match(answer, { status: 503, ended: 'whole' })
    t.match(errorOf(answer), { message: 'the gateway is shutting down' })
  }
  const rows = await gw.settled()
  t.same(
    rows.map(({ outcome }) => outcome),
    Array(4).fill('stopped'),
  )
  t.match(
    rows.find(({ userId }) => userId === stream.user.id),
    { status: 200, usage: { inputTokens: 40, outputTokens: 1 } },
  )
  t.same((await gw.gateway.store.usage.verify()).problems, [])
  await until('all upstream calls to end', () => gw.upstream.seen.every(({ over }) => over))
})

t.test('a client that does not read its last words does not keep the daemon', async (t) => {
  const gw: TestGateway & { scenes: { key: string } } = await startGateway(t, {
    config: { 'gateway.charge_wait': '100ms' },
    setUp: (site) => site.scene({ accounts: [{ scripts: [{ text: Array(1000).fill('x'.repeat(65_536)) }] }] }),
  })
  const server = new GatewayServer(gw.gateway, { lastWordsMs: 300 })
  t.teardown(() => server[Symbol.asyncDispose]())
  const url = `http://127.0.0.1:${await server.listen('127.0.0.1', 0)}`
  const call = new ClientCall(url, { key: gw.scenes.key, body: messageRequest(true) })
  call.stopReading()
  await call.head()
  await server.drain(100)
  t.match(await gw.settled(), [{ outcome: 'stopped' }])
  call.leave()
})

import t from 'tap'
import type { Script, SeenCall } from '../../src/demo/fake-upstream.ts'
import type { WhenClientLeaves } from '../../src/domain/group.ts'
import { messageRequest, until } from '../support/client.ts'
import { type Scene, type Site, startGateway, type TestGateway } from '../support/gateway.ts'

/** Clients that leave, at every stage of a call: what becomes of the upstream call, who is charged what, and what stays held. */

const READ_ON_MS = 700
const USAGE = { input: 1000, output: 500 }
/** 24 bytes of text each, so six tokens by our own count. */
const TEXT = Array.from({ length: 4 }, (_, index) => `${index} and four and twenty.`.slice(0, 24).padEnd(24, '.'))
const SILENT: Script = { text: TEXT, usage: USAGE, breaks: { after: 7, how: 'silence' } }

/** What the upstream saw of the scene's calls. */
function seenOf(gw: TestGateway, scene: Scene): SeenCall | undefined {
  return gw.upstream.seen.find(({ path }) => path.includes(scene.user.id))
}

t.test('clients that leave', async (t) => {
  const scene = (site: Site, whenClientLeaves: WhenClientLeaves, script: Script) =>
    site.scene({ group: { whenClientLeaves }, accounts: [{ scripts: [script] }] })
  const gw = await startGateway(t, {
    config: { 'gateway.read_on': `${READ_ON_MS}ms` },
    setUp: async (site) => ({
      plain: await site.scene({ user: { concurrency: 1 }, accounts: [{ scripts: [SILENT, SILENT] }] }),
      stays: await site.scene({ user: { concurrency: 1 } }),
    }),
  })
  const { plain, stays } = gw.scenes
  const rowOf = async ({ user }: Scene) => (await gw.settled()).find(({ userId }) => userId === user.id)
  /** One call that its client leaves once `when` says so; resolves with the upstream's view of it. */
  const leave = async (of: Scene, stream: boolean, when: (call: ReturnType<typeof gw.open>) => Promise<unknown>) => {
    const call = gw.open({ key: of.key, path: `/v1/messages?${of.user.id}`, body: messageRequest(stream) })
    await when(call)
    call.leave()
    return call
  }
  const isAsked = (of: Scene) => until('the upstream to be asked', () => seenOf(gw, of))

  t.test('before its body is whole: nothing is held, nobody asked, no row', async (t) => {
    const call = gw.open({ key: stays.key, headers: { 'content-length': '1000' } })
    call.request.write('{"model":')
    await until('the body to be held', () => gw.gateway.running.bufferedBytes > 0)
    call.leave()
    t.same(await gw.settled(), [])
    t.equal(gw.upstream.seen.length, 0)
    t.match(gw.gateway.counters.all(), { 'refused.client_left': 1 })
  })

  t.test('while it stands in line: its place is free, and it has no row', async (t) => {
    const first = gw.open({ key: plain.key, path: `/v1/messages?${plain.user.id}`, body: messageRequest(true) })
    await first.has(TEXT[3] as string)
    const second = gw.open({ key: plain.key, body: messageRequest(true) })
    await until('a call in line', async () => (await gw.gateway.live.tickets()).length === 1)
    second.leave()
    await until('nobody in line', async () => (await gw.gateway.live.tickets()).length === 0)
    t.equal((await gw.gateway.live.admissions()).length, 1, 'the other one runs on')
    first.leave()
    t.equal((await gw.settled()).length, 1)
    t.match(gw.gateway.counters.all(), { 'refused.client_left': 2 })
  })

  for (const how of ['abort', 'delivered'] as const) {
    t.test(`${how}: while the head is waited for, the upstream is stopped at once`, async (t) => {
      for (const stream of [true, false]) {
        const waits = await scene(gw.site, how, { headDelayMs: 'forever' })
        await gw.seen()
        await leave(waits, stream, () => isAsked(waits))
        t.match(await rowOf(waits), { outcome: 'client_left', status: 0, costNanoUsd: 0, estimated: false })
        t.equal(await until('the upstream call to end', () => seenOf(gw, waits)?.over), 'cancelled')
        const { overloads } = gw.gateway.directory.account(waits.accounts[0]?.id ?? '') ?? {}
        t.same(overloads, [], 'no fault of the account')
      }
    })
  }

  t.test('abort: in the middle, the upstream is stopped, and what was generated is estimated', async (t) => {
    const middle = await scene(gw.site, 'abort', SILENT)
    await gw.seen()
    await leave(middle, true, (call) => call.has(TEXT[3] as string))
    t.match(await rowOf(middle), {
      ...{ outcome: 'client_left', error: 'client_left', status: 200, estimated: true },
      usage: { inputTokens: 1000, outputTokens: 24 },
    })
    t.equal(await until('the upstream call to end', () => seenOf(gw, middle)?.over), 'cancelled')
  })

  t.test('delivered: only what went out is charged', async (t) => {
    const piece = 'x'.repeat(100)
    const made = await scene(gw.site, 'delivered', { text: Array(100).fill(piece), usage: USAGE, eventDelayMs: 2 })
    await gw.seen()
    const call = await leave(made, true, (open) => until('some of the text', () => open.text.split(piece).length > 10))
    const row = await rowOf(made)
    t.match(row, { outcome: 'client_left', estimated: true, usage: { inputTokens: 1000 } })
    const tokens = row?.usage.outputTokens ?? 0
    const delivered = call.text.split(piece).length - 1
    t.ok(tokens >= (delivered * 25) / 2 && tokens < 100 * 25, `${tokens} tokens of text for ${delivered} pieces`)
  })

  t.test('read_on: in the middle, the upstream is read to its end, and its word counts', async (t) => {
    const made = await scene(gw.site, 'read_on', { text: TEXT, usage: USAGE, eventDelayMs: 40 })
    await gw.seen()
    const call = await leave(made, true, (open) => open.has(TEXT[1] as string))
    t.notMatch(call.text, 'message_stop')
    t.equal((await gw.gateway.live.admissions()).length, 1, 'its slots are held until the upstream call has ended')
    t.match(await rowOf(made), {
      ...{ outcome: 'client_left', status: 200, estimated: false, stopReason: 'end_turn' },
      usage: { inputTokens: 1000, outputTokens: 500 },
    })
    t.equal(seenOf(gw, made)?.over, 'finished')
  })

  t.test('read_on: while the head is waited for, the same', async (t) => {
    for (const stream of [true, false]) {
      const made = await scene(gw.site, 'read_on', { headDelayMs: 200, text: TEXT, usage: USAGE })
      await gw.seen()
      await leave(made, stream, () => isAsked(made))
      t.match(await rowOf(made), { outcome: 'client_left', status: 0, estimated: false, usage: { outputTokens: 500 } })
      t.equal(seenOf(gw, made)?.over, 'finished')
    }
  })

  t.test('read_on: for so long and no longer', async (t) => {
    for (const script of [SILENT, { headDelayMs: 'forever' } as const]) {
      const made = await scene(gw.site, 'read_on', script)
      await gw.seen()
      await leave(made, true, (call) => (script === SILENT ? call.has(TEXT[3] as string) : isAsked(made)))
      const leftAt = performance.now()
      t.match(await rowOf(made), { outcome: 'client_left', usage: { outputTokens: script === SILENT ? 24 : 0 } })
      t.ok(performance.now() - leftAt > READ_ON_MS / 2, 'it was read on for a while')
      t.equal(await until('the upstream call to end', () => seenOf(gw, made)?.over), 'cancelled')
    }
  })

  t.test('read_on: nobody else is asked for a client that has left', async (t) => {
    const made = await gw.site.scene({
      group: { whenClientLeaves: 'read_on' },
      accounts: [{ scripts: [{ headDelayMs: 200, status: 500 }] }, {}],
    })
    await gw.seen()
    await leave(made, true, () => isAsked(made))
    const accountId = made.accounts[0]?.id
    t.match(await rowOf(made), { outcome: 'client_left', status: 0, accountId, attempts: { length: 1 } })
  })

  t.test('and the next call is served', async (t) => {
    await gw.settled()
    t.same(await gw.gateway.live.admissions(), [])
    t.equal((await gw.call({ key: stays.key, body: messageRequest(false) })).status, 200)
  })
})

t.test('what was reported while the preamble was held is charged, whoever ended the call', async (t) => {
  const preamble: Script = { usage: { input: 200_000, output: 9 }, breaks: { after: 1, how: 'silence' } }
  const gw = await startGateway(t, {
    config: { 'gateway.preamble_hold': '30s', 'gateway.read_on': '300ms', 'gateway.shutdown_grace': '100ms' },
    setUp: async (site) => {
      const scene = (whenClientLeaves: WhenClientLeaves) =>
        site.scene({ group: { whenClientLeaves }, accounts: [{ scripts: [preamble] }] })
      return {
        ...{ abort: await scene('abort'), delivered: await scene('delivered'), read_on: await scene('read_on') },
        ...{ stopped: await scene('abort'), other: await site.scene() },
      }
    },
  })
  const { other, ...scenes } = gw.scenes
  const calls = Object.values(scenes).map((of) =>
    gw.open({ key: of.key, path: `/v1/messages?${of.user.id}`, body: messageRequest(true) }),
  )
  for (const of of Object.values(scenes)) await until('its first event', () => seenOf(gw, of)?.bytesSent)
  await gw.call({ key: other.key, body: messageRequest(true) }) // what was sent before that has been read
  for (const call of calls.slice(0, 3)) call.leave()
  await until('three of them to be over', () => gw.gateway.running.size === 1)
  await gw.daemon.drain()
  t.match(await calls[3]?.over, { status: 503, text: /shutting down/ })
  const rows = await gw.settled()
  const rowOf = ({ user }: Scene) => rows.find(({ userId }) => userId === user.id)
  const reported = { inputTokens: 200_000, outputTokens: 1 } // as the first event says
  const left = { outcome: 'client_left', status: 0, lostNanoUsd: 0, estimated: false, usage: reported }
  t.match(rowOf(scenes.abort), left)
  t.match(rowOf(scenes.read_on), left)
  t.match(rowOf(scenes.delivered), { ...left, estimated: true, usage: { inputTokens: 200_000, outputTokens: 0 } })
  t.match(rowOf(scenes.stopped), { ...left, outcome: 'stopped', status: 503 })
  t.ok(Object.values(scenes).every((of) => (rowOf(of)?.costNanoUsd ?? 0) > 0))
  t.same((await gw.gateway.store.usage.verify()).problems, [])
})

import t from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import { messageBody, messageEvents } from '../../src/demo/messages.ts'
import { secretOf } from '../../src/domain/account.ts'
import { standingsOf } from '../../src/gateway/limits.ts'
import { messageRequest, until } from '../support/client.ts'
import { type Scene, startGateway, type TestGateway, type WantedAccount } from '../support/gateway.ts'

/** Accounts that are asked for a model by another name than their clients use. */

const HAIKU = 'claude-haiku-9'
const OPUS = 'claude-opus-5-5'
const SONNET = 'claude-sonnet-5-5'
const COUNT = '/v1/messages/count_tokens'

/** 1000 and 100 tokens of Opus 5.5 at $4 and $20 per million. */
const USAGE = { input: 1000, output: 100 }
const OPUS_COST_NANO_USD = 6_000_000

/** With spaces, an escaped name and a repeated one, so that a body that is written anew would differ. */
const bodyFor = (model: string, stream: boolean, written = JSON.stringify(model)) =>
  `{ "stream" : ${stream},"metadata":{"model":"${model}"}, "max_tokens":1e2, "\\u006dodel":  ${written} ,\n"messages":[{"role":"user","content":"Say \\u00fc {\\"model\\":\\"${model}\\"}"}] }`

const callsFor = (gw: TestGateway, { accounts }: Scene, index = 0) => {
  const apiKey = secretOf(gw.site.work.secrets.openCredentials(accounts[index] as never))
  return gw.upstream.seen.filter(({ headers }) => headers['x-api-key'] === apiKey)
}

t.test('a model is sent under another name, and the answer has its own again', async (t) => {
  const mapped: WantedAccount = { modelMap: { 'claude-haiku-*': OPUS } }
  const text = ['Grüße ', `"model":"${OPUS}"`, '\n\n']
  const stream = messageEvents({ model: OPUS, text, usage: USAGE }, 'msg_1').join('')
  const json = messageBody({ model: OPUS, text, usage: USAGE }, 'msg_1')
  /** Longer than an answer that is held before it is relayed. */
  const long = messageBody({ model: OPUS, text: ['long '.repeat(400_000)], usage: USAGE }, 'msg_1')
  const head = { 'content-type': 'text/event-stream' }
  /** In pieces that end within the event that names the model. */
  const cuts = Array.from({ length: 60 }, (_, index) => 5 * index)
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      stream: await site.scene({ accounts: [{ ...mapped, scripts: [{ body: stream, headers: head, cuts }] }] }),
      json: await site.scene({ accounts: [{ ...mapped, scripts: [{ body: json, cuts }] }] }),
      own: await site.scene({ accounts: [{ ...mapped, scripts: [{ body: stream, headers: head }] }] }),
      other: await site.scene({ accounts: [{ ...mapped, scripts: [{ model: `${OPUS}-20260922`, usage: USAGE }] }] }),
      long: await site.scene({
        accounts: [{ ...mapped, scripts: [{ body: long, cuts: [100, 1_000_000, 1_500_000] }] }],
      }),
      refused: await site.scene({ accounts: [{ ...mapped, scripts: [{ status: 404, body: notFound(OPUS) }] }] }),
    }),
  })
  const { scenes } = gw
  const nameChanged = (bytes: string) => bytes.replace(`"model":"${OPUS}"`, `"model":"${HAIKU}"`)
  const rowOf = async ({ user }: Scene) => (await gw.settled()).find(({ userId }) => userId === user.id)
  const names = (sent: string, reported: string | null) => ({
    requestedModel: HAIKU,
    upstreamModel: sent,
    reportedModel: reported,
  })

  for (const name of ['stream', 'json'] as const) {
    await t.test(name, async (t) => {
      const answer = await gw.call({ key: scenes[name].key, body: bodyFor(HAIKU, name === 'stream') })
      t.equal(answer.text, nameChanged(name === 'stream' ? stream : json))
      t.equal(answer.ended, 'whole')
      const asked = callsFor(gw, scenes[name])[0]?.body
      t.equal(asked, bodyFor(HAIKU, name === 'stream', JSON.stringify(OPUS)), 'nothing else of the request is changed')
      const row = await rowOf(scenes[name])
      t.match(row, { ...names(OPUS, OPUS), outcome: 'complete', priceState: 'known', costNanoUsd: OPUS_COST_NANO_USD })
    })
  }

  await t.test('a JSON body of two megabytes', async (t) => {
    const { text, headers } = await gw.call({ key: scenes.long.key, body: bodyFor(HAIKU, false) })
    t.ok(text === nameChanged(long))
    t.equal(Number(headers['content-length']), Buffer.byteLength(text))
  })

  await t.test('what is asked for by its own name passes unchanged, both ways', async (t) => {
    const body = bodyFor(OPUS, true, '"claude\\u002dopus-5-5"')
    t.equal((await gw.call({ key: scenes.own.key, body })).text, stream)
    t.equal(callsFor(gw, scenes.own)[0]?.body, body)
  })

  await t.test('a name of the upstream that is not the one that was sent is its own word', async (t) => {
    const { text } = await gw.call({ key: scenes.other.key, body: bodyFor(HAIKU, false) })
    t.match(JSON.parse(text), { model: `${OPUS}-20260922` })
    t.match(await rowOf(scenes.other), names(OPUS, `${OPUS}-20260922`))
  })

  await t.test('a refusal of the request goes on in its own words', async (t) => {
    t.match(await gw.call({ key: scenes.refused.key, body: bodyFor(HAIKU, true) }), {
      status: 404,
      text: notFound(OPUS),
    })
    t.match(await rowOf(scenes.refused), { ...names(OPUS, null), outcome: 'rejected' })
  })
})

function notFound(model: string): string {
  return `{"type":"error","error":{"type":"not_found_error","message":"model: ${model}"}}`
}

t.test('each account is asked by its own names', async (t) => {
  const overloaded: Script = { status: 529 }
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      moves: await site.scene({
        accounts: [
          { modelMap: { [HAIKU]: OPUS }, scripts: [overloaded] },
          { modelMap: { 'claude-*': SONNET }, scripts: [overloaded], elsewhere: overloaded },
          { models: ['claude-*'] },
        ],
      }),
      counts: await site.scene({ accounts: [{ modelMap: { [HAIKU]: OPUS } }] }),
    }),
  })
  const { moves, counts } = gw.scenes
  const body = bodyFor(HAIKU, false)
  const answer = await gw.call({ key: moves.key, body })
  t.equal(JSON.parse(answer.text).model, HAIKU)
  t.equal(callsFor(gw, moves, 0)[0]?.body, bodyFor(HAIKU, false, JSON.stringify(OPUS)))
  t.equal(callsFor(gw, moves, 1)[0]?.body, bodyFor(HAIKU, false, JSON.stringify(SONNET)))
  t.equal(callsFor(gw, moves, 2)[0]?.body, body, 'byte for byte')
  t.match(await gw.settled(), [{ requestedModel: HAIKU, upstreamModel: HAIKU, reportedModel: HAIKU }])

  t.match(await gw.call({ path: COUNT, key: counts.key, body }), { status: 200, text: /^\{"input_tokens":\d+\}$/ })
  t.equal(callsFor(gw, counts)[0]?.body, bodyFor(HAIKU, false, JSON.stringify(OPUS)))
})

t.test('a rest from a model is from what is sent, whatever it was asked for as', async (t) => {
  const resets = String(Math.floor(Date.now() / 1000) + 3600)
  const ofModel = {
    'anthropic-ratelimit-unified-status': 'rejected',
    'anthropic-ratelimit-unified-7d_opus-status': 'rejected',
    'anthropic-ratelimit-unified-7d_opus-utilization': '1',
    'anthropic-ratelimit-unified-7d_opus-reset': resets,
  }
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({
        accounts: [
          { modelMap: { 'claude-haiku-*': OPUS, [SONNET]: HAIKU }, scripts: [{ status: 429, headers: ofModel }] },
        ],
      }),
  })
  const { key, accounts } = gw.scenes
  const ask = (model: string) => gw.call({ key, body: messageRequest(false, { model }) })
  t.match(await ask('claude-haiku-1'), { status: 429 })
  const { account } = gw.gateway.directory.account(accounts[0]?.id ?? '') ?? {}
  t.match(account, { rest: null, modelRests: [{ model: OPUS }] })
  t.match(await ask('claude-haiku-2'), { status: 429 }, 'by another name of it')
  t.match(await ask(OPUS), { status: 429 }, 'and by its own')
  t.equal(gw.upstream.seen.length, 1, 'nobody was asked')
  t.match(await ask(SONNET), { status: 200 }, 'but not what is sent as another')
})

t.test('while what has no price is refused, an account is asked for nothing that has none', async (t) => {
  const unpriced: WantedAccount = { modelMap: { 'claude-haiku-*': 'claude-nobody-knows' } }
  const gw = await startGateway(t, {
    config: { unknown_price: 'refuse' },
    setUp: async (site) => ({
      alone: await site.scene({ accounts: [unpriced] }),
      beside: await site.scene({ accounts: [unpriced, { modelMap: { [HAIKU]: OPUS } }] }),
    }),
  })
  const { alone, beside } = gw.scenes
  const body = messageRequest(false, { model: HAIKU })
  t.match(await gw.call({ key: alone.key, body }), { status: 404, text: new RegExp(`'${HAIKU}' has no price here`) })
  t.match(await gw.call({ key: alone.key, body: messageRequest(false, { model: 'gpt-6' }) }), {
    status: 404,
    text: /no account of group .* serves the model 'gpt-6'/,
  })
  t.equal((await gw.call({ key: alone.key, body: messageRequest(false, { model: OPUS }) })).status, 200)
  t.equal((await gw.call({ key: beside.key, body })).status, 200)
  const row = (await gw.settled()).find(({ userId }) => userId === beside.user.id)
  t.match(row, { accountId: beside.accounts[1]?.id, upstreamModel: OPUS, priceState: 'known' })
  t.same(row?.choice?.others, [{ accountId: beside.accounts[0]?.id, why: "'claude-nobody-knows' has no price" }])
})

t.test('a limit of money reserves what the sent model costs', async (t) => {
  const hang: Script = { headDelayMs: 'forever' }
  const limits = [{ metric: 'usd', max: 1_000_000_000, window: { kind: 'sliding', ms: 3_600_000 } }] as const
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scene = await site.scene({ accounts: [{ modelMap: { [HAIKU]: OPUS }, scripts: [hang] }] })
      await site.store.keys.set({ id: scene.apiKey.id, changes: { limits: [...limits] }, by: 'test' })
      return scene
    },
  })
  const { key, apiKey } = gw.scenes
  const body = messageRequest(false, { model: HAIKU, max_tokens: 1000, messages: [] })
  const open = gw.open({ key, body })
  const [held] = await until('the call to be admitted', async () => {
    const standings = await standingsOf(gw.gateway, { subject: 'key', id: apiKey.id, limits: [...limits] })
    return (standings[0]?.used ?? 0) > 0 && standings
  })
  const inputTokens = Math.ceil(JSON.stringify(body).length / 4)
  t.equal(held?.used, inputTokens * 4000 + 1000 * 20_000)
  open.leave()
  await gw.settled()
})

t.test('models are listed by the names that a map gives, and as vendors list what patterns serve', async (t) => {
  const listed = {
    body: JSON.stringify({ data: ['claude-a', 'gpt-6'].map((id) => ({ type: 'model', id })), has_more: false }),
  }
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      mapped: await site.scene({
        accounts: [{ elsewhere: listed, modelMap: { 'claude-x': 'gpt-6', 'claude-*': 'gpt-6', kimi: 'gpt-6' } }],
      }),
      some: await site.scene({
        accounts: [{ elsewhere: listed, models: ['none'], modelMap: { 'gpt-*': 'x', 'claude-x': 'gpt-6' } }],
        key: { models: ['claude-*', 'gpt-6'] },
      }),
    }),
  })
  const list = async (scene: Scene, path = '') => {
    const { text } = await gw.call({ method: 'GET', path: `/v1/models${path}`, key: scene.key })
    return JSON.parse(text)
  }
  const ids = async (scene: Scene) => (await list(scene)).data.map(({ id }: { id: string }) => id)
  t.same(await ids(gw.scenes.mapped), ['claude-a', 'claude-x', 'kimi'])
  t.same(await ids(gw.scenes.some), ['gpt-6', 'claude-x'])
  t.match(await list(gw.scenes.some, '/claude-x'), { id: 'claude-x', type: 'model', display_name: 'claude-x' })
})

t.test('what is refused for want of a price is not listed either', async (t) => {
  const body = JSON.stringify({ data: [SONNET, 'claude-a'].map((id) => ({ type: 'model', id })), has_more: false })
  const gw = await startGateway(t, {
    config: { unknown_price: 'refuse' },
    setUp: (site) =>
      site.scene({ accounts: [{ elsewhere: { body }, modelMap: { 'claude-b': SONNET, 'claude-c': 'claude-a' } }] }),
  })
  const { text } = await gw.call({ method: 'GET', path: '/v1/models', key: gw.scenes.key })
  t.same(
    JSON.parse(text).data.map(({ id }: { id: string }) => id),
    [SONNET, 'claude-b'],
  )
})

t.test('a changed body is a second one in memory, and counts until an answer comes', async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.buffered_bytes_max': '1MiB' },
    setUp: (site) => site.scene({ accounts: [{ modelMap: { [HAIKU]: OPUS }, scripts: [{ headDelayMs: 'forever' }] }] }),
  })
  const { key } = gw.scenes
  const { running } = gw.gateway
  const sized = (bytes: number) => messageRequest(false, { model: HAIKU, system: 'x'.repeat(bytes) })
  const body = sized(100_000)
  const bytes = JSON.stringify(body).length
  const open = gw.open({ key, body })
  await until('an upstream to be asked', () => gw.upstream.seen.length > 0)
  t.equal(running.bufferedBytes, 2 * bytes)
  open.leave()
  await gw.settled()
  t.match(await gw.call({ key, body: sized(700_000) }), { status: 503, text: /as many request bodies as it may/ })
  t.match(await gw.settled(), [{ outcome: 'client_left' }, { outcome: 'failed', error: 'unavailable' }])
})

t.test('a map that changes is followed at once', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene({ accounts: [{ models: ['gpt-6'] }] }) })
  const { key, accounts } = gw.scenes
  const ask = () => gw.call({ key, body: messageRequest(false, { model: HAIKU }) })
  const set = async (modelMap: Record<string, string>) => {
    await gw.site.store.accounts.set({ id: accounts[0]?.id ?? '', changes: { modelMap }, by: 'test' })
    await gw.seen()
  }
  t.match(await ask(), { status: 404 })
  await set({ 'claude-*': OPUS })
  t.match(await ask(), { status: 200 })
  await set({})
  t.match(await ask(), { status: 404 })
  t.same(
    (await gw.settled()).map(({ upstreamModel }) => upstreamModel),
    [OPUS],
  )
})

import t from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import type { ProtocolName } from '../../src/domain/call.ts'
import { protocols } from '../../src/protocols/index.ts'
import { ACCOUNTS } from '../support/accounts.ts'
import { startGateway } from '../support/gateway.ts'

const MODEL = 'some-model'

/** How a client of each format asks, for a stream or not. */
const CLIENTS: Record<ProtocolName, (stream: boolean) => { path: string; body: object }> = {
  'anthropic-messages': (stream) => ({
    path: '/v1/messages',
    body: {
      model: MODEL,
      max_tokens: 99,
      stream,
      messages: [{ role: 'user', content: 'say hi' }],
      tools: [{ name: 'look', input_schema: { type: 'object' } }],
    },
  }),
  'openai-responses': (stream) => ({
    path: '/v1/responses',
    body: {
      model: MODEL,
      stream,
      input: 'say hi',
      store: false,
      tools: [{ type: 'function', name: 'look', parameters: { type: 'object' } }],
    },
  }),
  'openai-chat': (stream) => ({
    path: '/chat/completions',
    body: {
      ...{ model: MODEL, stream, messages: [{ role: 'user', content: 'say hi' }] },
      ...(stream && { stream_options: { include_usage: true } }),
      tools: [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }],
    },
  }),
  gemini: (stream) => ({
    path: `/v1beta/models/${MODEL}:${stream ? 'streamGenerateContent?alt=sse' : 'generateContent'}`,
    body: {
      contents: [{ role: 'user', parts: [{ text: 'say hi' }] }],
      tools: [{ functionDeclarations: [{ name: 'look', parametersJsonSchema: { type: 'object' } }] }],
    },
  }),
}

const USAGE = { input: 40, output: 30, cacheRead: 8 }
const names = Object.keys(CLIENTS) as ProtocolName[]

t.test('every client is answered by every kind of account: words, a call, usage, and an end of its own', async (t) => {
  const gw = await startGateway(t, {
    async setUp(site) {
      const scenes = []
      for (const [kind, account] of Object.entries(ACCOUNTS)) {
        for (const name of names) {
          for (const stream of [true, false]) {
            const wanted = { ...account(site.upstream.url), models: ['*'] }
            const script = {
              text: ['Hel', 'lo'],
              toolUse: { id: 'call_1', name: 'look', input: { at: 1 } },
              usage: USAGE,
            }
            scenes.push({
              kind,
              name,
              stream,
              scene: await site.scene({ accounts: [{ ...wanted, scripts: [script] }] }),
            })
          }
        }
      }
      return scenes
    },
  })
  for (const { kind, name, stream, scene } of gw.scenes) {
    const what = `${name} at ${kind}, ${stream ? 'stream' : 'whole'}`
    const { path, body } = CLIENTS[name](stream)
    const answer = await gw.call({ key: scene.key, path, body })
    t.equal(answer.status, 200, `${what}: ${answer.status === 200 ? '' : answer.text}`)
    const meter = protocols[name].usageMeter(stream)
    meter.read(answer.body)
    meter.end()
    const { ended, usage, reportedModel } = meter.reading
    t.match(
      { ended, reportedModel, ended2: answer.ended },
      { ended: 'complete', reportedModel: MODEL, ended2: 'whole' },
      what,
    )
    t.match(usage, { inputTokens: 40, cacheReadTokens: 8, outputTokens: 30 }, `${what}: usage`)
    t.match(answer.text, /Hel/, `${what}: words`)
    t.match(answer.text, /look/, `${what}: the call`)
    t.match(answer.text, /at\\?\\?\\?":\s?1/, `${what}: its arguments`)
    const [row] = (await gw.settled()).filter(({ userId }) => userId === scene.user.id)
    t.match(
      row,
      { outcome: 'complete', protocol: name, usage: { inputTokens: 40, cacheReadTokens: 8, outputTokens: 30 } },
      `${what}: its row`,
    )
  }
})

t.test('what has no other format is asked of those who know it, and of nobody else', async (t) => {
  const gw = await startGateway(t, {
    async setUp(site) {
      const openai = { ...ACCOUNTS.openai(site.upstream.url), models: ['*'] }
      return {
        openai: await site.scene({ accounts: [openai] }),
        anthropic: await site.scene({ accounts: [{ models: ['*'] }] }),
      }
    },
  })
  const { openai, anthropic } = gw.scenes
  const embed = { path: '/v1/embeddings', body: { model: 'text-embedding-3-small', input: 'hello' } }
  const vectors = await gw.call({ key: openai.key, ...embed })
  t.match(JSON.parse(vectors.text), { object: 'list', data: [{ embedding: [0.25, -0.5] }] })
  const [row] = (await gw.settled()).filter(({ userId }) => userId === openai.user.id)
  t.match(row, { outcome: 'complete', protocol: 'openai-chat', usage: { inputTokens: /[1-9]/, outputTokens: 0 } })
  const count = {
    path: '/v1/messages/count_tokens',
    body: { model: MODEL, messages: [{ role: 'user', content: 'hi' }] },
  }
  for (const [key, asked] of [
    [anthropic.key, embed],
    [openai.key, count],
  ] as const) {
    const refused = await gw.call({ key, ...asked })
    t.match(refused, { headers: { 'x-should-retry': 'false' }, text: /can do this in the format/ })
    t.ok([404, 501].includes(refused.status), String(refused.status))
  }
  const upgrade = await gw.call({ key: openai.key, path: '/v1/responses', method: 'GET' })
  t.equal(upgrade.status, 426, 'Codex asks for a WebSocket first')
  const unknown = await gw.call({ key: openai.key, path: '/v1beta/models/x:predictLongRunning', body: {} })
  t.match(unknown, { status: 501, text: /does not do 'predictLongRunning'/ })
})

t.test('what a format has no place for is named, or refused by name', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => site.scene({ accounts: [{ ...ACCOUNTS.gemini?.(site.upstream.url), models: ['*'] }] }),
  })
  const { key } = gw.scenes
  const { path, body } = CLIENTS['anthropic-messages'](false)
  const more = { metadata: { user_id: 'u' }, service_tier: 'auto' }
  const answer = await gw.call({ key, path, body: { ...body, ...more } })
  t.match(answer, { status: 200, headers: { 'x-subgate-dropped': /metadata.*service_tier|service_tier.*metadata/ } })
  const [row] = await gw.settled()
  t.same(row?.attempts[0]?.dropped?.toSorted(), ['metadata', 'service_tier'], 'its row says so')
  const refused = await gw.call({ key, path, body: { ...body, mcp_servers: [{}] } })
  t.match(refused, { status: 400, text: /mcp_servers: / })
  gw.upstream.always({
    status: 400,
    body: '{"error":{"code":400,"message":"The input token count exceeds the maximum","status":"INVALID_ARGUMENT"}}',
  })
  const tooLong = await gw.call({ key, path, body })
  t.match(
    tooLong,
    { status: 400, text: /"type":"invalid_request_error"/ },
    'an upstream’s refusal in the client’s own words',
  )
})

t.test('thoughts that another vendor signed stay at home when the conversation moves', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) =>
      site.scene({ accounts: [{ models: ['*'] }, { ...ACCOUNTS.gemini?.(site.upstream.url), models: ['*'] }] }),
  })
  const { path, body } = CLIENTS['anthropic-messages'](false)
  const thought = (signature: string) => ({
    role: 'assistant',
    content: [
      { type: 'thinking', thinking: 'Hm', signature },
      { type: 'text', text: 'yes' },
    ],
  })
  const turns = (signature: string) => ({
    ...body,
    messages: [{ role: 'user', content: 'hi' }, thought(signature), { role: 'user', content: 'go on' }],
  })
  const asked = async (signature: string) => {
    const headers = { 'anthropic-beta': 'long-context' }
    const answer = await gw.call({ key: gw.scenes.key, path: `${path}?beta=true`, headers, body: turns(signature) })
    t.equal(answer.status, 200)
    t.match(
      gw.upstream.seen.at(-1),
      { path: '/v1/messages?beta=true', headers },
      'what the client says of its format goes on',
    )
    return { sent: gw.upstream.seen.at(-1)?.body ?? '', dropped: answer.headers['x-subgate-dropped'] }
  }
  const own = await asked('c2lnbmVk')
  t.equal(own.sent, JSON.stringify(turns('c2lnbmVk')), 'its own pass as they came')
  const foreign = await asked('subgate.gemini.c2lnbmVk')
  t.notMatch(foreign.sent, /thinking|subgate/)
  t.match(foreign.sent, /"text":"yes"/)
  t.match(foreign.dropped, /reasoning/)
})

t.test('thoughts that another organisation of OpenAI’s has encrypted are left out when they are refused', async (t) => {
  const refusal = { message: 'The encrypted content gAAA could not be verified.', type: 'invalid_request_error' }
  const script: Script = {
    status: 400,
    body: JSON.stringify({ error: { ...refusal, param: null, code: 'invalid_encrypted_content' } }),
  }
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scene = (scripts: Script[], modelMap = {}) =>
        site.scene({ accounts: [{ ...ACCOUNTS.openai(site.upstream.url), models: ['*'], scripts, ...modelMap }] })
      const map = { modelMap: { [MODEL]: 'gpt-6.1-sol' } }
      return {
        once: await scene([script], map),
        always: await scene([script, script]),
        compacted: await scene([script]),
      }
    },
  })
  const thought = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAA' }
  const hosted = { type: 'web_search_call', id: 'ws_1', status: 'completed' }
  const words = { type: 'message', role: 'user', content: 'go on' }
  const asked = (input: object[]) => ({ model: MODEL, input, store: false })
  const ask = (scene: 'once' | 'always' | 'compacted', input: object[]) =>
    gw.call({ key: gw.scenes[scene].key, path: '/v1/responses', body: asked(input) })
  const answer = await ask('once', [thought, hosted, words])
  t.match(answer, { status: 200, headers: { 'x-subgate-dropped': 'reasoning' } })
  t.same(JSON.parse(gw.upstream.seen.at(-1)?.body ?? ''), { ...asked([hosted, words]), model: 'gpt-6.1-sol' })
  t.match(JSON.parse(answer.text), { model: MODEL })
  const [row] = await gw.settled()
  t.match(row?.attempts, [
    { fault: 'invalid_encrypted_content', status: 400 },
    { fault: null, dropped: ['reasoning'] },
  ])
  t.match(await ask('always', [thought, words]), { status: 400, text: /could not be verified/ }, 'once, and no more')
  t.equal(gw.upstream.seen.length, 4)
  const shortened = { type: 'compaction', encrypted_content: 'gAAA' }
  t.match(await ask('compacted', [shortened, thought, words]), { status: 400, text: /could not be verified/ })
  t.equal(gw.upstream.seen.length, 5, 'what stands for a conversation is not left out')
})

t.test('what another call has left at an account is nobody else’s', async (t) => {
  for (const runMode of ['simple', 'saas']) {
    const gw = await startGateway(t, {
      config: { run_mode: runMode, unknown_price: 'record' },
      async setUp(site) {
        const account = { ...ACCOUNTS.openai(site.upstream.url), models: ['*'] }
        const user = { balanceNanoUsd: 1e9 }
        return {
          one: await site.scene({ accounts: [account], user }),
          two: await site.scene({ accounts: [account, ACCOUNTS.openai(site.upstream.url)], user }),
        }
      },
    })
    const ask = async (scene: 'one' | 'two', more: object) =>
      gw.call({ key: gw.scenes[scene].key, path: '/v1/responses', body: { model: MODEL, input: 'hi', ...more } })
    t.equal((await ask('two', { previous_response_id: null })).status, 200)
    const unknown = await ask('two', { previous_response_id: 'resp_1' })
    t.match(unknown, { status: 404, text: /previous_response_id: / }, runMode)
    t.match(await ask('two', { conversation: { id: 'conv_1' } }), { status: 404, text: /conversation: / }, runMode)
    const count = { path: '/v1/responses/input_tokens', body: { model: MODEL, previous_response_id: 'resp_1' } }
    t.match(await gw.call({ key: gw.scenes.two.key, ...count }), { status: 404, text: /previous_response_id: / })
    const { id } = JSON.parse((await ask('one', {})).text)
    t.equal((await ask('one', { previous_response_id: id })).status, 200, runMode)
    t.match(await ask('two', { previous_response_id: id }), { status: 404 }, 'another user’s')
    const one = await ask('one', { previous_response_id: 'resp_1' })
    t.equal(one.status, runMode === 'simple' ? 400 : 404, 'one person may have made it without the gateway')
  }
})

t.test('a body that is made of a stream goes out whole, or an error does', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scene = (kind: 'chatgpt' | 'gemini', script: Script) =>
        site.scene({
          accounts: [{ ...ACCOUNTS[kind](site.upstream.url), models: ['*'], scripts: Array(20).fill(script) }],
        })
      const text = ['one', 'two', 'three']
      return {
        cut: await scene('chatgpt', { text, eventDelayMs: 5, breaks: { after: 6, how: 'reset' } }),
        error: await scene('chatgpt', { text, eventDelayMs: 5, breaks: { after: 6, how: 'error_event' } }),
        senseless: await scene('gemini', {
          body: '{"candidates":[{"content":{},"finishReason":"MALFORMED_FUNCTION_CALL"}],"usageMetadata":{"promptTokenCount":5}}',
        }),
      }
    },
  })
  for (const [name, { key }] of Object.entries(gw.scenes)) {
    for (const client of ['anthropic-messages', 'openai-responses'] as const) {
      const answer = await gw.call({ key, ...CLIENTS[client](false) })
      const status = client === 'anthropic-messages' ? 529 : 503
      t.match(answer, { status, ended: 'whole', text: /"error":\{/ }, `${client}: ${name}`)
    }
  }
})

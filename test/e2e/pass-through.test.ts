import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import { SOUND } from '../../src/demo/media.ts'
import { parseLimitChange } from '../../src/domain/limit.ts'
import { ACCOUNTS, type AccountKind } from '../support/accounts.ts'
import type { CallOptions } from '../support/client.ts'
import { startGateway, type WantedAccount } from '../support/gateway.ts'

const BOUNDARY = '----Boundary+7(x)'
/** A form as SDKs send it, with a file of every byte. */
function form(fields: Record<string, string>): Pick<CallOptions, 'body' | 'headers'> {
  const head = (more: string) => `--${BOUNDARY}\r\nContent-Disposition: form-data; ${more}\r\n`
  const file = [head('name="file"; filename="a.mp3"'), 'Content-Type: audio/mpeg\r\n\r\n']
  const texts = Object.entries(fields).map(([name, value]) => `${head(`name="${name}"`)}\r\n${value}\r\n`)
  return {
    headers: { 'content-type': `multipart/form-data; boundary="${BOUNDARY}"` },
    body: Buffer.concat([Buffer.from(file.join('')), SOUND, Buffer.from(`\r\n${texts.join('')}--${BOUNDARY}--\r\n`)]),
  }
}

interface Endpoint {
  ask: CallOptions
  /** Where the upstream is asked. */
  at: string
  kind: 'openai' | 'gemini'
  model: string
  answers: RegExp
  row: { usage?: object; priceState: string; costNanoUsd?: number; stream?: boolean }
}

const UNKNOWN = { priceState: 'unknown', usage: { inputTokens: 0, outputTokens: 0 }, costNanoUsd: 0 }
const openai = (path: string, ask: CallOptions, model: string, row: Endpoint['row'], answers: RegExp): Endpoint => ({
  ...{ kind: 'openai', model, at: `/v1${path}`, row, answers },
  ask: { path: `/v1${path}`, ...ask },
})
const google = (method: string, body: object, row: Endpoint['row'], answers: RegExp): Endpoint => ({
  ...{ kind: 'gemini', model: 'some-model', at: `/v1beta/models/some-model:${method}`, row, answers },
  ask: { path: `/v1beta/models/some-model:${method}`, body },
})
const image = { model: 'gpt-image-1', prompt: 'a cat' }
const speech = { model: 'gpt-4o-mini-tts', input: 'hi', voice: 'alloy' }

const ENDPOINTS: Record<string, Endpoint> = {
  moderations: openai(
    '/moderations',
    { body: { model: 'omni-moderation-latest', input: 'hi' } },
    'omni-moderation-latest',
    { priceState: 'known', usage: { inputTokens: 0, outputTokens: 0 }, costNanoUsd: 0 },
    /"flagged":false/,
  ),
  images: openai('/images/generations', { body: image }, 'gpt-image-1', UNKNOWN, /"b64_json":"AAEC/),
  'images, streamed': openai(
    '/images/generations',
    { body: { ...image, stream: true } },
    'gpt-image-1',
    { ...UNKNOWN, stream: true },
    /image_generation\.partial_image[\s\S]*image_generation\.completed/,
  ),
  'edits in a form': openai('/images/edits', form(image), 'gpt-image-1', UNKNOWN, /b64_json/),
  'edits in a form, streamed': openai(
    '/images/edits',
    form({ ...image, stream: 'true' }),
    'gpt-image-1',
    { ...UNKNOWN, stream: true },
    /image_edit\.completed/,
  ),
  'edits in JSON': openai('/images/edits', { body: image }, 'gpt-image-1', UNKNOWN, /b64_json/),
  variations: openai('/images/variations', form({ model: 'dall-e-2' }), 'dall-e-2', UNKNOWN, /b64_json/),
  speech: openai('/audio/speech', { body: speech }, 'gpt-4o-mini-tts', UNKNOWN, /^[^{]{2}/),
  'speech in events': openai(
    '/audio/speech',
    { body: { ...speech, stream_format: 'sse' } },
    'gpt-4o-mini-tts',
    { ...UNKNOWN, stream: true },
    /speech\.audio\.done/,
  ),
  // 14 tokens of which 10 are of sound, which no row has a price for: 4 × $2.50 + 45 × $10 a million.
  transcripts: openai(
    '/audio/transcriptions',
    form({ model: 'gpt-4o-transcribe' }),
    'gpt-4o-transcribe',
    { usage: { inputTokens: 4, outputTokens: 45 }, priceState: 'partly_unknown', costNanoUsd: 460_000 },
    /wildest/,
  ),
  'transcripts in events': openai(
    '/audio/transcriptions',
    form({ model: 'gpt-4o-transcribe', stream: 'true' }),
    'gpt-4o-transcribe',
    { usage: { inputTokens: 4, outputTokens: 45 }, priceState: 'partly_unknown', costNanoUsd: 460_000, stream: true },
    /transcript\.text\.done/,
  ),
  'transcripts in text': openai(
    '/audio/transcriptions',
    form({ model: 'gpt-4o-transcribe', response_format: 'text' }),
    'gpt-4o-transcribe',
    UNKNOWN,
    /^Imagine the wildest idea\.\n$/,
  ),
  'transcripts by the second': openai(
    '/audio/transcriptions',
    form({ model: 'whisper-1' }),
    'whisper-1',
    UNKNOWN,
    /"type":"duration"/,
  ),
  translations: openai('/audio/translations', form({ model: 'whisper-1' }), 'whisper-1', UNKNOWN, /wildest/),
  embedContent: google('embedContent', { content: { parts: [{ text: 'hi' }] } }, UNKNOWN, /"values":\[0\.25/),
  batchEmbedContents: google(
    'batchEmbedContents',
    { requests: [{ model: 'models/some-model', content: { parts: [{ text: 'hi' }] } }] },
    UNKNOWN,
    /"embeddings":/,
  ),
  predict: google('predict', { instances: [{ prompt: 'a cat' }] }, UNKNOWN, /bytesBase64Encoded/),
}

const at = (kind: AccountKind, url: string, more: object = {}) => ({ ...ACCOUNTS[kind](url), models: ['*'], ...more })

t.test('what is passed through arrives byte for byte, and so does its answer; a row says what is known', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scenes = new Map<string, { key: string; user: { id: string } }>()
      for (const [name, { kind }] of Object.entries(ENDPOINTS))
        scenes.set(name, await site.scene({ accounts: [at(kind, site.upstream.url)] }))
      return scenes
    },
  })
  for (const [name, { ask, at, model, answers, row }] of Object.entries(ENDPOINTS)) {
    const scene = gw.scenes.get(name) as { key: string; user: { id: string } }
    const answer = await gw.call({ key: scene.key, ...ask })
    t.match(answer, { status: 200, ended: 'whole' }, name)
    t.match(answer.body.toString('latin1'), answers, name)
    const seen = gw.upstream.seen.at(-1)
    const sent = Buffer.isBuffer(ask.body) ? ask.body.toString('latin1') : JSON.stringify(ask.body)
    t.equal(seen?.path, at, name)
    t.equal(seen?.body, sent, `${name}: the request`)
    t.equal(seen?.headers['content-type'], ask.headers?.['content-type'] ?? 'application/json', name)
    const direct = await fetch(`${gw.upstream.url}${at}`, {
      method: 'POST',
      headers: { 'content-type': seen?.headers['content-type'] ?? '' },
      body: (Buffer.isBuffer(ask.body) ? ask.body : JSON.stringify(ask.body)) as string,
    })
    t.ok(Buffer.from(await direct.arrayBuffer()).equals(answer.body), `${name}: the answer`)
    t.equal(answer.headers['content-type'], direct.headers.get('content-type'), name)
    const [found] = (await gw.settled()).filter(({ userId }) => userId === scene.user.id)
    t.match(found, { outcome: 'complete', requestedModel: model, stream: false, ...row }, `${name}: its row`)
  }
})

t.test('without a version in the path, in other versions and Vertex’s form it is the same', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      openai: await site.scene({ accounts: [at('openai', site.upstream.url)] }),
      gemini: await site.scene({ accounts: [at('gemini', site.upstream.url)] }),
    }),
  })
  for (const path of Object.values(ENDPOINTS).flatMap(({ kind, at }) => (kind === 'openai' ? [at.slice(3)] : [])))
    t.equal((await gw.call({ key: gw.scenes.openai.key, path, body: image })).status, 200, path)
  for (const [path, there] of [
    ['/v1/models/imagen-4:predict', '/v1/models/imagen-4:predict'],
    ['/v1alpha/models/x:embedContent?key=no', '/v1alpha/models/x:embedContent'],
    ['/v1beta1/publishers/google/models/imagen-4:predict', '/v1beta/models/imagen-4:predict'],
  ] as const) {
    t.equal((await gw.call({ key: gw.scenes.gemini.key, path: path.replace(/\?.*/, ''), body: {} })).status, 200, path)
    t.equal(gw.upstream.seen.at(-1)?.path, there)
  }
})

t.test('a legacy completion is metered like a chat, and hides what was not asked for', async (t) => {
  const script: Script = { text: ['one ', 'two'], usage: { input: 1000, output: 200 } }
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const account = at('openai', site.upstream.url, { modelMap: [], scripts: [script, script, script] })
      return site.scene({ accounts: [account] })
    },
  })
  const ask = (more: object) =>
    gw.call({ key: gw.scenes.key, path: '/v1/completions', body: { model: 'gpt-4o-mini', prompt: 'count', ...more } })
  t.match(JSON.parse((await ask({})).text), { object: 'text_completion', choices: [{ text: 'one two' }] })
  const hidden = await ask({ stream: true })
  t.match(hidden, { ended: 'whole', text: /"text":"one "[\s\S]*\[DONE\]/ })
  t.notMatch(hidden.text, /usage/)
  t.match(gw.upstream.seen.at(-1)?.body, /"include_usage":true/)
  t.match((await ask({ stream: true, stream_options: { include_usage: true } })).text, /"completion_tokens":200/)
  const rows = await gw.settled()
  t.equal(rows.length, 3)
  // 1000 × $0.15 + 200 × $0.60 a million.
  for (const row of rows)
    t.match(row, {
      ...{ outcome: 'complete', protocol: 'openai-chat', priceState: 'known', costNanoUsd: 270_000 },
      usage: { inputTokens: 1000, outputTokens: 200 },
    })
})

t.test('an account’s map changes the model wherever it is written, and nothing else', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const mapped = (kind: AccountKind) => at(kind, site.upstream.url, { modelMap: { '*': 'sent-x' } })
      return {
        openai: await site.scene({ accounts: [mapped('openai')] }),
        gemini: await site.scene({ accounts: [mapped('gemini')] }),
      }
    },
  })
  const sent = async (scene: 'openai' | 'gemini', ask: CallOptions) => {
    const answer = await gw.call({ key: gw.scenes[scene].key, ...ask })
    t.equal(answer.status, 200, answer.text)
    return { answer, seen: gw.upstream.seen.at(-1) }
  }
  const asked = form({ model: 'whisper-1', language: 'whisper-1' })
  const { seen } = await sent('openai', { path: '/v1/audio/transcriptions', ...asked })
  const expected = (asked.body as Buffer)
    .toString('latin1')
    .replace('name="model"\r\n\r\nwhisper-1', 'name="model"\r\n\r\nsent-x')
  t.equal(seen?.body, expected)
  t.equal(seen?.headers['content-length'], String(expected.length))
  const nameless = await sent('openai', { path: '/v1/moderations', body: '{"input": "hi"}' })
  t.equal(nameless.seen?.body, '{"model":"sent-x","input": "hi"}', 'the vendor’s default is a name like any other')
  const named = await sent('openai', { path: '/v1/moderations', body: { model: 'mine', input: 'hi' } })
  t.equal(named.seen?.body, '{"model":"sent-x","input":"hi"}')
  const batch = '{ "requests": [{"model":"models/a", "content":{}}, {"content":{},"model":"a"}] }'
  const google = await sent('gemini', { path: '/v1beta/models/a:batchEmbedContents', body: batch })
  t.equal(google.seen?.path, '/v1beta/models/sent-x:batchEmbedContents')
  t.equal(google.seen?.body, batch.replace('models/a', 'models/sent-x').replace('"a"', '"sent-x"'))
  t.match((await gw.settled()).at(-1), { upstreamModel: 'sent-x' })
})

t.test('a request that names no model, or two, is refused before anybody is asked', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      openai: await site.scene({ accounts: [at('openai', site.upstream.url)] }),
      gemini: await site.scene({ accounts: [at('gemini', site.upstream.url)] }),
    }),
  })
  const twice = form({ model: 'a' })
  const double = Buffer.from(
    (twice.body as Buffer).toString('latin1').replace('name="file"; filename="a.mp3"', 'name="model"'),
    'latin1',
  )
  const refused: ['openai' | 'gemini', CallOptions, RegExp][] = [
    ['openai', { path: '/v1/images/generations', body: { prompt: 'a cat' } }, /model: must be/],
    ['openai', { path: '/v1/audio/transcriptions', ...form({ language: 'en' }) }, /model: must be/],
    ['openai', { path: '/v1/audio/transcriptions', ...twice, body: double }, /field 'model' twice/],
    ['openai', { path: '/v1/moderations', body: '{"model":"a","mod\\u0065l":"b"}' }, /key 'model' twice/],
    ['openai', { path: '/v1/audio/speech', body: { model: 7 } }, /model: must be/],
    [
      'openai',
      { path: '/v1/images/edits', ...twice, headers: { 'content-type': 'multipart/form-data' } },
      /names no boundary/,
    ],
    ['openai', { path: '/v1/images/edits', ...twice, headers: {} }, /must be a JSON object/],
    ['gemini', { path: '/v1beta/models/a:embedContent', body: { model: 'models/b' } }, /another one than the path/],
    ['gemini', { path: '/v1beta/models/a:batchEmbedContents', body: { requests: [{ model: 'b' }] } }, /another one/],
  ]
  for (const [scene, ask, why] of refused) {
    const answer = await gw.call({ key: gw.scenes[scene].key, ...ask })
    t.match(answer, { status: 400, text: why }, String(why))
  }
  t.equal(gw.upstream.seen.length, 0)
  t.equal((await gw.settled()).length, 0)
})

t.test('who has only logins hears that it takes an API key', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scene = (kind: AccountKind) => site.scene({ accounts: [at(kind, site.upstream.url)] })
      return {
        chatgpt: await scene('chatgpt'),
        'code assist': await scene('code assist'),
        antigravity: await scene('antigravity'),
        openai: await scene('openai'),
      }
    },
  })
  const embed = { path: '/v1beta/models/some-model:embedContent', body: {} }
  const asked: [AccountKind & keyof typeof gw.scenes, CallOptions][] = [
    ['chatgpt', { path: '/v1/images/generations', body: image }],
    ['chatgpt', { path: '/v1/embeddings', body: { model: 'a', input: 'a' } }],
    ['code assist', embed],
    ['antigravity', embed],
    ['antigravity', { ...embed, path: `/antigravity${embed.path}` }],
  ]
  for (const [kind, ask] of asked) {
    const answer = await gw.call({ key: gw.scenes[kind].key, ...ask })
    t.match(
      answer,
      { headers: { 'x-should-retry': 'false' }, text: /takes an API key, and what it has are logins/ },
      kind,
    )
    t.ok([404, 501].includes(answer.status), kind)
  }
  const other = await gw.call({ key: gw.scenes.openai.key, ...embed })
  t.match(other.text, /can do this in the format gemini/)
  t.notMatch(other.text, /logins/)
  t.equal(gw.upstream.seen.length, 0)
})

t.test('what cannot be metered is refused where calls are charged for, unless the operator lets it pass', async (t) => {
  const unmetered = Object.entries(ENDPOINTS).filter(([, { row }]) => row === UNKNOWN)
  t.ok(unmetered.length > 8)
  for (const [config, isServed] of [
    [{ run_mode: 'saas' }, false],
    [{ run_mode: 'simple', unmetered: 'refuse' }, false],
    [{ run_mode: 'saas', unmetered: 'record' }, true],
  ] as const) {
    const gw = await startGateway(t, {
      config,
      setUp: async (site) => {
        const user = { balanceNanoUsd: 1e9 }
        return {
          openai: await site.scene({ accounts: [at('openai', site.upstream.url)], user }),
          gemini: await site.scene({ accounts: [at('gemini', site.upstream.url)], user }),
        }
      },
    })
    for (const [name, { kind, ask }] of unmetered) {
      const answer = await gw.call({ key: gw.scenes[kind].key, ...ask })
      const what = `${name} under ${JSON.stringify(config)}`
      if (isServed) t.equal(answer.status, 200, what)
      else {
        t.match(answer, { headers: { 'x-should-retry': 'false' }, text: /cannot tell what this one would cost/ }, what)
        t.ok([404, 501].includes(answer.status), what)
      }
    }
    const { ask, model } = ENDPOINTS.moderations as Endpoint
    t.equal((await gw.call({ key: gw.scenes.openai.key, ...ask })).status, 200, 'free is metered, and needs no price')
    const transcript = (ENDPOINTS.transcripts as Endpoint).ask
    t.equal((await gw.call({ key: gw.scenes.openai.key, ...transcript })).status, 200)
    const rows = await gw.settled()
    t.equal(gw.upstream.seen.length, isServed ? unmetered.length + 2 : 2)
    t.match(
      rows.find(({ requestedModel }) => requestedModel === model),
      { priceState: 'known', chargedNanoUsd: 0 },
    )
    t.equal(rows.filter(({ priceState }) => priceState === 'unknown').length, isServed ? unmetered.length : 0)
    t.equal(
      rows.reduce((sum, { chargedNanoUsd }) => sum + chargedNanoUsd, 0),
      config.run_mode === 'saas' ? 460_000 : 0,
      'nothing but the tokens that have prices is charged',
    )
  }
})

t.test('a cut answer never looks complete', async (t) => {
  const large = JSON.stringify({ data: [{ b64_json: 'x'.repeat(3_000_000) }] })
  const cut: Record<
    string,
    { ask: CallOptions; script: Script; status: number; ended: 'whole' | 'cut'; text?: RegExp }
  > = {
    'a small sound': {
      ask: { path: '/v1/audio/speech', body: speech },
      script: { breaks: { after: 100, how: 'reset' } },
      ...{ status: 503, ended: 'whole' },
    },
    'a large image': {
      ask: { path: '/v1/images/generations', body: image },
      script: { body: large, breaks: { after: 2_000_000, how: 'reset' }, eventDelayMs: 50 },
      ...{ status: 200, ended: 'cut' },
    },
    'half a JSON text that ends well': {
      ask: { path: '/v1/images/generations', body: image },
      script: { body: large.slice(0, 2_000_000) },
      ...{ status: 200, ended: 'cut' },
    },
    'images in events': {
      ask: { path: '/v1/images/generations', body: { ...image, stream: true } },
      script: { breaks: { after: 1, how: 'clean_end' } },
      ...{ status: 200, ended: 'whole', text: /partial_image[\s\S]*"error":\{/ },
    },
    'half an event': {
      ask: { path: '/v1/audio/transcriptions', ...form({ model: 'a', stream: 'true' }) },
      script: { breaks: { after: 2, how: 'mid_event' }, eventDelayMs: 20 },
      ...{ status: 200, ended: 'whole', text: /transcript\.text\.delta[\s\S]*"error":\{/ },
    },
    'an error in place of the rest': {
      ask: { path: '/v1/images/generations', body: { ...image, stream: true } },
      script: { breaks: { after: 1, how: 'error_event' }, eventDelayMs: 50 },
      ...{ status: 200, ended: 'whole', text: /partial_image[\s\S]*"error":\{/ },
    },
  }
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scenes = new Map<string, string>()
      for (const [name, { script }] of Object.entries(cut)) {
        const account: WantedAccount = at('openai', site.upstream.url, { elsewhere: script })
        scenes.set(name, (await site.scene({ accounts: [account] })).key)
      }
      return scenes
    },
  })
  for (const [name, { ask, status, ended, text }] of Object.entries(cut)) {
    const answer = await gw.call({ key: gw.scenes.get(name) ?? '', ...ask })
    t.match({ status: answer.status, ended: answer.ended }, { status, ended }, name)
    if (text) t.match(answer.text, text, name)
  }
  const rows = await gw.settled()
  t.notOk(rows.some(({ outcome }) => outcome === 'complete'))
  for (const { outcome, priceState } of rows)
    t.equal(priceState, outcome === 'failed' ? 'known' : 'unknown', `what ${outcome} used`)
})

/** An upstream that sends so many bytes, as fast as they are taken. */
async function flood(t: Test, total: number): Promise<{ url: string; sent: () => number }> {
  const piece = Buffer.alloc(64 * 1024, 'x')
  let sent = 0
  const server = createServer((req, res) => {
    req.resume()
    res.writeHead(200, { 'content-type': 'audio/mpeg', 'content-length': String(total) })
    const more = () => {
      while (sent < total) {
        sent += piece.length
        if (!res.write(piece)) return void res.once('drain', more)
      }
      res.end()
    }
    more()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sent: () => sent }
}

t.test('a large answer waits for a client that does not read, and is not held', async (t) => {
  const total = 96 * 1024 * 1024
  const upstream = await flood(t, total)
  const gw = await startGateway(t, {
    setUp: async (site) => site.scene({ accounts: [at('openai', upstream.url)] }),
  })
  const call = gw.open({ key: gw.scenes.key, path: '/v1/audio/speech', body: speech })
  call.stopReading()
  await call.head()
  let before = -1
  while (before !== upstream.sent()) {
    before = upstream.sent()
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  t.ok(before < 40 * 1024 * 1024, `${before} bytes were sent before anybody read`)
  call.readOn()
  const answer = await call.over
  t.equal(answer.ended, 'whole')
  t.equal(answer.body.length, total)
  t.match((await gw.settled())[0], { outcome: 'complete', priceState: 'unknown' })
})

t.test('a faulty account is followed by another one', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) =>
      site.scene({
        accounts: [at('openai', site.upstream.url, { elsewhere: { status: 500 } }), at('openai', site.upstream.url)],
      }),
  })
  const { ask } = ENDPOINTS.speech as Endpoint
  t.equal((await gw.call({ key: gw.scenes.key, ...ask })).status, 200)
  t.equal(gw.upstream.seen.length, 2)
  t.match((await gw.settled())[0], { outcome: 'complete', attempts: { length: 2 } })
})

t.test('a refusal of the vendor’s goes on in its own words', async (t) => {
  const body = '{"error":{"message":"Unsupported voice","type":"invalid_request_error","param":"voice","code":null}}'
  const gw = await startGateway(t, {
    setUp: async (site) =>
      site.scene({ accounts: [at('openai', site.upstream.url, { elsewhere: { status: 400, body } })] }),
  })
  const { ask } = ENDPOINTS.speech as Endpoint
  t.match(await gw.call({ key: gw.scenes.key, ...ask }), { status: 400, text: body })
  t.match((await gw.settled())[0], { outcome: 'rejected', priceState: 'known', costNanoUsd: 0 })
})

t.test('files of a form count for no limit of tokens', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const change = parseLimitChange('input_tokens=200/1h', 'UTC')
      const key = { limits: change.kind === 'set' ? [change.limit] : [] }
      return site.scene({ accounts: [at('openai', site.upstream.url)], key })
    },
  })
  for (const name of ['transcripts', 'transcripts', 'edits in a form', 'speech']) {
    const { ask } = ENDPOINTS[name] as Endpoint
    t.equal((await gw.call({ key: gw.scenes.key, ...ask })).status, 200, name)
  }
  const seen = (await gw.settled()).map(({ seenLimits }) => seenLimits?.[0]?.used)
  // Five for the model's name, then four that were told; what is unmetered counts for nothing.
  t.same(seen.sort(), [5, 8, 8, 4 + 5])
})

t.test('a stream of images may begin late, and nobody else is asked meanwhile', async (t) => {
  const late: Script = { headDelayMs: 1000 }
  const gw = await startGateway(t, {
    config: { 'gateway.first_event_timeout': '200ms' },
    setUp: async (site) => {
      const account = () => at('openai', site.upstream.url, { elsewhere: late })
      return site.scene({ accounts: [account(), account()] })
    },
  })
  const { ask } = ENDPOINTS['images, streamed'] as Endpoint
  t.match(await gw.call({ key: gw.scenes.key, ...ask }), { status: 200, text: /completed/ })
  t.equal(gw.upstream.seen.length, 1)
  const other = (ENDPOINTS['speech in events'] as Endpoint).ask
  t.equal((await gw.call({ key: gw.scenes.key, ...other })).status, 503, 'any other stream has to begin at once')
})

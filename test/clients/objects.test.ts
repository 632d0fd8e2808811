import t, { type Test } from 'tap'
import { ACCOUNTS } from '../support/accounts.ts'
import { startGateway } from '../support/gateway.ts'
import { anthropicSdk, googleSdk, openaiSdk } from './install.ts'

/** Files, batches and stored answers as the vendors' own SDKs use them, by two users of the same accounts. */

// The first run fetches the SDKs.
t.setTimeout(300_000)

// The packages are not there when types are checked, so what they export is untyped here.
// biome-ignore lint/suspicious/noExplicitAny: untyped on purpose
type Untyped = any

const { default: Anthropic }: Untyped = await import(await anthropicSdk())
const { default: OpenAI, toFile }: Untyped = await import(await openaiSdk())
const { GoogleGenAI }: Untyped = await import(await googleSdk())

/** No text in any encoding. */
const BYTES = Buffer.from([0, 0xff, 0xfe, 13, 10, 0x80, 45, 45, 0])

const gw = await startGateway(t, {
  setUp: async (site) => {
    const accounts = (['anthropic', 'openai', 'gemini'] as const).flatMap((kind) =>
      [1, 2].map(() => ({ ...ACCOUNTS[kind](site.upstream.url), models: ['*'], priority: 1 })),
    )
    const alice = await site.scene({ accounts })
    return { alice, bob: await site.scene({ group: alice.group, accounts: [] }) }
  },
})

function clientsOf(key: string): Record<'anthropic' | 'openai' | 'google', Untyped> {
  return {
    anthropic: new Anthropic({ apiKey: key, baseURL: gw.url, maxRetries: 0 }),
    openai: new OpenAI({ apiKey: key, baseURL: `${gw.url}/v1`, maxRetries: 0 }),
    google: new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: gw.url } }),
  }
}

const alice = clientsOf(gw.scenes.alice.key)
const bob = clientsOf(gw.scenes.bob.key)

const all = async (items: AsyncIterable<Untyped>): Promise<Untyped[]> => Array.fromAsync(items)
const idsOf = (items: Untyped[]) => items.map(({ id, name }) => id ?? name)
const bytesOf = async (answer: Untyped) => Buffer.from(await answer.arrayBuffer())

async function refused(t: Test, calls: Record<string, () => Promise<unknown>>): Promise<void> {
  for (const [name, call] of Object.entries(calls)) {
    const error = await call().then(
      () => null,
      (reason: unknown) => reason,
    )
    t.match(error, { status: 404 }, name)
  }
}

t.test('OpenAI’s SDK', async (t) => {
  const { openai } = alice
  const upload = async (name: string) =>
    openai.files.create({ file: await toFile(BYTES, name, { type: 'image/png' }), purpose: 'vision' })
  const made = [await upload('a.png'), await upload('b.png'), await upload('c.png')]
  const [file] = made
  t.same(idsOf(await all(openai.files.list({ limit: 2 }))), idsOf(made).reverse(), 'page by page')
  t.same(await openai.files.retrieve(file.id), file)
  const content = await openai.files.content(file.id)
  t.same([content.headers.get('content-type'), await bytesOf(content)], ['image/png', BYTES])
  const input = [{ role: 'user', content: [{ type: 'input_image', file_id: file.id }] }]
  const first = await openai.responses.create({ model: 'gpt-5.5', input })
  t.match(await openai.responses.create({ model: 'gpt-5.5', input: 'go on', previous_response_id: first.id }), {
    previous_response_id: first.id,
  })
  t.match(await openai.responses.retrieve(first.id), { id: first.id })
  t.match(await all(openai.responses.inputItems.list(first.id)), [{ role: 'user' }])

  const parts = [BYTES, BYTES]
  const whole = { purpose: 'vision', filename: 'd.png', bytes: 2 * BYTES.length, mime_type: 'image/png' }
  const begun = await openai.uploads.create(whole)
  const partIds: string[] = []
  for (const part of parts) {
    partIds.push((await openai.uploads.parts.create(begun.id, { data: await toFile(part, 'x') })).id)
  }
  const done = await openai.uploads.complete(begun.id, { part_ids: partIds })
  t.same(await bytesOf(await openai.files.content(done.file.id)), Buffer.concat(parts))

  const line = { custom_id: 'a', method: 'POST', url: '/v1/responses', body: { model: 'gpt-5.5', input: 'hi' } }
  const lines = await openai.files.create({
    file: await toFile(Buffer.from(JSON.stringify(line)), 'a.jsonl'),
    purpose: 'batch',
  })
  const wanted = { input_file_id: lines.id, endpoint: '/v1/responses', completion_window: '24h' }
  const { id } = await openai.batches.create(wanted)
  let batch = await openai.batches.retrieve(id)
  for (let look = 0; look < 3 && !batch.output_file_id; look++) batch = await openai.batches.retrieve(id)
  t.match(await (await openai.files.content(batch.output_file_id)).text(), /"custom_id":"a"/)
  t.same(idsOf(await all(openai.batches.list())), [id])

  const other = bob.openai
  t.same(await all(other.files.list()), [])
  t.same(await all(other.batches.list()), [])
  await refused(t, {
    'reading a file': () => other.files.retrieve(file.id),
    'its content': () => other.files.content(file.id),
    'what a batch has written': () => other.files.content(batch.output_file_id),
    'deleting it': () => other.files.delete(file.id),
    'using it': () => other.responses.create({ model: 'gpt-5.5', input }),
    'using it in a batch': () => other.batches.create(wanted),
    'reading a batch': () => other.batches.retrieve(id),
    'cancelling it': () => other.batches.cancel(id),
    'completing an upload': () => other.uploads.complete(begun.id, { part_ids: partIds }),
    'reading an answer': () => other.responses.retrieve(first.id),
    'what it answers': () => other.responses.inputItems.list(first.id),
    'going on with it': () =>
      other.responses.create({ model: 'gpt-5.5', input: 'go on', previous_response_id: first.id }),
    'deleting an answer': () => other.responses.delete(first.id),
  })
  await openai.responses.delete(first.id)
  await refused(t, { 'an answer that is deleted': () => openai.responses.retrieve(first.id) })
  t.match(await openai.files.delete(file.id), { deleted: true })
  t.notOk(idsOf(await all(openai.files.list())).includes(file.id))
})

t.test('Anthropic’s SDK', async (t) => {
  const { anthropic } = alice
  const upload = (name: string): Promise<Untyped> =>
    anthropic.files.upload({ file: new File([BYTES], name, { type: 'application/pdf' }) })
  const made = [await upload('a.pdf'), await upload('b.pdf'), await upload('c.pdf')]
  const [file] = made
  t.same(idsOf(await all(anthropic.files.list({ limit: 2 }))), idsOf(made).reverse(), 'page by page')
  t.same(await bytesOf(await anthropic.files.download(file.id)), BYTES)
  const ask = (content: unknown) => ({ model: 'claude-opus-5-5', max_tokens: 9, messages: [{ role: 'user', content }] })
  const asked = ask([{ type: 'document', source: { type: 'file', file_id: file.id } }])
  t.match(await anthropic.messages.create(asked), { type: 'message' })
  t.match(await anthropic.messages.countTokens(asked), { input_tokens: Number })
  const requests = [ask('hi'), asked].map((params, index) => ({ custom_id: `r${index}`, params }))
  const batch = await anthropic.messages.batches.create({ requests })
  await anthropic.messages.batches.retrieve(batch.id)
  // It takes the address of the results from the batch.
  t.match(await all(await anthropic.messages.batches.results(batch.id)), [
    { custom_id: 'r0', result: { type: 'succeeded' } },
    { custom_id: 'r1', result: { type: 'succeeded' } },
  ])

  const other = bob.anthropic
  t.same(await all(other.files.list()), [])
  t.same(await all(other.messages.batches.list()), [])
  await refused(t, {
    'reading a file': () => other.files.retrieveMetadata(file.id),
    'its content': () => other.files.download(file.id),
    'deleting it': () => other.files.delete(file.id),
    'using it': () => other.messages.create(asked),
    'counting it': () => other.messages.countTokens(asked),
    'using it in a batch': () => other.messages.batches.create({ requests }),
    'reading a batch': () => other.messages.batches.retrieve(batch.id),
    'its results': () => other.messages.batches.results(batch.id),
    'cancelling it': () => other.messages.batches.cancel(batch.id),
    'deleting it all the same': () => other.messages.batches.delete(batch.id),
  })
  t.match(await anthropic.messages.batches.delete(batch.id), { type: 'message_batch_deleted' })
  t.match(await anthropic.files.delete(file.id), { type: 'file_deleted' })
  await refused(t, { 'a file that is deleted': () => anthropic.messages.create(asked) })
})

t.test('Google’s SDK', async (t) => {
  const { google } = alice
  const large = Buffer.alloc(9 * 1024 * 1024, 'x') // more than one piece of the SDK's
  const upload = (bytes: Buffer, config: object = {}) =>
    google.files.upload({ file: new Blob([new Uint8Array(bytes)], { type: 'image/png' }), config })
  const made = [await upload(BYTES, { displayName: 'a picture' }), await upload(large), await upload(BYTES)]
  const [file] = made
  t.match(made[1], { sizeBytes: String(large.length) }, 'in two pieces')
  t.same(idsOf(await all(await google.files.list({ config: { pageSize: 2 } }))), idsOf(made).reverse())
  const contents = [{ role: 'user', parts: [{ fileData: { fileUri: file.uri, mimeType: 'image/png' } }] }]
  const asked = { model: 'gemini-3.8-flash', contents }
  t.match(await google.models.generateContent(asked), { candidates: [{}] })
  const cache = await google.caches.create({ model: 'gemini-3.8-flash', config: { contents, ttl: '300s' } })
  const cached = { model: 'gemini-3.8-flash', contents: 'hi', config: { cachedContent: cache.name } }
  t.match(await google.models.generateContent(cached), { candidates: [{}] })
  await google.caches.update({ name: cache.name, config: { ttl: '600s' } })
  t.same(idsOf(await all(await google.caches.list())), [cache.name])
  const batch = await google.batches.create({ model: 'gemini-3.8-flash', src: [{ contents }] })
  t.match(await google.batches.get({ name: batch.name }), { name: batch.name })
  t.same(idsOf(await all(await google.batches.list())), [batch.name])

  const other = bob.google
  t.same(await all(await other.files.list()), [])
  t.same(await all(await other.caches.list()), [])
  t.same(await all(await other.batches.list()), [])
  await refused(t, {
    'reading a file': () => other.files.get({ name: file.name }),
    'deleting it': () => other.files.delete({ name: file.name }),
    'using it': () => other.models.generateContent(asked),
    'counting it': () => other.models.countTokens(asked),
    'reading a cache': () => other.caches.get({ name: cache.name }),
    'keeping it longer': () => other.caches.update({ name: cache.name, config: { ttl: '600s' } }),
    'deleting a cache': () => other.caches.delete({ name: cache.name }),
    'using a cache': () => other.models.generateContent(cached),
    'making a cache of a file': () =>
      other.caches.create({ model: 'gemini-3.8-flash', config: { contents, ttl: '9s' } }),
    'reading a batch': () => other.batches.get({ name: batch.name }),
    'cancelling it': () => other.batches.cancel({ name: batch.name }),
    'deleting a batch': () => other.batches.delete({ name: batch.name }),
  })
  await google.caches.delete({ name: cache.name })
  await google.batches.delete({ name: batch.name })
  await google.files.delete({ name: file.name })
  await refused(t, { 'a file that is deleted': () => google.files.get({ name: file.name }) })
})

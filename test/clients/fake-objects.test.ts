import t, { type Test } from 'tap'
import { FakeUpstream } from '../../src/demo/fake-upstream.ts'
import { anthropicSdk, googleSdk, openaiSdk } from './install.ts'

// The packages are not there when types are checked, so what they export is untyped here.
// biome-ignore lint/suspicious/noExplicitAny: untyped on purpose
type Untyped = any

const { default: Anthropic }: Untyped = await import(await anthropicSdk())
const { default: OpenAI, toFile }: Untyped = await import(await openaiSdk())
const { GoogleGenAI }: Untyped = await import(await googleSdk())

/** No text in any encoding. */
const BYTES = Buffer.from([0, 0xff, 0xfe, 13, 10, 0x80, 45, 45, 0])

async function start(t: Test) {
  const upstream = await FakeUpstream.start()
  t.teardown(() => upstream[Symbol.asyncDispose]())
  const { url } = upstream
  return {
    url,
    openai: (apiKey: string): Untyped => new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 }),
    anthropic: (apiKey: string): Untyped => new Anthropic({ apiKey, baseURL: url, maxRetries: 0 }),
    google: (apiKey: string): Untyped => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } }),
  }
}

const all = async (items: AsyncIterable<Untyped>): Promise<Untyped[]> => Array.fromAsync(items)
const idsOf = (items: Untyped[]) => items.map(({ id, name }) => id ?? name)
async function refused(t: Test, call: Promise<unknown>, wanted: object): Promise<void> {
  t.match(await call.catch((error) => error), wanted)
}
const bytesOf = async (answer: Untyped) => Buffer.from(await answer.arrayBuffer())

t.test('OpenAI: files', async (t) => {
  const { openai, url } = await start(t)
  const [one, two] = [openai('key-1'), openai('key-2')]
  const create = async (name: string, purpose: string) =>
    one.files.create({ file: await toFile(BYTES, name, { type: 'image/png' }), purpose })
  const file = await create('a.png', 'vision')
  t.match(file, { object: 'file', bytes: BYTES.length, filename: 'a.png', purpose: 'vision', status: 'processed' })
  const others = [await create('b.jsonl', 'batch'), await create('c.png', 'vision')]
  t.same(idsOf(await all(one.files.list({ limit: 1 }))), [others[1].id, others[0].id, file.id], 'page by page')
  t.same(idsOf(await all(one.files.list({ purpose: 'vision', order: 'asc' }))), [file.id, others[1].id])
  t.same(await one.files.retrieve(file.id), file)
  const content = await one.files.content(file.id)
  t.equal(content.headers.get('content-type'), 'image/png')
  t.same(await bytesOf(content), BYTES)
  const unversioned = await fetch(`${url}/files/${file.id}`, { headers: { authorization: 'Bearer key-1' } })
  t.same(await unversioned.json(), file)

  t.same(await all(two.files.list()), [])
  const unknown = { status: 404, error: { message: `No such File object: ${file.id}`, param: 'id', code: null } }
  await refused(t, two.files.retrieve(file.id), unknown)
  await refused(t, two.files.content(file.id), unknown)
  await refused(t, two.files.delete(file.id), unknown)
  t.same(await one.files.delete(file.id), { id: file.id, object: 'file', deleted: true })
  await refused(t, one.files.retrieve(file.id), unknown)
})

t.test('OpenAI: a call that names a file', async (t) => {
  const { openai } = await start(t)
  const [one, two] = [openai('key-1'), openai('key-2')]
  const { id } = await one.files.create({ file: await toFile(BYTES, 'a.pdf'), purpose: 'user_data' })
  const calls = (client: Untyped) => [
    () => client.responses.create({ input: [{ role: 'user', content: [{ type: 'input_file', file_id: id }] }] }),
    () =>
      client.responses.create({ tools: [{ type: 'code_interpreter', container: { type: 'auto', file_ids: [id] } }] }),
    () =>
      client.chat.completions.create({
        messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: id } }] }],
      }),
  ]
  for (const call of calls(one)) await call()
  for (const call of calls(two)) await refused(t, call(), { status: 404, error: { type: 'invalid_request_error' } })
  const talk = { type: 'function_call', call_id: 'c', name: 'f', arguments: `{"type":"input_file","file_id":"${id}"}` }
  await two.responses.create({ input: [talk] })
})

t.test('OpenAI: uploads in parts', async (t) => {
  const { openai } = await start(t)
  const [one, two] = [openai('key-1'), openai('key-2')]
  const asked = { filename: 'a.bin', purpose: 'user_data', bytes: 2 * BYTES.length, mime_type: 'application/x-thing' }
  const upload = await one.uploads.create(asked)
  t.match(upload, { object: 'upload', status: 'pending', bytes: 18, filename: 'a.bin' })
  const part = async (client: Untyped, bytes: Buffer) =>
    client.uploads.parts.create(upload.id, { data: await toFile(bytes) })
  const first = await part(one, BYTES)
  const second = await part(one, BYTES.toReversed() as Buffer)
  t.match(first, { object: 'upload.part', upload_id: upload.id })
  await refused(t, part(two, BYTES), { status: 404 })
  await refused(t, two.uploads.complete(upload.id, { part_ids: [] }), { status: 404 })
  await refused(t, one.uploads.complete(upload.id, { part_ids: [first.id] }), { status: 400 })
  const { status, file } = await one.uploads.complete(upload.id, { part_ids: [second.id, first.id] })
  t.match({ status, file }, { status: 'completed', file: { object: 'file', filename: 'a.bin', bytes: 18 } })
  const content = await one.files.content(file.id)
  t.same(await bytesOf(content), Buffer.concat([BYTES.toReversed(), BYTES]), 'in the order that was said')
  t.equal(content.headers.get('content-type'), 'application/x-thing')
  t.equal((await one.uploads.cancel((await one.uploads.create(asked)).id)).status, 'cancelled')
})

t.test('OpenAI: batches', async (t) => {
  const { openai } = await start(t)
  const [one, two] = [openai('key-1'), openai('key-2')]
  const body = { model: 'gpt-5.5', messages: [{ role: 'user', content: 'hi' }] }
  const lines = ['a', 'b'].map((custom_id) => JSON.stringify({ custom_id, url: '/v1/chat/completions', body }))
  const { id } = await one.files.create({ file: await toFile(Buffer.from(lines.join('\n'))), purpose: 'batch' })
  const asked = { input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' }
  await refused(t, two.batches.create(asked), { status: 400, error: { param: 'input_file_id' } })
  const batch = await one.batches.create(asked)
  t.match(batch, { object: 'batch', status: 'validating', model: 'gpt-5.5', request_counts: { total: 2 } })
  t.match(await one.batches.retrieve(batch.id), { status: 'in_progress', output_file_id: null })
  const done = await one.batches.retrieve(batch.id)
  t.match(done, { status: 'completed', request_counts: { completed: 2 }, usage: { input_tokens: Number } })
  const output = (await (await one.files.content(done.output_file_id)).text()).trim().split('\n').map(JSON.parse)
  const answer = { object: 'chat.completion', model: 'gpt-5.5', usage: { prompt_tokens: Number } }
  t.match(
    output,
    ['a', 'b'].map((custom_id) => ({ custom_id, response: { status_code: 200, body: answer } })),
  )
  await refused(t, one.batches.cancel(batch.id), { status: 409 })
  const other = await one.batches.create(asked)
  t.equal((await one.batches.cancel(other.id)).status, 'cancelling')
  t.equal((await one.batches.retrieve(other.id)).status, 'cancelled')
  t.same(idsOf(await all(one.batches.list({ limit: 1 }))), [other.id, batch.id])
  t.same(await all(two.batches.list()), [])
  const unknown = { status: 404, error: { message: `No batch found with id '${batch.id}'.` } }
  await refused(t, two.batches.retrieve(batch.id), unknown)
  await refused(t, two.batches.cancel(batch.id), unknown)
})

t.test('OpenAI: stored responses', async (t) => {
  const { openai } = await start(t)
  const [one, two] = [openai('key-1'), openai('key-2')]
  const first = await one.responses.create({ model: 'gpt-5.5', input: 'hi' })
  t.match(first, { store: true, previous_response_id: null, status: 'completed' })
  t.same(await one.responses.retrieve(first.id), first)
  const events = await all(await one.responses.retrieve(first.id, { stream: true }))
  t.match(
    [events[0].type, events.at(-1)],
    ['response.created', { type: 'response.completed', response: { id: first.id } }],
  )
  const rest = await all(await one.responses.retrieve(first.id, { stream: true, starting_after: 3 }))
  t.equal(rest[0].sequence_number, 4)
  const second = await all(
    await one.responses.create({
      model: 'gpt-5.5',
      input: ['a', 'b'].map((content) => ({ role: 'user', content })),
      stream: true,
      previous_response_id: first.id,
    }),
  )
  t.match(second.at(-1).response, { store: true, previous_response_id: first.id })
  const items = await all(one.responses.inputItems.list(second.at(-1).response.id, { limit: 1, order: 'asc' }))
  t.match(
    items,
    ['a', 'b'].map((text) => ({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] })),
  )

  const previous = { status: 400, error: { param: 'previous_response_id', code: 'previous_response_not_found' } }
  await refused(t, two.responses.create({ input: 'hi', previous_response_id: first.id }), previous)
  const unknown = { status: 404, error: { message: `Response with id '${first.id}' not found.` } }
  await refused(t, two.responses.retrieve(first.id), unknown)
  await refused(t, two.responses.inputItems.list(first.id), unknown)
  await refused(t, two.responses.delete(first.id), unknown)
  await refused(t, one.responses.cancel(first.id), { status: 400 })
  await one.responses.delete(first.id)
  await refused(t, one.responses.retrieve(first.id), unknown)
  await refused(t, one.responses.create({ input: 'hi', previous_response_id: first.id }), previous)

  const unstored = await one.responses.create({ input: 'hi', store: false })
  t.equal(unstored.store, false)
  await refused(t, one.responses.retrieve(unstored.id), { status: 404 })
  const [background, stopped] = [1, 2].map(() => one.responses.create({ input: 'hi', background: true }))
  t.match(await background, { status: 'queued', output: [], background: true })
  t.equal((await one.responses.retrieve((await background).id)).status, 'in_progress')
  t.match(await one.responses.retrieve((await background).id), {
    status: 'completed',
    usage: { output_tokens: Number },
  })
  t.equal((await one.responses.cancel((await stopped).id)).status, 'cancelled')
  t.equal((await one.responses.retrieve((await stopped).id)).status, 'cancelled')
})

t.test('OpenAI: videos', async (t) => {
  const { openai } = await start(t)
  const [one, two] = [openai('key-1'), openai('key-2')]
  const video = await one.videos.create({ prompt: 'a cat', model: 'sora-2-pro', seconds: '8' })
  t.match(video, { object: 'video', status: 'queued', model: 'sora-2-pro', seconds: '8', prompt: 'a cat' })
  const pictured = await one.videos.create({ prompt: 'a dog', input_reference: await toFile(BYTES, 'a.png') })
  t.match(pictured, { prompt: 'a dog', model: 'sora-2' }, 'as a form')
  await refused(t, one.videos.downloadContent(video.id), { status: 404 })
  t.match(await one.videos.retrieve(video.id), { status: 'in_progress', progress: 50 })
  t.match(await one.videos.retrieve(video.id), { status: 'completed', progress: 100 })
  const content = await one.videos.downloadContent(video.id)
  t.equal(content.headers.get('content-type'), 'video/mp4')
  t.match((await bytesOf(content)).toString('latin1'), video.id)
  const remix = await one.videos.remix(video.id, { prompt: 'a cow' })
  t.match(remix, { status: 'queued', prompt: 'a cow', remixed_from_video_id: video.id, model: 'sora-2-pro' })
  t.same(idsOf(await all(one.videos.list({ limit: 2 }))), [remix.id, pictured.id, video.id])
  t.same(await all(two.videos.list()), [])
  for (const method of ['retrieve', 'downloadContent', 'delete'])
    await refused(t, two.videos[method](video.id), { status: 404 })
  await refused(t, two.videos.remix(video.id, { prompt: 'a cow' }), { status: 404 })
  t.same(await one.videos.delete(video.id), { id: video.id, object: 'video.deleted', deleted: true })
  await refused(t, one.videos.retrieve(video.id), { status: 404 })
})

t.test('Anthropic: files', async (t) => {
  const { anthropic } = await start(t)
  const [one, two] = [anthropic('key-1'), anthropic('key-2')]
  const create = (name: string): Promise<Untyped> =>
    one.files.upload({ file: new File([BYTES], name, { type: 'application/pdf' }) })
  const files = [await create('a.pdf'), await create('b.pdf'), await create('c.pdf')]
  const [file] = files
  t.match(file, { type: 'file', filename: 'a.pdf', mime_type: 'application/pdf', size_bytes: BYTES.length })
  t.same(idsOf(await all(one.files.list({ limit: 1 }))), idsOf(files).reverse())
  t.same(idsOf(await all(one.files.list({ ids: [file.id] }))), [file.id])
  t.same(await one.files.retrieveMetadata(file.id), file)
  const content = await one.files.download(file.id)
  t.equal(content.headers.get('content-type'), 'application/pdf')
  t.same(await bytesOf(content), BYTES)
  const source = { type: 'file', file_id: file.id }
  const messages = [{ role: 'user', content: [{ type: 'document', source }] }]
  const asked = { model: 'claude-opus-5-5', max_tokens: 9, messages }
  t.match(await one.messages.create(asked), { type: 'message' })

  const unknown = {
    status: 404,
    error: { type: 'error', error: { type: 'not_found_error', message: new RegExp(file.id) } },
  }
  t.same(await all(two.files.list()), [])
  await refused(t, two.files.retrieveMetadata(file.id), unknown)
  await refused(t, two.files.download(file.id), unknown)
  await refused(t, two.files.delete(file.id), unknown)
  await refused(t, two.messages.create(asked), unknown)
  await refused(t, two.messages.countTokens(asked), unknown)
  t.same(await one.files.delete(file.id), { id: file.id, type: 'file_deleted' })
  await refused(t, one.messages.create(asked), unknown)
})

t.test('Anthropic: batches', async (t) => {
  const { anthropic } = await start(t)
  const [one, two] = [anthropic('key-1'), anthropic('key-2')]
  const ask = (content: unknown) => ({ model: 'claude-opus-5-5', max_tokens: 9, messages: [{ role: 'user', content }] })
  const foreign = ask([{ type: 'document', source: { type: 'file', file_id: 'file_of_another' } }])
  const requests = [ask('hi'), foreign].map((params, index) => ({ custom_id: `r${index}`, params }))
  const { batches } = one.messages
  const batch = await batches.create({ requests })
  t.match(batch, { type: 'message_batch', processing_status: 'in_progress', request_counts: { processing: 2 } })
  await refused(t, batches.delete(batch.id), { status: 400 })
  t.match(await batches.retrieve(batch.id), { processing_status: 'in_progress', results_url: null })
  const results = await all(await batches.results(batch.id))
  const message = { model: 'claude-opus-5-5', usage: { input_tokens: Number, output_tokens: Number } }
  t.match(results, [
    { custom_id: 'r0', result: { type: 'succeeded', message } },
    { custom_id: 'r1', result: { type: 'errored', error: { error: { type: 'not_found_error' } } } },
  ])
  t.match(await batches.retrieve(batch.id), {
    processing_status: 'ended',
    request_counts: { succeeded: 1, errored: 1 },
  })
  const others = [await batches.create({ requests }), await batches.create({ requests })]
  t.same(idsOf(await all(batches.list({ limit: 1 }))), idsOf([...others.toReversed(), batch]))
  t.same(idsOf(await all(batches.list({ limit: 1, before_id: batch.id }))), idsOf(others), 'backwards')
  t.equal((await batches.cancel(others[0].id)).processing_status, 'canceling')
  t.match(await batches.retrieve(others[0].id), { processing_status: 'ended', request_counts: { canceled: 2 } })
  t.match(await all(await batches.results(others[0].id)), [{ result: { type: 'canceled' } }, {}])

  t.same(await all(two.messages.batches.list()), [])
  for (const method of ['retrieve', 'results', 'cancel', 'delete'])
    await refused(t, two.messages.batches[method](batch.id), {
      status: 404,
      error: { error: { type: 'not_found_error' } },
    })
  t.same(await batches.delete(batch.id), { id: batch.id, type: 'message_batch_deleted' })
  await refused(t, batches.retrieve(batch.id), { status: 404 })
})

t.test('Gemini: files', async (t) => {
  const { google, url } = await start(t)
  const [one, two] = [google('key-1'), google('key-2')]
  const large = Buffer.alloc(9 * 1024 * 1024, 'x') // more than one piece of the SDK's
  const upload = (bytes: Buffer, config: object = {}) =>
    one.files.upload({ file: new Blob([new Uint8Array(bytes)], { type: 'image/png' }), config })
  const file = await upload(BYTES, { displayName: 'a picture' })
  t.match(file, { mimeType: 'image/png', sizeBytes: '9', displayName: 'a picture', state: 'ACTIVE' })
  t.equal(file.uri, `${url}/v1beta/${file.name}`)
  const others = [await upload(large, { name: 'mine' }), await upload(BYTES)]
  t.match(others[0], { name: 'files/mine', sizeBytes: String(large.length) })
  await refused(t, upload(BYTES, { name: 'mine' }), { message: /409/ })
  t.same(idsOf(await all(await one.files.list({ config: { pageSize: 1 } }))), idsOf([file, ...others].reverse()))
  t.same(await one.files.get({ name: file.name }), file)
  const download = await fetch(`${file.uri}:download?alt=media`, { headers: { 'x-goog-api-key': 'key-1' } })
  t.equal(download.headers.get('content-type'), 'image/png')
  t.same(await bytesOf(download), BYTES)
  const contents = [{ role: 'user', parts: [{ fileData: { fileUri: file.uri, mimeType: 'image/png' } }] }]
  const asked = { model: 'gemini-3.8-flash', contents }
  t.match(await one.models.generateContent(asked), { candidates: [{}] })

  const denied = { status: 403, message: /You do not have permission to access the File .* or it may not exist\./ }
  t.same(await all(await two.files.list()), [])
  await refused(t, two.files.get({ name: file.name }), denied)
  await refused(t, two.files.delete({ name: file.name }), denied)
  await refused(t, two.models.generateContent(asked), denied)
  const strange = [{ parts: [{ fileData: { fileUri: `http://else.where/v1beta/${file.name}` } }] }]
  await refused(t, one.models.generateContent({ ...asked, contents: strange }), { status: 400 })
  await one.files.delete({ name: file.name })
  await refused(t, one.files.get({ name: file.name }), denied)
})

t.test('Gemini: an upload by hand, in pieces and at once', async (t) => {
  const { url } = await start(t)
  const send = (to: string, headers: object, body?: Buffer | string, key = 'key-1') =>
    fetch(to, { method: 'POST', headers: { 'x-goog-api-key': key, ...headers }, body: body as Untyped })
  const begun = await send(
    `${url}/upload/v1beta/files`,
    {
      'x-goog-upload-protocol': 'resumable',
      'x-goog-upload-command': 'start',
      'x-goog-upload-header-content-type': 'text/x',
    },
    '{}',
  )
  t.equal(begun.headers.get('x-goog-upload-status'), 'active')
  const to = begun.headers.get('x-goog-upload-url') ?? ''
  t.ok(to.startsWith(`${url}/upload/v1beta/files?upload_id=`))
  const command = (name: string, offset = 0, body?: Buffer, key?: string) =>
    send(to, { 'x-goog-upload-command': name, 'x-goog-upload-offset': String(offset) }, body, key)
  t.equal((await command('upload', 0, BYTES)).headers.get('x-goog-upload-size-received'), '9')
  t.equal((await command('upload', 0, BYTES)).status, 400, 'it is not where the upload stands')
  t.equal((await command('query', 0, undefined, 'key-2')).status, 404, 'another account’s')
  t.match(Object.fromEntries((await command('query')).headers), {
    'x-goog-upload-status': 'active',
    'x-goog-upload-size-received': '9',
  })
  const ended = await command('upload, finalize', 9, BYTES)
  t.equal(ended.headers.get('x-goog-upload-status'), 'final')
  t.match(await ended.json(), { file: { mimeType: 'text/x', sizeBytes: '18' } })
  t.equal((await command('upload', 18, BYTES)).status, 400, 'it is over')

  const head =
    '--b\r\ncontent-type: application/json\r\n\r\n{"file":{"displayName":"ü"}}\r\n--b\r\ncontent-type: image/png\r\n\r\n'
  const body = Buffer.concat([Buffer.from(head), BYTES, Buffer.from('\r\n--b--\r\n')])
  const type = { 'content-type': 'multipart/related; boundary=b', 'x-goog-upload-protocol': 'multipart' }
  const { file } = (await (await send(`${url}/upload/v1beta/files`, type, body)).json()) as Untyped
  t.match(file, { displayName: 'ü', mimeType: 'image/png', sizeBytes: '9' })
  const headers = { 'x-goog-api-key': 'key-1' }
  t.same(await bytesOf(await fetch(`${file.uri}:download?alt=media`, { headers })), BYTES)
})

t.test('Gemini: caches', async (t) => {
  const { google } = await start(t)
  const [one, two] = [google('key-1'), google('key-2')]
  const model = 'gemini-3.8-flash'
  const create = (ttl: string) => one.caches.create({ model, config: { contents: 'long', ttl, displayName: 'c' } })
  const caches = [await create('60s'), await create('120s')]
  const [{ name, createTime, expireTime }] = caches
  t.match(caches[0], { name: /^cachedContents\//, model: `models/${model}`, displayName: 'c' })
  t.equal(Date.parse(expireTime) - Date.parse(createTime), 60_000)
  t.same(idsOf(await all(await one.caches.list({ config: { pageSize: 1 } }))), idsOf(caches).reverse())
  t.same(await one.caches.get({ name }), caches[0])
  const updated = await one.caches.update({ name, config: { ttl: '90s' } })
  t.equal(Date.parse(updated.expireTime) - Date.parse(createTime), 90_000)
  const asked = { model, contents: 'hi', config: { cachedContent: name } }
  t.match(await one.models.generateContent(asked), { candidates: [{}] })

  const denied = { status: 403, message: /CachedContent not found \(or permission denied\)/ }
  t.same(await all(await two.caches.list()), [])
  await refused(t, two.caches.get({ name }), denied)
  await refused(t, two.caches.update({ name, config: { ttl: '90s' } }), denied)
  await refused(t, two.caches.delete({ name }), denied)
  await refused(t, two.models.generateContent(asked), denied)
  await one.caches.delete({ name })
  await refused(t, one.models.generateContent(asked), denied)
})

t.test('Gemini: batches', async (t) => {
  const { google } = await start(t)
  const [one, two] = [google('key-1'), google('key-2')]
  const contents = [{ role: 'user', parts: [{ text: 'hi' }] }]
  const asked = { model: 'gemini-3.8-flash', src: [{ contents, metadata: { key: 'a' } }], config: { displayName: 'b' } }
  const batch = await one.batches.create(asked)
  const { name } = batch
  t.match(batch, { name: /^batches\//, state: 'JOB_STATE_PENDING', displayName: 'b', model: 'models/gemini-3.8-flash' })
  t.equal((await one.batches.get({ name })).state, 'JOB_STATE_RUNNING')
  const done = await one.batches.get({ name })
  t.equal(done.state, 'JOB_STATE_SUCCEEDED')
  const response = { modelVersion: 'gemini-3.8-flash', usageMetadata: { totalTokenCount: Number } }
  t.match(done.dest.inlinedResponses, [{ response, metadata: { key: 'a' } }])

  const line = JSON.stringify({ key: 'k', request: { contents } })
  const file = await one.files.upload({ file: new Blob([line], { type: 'application/jsonl' }) })
  const ofFile = await one.batches.create({ ...asked, src: file.name })
  await one.batches.get({ name: ofFile.name })
  const { fileName } = (await one.batches.get({ name: ofFile.name })).dest
  const { downloadUri } = await one.files.get({ name: fileName })
  const output = await (await fetch(downloadUri, { headers: { 'x-goog-api-key': 'key-1' } })).json()
  t.match(output, { key: 'k', response })

  const stopped = await one.batches.create(asked)
  await one.batches.cancel({ name: stopped.name })
  t.equal((await one.batches.get({ name: stopped.name })).state, 'JOB_STATE_CANCELLED')
  t.same(idsOf(await all(await one.batches.list({ config: { pageSize: 2 } }))), idsOf([stopped, ofFile, batch]))
  t.same(await all(await two.batches.list()), [])
  await refused(t, two.batches.create({ ...asked, src: file.name }), { status: 403 })
  for (const method of ['get', 'cancel', 'delete']) await refused(t, two.batches[method]({ name }), { status: 404 })
  await one.batches.delete({ name })
  await refused(t, one.batches.get({ name }), { status: 404 })
})

t.test('one path at one host is three vendors’', async (t) => {
  const { openai, anthropic, google } = await start(t)
  const key = 'one-key'
  await openai(key).files.create({ file: await toFile(BYTES, 'o'), purpose: 'vision' })
  await anthropic(key).files.upload({ file: new File([BYTES], 'a') })
  await google(key).files.upload({ file: new Blob([BYTES], { type: 'image/png' }), config: { displayName: 'g' } })
  t.match(await all(openai(key).files.list()), [{ object: 'file', filename: 'o' }])
  t.match(await all(anthropic(key).files.list()), [{ type: 'file', filename: 'a' }])
  t.match(await all(await google(key).files.list()), [{ displayName: 'g' }])
})

import t, { type Test } from 'tap'
import { GatewayError } from '../../src/domain/errors.ts'
import { ACCOUNTS, type AccountKind } from '../support/accounts.ts'
import { until } from '../support/client.ts'
import { type Scene, type Site, startGateway } from '../support/gateway.ts'

/** What lies at one account, files and the like: two users of that account never meet. */

interface Told {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: whatever the vendor says
  json: any
  text: string
  headers: Headers
}

type Asks = (method: string, path: string, body?: object | FormData | string, headers?: object) => Promise<Told>

type Vendor = 'anthropic' | 'openai' | 'gemini'

const SIGNED: Record<Vendor, (key: string) => Record<string, string>> = {
  anthropic: (key) => ({ 'x-api-key': key, 'anthropic-version': '2023-06-01' }),
  openai: (key) => ({ authorization: `Bearer ${key}` }),
  gemini: (key) => ({ 'x-goog-api-key': key }),
}

/** A client of one vendor with one key. */
function clientOf(url: string, vendor: Vendor, key: string): Asks {
  return async (method, path, body, headers) => {
    const isJson = body !== undefined && !(body instanceof FormData || body instanceof Blob) && typeof body !== 'string'
    const answer = await fetch(url + path, {
      method,
      headers: { ...SIGNED[vendor](key), ...(isJson && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: isJson ? JSON.stringify(body) : (body as FormData | string) }),
    })
    const text = await answer.text()
    return { status: answer.status, json: jsonOf(text), text, headers: answer.headers }
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

const LINE = { custom_id: 'a', method: 'POST', url: '/v1/responses', body: { model: 'some-model', input: 'hi' } }

function form(fields: Record<string, string>, content = `${JSON.stringify(LINE)}\n`): FormData {
  const data = new FormData()
  for (const [name, value] of Object.entries(fields)) data.set(name, value)
  data.set('file', new Blob([content], { type: 'application/jsonl' }), 'a.jsonl')
  return data
}

/** What somebody leaves at an account, and every path by which others could try to get at it. */
interface Left {
  id: string
  /** Where one's own are listed; null = nowhere. */
  list: string | null
  /** Ids of a list. */
  idsIn(list: Told): string[]
  reads: string[]
  changes: [method: string, path: string, body?: object][]
  /** Calls that use it. */
  uses: [path: string, body: object][]
  delete: string | null
}

const none = { list: null, idsIn: () => [], reads: [], changes: [], uses: [], delete: null }
const byId = (list: Told): string[] => list.json.data.map(({ id }: { id: string }) => id)
const byName =
  (field: string) =>
  (list: Told): string[] =>
    (list.json[field] ?? []).map(({ name }: { name: string }) => name)

const message = (content: object) => ({
  ...{ model: 'some-model', max_tokens: 9 },
  messages: [{ role: 'user', content: [content, { type: 'text', text: 'hi' }] }],
})
const contents = (part: object) => ({ contents: [{ role: 'user', parts: [part, { text: 'hi' }] }] })

/** Kinds of things by vendor, each as it is made. */
const MADE: Record<Vendor, Record<string, (asks: Asks) => Promise<Left>>> = {
  anthropic: {
    async file(asks) {
      const { id } = (await asks('POST', '/v1/files', form({}))).json
      const source = { type: 'document', source: { type: 'file', file_id: id } }
      const request = { custom_id: 'a', params: message(source) }
      return {
        ...{ id, list: '/v1/files', idsIn: byId, changes: [], delete: `/v1/files/${id}` },
        reads: [`/v1/files/${id}`, `/v1/files/${id}/content`],
        uses: [
          ['/v1/messages', message(source)],
          ['/v1/messages', message({ type: 'container_upload', file_id: id })],
          ['/v1/messages/count_tokens', message(source)],
          ['/v1/messages/batches', { requests: [request] }],
        ],
      }
    },
    async batch(asks) {
      const requests = [{ custom_id: 'a', params: message({ type: 'text', text: 'x' }) }]
      const { id } = (await asks('POST', '/v1/messages/batches', { requests })).json
      const path = `/v1/messages/batches/${id}`
      return {
        ...{ id, list: '/v1/messages/batches', idsIn: byId, uses: [], delete: path },
        reads: [path, path, `${path}/results`],
        changes: [['POST', `${path}/cancel`]],
      }
    },
  },
  openai: {
    async file(asks) {
      const { id } = (await asks('POST', '/v1/files', form({ purpose: 'batch' }))).json
      const part = { type: 'input_file', file_id: id }
      const input = [{ role: 'user', content: [part] }]
      return {
        ...{ id, list: '/v1/files', idsIn: byId, changes: [], delete: `/files/${id}` },
        reads: [`/v1/files/${id}`, `/files/${id}/content`],
        uses: [
          ['/v1/responses', { model: 'some-model', input }],
          ['/v1/responses/input_tokens', { model: 'some-model', input }],
          ['/v1/chat/completions', message({ type: 'file', file: { file_id: id } })],
          ['/v1/batches', { input_file_id: id, endpoint: '/v1/responses', completion_window: '24h' }],
        ],
      }
    },
    async upload(asks) {
      const wanted = { purpose: 'user_data', filename: 'a.pdf', bytes: 8, mime_type: 'application/pdf' }
      const { id } = (await asks('POST', '/v1/uploads', wanted)).json
      return { ...none, id, changes: [['POST', `/v1/uploads/${id}/cancel`]] }
    },
    async batch(asks) {
      const file = (await asks('POST', '/v1/files', form({ purpose: 'batch' }))).json
      const wanted = { input_file_id: file.id, endpoint: '/v1/responses', completion_window: '24h' }
      const { id } = (await asks('POST', '/v1/batches', wanted)).json
      return {
        ...{ id, list: '/v1/batches', idsIn: byId, uses: [], delete: null },
        reads: [`/v1/batches/${id}`, `/batches/${id}`],
        changes: [['POST', `/v1/batches/${id}/cancel`]],
      }
    },
    async response(asks) {
      const { id } = (await asks('POST', '/v1/responses', { model: 'some-model', input: 'hi', store: true })).json
      const path = `/v1/responses/${id}`
      return {
        ...{ id, list: null, idsIn: () => [], delete: path },
        reads: [path, `/responses/${id}`, `${path}?stream=true`, `${path}/input_items`],
        changes: [['POST', `${path}/cancel`]],
        uses: [['/v1/responses', { model: 'some-model', input: 'go on', previous_response_id: id }]],
      }
    },
    async video(asks) {
      const { id } = (await asks('POST', '/v1/videos', { model: 'sora-2', prompt: 'a cat' })).json
      return {
        ...{ id, list: '/v1/videos', idsIn: byId, uses: [], delete: `/v1/videos/${id}` },
        reads: [`/v1/videos/${id}`, `/videos/${id}`, `/v1/videos/${id}`, `/v1/videos/${id}/content`],
        changes: [['POST', `/v1/videos/${id}/remix`, { prompt: 'a dog' }]],
      }
    },
  },
  gemini: {
    async file(asks) {
      const start = await asks('POST', '/upload/v1beta/files', { file: { displayName: 'a' } }, STARTS)
      const { pathname, search } = new URL(start.headers.get('x-goog-upload-url') as string)
      const done = await asks('POST', pathname + search, 'hello', FINALIZES)
      const { name, uri } = done.json.file
      return {
        ...{ id: name, list: '/v1beta/files', idsIn: byName('files'), changes: [], delete: `/v1beta/${name}` },
        reads: [`/v1beta/${name}`, `/v1/${name}`],
        uses: [
          ['/v1beta/models/some-model:generateContent', contents({ fileData: { fileUri: uri } })],
          ['/v1beta/models/some-model:countTokens', contents({ file_data: { file_uri: uri } })],
          ['/v1beta/cachedContents', { model: 'models/some-model', ...contents({ fileData: { fileUri: uri } }) }],
        ],
      }
    },
    async upload(asks) {
      const start = await asks('POST', '/upload/v1beta/files', { file: {} }, STARTS)
      const { pathname, search } = new URL(start.headers.get('x-goog-upload-url') as string)
      return { ...none, id: search, changes: [['POST', pathname + search]] }
    },
    async cache(asks) {
      const wanted = { model: 'models/some-model', ...contents({ text: 'long' }), ttl: '300s' }
      const { name } = (await asks('POST', '/v1beta/cachedContents', wanted)).json
      const use = { ...contents({ text: 'x' }), cachedContent: name }
      return {
        ...{ id: name, list: '/v1beta/cachedContents', idsIn: byName('cachedContents'), delete: `/v1beta/${name}` },
        reads: [`/v1beta/${name}`],
        changes: [['PATCH', `/v1beta/${name}`, { ttl: '600s' }]],
        uses: [['/v1beta/models/some-model:generateContent', use]],
      }
    },
    async batch(asks) {
      const inlined = { requests: { requests: [{ request: contents({ text: 'x' }) }] } }
      const wanted = { batch: { displayName: 'b', inputConfig: inlined } }
      const { name } = (await asks('POST', '/v1beta/models/some-model:batchGenerateContent', wanted)).json
      return {
        ...{ id: name, list: '/v1beta/batches', idsIn: byName('operations'), uses: [], delete: `/v1beta/${name}` },
        reads: [`/v1beta/${name}`],
        changes: [['POST', `/v1beta/${name}:cancel`]],
      }
    },
  },
}

const STARTS = { 'x-goog-upload-protocol': 'resumable', 'x-goog-upload-command': 'start' }
const FINALIZES = { 'x-goog-upload-command': 'upload, finalize', 'x-goog-upload-offset': '0' }

/** A gateway with two users whose group has so many accounts of each vendor. */
async function twoUsers(t: Test, accounts: number, config = {}) {
  const gw = await startGateway(t, {
    config,
    async setUp(site) {
      const scenes = {} as Record<Vendor, { alice: Scene; bob: Scene }>
      for (const vendor of Object.keys(MADE) as Vendor[]) {
        const user = { balanceNanoUsd: 1_000_000_000 }
        const all = Array.from({ length: accounts }, () => accountOf(site, vendor))
        const alice = await site.scene({ user, accounts: all })
        scenes[vendor] = { alice, bob: await site.scene({ user, group: alice.group, accounts: [] }) }
      }
      return scenes
    },
  })
  return {
    gw,
    clients(vendor: Vendor) {
      const { alice, bob } = gw.scenes[vendor]
      return { alice: clientOf(gw.url, vendor, alice.key), bob: clientOf(gw.url, vendor, bob.key) }
    },
  }
}

function accountOf(site: Site, kind: AccountKind) {
  return { ...ACCOUNTS[kind](site.upstream.url), models: ['*'] }
}

t.test('nobody lists, reads, uses, changes or deletes what another user of the account has left there', async (t) => {
  const { gw, clients } = await twoUsers(t, 1, { run_mode: 'saas', unmetered: 'record', unknown_price: 'record' })
  for (const [vendor, kinds] of Object.entries(MADE) as [Vendor, (typeof MADE)[Vendor]][]) {
    for (const [kind, make] of Object.entries(kinds)) {
      await t.test(`${vendor}: ${kind}`, async (t) => {
        const { alice, bob } = clients(vendor)
        const left = await make(alice)
        t.ok(left.id, 'it is made')
        const seen = gw.upstream.seen.length
        const refused = async (method: string, path: string, body?: object) => {
          const { status, text } = await bob(method, path, body)
          t.match({ status, text }, { status: 404, text: /there is no/ }, `${method} ${path}`)
        }
        for (const path of left.reads) await refused('GET', path)
        for (const [method, path, body] of left.changes) await refused(method, path, body ?? {})
        for (const [path, body] of left.uses) await refused('POST', path, body)
        if (left.delete) await refused('DELETE', left.delete)
        if (left.list) t.same(left.idsIn(await bob('GET', left.list)), [], 'no list has it')
        t.equal(gw.upstream.seen.length, seen, 'and the account was not even asked')

        for (const path of left.reads) t.equal((await alice('GET', path)).status, 200, `its owner reads ${path}`)
        for (const [path, body] of left.uses) {
          const { status, text } = await alice('POST', path, body)
          t.equal(status, 200, `its owner uses it at ${path} ${status === 200 ? '' : text}`)
        }
        if (left.list) t.ok(left.idsIn(await alice('GET', left.list)).includes(left.id), 'its owner’s list has it')
        for (const [method, path, body] of left.changes) {
          const before = gw.upstream.seen.length
          await alice(method, path, body ?? {}) // whether that may still be done is for the vendor to say
          t.equal(gw.upstream.seen.length, before + 1, `its owner: ${method} ${path}`)
        }
        if (left.delete) t.equal((await alice('DELETE', left.delete)).status, 200, 'its owner deletes it')
        if (left.delete && left.list) {
          t.notOk(left.idsIn(await alice('GET', left.list)).includes(left.id), 'and it is gone')
        }
      })
    }
  }
})

const files = async (asks: Asks, count: number, fields = {}) => {
  const ids: string[] = []
  for (let index = 0; index < count; index++) ids.push((await asks('POST', '/v1/files', form(fields))).json.id)
  return ids
}

t.test('of several accounts the one that has it is asked, and what is uploaded together lies together', async (t) => {
  const { gw, clients } = await twoUsers(t, 4)
  const credentials = () => new Set(gw.upstream.seen.map(({ headers }) => headers.authorization))
  const { alice, bob } = clients('openai')
  const [first = '', second = ''] = await files(alice, 2, { purpose: 'user_data' })
  t.equal(credentials().size, 1, 'one account got both')
  const input = [first, second].map((file_id) => ({ role: 'user', content: [{ type: 'input_file', file_id }] }))
  for (let turn = 0; turn < 8; turn++) {
    t.equal((await alice('POST', '/v1/responses', { model: 'some-model', input })).status, 200)
  }
  t.equal(credentials().size, 1, 'and every call that uses them')
  let last = { id: '' }
  const users = { alice, bob }
  for (let turn = 0; turn < 12; turn++) {
    const asks = users[turn < 6 ? 'alice' : 'bob']
    const chained = turn % 6 > 0 && { previous_response_id: last.id }
    const { status, json } = await asks('POST', '/v1/responses', { model: 'some-model', input: `${turn}`, ...chained })
    t.equal(status, 200, 'an answer that is stored is gone on with where it lies')
    last = json
  }
  const stream = await bob('POST', '/v1/responses', { model: 'some-model', input: 'hi', stream: true })
  const id = /"id":"(resp_[^"]+)"/.exec(stream.text)?.[1]
  t.equal((await bob('GET', `/v1/responses/${id}`)).status, 200, 'a streamed one is stored as well')
  t.equal((await alice('GET', `/v1/responses/${id}`)).status, 404)
  const unstored = await bob('POST', '/v1/responses', { model: 'some-model', input: 'hi', store: false })
  t.equal((await bob('GET', `/v1/responses/${unstored.json.id}`)).status, 404)
  t.match((await gw.settled()).at(-1), { storedAs: null })
})

t.test('things at two accounts cannot be used together', async (t) => {
  const { gw, clients } = await twoUsers(t, 2)
  const { alice } = clients('anthropic')
  const [first = ''] = await files(alice, 1)
  const [home, other] = gw.scenes.anthropic.alice.accounts
  await gw.site.store.accounts.set({ id: home?.id ?? '', changes: { status: 'paused' }, by: 'test' })
  await gw.seen()
  t.match(await alice('GET', `/v1/files/${first}`), { status: 503, text: /paused/ }, 'it lies at a paused account')
  const [second = ''] = await files(alice, 1)
  await gw.site.store.accounts.set({ id: home?.id ?? '', changes: { status: 'active' }, by: 'test' })
  await gw.seen()
  t.match(await gw.site.store.objects.find({ ids: [second] }), [{ accountId: other?.id }])
  const content = [first, second].map((file_id) => ({ type: 'document', source: { type: 'file', file_id } }))
  const asked = { model: 'some-model', max_tokens: 9, messages: [{ role: 'user', content }] }
  t.match(await alice('POST', '/v1/messages', asked), { status: 400, text: /lies at different upstream accounts/ })
  t.equal((await alice('GET', '/v1/files')).json.data.length, 2, 'a list has them all')
})

t.test('what a batch has written is its owner’s, and no file’s content makes anybody an owner', async (t) => {
  const { clients } = await twoUsers(t, 1)
  const { alice, bob } = clients('openai')
  const [input_file_id = ''] = await files(alice, 1, { purpose: 'batch' })
  const asked = { input_file_id, endpoint: '/v1/responses', completion_window: '24h' }
  const { id } = (await alice('POST', '/v1/batches', asked)).json
  let batch = { output_file_id: '' }
  for (let look = 0; look < 3 && !batch.output_file_id; look++) batch = (await alice('GET', `/v1/batches/${id}`)).json
  t.match(await alice('GET', `/v1/files/${batch.output_file_id}/content`), { status: 200, text: /"custom_id":"a"/ })
  t.equal((await bob('GET', `/v1/files/${batch.output_file_id}/content`)).status, 404)
  const forged = { id: 'batch_1', object: 'batch', output_file_id: input_file_id, file: { id: batch.output_file_id } }
  const data = form({ purpose: 'batch' }, JSON.stringify(forged))
  const mine = (await bob('POST', '/v1/files', data)).json.id
  t.same((await bob('GET', `/v1/files/${mine}/content`)).json, forged)
  for (const theirs of [input_file_id, batch.output_file_id]) {
    t.equal((await bob('GET', `/v1/files/${theirs}`)).status, 404)
  }
  t.same(byId(await bob('GET', '/v1/files')), [mine])
})

t.test('lists have pages, in each vendor’s way', async (t) => {
  const { gw, clients } = await twoUsers(t, 1)
  const openai = clients('openai').alice
  const ids = [
    ...(await files(openai, 2, { purpose: 'batch' })),
    ...(await files(openai, 1, { purpose: 'user_data' })),
    ...(await files(openai, 2, { purpose: 'batch' })),
  ]
  await files(clients('openai').bob, 2, { purpose: 'batch' })
  const [a, b, c, d, e] = ids
  const page = async (query: string) => {
    const { json } = await openai('GET', `/v1/files?${query}`)
    return [json.data.map(({ id }: { id: string }) => id), json.has_more]
  }
  t.same(await page(''), [[e, d, c, b, a], false])
  t.same(await page('limit=2'), [[e, d], true])
  t.same(await page(`limit=2&after=${d}`), [[c, b], true])
  t.same(await page(`limit=2&after=${b}`), [[a], false])
  t.same(await page(`limit=2&order=asc&after=${b}`), [[c, d], true])
  t.same(await page('limit=2&order=asc&purpose=batch'), [[a, b], true])
  t.same(await page('limit=3&purpose=batch'), [[e, d, b], true], 'past those of another purpose')
  t.same(await page('purpose=user_data'), [[c], false])
  t.match(await openai('GET', '/v1/files?after=file-unknown'), { status: 404, text: /after: there is no/ })

  const anthropic = clients('anthropic').alice
  const [f, g, h] = await files(anthropic, 3)
  const files2 = async (query: string) => (await anthropic('GET', `/v1/files?${query}`)).json
  t.match(await files2('limit=2'), { data: [{ id: h }, { id: g }], has_more: true, first_id: h, last_id: g })
  t.match(await files2(`limit=2&after_id=${g}`), { data: [{ id: f }], has_more: false })
  t.match(await files2(`limit=2&before_id=${f}`), { data: [{ id: h }, { id: g }], has_more: false })
  t.match(await files2(`limit=1&before_id=${f}`), { data: [{ id: g }], has_more: true })

  const gemini = clients('gemini').alice
  const made = []
  for (let index = 0; index < 3; index++) made.push((await MADE.gemini.file?.(gemini))?.id)
  const one = (await gemini('GET', '/v1beta/files?pageSize=2')).json
  t.same([byName('files')({ json: one } as Told), one.nextPageToken], [[made[2], made[1]], made[1]])
  const two = (await gemini('GET', `/v1beta/files?pageSize=2&pageToken=${encodeURIComponent(one.nextPageToken)}`)).json
  t.same([byName('files')({ json: two } as Told), two.nextPageToken], [[made[0]], undefined])

  // Somebody has deleted one at the vendor itself.
  const account = gw.scenes.openai.alice.accounts[0]
  const serving = gw.gateway.directory.account(account?.id ?? '')
  const credentials = serving?.credentials()
  const own = clientOf(gw.upstream.url, 'openai', credentials?.kind === 'api_key' ? credentials.apiKey : '')
  t.equal((await own('DELETE', `/v1/files/${c}`)).status, 200)
  t.same(await page(''), [[e, d, b, a], false])
  t.equal((await openai('DELETE', `/v1/files/${c}`)).status, 404)
  t.same(await gw.site.store.objects.find({ ids: [c ?? ''] }), [], 'and forgotten when its owner deletes it')
})

t.test('results of a batch are fetched from the gateway, not from the vendor', async (t) => {
  const { gw, clients } = await twoUsers(t, 1)
  const { alice } = clients('anthropic')
  const requests = [{ custom_id: 'a', params: message({ type: 'text', text: 'x' }) }]
  const { id } = (await alice('POST', '/v1/messages/batches', { requests })).json
  const path = `/v1/messages/batches/${id}`
  for (let look = 0; look < 2; look++) await alice('GET', path)
  const { results_url } = (await alice('GET', path)).json
  t.equal(results_url, `${gw.url}${path}/results`)
  t.match((await alice('GET', '/v1/messages/batches')).json, { data: [{ results_url }] })
  t.match(await alice('GET', new URL(results_url).pathname), { status: 200, text: /"custom_id":"a"/ })
})

t.test('an account that lacks it is not asked, and who may not is told why', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      login: await site.scene({ accounts: [accountOf(site, 'chatgpt')] }),
      limited: await site.scene({ accounts: [accountOf(site, 'anthropic')], key: { models: ['claude-*'] } }),
      alone: await site.scene({ accounts: [accountOf(site, 'anthropic')] }),
    }),
  })
  const { login, limited, alone } = gw.scenes
  const files = await clientOf(gw.url, 'openai', login.key)('GET', '/v1/files')
  t.match(files.json, { object: 'list', data: [] }, 'nothing was ever made there')
  const made = await clientOf(gw.url, 'openai', login.key)('POST', '/v1/files', form({ purpose: 'batch' }))
  t.match(made, { status: 404, text: /no account of group .* can do this/ })
  const requests = [{ custom_id: 'a', params: message({ type: 'text', text: 'x' }) }]
  const batch = await clientOf(gw.url, 'anthropic', limited.key)('POST', '/v1/messages/batches', { requests })
  t.match(batch, { status: 403, text: /may use only some models/ })
  // One person with one account may have made something without the gateway.
  const unknown = await clientOf(gw.url, 'anthropic', alone.key)('GET', '/v1/files/file_of_yesterday')
  t.match(unknown, { status: 404, text: /file_of_yesterday/ })
  t.equal(gw.upstream.seen.at(-1)?.path, '/v1/files/file_of_yesterday', 'its account was asked')
})

t.test('what cannot be kept in mind is not handed out', async (t) => {
  const { gw, clients } = await twoUsers(t, 1)
  const { alice } = clients('openai')
  const { keep } = gw.gateway.store.objects
  gw.gateway.store.objects.keep = () => Promise.reject(new GatewayError('unavailable', 'gone', { hint: 'look' }))
  const answer = await alice('POST', '/v1/files', form({ purpose: 'batch' }))
  t.match(answer, { status: 503, text: /keep its books/ })
  t.notMatch(answer.text, /file-fake/)
  gw.gateway.store.objects.keep = keep
  t.equal((await alice('POST', '/v1/files', form({ purpose: 'batch' }))).status, 200)
})

t.test('what sets models to work unseen is refused where every call is charged', async (t) => {
  const { gw, clients } = await twoUsers(t, 1, { run_mode: 'saas' })
  const asks = {
    anthropic: clients('anthropic').alice,
    openai: clients('openai').alice,
    gemini: clients('gemini').alice,
  }
  for (const [vendor, path] of [
    ['anthropic', '/v1/messages/batches'],
    ['openai', '/v1/batches'],
    ['openai', '/v1/videos'],
    ['openai', '/v1/videos/video_1/remix'],
    ['gemini', '/v1beta/cachedContents'],
    ['gemini', '/v1beta/models/some-model:batchGenerateContent'],
  ] as const) {
    t.match(await asks[vendor]('POST', path, {}), { text: /cannot tell what this one would cost/ }, path)
  }
  t.same(gw.upstream.seen, [])
  t.equal((await asks.openai('POST', '/v1/files', form({ purpose: 'user_data' }))).status, 200, 'files are free')
})

t.test('no spelling and no detour leads to what is another’s', async (t) => {
  const { gw, clients } = await twoUsers(t, 1, { run_mode: 'saas', unmetered: 'record', unknown_price: 'record' })
  const left = {
    anthropic: await MADE.anthropic.file?.(clients('anthropic').alice),
    openai: await MADE.openai.file?.(clients('openai').alice),
    response: await MADE.openai.response?.(clients('openai').alice),
    gemini: await MADE.gemini.file?.(clients('gemini').alice),
  }
  const mine = {
    openai: (await files(clients('openai').bob, 1, { purpose: 'batch' }))[0],
    gemini: (await MADE.gemini.file?.(clients('gemini').bob))?.id,
  }
  const [anthropicId, openaiId, responseId, geminiId] = [
    left.anthropic?.id,
    left.openai?.id,
    left.response?.id,
    left.gemini?.id,
  ]
  const seen = gw.upstream.seen.length
  const bob = { anthropic: clients('anthropic').bob, openai: clients('openai').bob, gemini: clients('gemini').bob }
  const json = { 'content-type': 'application/json' }
  const video = new FormData()
  video.set('prompt', 'a cat')
  video.set('input_reference[file_id]', openaiId ?? '')
  const edit = new FormData()
  edit.set('model', 'gpt-image-1')
  edit.set('prompt', 'a cat')
  edit.set('images[0][file_id]', openaiId ?? '')
  const line = { custom_id: 'a', method: 'POST', url: '/v1/responses' }
  const batchOf = (body: object) =>
    form({ purpose: 'batch' }, JSON.stringify({ ...line, body: { model: 'm', ...body } }))
  const tries: Record<string, () => Promise<Told>> = {
    'a file that calls itself a quotation': () =>
      bob.openai(
        'POST',
        '/v1/chat/completions',
        message({ type: 'file', file: { type: 'file_citation', file_id: openaiId } }),
      ),
    'a file of two types': () =>
      bob.anthropic(
        'POST',
        '/v1/messages',
        `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"x_tool_result","type":"container_upload","file_id":"${anthropicId}"}]}]}`,
        json,
      ),
    'a form of OpenAI’s SDK': () => bob.openai('POST', '/v1/videos', video),
    'a form for an image': () => bob.openai('POST', '/v1/images/edits', edit),
    'a line of a batch’s file': () => bob.openai('POST', '/v1/files', batchOf({ previous_response_id: responseId })),
    'a file in a line of a batch’s file': () =>
      bob.openai(
        'POST',
        '/v1/files',
        batchOf({ input: [{ role: 'user', content: [{ type: 'input_file', file_id: openaiId }] }] }),
      ),
    'a batch’s file in pieces': () =>
      bob.openai('POST', '/v1/uploads', { purpose: 'batch', filename: 'a', bytes: 1, mime_type: 'x' }),
    'an item by its id': () =>
      bob.openai('POST', '/v1/responses', { model: 'm', input: [{ type: 'item_reference', id: 'msg_1' }] }),
    'an item without a type': () => bob.openai('POST', '/v1/responses', { model: 'm', input: [{ id: 'msg_1' }] }),
    'a conversation of two ids': () =>
      bob.openai(
        'POST',
        '/v1/responses',
        `{"model":"m","input":"x","conversation":{"id":"conv_1","id":"conv_2"}}`,
        json,
      ),
    'UTF-16': () =>
      bob.openai(
        'POST',
        '/v1/batches',
        new Blob([Buffer.from(JSON.stringify({ input_file_id: openaiId }), 'utf16le')]) as never,
        json,
      ),
    'no JSON': () => bob.openai('POST', '/v1/batches', `{'input_file_id':'${openaiId}'}`, json),
    'deep JSON': () => bob.openai('POST', '/v1/batches', `${'['.repeat(200_000)}"input_file_id"`, json),
    'lax JSON': () =>
      bob.gemini(
        'POST',
        '/v1beta/models/m:generateContent',
        `{contents:[{parts:[{fileData:{fileUri:'${geminiId}'}}]}]}`,
        json,
      ),
    'a detour in a path': () => bob.gemini('GET', `/v1beta/${mine.gemini}:%2F..%2F${geminiId?.split('/')[1]}`),
    dots: () => bob.openai('GET', '/v1/files/%2e%2e/content'),
    'a path in a segment': () => bob.openai('GET', `/v1/files/${openaiId}%2Fcontent`),
    'a space': () => bob.openai('GET', `/v1/files/${openaiId}%20`),
    'an upload of two ids': () => bob.gemini('POST', '/upload/v1beta/files?upload_id=a&upload_id=b', 'x'),
    'a file for a batch at Google': () =>
      bob.gemini('POST', '/v1beta/models/m:batchGenerateContent', {
        batch: { inputConfig: { fileName: mine.gemini } },
      }),
  }
  for (const [name, attempt] of Object.entries(tries)) {
    const { status, text } = await attempt()
    t.ok([400, 404, 501].includes(status), `${name}: ${status} ${text.slice(0, 100)}`)
  }
  t.same(
    gw.upstream.seen.slice(seen).map(({ path }) => path),
    [],
    'nobody was asked',
  )
  const { status } = await bob.openai('GET', `/v1/files/${mine.openai}?%6bey=another&access%5ftoken=x&limit=1`)
  t.equal(status, 200)
  t.equal(gw.upstream.seen.at(-1)?.path, `/v1/files/${mine.openai}?limit=1`, 'what signs stays here, in any spelling')
})

t.test('words of tools that look like names of files pass', async (t) => {
  const { clients } = await twoUsers(t, 2, { run_mode: 'saas', unknown_price: 'record' })
  const { alice } = clients('anthropic')
  const input = { file_id: '1AbCdrive' }
  const turn = (content: object[]) => ({ role: 'assistant', content })
  const messages = [
    { role: 'user', content: 'look' },
    turn([{ type: 'tool_use', id: 'toolu_1', name: 'drive', input }]),
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: '{"file_id":"1AbCdrive"}' }] },
  ]
  t.equal((await alice('POST', '/v1/messages', { model: 'some-model', max_tokens: 9, messages })).status, 200)
  const parts = [
    { functionCall: { name: 'read', args: { fileUri: 'src/a.ts' } } },
    { functionResponse: { name: 'read', response: { file_name: 'report.pdf' } } },
  ]
  const asked = {
    contents: [
      { role: 'user', parts: [{ text: 'x' }] },
      { role: 'model', parts },
    ],
  }
  t.equal((await clients('gemini').alice('POST', '/v1beta/models/some-model:generateContent', asked)).status, 200)
})

t.test('what may have been made is not made again elsewhere, and a client that leaves finds it', async (t) => {
  const { gw, clients } = await twoUsers(t, 3)
  const { alice } = clients('anthropic')
  const requests = [{ custom_id: 'a', params: message({ type: 'text', text: 'x' }) }]
  gw.upstream.elsewhere(({ method }) => (method === 'POST' ? { status: 500 } : {}))
  t.equal((await alice('POST', '/v1/messages/batches', { requests })).status, 529)
  t.equal(gw.upstream.seen.length, 1, 'one account was asked')
  gw.upstream.elsewhere(({ method }) => (method === 'POST' ? { status: 429 } : {}))
  await alice('POST', '/v1/messages/batches', { requests })
  t.equal(gw.upstream.seen.length, 4, 'what is refused for the account’s sake has made nothing')
  gw.upstream.elsewhere(({ method }) => (method === 'POST' ? { headDelayMs: 300 } : {}))
  const leaving = gw.open({
    key: gw.scenes.anthropic.alice.key,
    path: '/v1/messages/batches',
    body: { requests },
  })
  await until('the vendor to be asked', () => gw.upstream.seen.length === 5)
  leaving.request.destroy()
  await until('the batch to be its maker’s', async () => byId(await alice('GET', '/v1/messages/batches')).length === 1)
})

t.test('lists tell of what cannot be asked for, and stop somewhere', async (t) => {
  const { gw, clients } = await twoUsers(t, 2)
  const { alice } = clients('openai')
  const [home, other] = gw.scenes.openai.alice.accounts
  const userId = gw.scenes.openai.alice.user.id
  const [first = ''] = await files(alice, 1, { purpose: 'user_data' })
  const object = { kind: 'file' as const, userId, expiresAtMs: null }
  const gone = Array.from({ length: 350 }, (_, index) => ({
    ...{ ...object, id: `file-gone-${index}`, accountId: other?.id ?? '', createdAtMs: Date.now() + 1000 + index },
  }))
  await gw.site.store.objects.keep({ objects: gone, areNew: true })
  const seen = gw.upstream.seen.length
  const page = (await alice('GET', '/v1/files?limit=100')).json
  t.same([page.data, page.has_more], [[], true])
  t.equal(gw.upstream.seen.length - seen, 300, 'so many were looked at')
  t.same(byId(await alice('GET', `/v1/files?limit=100&after=${page.last_id}`)), [first], 'and the next page goes on')
  await gw.site.store.accounts.set({ id: home?.id ?? '', changes: { status: 'paused' }, by: 'test' })
  await gw.seen()
  t.same((await alice('GET', `/v1/files?after=${page.last_id}`)).json.data, [{ id: first, object: 'file' }])
  t.match(await gw.site.store.objects.find({ ids: [first] }), [{ accountId: home?.id }], 'it is kept in mind')
  for (let list = 0; list < 60; list++) await alice('GET', '/v1/batches')
  t.match(await alice('GET', '/v1/batches'), { status: 429, text: /list files and the like 60 times a minute/ })
})

t.test('a long answer about what is there passes as it is', async (t) => {
  const { gw, clients } = await twoUsers(t, 1)
  const { alice } = clients('gemini')
  const batch = await MADE.gemini.batch?.(alice)
  const long = JSON.stringify({ name: batch?.id, response: { inlinedResponses: 'x'.repeat(1_500_000) } })
  gw.upstream.elsewhere(({ method }) => (method === 'GET' ? { body: long } : {}))
  t.equal((await alice('GET', `/v1beta/${batch?.id}`)).text, long)
  t.same((await alice('GET', '/v1beta/batches')).json, { operations: [{ name: batch?.id }] })
})

import { createHash } from 'node:crypto'
import { type JsonBody, parsed } from './formats.ts'
import { geminiErrorBody } from './gemini.ts'
import {
  batchAnswer,
  type FakeAnswer,
  isoOf,
  itemsAfter,
  json,
  jsonLines,
  linesOf,
  type Numbers,
  type ObjectCall,
  objectsIn,
  type Route,
  type SentFile,
  Shelf,
} from './shelf.ts'

interface StoredFile extends Omit<SentFile, 'filename'> {
  /** After `files/`. */
  id: string
  number: number
  displayName: string | undefined
  source: 'UPLOADED' | 'GENERATED'
  uri: string
}

/** An upload in pieces; its address is all that it takes to go on. */
interface Session {
  id: string
  /** What the start said of the file. */
  asked: { name?: string; displayName?: string; mimeType: string }
  pieces: Buffer[]
  status: 'active' | 'final' | 'cancelled'
}

interface Cache {
  id: string
  number: number
  asked: JsonBody
  lifeSeconds: number
}

interface Batch {
  id: string
  number: number
  model: string
  displayName: string | undefined
  /** Inline, or lines of a file, which have keys. */
  requests: { request: JsonBody; metadata?: JsonBody; key?: string }[]
  fromFile: boolean
  /** Pending, running at the first look, succeeded at the second. */
  looks: number
  cancelled: boolean
  output?: object
}

const HOUR_S = 3600
const FILE_LIFE_S = 48 * HOUR_S
/** What the real service wants pieces to be a multiple of, in bytes. */
const GRANULARITY = 262_144

/** What an account keeps at the Gemini API. */
export class GeminiObjects {
  readonly #numbers: Numbers
  readonly #files = new Shelf<StoredFile>()
  readonly #sessions = new Shelf<Session>()
  readonly #caches = new Shelf<Cache>()
  readonly #batches = new Shelf<Batch>()

  constructor(numbers: Numbers) {
    this.#numbers = numbers
  }

  readonly routes: Route[] = [
    ['POST', /^\/upload\/files$/, (call) => this.#upload(call)],
    ['PUT', /^\/upload\/files$/, (call) => this.#upload(call)],
    ['GET', /^\/files$/, (call) => listed('files', this.#files.list(call.account), fileObject, call, 10)],
    ['GET', /^\/files\/([^/:]+)$/, (call, id) => this.#withFile(call, id, (file) => json(fileObject(file)))],
    ['GET', /^\/files\/([^/:]+):download$/, (call, id) => this.#withFile(call, id, contentOf)],
    ['DELETE', /^\/files\/([^/:]+)$/, (call, id) => this.#withFile(call, id, () => gone(this.#files, call, id))],
    ['POST', /^\/cachedContents$/, (call) => this.#createCache(call)],
    ['GET', /^\/cachedContents$/, (call) => this.#listCaches(call)],
    ['GET', /^\/cachedContents\/([^/:]+)$/, (call, id) => this.#withCache(call, id, (it) => json(cacheObject(it)))],
    ['PATCH', /^\/cachedContents\/([^/:]+)$/, (call, id) => this.#withCache(call, id, (it) => prolong(it, call))],
    [
      'DELETE',
      /^\/cachedContents\/([^/:]+)$/,
      (call, id) => this.#withCache(call, id, () => gone(this.#caches, call, id)),
    ],
    ['POST', /^\/models\/([^/:]+):batchGenerateContent$/, (call, model) => this.#createBatch(call, model)],
    ['GET', /^\/batches$/, (call) => listed('operations', this.#batches.list(call.account), batchObject, call, 100)],
    ['GET', /^\/batches\/([^/:]+)$/, (call, id) => this.#withBatch(call, id, (batch) => this.#lookAt(call, batch))],
    ['POST', /^\/batches\/([^/:]+):cancel$/, (call, id) => this.#withBatch(call, id, cancel)],
    ['DELETE', /^\/batches\/([^/:]+)$/, (call, id) => this.#withBatch(call, id, () => gone(this.#batches, call, id))],
  ]

  refusal(call: ObjectCall): FakeAnswer | null {
    if (!/^\/models\/[^/]+:(?:generateContent|streamGenerateContent|countTokens)$/.test(call.path)) return null
    if (!NAMES_OF_OBJECTS.some((name) => call.bytes.includes(name))) return null // most calls are spared the search
    return this.#unknownIn(call, parsed(call.bytes.toString()))
  }

  #unknownIn(call: ObjectCall, body: JsonBody): FakeAnswer | null {
    for (const { fileData, file_data } of objectsIn(body)) {
      const refusal = this.#unknownFile(call, fileData?.fileUri ?? file_data?.file_uri)
      if (refusal) return refusal
    }
    const cache = body?.cachedContent ?? body?.cached_content
    return typeof cache === 'string' && !this.#caches.get(call.account, afterSlash(cache)) ? noCache() : null
  }

  /** Addresses elsewhere on the web are none of the accounts' files. */
  #unknownFile({ account, origin }: ObjectCall, uri: unknown): FakeAnswer | null {
    const [, host, id = ''] = /^(https?:\/\/[^/]+)\/v1(?:beta|alpha)?\/files\/([^/?]+)$/.exec(String(uri)) ?? []
    if (host === undefined) return null
    if (host !== origin && host !== GOOGLE) return refused(400, `Invalid or unsupported file uri: ${uri}`)
    return this.#files.get(account, id) ? null : noFile(id)
  }

  #upload(call: ObjectCall): FakeAnswer {
    const { headers, query } = call
    const sessionId = query.get('upload_id')
    if (sessionId !== null) return this.#goOn(call, sessionId)
    if (headers['x-goog-upload-protocol'] === 'multipart') return this.#uploadAtOnce(call)
    if (headers['x-goog-upload-command'] !== 'start') return refused(400, 'Upload must start with the command "start".')
    return this.#start(call)
  }

  #start({ account, headers, bytes, version, origin }: ObjectCall): FakeAnswer {
    const { file = {} } = parsed(bytes.toString())
    const sentType = headers['x-goog-upload-header-content-type']
    const asked = { ...file, mimeType: file.mimeType ?? sentType ?? 'application/octet-stream' }
    const id = `fake-upload-${this.#numbers.next()}`
    this.#sessions.put(account, { id, asked, pieces: [], status: 'active' })
    const url = `${origin}/upload/${version}/files?upload_id=${id}&upload_protocol=resumable`
    const more = { 'x-goog-upload-url': url, 'x-goog-upload-control-url': url }
    return {
      headers: { ...more, 'x-goog-upload-chunk-granularity': String(GRANULARITY), ...statusOf('active') },
      body: '',
    }
  }

  /** Whoever has the address may go on, but not with a credential of another account. */
  #goOn(call: ObjectCall, id: string): FakeAnswer {
    const { headers, bytes } = call
    const account = call.account || this.#sessions.ownerOf(id) || ''
    const session = this.#sessions.get(account, id)
    if (!session) return notFound()
    const commands = String(headers['x-goog-upload-command'] ?? '').split(/\s*,\s*/)
    const received = Buffer.concat(session.pieces).length
    if (commands.includes('query')) return taken(session, received)
    if (session.status !== 'active') return refused(400, `Upload has already been ${session.status}.`)
    if (commands.includes('cancel')) {
      session.status = 'cancelled'
      return taken(session, received)
    }
    if (commands.includes('upload')) {
      const offset = Number(headers['x-goog-upload-offset'] ?? 0)
      if (offset !== received) return refused(400, `Invalid offset ${offset}: ${received} bytes have been received.`)
      session.pieces.push(bytes)
    }
    if (!commands.includes('finalize')) return taken(session, received + bytes.length)
    session.status = 'final'
    return this.#keepSent({ ...call, account }, session.asked, Buffer.concat(session.pieces))
  }

  /** Two parts: what is said of the file, and its bytes. */
  #uploadAtOnce(call: ObjectCall): FakeAnswer {
    const [, boundary = ''] = /boundary="?([^";]+)"?/.exec(call.headers['content-type'] ?? '') ?? []
    const [, about = '', media = ''] = call.bytes.toString('latin1').split(`--${boundary}`)
    const [, json = ''] = halvesOf(about)
    const [head, content] = halvesOf(media)
    const [, mimeType = 'application/octet-stream'] = /^content-type:\s*(\S+)/im.exec(head) ?? []
    const asked = { mimeType, ...parsed(Buffer.from(json, 'latin1').toString()).file }
    return this.#keepSent(call, asked, Buffer.from(content.replace(/\r\n$/, ''), 'latin1'))
  }

  #keepSent(call: ObjectCall, { name, displayName, mimeType }: Session['asked'], bytes: Buffer): FakeAnswer {
    const id = name === undefined ? undefined : afterSlash(name)
    // Names are one space over all accounts.
    if (id !== undefined && this.#files.ownerOf(id) !== undefined)
      return refused(409, 'Requested entity already exists')
    const file = this.#keepFile(call, { mimeType, bytes, displayName, source: 'UPLOADED' }, id)
    return { ...json({ file: fileObject(file) }), headers: statusOf('final') }
  }

  #keepFile(
    { account, origin }: ObjectCall,
    file: Pick<StoredFile, 'mimeType' | 'bytes' | 'displayName' | 'source'>,
    asId?: string,
  ): StoredFile {
    const number = this.#numbers.next()
    const id = asId ?? `fake-${number}`
    return this.#files.put(account, { ...file, id, number, uri: `${origin}/v1beta/files/${id}` })
  }

  #withFile({ account }: ObjectCall, id: string, then: (file: StoredFile) => FakeAnswer): FakeAnswer {
    const file = this.#files.get(account, id)
    return file ? then(file) : noFile(id)
  }

  #createCache(call: ObjectCall): FakeAnswer {
    const asked = parsed(call.bytes.toString())
    const refusal = this.#unknownIn(call, asked)
    if (refusal) return refusal
    const number = this.#numbers.next()
    const cache = { id: `fake-${number}`, number, asked, lifeSeconds: lifeOf(asked, number) ?? HOUR_S }
    return json(cacheObject(this.#caches.put(call.account, cache)))
  }

  #listCaches(call: ObjectCall): FakeAnswer {
    return listed('cachedContents', this.#caches.list(call.account), cacheObject, call, 100)
  }

  #withCache({ account }: ObjectCall, id: string, then: (cache: Cache) => FakeAnswer): FakeAnswer {
    const cache = this.#caches.get(account, id)
    return cache ? then(cache) : noCache()
  }

  #createBatch(call: ObjectCall, model: string): FakeAnswer {
    const { displayName, inputConfig = {} } = parsed(call.bytes.toString()).batch ?? {}
    const { fileName } = inputConfig
    const file = typeof fileName === 'string' ? this.#files.get(call.account, afterSlash(fileName)) : undefined
    if (fileName !== undefined && !file) return noFile(afterSlash(String(fileName)))
    const requests = file ? linesOf(file.bytes) : inputConfig.requests?.requests
    if (!Array.isArray(requests)) return refused(400, 'batch.input_config: must not be empty')
    const number = this.#numbers.next()
    const batch = { id: `fake-${number}`, number, model, displayName, requests, fromFile: file !== undefined }
    return json(batchObject(this.#batches.put(call.account, { ...batch, looks: 0, cancelled: false })))
  }

  #withBatch({ account }: ObjectCall, id: string, then: (batch: Batch) => FakeAnswer): FakeAnswer {
    const batch = this.#batches.get(account, id)
    return batch ? then(batch) : notFound()
  }

  #lookAt(call: ObjectCall, batch: Batch): FakeAnswer {
    batch.looks++
    if (batch.looks === 2 && !batch.cancelled) batch.output = this.#outputOf(call, batch)
    return json(batchObject(batch))
  }

  #outputOf(call: ObjectCall, { id, model, requests, fromFile }: Batch): object {
    const answers = requests.map(({ request, metadata, key }, index) => {
      const response = batchAnswer(`/v1beta/models/${model}:generateContent`, request, `${id}-${index}`)
      return { ...(key !== undefined && { key }), response, ...(metadata && { metadata }) }
    })
    if (!fromFile) return { inlinedResponses: { inlinedResponses: answers } }
    const file = { mimeType: 'application/jsonl', bytes: jsonLines(answers), displayName: undefined }
    return { responsesFile: `files/${this.#keepFile(call, { ...file, source: 'GENERATED' }, `batch-${id}`).id}` }
  }
}

/** Where the real files are. */
const GOOGLE = 'https://generativelanguage.googleapis.com'

const NAMES_OF_OBJECTS = ['"fileUri"', '"file_uri"', '"cachedContent"', '"cached_content"']

const STATUSES: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  409: 'ALREADY_EXISTS',
}

function refused(code: number, message: string): FakeAnswer {
  return { status: code, body: geminiErrorBody(code, STATUSES[code] ?? 'UNKNOWN', message) }
}

function noFile(id: string): FakeAnswer {
  return refused(403, `You do not have permission to access the File ${id} or it may not exist.`)
}

function noCache(): FakeAnswer {
  return refused(403, 'CachedContent not found (or permission denied)')
}

function notFound(): FakeAnswer {
  return refused(404, 'Requested entity was not found.')
}

function gone(shelf: { delete(account: string, id: string): boolean }, { account }: ObjectCall, id: string) {
  shelf.delete(account, id)
  return json({})
}

/** A page of what comes newest first; the field is left out if there is nothing in it. */
function listed<T extends { id: string }>(
  field: string,
  things: T[],
  shape: (thing: T) => object,
  { query }: ObjectCall,
  pageSize: number,
): FakeAnswer {
  const token = query.get('pageToken')
  const rest = itemsAfter(things, token && Buffer.from(token, 'base64url').toString())
  if (!rest) return refused(400, 'Page token is not valid.')
  const page = rest.slice(0, Number(query.get('pageSize')) || pageSize)
  const next = rest.length > page.length ? Buffer.from(page.at(-1)?.id ?? '').toString('base64url') : undefined
  return json({ ...(page.length > 0 && { [field]: page.map(shape) }), ...(next && { nextPageToken: next }) })
}

function afterSlash(name: string): string {
  return name.slice(name.indexOf('/') + 1)
}

/** What stands before and after the first empty line. */
function halvesOf(part: string): [string, string] {
  const at = part.indexOf('\r\n\r\n')
  return [part.slice(0, at).trimStart(), part.slice(at + 4)]
}

function statusOf(status: Session['status']): Record<string, string> {
  return { 'x-goog-upload-status': status }
}

function taken({ status }: Session, received: number): FakeAnswer {
  return { headers: { ...statusOf(status), 'x-goog-upload-size-received': String(received) }, body: '' }
}

function fileObject({ id, number, displayName, mimeType, bytes, source, uri }: StoredFile) {
  // The real one is the base64 of the hash in hex, too.
  const sha256Hash = Buffer.from(createHash('sha256').update(bytes).digest('hex')).toString('base64')
  return {
    ...{ name: `files/${id}`, ...(displayName !== undefined && { displayName }), mimeType },
    ...{ sizeBytes: String(bytes.length), createTime: isoOf(number), updateTime: isoOf(number) },
    ...{ expirationTime: isoOf(number, FILE_LIFE_S), sha256Hash, uri, state: 'ACTIVE', source },
    ...(source === 'GENERATED' && { downloadUri: `${uri}:download?alt=media` }),
  }
}

function contentOf({ mimeType, bytes }: StoredFile): FakeAnswer {
  return { headers: { 'content-type': mimeType }, body: bytes }
}

/** In seconds from when it was made; undefined if it is not said. */
function lifeOf({ ttl, expireTime }: JsonBody, number: number): number | undefined {
  if (typeof ttl === 'string') return Number.parseFloat(ttl)
  if (typeof expireTime !== 'string') return undefined
  return (Date.parse(expireTime) - Date.parse(isoOf(number))) / 1000
}

function cacheObject({ id, number, asked, lifeSeconds }: Cache) {
  const { model, displayName } = asked
  const tokens = Math.ceil(JSON.stringify(asked).length / 4)
  return {
    ...{ name: `cachedContents/${id}`, model, ...(displayName !== undefined && { displayName }) },
    ...{ createTime: isoOf(number), updateTime: isoOf(number), expireTime: isoOf(number, lifeSeconds) },
    usageMetadata: { totalTokenCount: tokens },
  }
}

function prolong(cache: Cache, { bytes }: ObjectCall): FakeAnswer {
  cache.lifeSeconds = lifeOf(parsed(bytes.toString()), cache.number) ?? cache.lifeSeconds
  return json(cacheObject(cache))
}

const TYPE = 'type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch'

function batchObject({ id, number, model, displayName, requests, looks, cancelled, output }: Batch) {
  const name = `batches/${id}`
  const state = cancelled ? 'CANCELLED' : (['PENDING', 'RUNNING'][looks] ?? 'SUCCEEDED')
  const isOver = cancelled || output !== undefined
  const requestCount = String(requests.length)
  return {
    name,
    metadata: {
      ...{ '@type': TYPE, name, model: `models/${model}`, ...(displayName !== undefined && { displayName }) },
      ...{ createTime: isoOf(number), updateTime: isoOf(number), ...(isOver && { endTime: isoOf(number) }) },
      batchStats: { requestCount, [output ? 'successfulRequestCount' : 'pendingRequestCount']: requestCount },
      state: `BATCH_STATE_${state}`,
      ...(output && { output }),
    },
    ...(isOver && { done: true }),
    ...(output && { response: { '@type': TYPE.replace('Batch', 'BatchOutput'), ...output } }),
  }
}

function cancel(batch: Batch): FakeAnswer {
  batch.cancelled ||= batch.output === undefined
  return json({})
}

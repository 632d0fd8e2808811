import type { ObjectKind } from '../../domain/account-object.ts'
import { GatewayError } from '../../domain/errors.ts'
import { badField } from '../fields.ts'
import { asObject } from '../loose-json.ts'
import type { Named } from '../named-objects.ts'
import type { JsonObject } from '../neutral.ts'
import { lastSegment, limitOf, type ObjectEndpoint, type ObjectFormat, objectProtocol } from '../objects.ts'
import { gemini } from './index.ts'
import { geminiNamed } from './named.ts'
import { parseGeminiPath } from './path.ts'

const PAGE_DEFAULT = 10
/** Google keeps a file for 48 hours. */
const FILE_MS = 49 * 3_600_000

/** What an id begins with, and its list in an answer. */
const COLLECTIONS: Partial<Record<ObjectKind, { collection: string; list: string }>> = {
  file: { collection: 'files', list: 'files' },
  cache: { collection: 'cachedContents', list: 'cachedContents' },
  batch: { collection: 'batches', list: 'operations' },
}

/** Paths behind the version. A method stands behind the name, as in `files/abc:download`. */
const ENDPOINTS: readonly ObjectEndpoint[] = [
  { method: 'GET', path: '/files', kind: 'file', does: 'list' },
  { method: 'GET', path: '/files/*', kind: 'file', does: 'use' },
  { method: 'DELETE', path: '/files/*', kind: 'file', does: 'delete' },
  { method: 'POST', path: '/cachedContents', kind: 'cache', does: 'make', tells: true, unmetered: true },
  { method: 'GET', path: '/cachedContents', kind: 'cache', does: 'list' },
  { method: 'GET', path: '/cachedContents/*', kind: 'cache', does: 'use' },
  { method: 'PATCH', path: '/cachedContents/*', kind: 'cache', does: 'use' },
  { method: 'DELETE', path: '/cachedContents/*', kind: 'cache', does: 'delete' },
  { method: 'GET', path: '/batches', kind: 'batch', does: 'list' },
  { method: 'GET', path: '/batches/*', kind: 'batch', does: 'use', tells: true },
  { method: 'POST', path: '/batches/*', kind: 'batch', does: 'use' },
  { method: 'DELETE', path: '/batches/*', kind: 'batch', does: 'delete' },
]

const VERSIONS = ['v1', 'v1beta', 'v1alpha']

/** What sets a batch to work; its path is a model's. */
export const GEMINI_BATCH: ObjectEndpoint = {
  ...{ method: 'POST', path: '', kind: 'batch', does: 'make', tells: true, unmetered: true },
}

/** Google's files, uploads, caches and batches. Lists go from the newest to the oldest. */
export const geminiObjects: ObjectFormat = {
  protocol: objectProtocol(gemini),
  endpoints: VERSIONS.flatMap((version) => [
    ...ENDPOINTS.map((one) => ({ ...one, path: `/${version}${one.path}` })),
    {
      method: 'POST' as const,
      path: `/upload/${version}/files`,
      kind: 'upload' as const,
      does: 'make' as const,
      tells: true as const,
    },
  ]),
  segment: /^\w[\w.-]*(?::(?:download|cancel))?$/,
  idOf(kind, segment) {
    const name = segment.split(':')[0] as string
    return `${COLLECTIONS[kind]?.collection ?? kind}/${name}`
  },
  modelPath(path) {
    const { version, model, method } = parseGeminiPath(path)
    return `/${version}/models/${encodeURIComponent(model)}:${method}`
  },
  lifetimesMs: { file: FILE_MS, upload: FILE_MS },
  segmentOf: lastSegment,
  stubOf: (id) => ({ name: id }),
  namedIn,
  toldIn(answer) {
    const file = asObject(answer.file) ?? answer
    const metadata = asObject(answer.metadata)
    const output = asObject(answer.response) ?? asObject(metadata?.output)
    const names = [file.name, metadata?.name, output?.responsesFile]
    return names.flatMap((name) => (typeof name === 'string' ? thingNamed(name) : []))
  },
  continuedBy(query) {
    const [id = null, ...more] = query.getAll('upload_id')
    if (more.length > 0) throw badField('upload_id', 'stands in the query twice')
    return uploadOf(id)
  },
  begunBy(headers) {
    const query = URL.parse(String(headers[UPLOAD_URL]))?.searchParams
    const id = uploadOf(query?.get('upload_id') ?? null)
    query?.delete('key')
    return query && id !== null ? { id, header: UPLOAD_URL, query: `?${query}` } : null
  },
  page: (query) => ({
    order: 'newest',
    limit: limitOf(query.get('pageSize'), PAGE_DEFAULT),
    after: query.get('pageToken'),
    reversed: false,
    isWanted: () => true,
  }),
  renderList(items, { kind, next }) {
    const list: JsonObject = { [COLLECTIONS[kind]?.list ?? kind]: items }
    return next === null ? list : { ...list, nextPageToken: next }
  },
}

/** The header that says where an upload that has begun is to go on. */
const UPLOAD_URL = 'x-goog-upload-url'

function uploadOf(id: string | null): string | null {
  return id && `upload/${id}`
}

function thingNamed(name: string): { kind: ObjectKind; id: string }[] {
  const kinds = Object.keys(COLLECTIONS) as ObjectKind[]
  const kind = kinds.find((one) => name.startsWith(`${COLLECTIONS[one]?.collection}/`))
  return kind ? [{ kind, id: name }] : []
}

/** A file that a batch is made of would have to be looked into, and lies at Google. */
function namedIn(kind: ObjectKind, _contentType: unknown, body: Buffer): Named[] {
  if (kind === 'upload') return []
  const named = geminiNamed.all(body)
  if (!named.some(({ field }) => /^file_?name$/i.test(field))) return named
  const message = 'batch.inputConfig.fileName: this gateway does not look into files: send the requests themselves'
  throw new GatewayError('not_supported', message, { shouldRetry: false })
}

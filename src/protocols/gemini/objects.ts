import type { ObjectKind } from '../../domain/account-object.ts'
import { asObject } from '../loose-json.ts'
import type { JsonObject } from '../neutral.ts'
import { lastSegment, limitOf, type ObjectEndpoint, type ObjectFormat, objectProtocol } from '../objects.ts'
import { gemini } from './index.ts'
import { geminiNamed } from './named.ts'

const PAGE_DEFAULT = 10

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
  idOf(kind, segment) {
    const name = segment.split(':')[0] as string
    return `${COLLECTIONS[kind]?.collection ?? kind}/${name}`
  },
  pathOf: (id, listPath) => `${listPath}/${encodeURIComponent(lastSegment(id))}`,
  namedIn: geminiNamed,
  toldIn(answer) {
    const file = asObject(answer.file) ?? answer
    const metadata = asObject(answer.metadata)
    const output = asObject(answer.response) ?? asObject(metadata?.output)
    const names = [file.name, metadata?.name, output?.responsesFile]
    return names.flatMap((name) => (typeof name === 'string' ? thingNamed(name) : []))
  },
  continuedBy: (query) => uploadOf(query.get('upload_id')),
  begunBy(headers) {
    const url = URL.parse(String(headers[UPLOAD_URL]))
    const id = uploadOf(url?.searchParams.get('upload_id') ?? null)
    if (!url || id === null) return null
    url.searchParams.delete('key')
    return { id, header: UPLOAD_URL, path: url.pathname + url.search }
  },
  page: (query) => ({
    order: 'newest',
    limit: limitOf(query.get('pageSize'), PAGE_DEFAULT),
    after: query.get('pageToken'),
    reversed: false,
    isWanted: () => true,
  }),
  renderList(items, { kind, hasMore }) {
    const list: JsonObject = { [COLLECTIONS[kind]?.list ?? kind]: items }
    return hasMore ? { ...list, nextPageToken: items.at(-1)?.name } : list
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

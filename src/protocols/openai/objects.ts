import type { ObjectKind } from '../../domain/account-object.ts'
import { GatewayError } from '../../domain/errors.ts'
import { asObject, objectOf } from '../loose-json.ts'
import { isForm, scanForm } from '../multipart.ts'
import type { Named } from '../named-objects.ts'
import { limitOf, type ObjectEndpoint, type ObjectFormat, objectProtocol, PAGE_MAX, PLAIN_SEGMENT } from '../objects.ts'
import { openaiResponses } from '../openai-responses/index.ts'
import { openaiNamed } from './named.ts'

const PAGE_DEFAULT = 20
/** An upload that is not completed within the hour is forgotten. */
const DAY_MS = 86_400_000

/** Paths without their version, as half of the clients are given a base URL that ends in it and half are not. */
const ENDPOINTS: readonly ObjectEndpoint[] = [
  { method: 'POST', path: '/files', kind: 'file', does: 'make', tells: true },
  { method: 'GET', path: '/files', kind: 'file', does: 'list' },
  { method: 'GET', path: '/files/*', kind: 'file', does: 'use' },
  { method: 'GET', path: '/files/*/content', kind: 'file', does: 'use' },
  { method: 'DELETE', path: '/files/*', kind: 'file', does: 'delete' },
  { method: 'POST', path: '/uploads', kind: 'upload', does: 'make', tells: true },
  { method: 'POST', path: '/uploads/*/parts', kind: 'upload', does: 'use' },
  { method: 'POST', path: '/uploads/*/complete', kind: 'upload', does: 'use', tells: true },
  { method: 'POST', path: '/uploads/*/cancel', kind: 'upload', does: 'use' },
  { method: 'POST', path: '/batches', kind: 'batch', does: 'make', tells: true, unmetered: true },
  { method: 'GET', path: '/batches', kind: 'batch', does: 'list' },
  { method: 'GET', path: '/batches/*', kind: 'batch', does: 'use', tells: true },
  { method: 'POST', path: '/batches/*/cancel', kind: 'batch', does: 'use', tells: true },
  { method: 'GET', path: '/responses/*', kind: 'response', does: 'use' },
  { method: 'GET', path: '/responses/*/input_items', kind: 'response', does: 'use' },
  { method: 'POST', path: '/responses/*/cancel', kind: 'response', does: 'use' },
  { method: 'DELETE', path: '/responses/*', kind: 'response', does: 'delete' },
  { method: 'POST', path: '/videos', kind: 'video', does: 'make', tells: true, unmetered: true },
  { method: 'GET', path: '/videos', kind: 'video', does: 'list' },
  { method: 'GET', path: '/videos/*', kind: 'video', does: 'use' },
  { method: 'GET', path: '/videos/*/content', kind: 'video', does: 'use' },
  { method: 'POST', path: '/videos/*/remix', kind: 'video', does: 'make', tells: true, unmetered: true },
  { method: 'DELETE', path: '/videos/*', kind: 'video', does: 'delete' },
]

/** OpenAI's files, uploads, batches, stored responses and videos. */
export const openaiObjects: ObjectFormat = {
  protocol: objectProtocol(openaiResponses),
  endpoints: ['/v1', ''].flatMap((base) => ENDPOINTS.map((one) => ({ ...one, path: `${base}${one.path}` }))),
  segment: PLAIN_SEGMENT,
  idOf: (_kind, segment) => segment,
  lifetimesMs: { upload: DAY_MS },
  segmentOf: (id) => id,
  stubOf: (id, kind) => ({ id, object: kind }),
  namedIn,
  toldIn({ id, output_file_id: output, error_file_id: errors, file }, kind) {
    const files = [output, errors, asObject(file)?.id]
    return [thing(kind, id), ...files.map((one) => thing('file', one))].flat()
  },
  page: (query) => ({
    order: query.get('order') === 'asc' ? 'oldest' : 'newest',
    limit: limitOf(query.get('limit'), query.has('purpose') ? PAGE_MAX : PAGE_DEFAULT),
    after: query.get('after'),
    reversed: false,
    isWanted: ({ purpose }) => !query.has('purpose') || purpose === query.get('purpose'),
  }),
  renderList: (items, { next }) => ({
    ...{ object: 'list', data: items, has_more: next !== null },
    ...{ first_id: items[0]?.id ?? null, last_id: items.at(-1)?.id ?? next },
  }),
}

function thing(kind: ObjectKind, id: unknown): { kind: ObjectKind; id: string }[] {
  return typeof id === 'string' ? [{ kind, id }] : []
}

const FORM_FIELDS: ReadonlySet<string> = new Set(['purpose'])

/** Of a file that a batch is made of each line is a request: it is looked into before it goes up, and so goes up in one piece. */
function namedIn(kind: ObjectKind, contentType: unknown, body: Buffer): Named[] {
  if (kind === 'upload') {
    if (objectOf(body.toString('utf8'))?.purpose === 'batch') throw new GatewayError('not_supported', IN_ONE_PIECE)
    return []
  }
  if (!isForm(contentType)) return kind === 'file' ? [] : openaiNamed.all(body)
  const form = scanForm(contentType, body, FORM_FIELDS)
  if (kind !== 'file') return openaiNamed.form(form)
  return form.text('purpose') === 'batch' ? form.files.flatMap((file) => openaiNamed.lines(file)) : []
}

const IN_ONE_PIECE =
  "purpose: a batch's file has to be uploaded in one piece, by POST /v1/files: this gateway looks into it"

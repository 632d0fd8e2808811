import { limitOf, type ObjectFormat, objectProtocol, PLAIN_SEGMENT } from '../objects.ts'
import { anthropicMessages } from './index.ts'
import { anthropicNamed } from './named.ts'

const PAGE_DEFAULT = 20

/**
 * Anthropic's files and batches of messages. Lists go from the newest to the oldest, by `after_id`, or back by `before_id`, or
 * since API version 2026-10-21 some by `page` (@anthropic-ai/sdk 1.12.0, resources/files.ts).
 */
export const anthropicObjects: ObjectFormat = {
  protocol: objectProtocol(anthropicMessages),
  endpoints: [
    { method: 'POST', path: '/v1/files', kind: 'file', does: 'make', tells: true },
    { method: 'GET', path: '/v1/files', kind: 'file', does: 'list' },
    { method: 'GET', path: '/v1/files/*', kind: 'file', does: 'use' },
    { method: 'GET', path: '/v1/files/*/content', kind: 'file', does: 'use' },
    { method: 'DELETE', path: '/v1/files/*', kind: 'file', does: 'delete' },
    { method: 'POST', path: '/v1/messages/batches', kind: 'batch', does: 'make', tells: true, unmetered: true },
    { method: 'GET', path: '/v1/messages/batches', kind: 'batch', does: 'list' },
    { method: 'GET', path: '/v1/messages/batches/*', kind: 'batch', does: 'use', tells: true },
    { method: 'GET', path: '/v1/messages/batches/*/results', kind: 'batch', does: 'use' },
    { method: 'POST', path: '/v1/messages/batches/*/cancel', kind: 'batch', does: 'use', tells: true },
    { method: 'DELETE', path: '/v1/messages/batches/*', kind: 'batch', does: 'delete' },
  ],
  segment: PLAIN_SEGMENT,
  idOf: (_kind, segment) => segment,
  lifetimesMs: {},
  segmentOf: (id) => id,
  stubOf: (id, kind) => ({ id, type: kind === 'file' ? 'file' : 'message_batch' }),
  namedIn: (kind, _contentType, body) => (kind === 'file' ? [] : anthropicNamed.all(body)),
  toldIn: ({ id }, kind) => (typeof id === 'string' ? [{ kind, id }] : []),
  // Clients fetch results from there, with the key that they have.
  addressed: (thing, origin) =>
    typeof thing.results_url === 'string'
      ? { ...thing, results_url: `${origin}/v1/messages/batches/${thing.id}/results` }
      : thing,
  page(query) {
    const before = query.get('before_id')
    const ids = [...query.getAll('ids'), ...query.getAll('ids[]')]
    return {
      order: before === null ? 'newest' : 'oldest',
      limit: limitOf(query.get('limit'), PAGE_DEFAULT),
      after: before ?? query.get('after_id') ?? query.get('page'),
      reversed: before !== null,
      isWanted: ({ id }) => ids.length === 0 || ids.includes(String(id)),
    }
  },
  renderList: (items, { next, reversed }) => ({
    ...{ data: items, has_more: next !== null },
    ...{ first_id: items[0]?.id ?? null, last_id: items.at(-1)?.id ?? next },
    next_page: reversed ? null : next,
  }),
}

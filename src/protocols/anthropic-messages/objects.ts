import { limitOf, type ObjectFormat, objectProtocol } from '../objects.ts'
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
  idOf: (_kind, segment) => segment,
  pathOf: (id, listPath) => `${listPath}/${encodeURIComponent(id)}`,
  namedIn: anthropicNamed,
  toldIn: ({ id }, kind) => (typeof id === 'string' ? [{ kind, id }] : []),
  // Clients fetch results from there, with the key that they have.
  addressed(thing, origin) {
    const url = typeof thing.results_url === 'string' ? URL.parse(thing.results_url) : null
    return url ? { ...thing, results_url: origin + url.pathname + url.search } : thing
  },
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
  renderList(items, { hasMore, reversed }) {
    const [first, last] = [items[0]?.id ?? null, items.at(-1)?.id ?? null]
    return {
      data: items,
      has_more: hasMore,
      first_id: first,
      last_id: last,
      next_page: hasMore && !reversed ? last : null,
    }
  },
}

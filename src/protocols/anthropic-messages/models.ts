import type { ServedModel } from '../protocol.ts'

/** Anthropic's own default and limit of a page. */
const PAGE_DEFAULT = 20
const PAGE_MAX = 1000

/** A page of Anthropic's model list, by `limit`, `after_id` and `before_id`; empty behind a model that is not (or no longer) on it. */
export function renderMessagesModels(models: ServedModel[], query: string): Buffer {
  const asked = new URLSearchParams(query)
  const limit = Math.min(PAGE_MAX, Math.max(1, Math.floor(Number(asked.get('limit'))) || PAGE_DEFAULT))
  const [start, end] = pageOf(models, limit, asked.get('after_id'), asked.get('before_id'))
  const page = models.slice(start, end)
  return Buffer.from(
    JSON.stringify({
      data: page.map(modelObject),
      has_more: asked.has('before_id') ? start > 0 : end < models.length,
      first_id: page[0]?.id ?? null,
      last_id: page.at(-1)?.id ?? null,
    }),
  )
}

function pageOf(
  models: ServedModel[],
  limit: number,
  afterId: string | null,
  beforeId: string | null,
): [number, number] {
  const place = (id: string) => models.findIndex((model) => model.id === id)
  if (beforeId !== null) {
    const end = Math.max(0, place(beforeId))
    return [Math.max(0, end - limit), end]
  }
  const after = afterId === null ? -1 : place(afterId)
  const start = afterId !== null && after < 0 ? models.length : after + 1
  return [start, Math.min(models.length, start + limit)]
}

export function renderMessagesModel(model: ServedModel): Buffer {
  return Buffer.from(JSON.stringify(modelObject(model)))
}

function modelObject({ id, displayName, createdAt }: ServedModel) {
  // The epoch is what Anthropic itself gives where a release date is unknown.
  return { type: 'model', id, display_name: displayName ?? id, created_at: createdAt ?? '1970-01-01T00:00:00Z' }
}

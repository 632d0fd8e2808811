import type { ServedModel } from '../protocol.ts'

/** Anthropic's own default and limit of a page. */
const PAGE_DEFAULT = 20
const PAGE_MAX = 1000

/** A page of Anthropic's model list, by `limit`, `after_id` and `before_id`. */
export function renderMessagesModels(models: ServedModel[], query: string): Buffer {
  const asked = new URLSearchParams(query)
  const limit = Math.min(PAGE_MAX, Math.max(1, Number(asked.get('limit')) || PAGE_DEFAULT))
  const place = (name: string) => models.findIndex((model) => model.id === asked.get(name))
  const after = asked.has('after_id') ? place('after_id') + 1 : 0
  const before = asked.has('before_id') ? place('before_id') : models.length
  const page = asked.has('before_id')
    ? models.slice(Math.max(0, before - limit), before)
    : models.slice(after, after + limit)
  return Buffer.from(
    JSON.stringify({
      data: page.map(modelObject),
      has_more: asked.has('before_id') ? before - limit > 0 : after + limit < models.length,
      first_id: page[0]?.id ?? null,
      last_id: page.at(-1)?.id ?? null,
    }),
  )
}

export function renderMessagesModel(model: ServedModel): Buffer {
  return Buffer.from(JSON.stringify(modelObject(model)))
}

function modelObject({ id, displayName, createdAt }: ServedModel) {
  // The epoch is what Anthropic itself gives where a release date is unknown.
  return { type: 'model', id, display_name: displayName ?? id, created_at: createdAt ?? '1970-01-01T00:00:00Z' }
}

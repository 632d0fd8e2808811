import type { ServedModel } from '../protocol.ts'

/** Google's own default and limit of a page. */
const PAGE_DEFAULT = 50
const PAGE_MAX = 1000

/** A page of Google's model list, by `pageSize` and `pageToken` (of ours: the last model before it). */
export function renderGeminiModels(models: ServedModel[], query: string): Buffer {
  const asked = new URLSearchParams(query)
  const size = Math.min(PAGE_MAX, Math.max(1, Math.floor(Number(asked.get('pageSize'))) || PAGE_DEFAULT))
  const after = asked.get('pageToken')
  const place = after === null ? -1 : models.findIndex(({ id }) => id === after)
  const start = after !== null && place < 0 ? models.length : place + 1
  const page = models.slice(start, start + size)
  const next = start + size < models.length ? page.at(-1)?.id : undefined
  return Buffer.from(
    JSON.stringify({ models: page.map(modelObject), ...(next !== undefined && { nextPageToken: next }) }),
  )
}

export function renderGeminiModel(model: ServedModel): Buffer {
  return Buffer.from(JSON.stringify(modelObject(model)))
}

function modelObject({ id, displayName }: ServedModel) {
  return {
    name: `models/${id}`,
    displayName: displayName ?? id,
    supportedGenerationMethods: ['generateContent', 'countTokens'],
  }
}

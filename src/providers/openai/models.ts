import type { ServedModel } from '../../protocols/protocol.ts'

interface ListedModel {
  id?: unknown
  created?: unknown
}

interface CatalogueEntry {
  slug?: unknown
  display_name?: unknown
}

/** OpenAI's list, or Codex's catalogue, which ChatGPT's backend has instead. Throws if it is neither. */
export function openaiModels(body: Buffer): ServedModel[] {
  const { data, models } = JSON.parse(body.toString('utf8')) as { data?: ListedModel[]; models?: CatalogueEntry[] }
  if (!models) return (data as ListedModel[]).map(listed)
  return models.map((entry) => ({
    id: String(entry.slug),
    displayName: typeof entry.display_name === 'string' ? entry.display_name : null,
    createdAt: null,
    catalogueEntry: entry,
  }))
}

function listed({ id, created }: ListedModel): ServedModel {
  const isTime = Number.isSafeInteger(created) && (created as number) > 0 && (created as number) < 1e11
  return {
    id: String(id),
    displayName: null,
    createdAt: isTime ? new Date((created as number) * 1000).toISOString() : null,
  }
}

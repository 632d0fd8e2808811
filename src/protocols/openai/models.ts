import type { ServedModel } from '../protocol.ts'

/**
 * OpenAI's model list, which has no pages. Codex, which tells its version, gets its catalogue instead: what stands in no vendor's is left
 * out, and Codex does with what it knows of a model, or with a fallback.
 */
export function renderOpenaiModels(models: ServedModel[], query: string): Buffer {
  const isCodex = new URLSearchParams(query).has('client_version')
  const list = isCodex
    ? { models: models.flatMap(({ catalogueEntry }) => catalogueEntry ?? []) }
    : { object: 'list', data: models.map(modelObject) }
  return Buffer.from(JSON.stringify(list))
}

export function renderOpenaiModel(model: ServedModel): Buffer {
  return Buffer.from(JSON.stringify(modelObject(model)))
}

function modelObject({ id, createdAt }: ServedModel) {
  const created = createdAt === null ? Number.NaN : Date.parse(createdAt)
  return {
    id,
    object: 'model',
    created: Number.isFinite(created) ? Math.floor(created / 1000) : 0,
    owned_by: 'subgate',
  }
}

import type { VendorWindow } from '../../domain/account.ts'
import { asObject, objectOf } from '../../protocols/loose-json.ts'
import type { ServedModel } from '../../protocols/protocol.ts'
import { quotaWindow } from '../google/quota.ts'

interface AvailableModel {
  displayName?: unknown
}

/** Models that are listed, and how much of each is left; more of them are no list. */
const MODELS_MAX = 200

/** `fetchAvailableModels`: the model list, without those that are on their way out. Throws if it is none. */
export function antigravityModels(body: Buffer): ServedModel[] {
  const { models, deprecatedModelIds } = JSON.parse(body.toString('utf8')) as {
    models: Record<string, AvailableModel | null>
    deprecatedModelIds?: unknown
  }
  const deprecated = deprecatedIds(deprecatedModelIds)
  return Object.entries(models)
    .filter(([id]) => !deprecated.has(id))
    .map(([id, model]) => ({
      id,
      displayName: typeof model?.displayName === 'string' ? model.displayName : null,
      createdAt: null,
    }))
}

/** A list of ids, or a map from each to what comes in its place. */
function deprecatedIds(value: unknown): ReadonlySet<unknown> {
  return new Set(Array.isArray(value) ? value : Object.keys(asObject(value) ?? {}))
}

/** The same answer tells what is left of each model until when: a window of each, by its name. */
export function antigravityWindows(body: Buffer, nowMs: number): VendorWindow[] {
  const models = asObject(objectOf(body.toString('utf8'))?.models) ?? {}
  return Object.entries(models)
    .slice(0, MODELS_MAX)
    .flatMap(([id, model]) => quotaWindow(id, asObject(model)?.quotaInfo, nowMs))
}

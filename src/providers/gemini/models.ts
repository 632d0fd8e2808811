import type { VendorWindow } from '../../domain/account.ts'
import { isObject, objectOf, textOf } from '../../protocols/loose-json.ts'
import type { ServedModel } from '../../protocols/protocol.ts'
import { quotaWindow } from '../google/quota.ts'

interface ListedModel {
  name?: unknown
  displayName?: unknown
  supportedGenerationMethods?: unknown
}

interface QuotaBucket {
  modelId?: unknown
}

/** The list of the API, or the quotas that Code Assist has instead. Throws if it is neither. */
export function geminiModels(body: Buffer): ServedModel[] {
  const { models, buckets } = JSON.parse(body.toString('utf8')) as { models?: ListedModel[]; buckets?: QuotaBucket[] }
  if (!models && buckets)
    return [...new Set(buckets.map(({ modelId }) => String(modelId)))].map((id) => named(id, null))
  return (models as ListedModel[])
    .filter(({ supportedGenerationMethods: methods }) => !Array.isArray(methods) || methods.some(isServed))
    .map(({ name, displayName }) => named(String(name).replace(/^models\//, ''), displayName))
}

/** Buckets that are read; Google tells of some ten. */
const BUCKETS_MAX = 200

/** Code Assist's quotas; the API has no such list. */
export function codeAssistWindows(body: Buffer, nowMs: number): VendorWindow[] {
  const buckets = objectOf(body.toString('utf8'))?.buckets
  if (!Array.isArray(buckets)) return []
  const byModel = new Map(
    buckets
      .slice(0, BUCKETS_MAX)
      .filter(isObject)
      .map((bucket) => [textOf(bucket.modelId), bucket]),
  )
  return [...byModel].flatMap(([model, bucket]) => (model === '' ? [] : quotaWindow(model, bucket, nowMs)))
}

function isServed(method: unknown): boolean {
  return method === 'generateContent' || method === 'embedContent'
}

function named(id: string, displayName: unknown): ServedModel {
  return { id, displayName: typeof displayName === 'string' ? displayName : null, createdAt: null }
}

import type { VendorWindow } from '../../domain/account.ts'
import { asObject } from '../../protocols/loose-json.ts'
import { plausibleReset } from '../head-values.ts'

const NAME_MAX = 64

/** What is left of a model until when, as Code Assist and Antigravity tell it in their lists: a window of its own, by its name. */
export function quotaWindow(model: string, quota: unknown, nowMs: number): VendorWindow[] {
  const { remainingFraction, resetTime } = asObject(quota) ?? {}
  const resetAtMs = typeof resetTime === 'string' ? plausibleReset(Date.parse(resetTime), nowMs) : null
  const left = remainingFraction
  if (resetAtMs === null || typeof left !== 'number' || !(left >= 0 && left <= 1)) return []
  const name = model
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .slice(0, NAME_MAX)
  // How long it is nobody says.
  return [{ name, used: 1 - left, resetAtMs, lengthMs: null, models: [model], source: 'models', sampledAtMs: nowMs }]
}

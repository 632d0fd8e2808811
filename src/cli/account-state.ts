import { pausingForAll, usedPercent, type VendorWindow } from '../domain/account.ts'
import { effectiveWeight } from '../gateway/rank.ts'
import { formatDuration } from '../lib/duration.ts'
import type { StoredAccount } from '../store/store.ts'
import type { Context } from './context.ts'

/** How an account stands at the moment, in words. */

/** How much of a window is used by now. */
export function usedText(window: VendorWindow, nowMs: number): string {
  return window.resetAtMs > nowMs ? usedPercent(window) : '0%'
}

/** How much of a window is used, until when, and since when that is known. */
export function windowText(window: VendorWindow, context: Context): string {
  const { resetAtMs, sampledAtMs } = window
  const { nowMs, out } = context
  const reset = resetAtMs > nowMs ? `whole again in ${formatDuration(resetAtMs - nowMs)}, ` : ''
  return `${usedText(window, nowMs)} used, ${reset}as of ${out.time(sampledAtMs)}`
}

/** The operator's weight, and what the vendor's windows make of it at the moment. */
export function weightText(account: StoredAccount, nowMs: number): string {
  const { weight, windows } = account
  const ofAllModels = windows.filter(({ models }) => models === null)
  const now = effectiveWeight(weight, ofAllModels, nowMs)
  if (now === weight) return String(weight)
  return `${weight}, at the moment ${Number(now.toPrecision(3))} by its windows`
}

/** `active`, or why it gets no calls and until when. */
export function stateOf(
  account: Pick<
    StoredAccount,
    'status' | 'statusReason' | 'rest' | 'modelRests' | 'expiresAtMs' | 'pauseAt' | 'windows'
  >,
  nowMs: number,
): string {
  if (account.status !== 'active')
    return account.statusReason ? `${account.status}: ${account.statusReason}` : account.status
  if (account.expiresAtMs !== null && account.expiresAtMs <= nowMs) return 'expired'
  const { rest } = account
  if (rest && rest.untilMs > nowMs) return `rests ${formatDuration(rest.untilMs - nowMs)} (${rest.reason})`
  const window = pausingForAll(account, account.windows, nowMs)
  if (window) return `paused ${formatDuration(window.resetAtMs - nowMs)} (${usedPercent(window)} of ${window.name})`
  const models = account.modelRests.filter(({ untilMs }) => untilMs > nowMs)
  if (models.length === 0) return 'active'
  const texts = models.map(({ model, untilMs }) => `${model} for ${formatDuration(untilMs - nowMs)}`)
  return `active, but not for ${texts.join(', ')}`
}

import type { VendorWindow } from '../domain/account.ts'

/** An account that could take a call, as far as its place in line depends on it. */
export interface Contender {
  /** Lower is tried first. */
  priority: number
  /** The operator's: its share among accounts of the same priority. */
  weight: number
  /** Those that count for the model that is asked for. */
  windows: readonly VendorWindow[]
  /** It rests softly, would be probed, or its host is down: only when nobody else is left. */
  isDoubtful: boolean
}

/** Beside any other weight nothing, and yet it orders those who have none. */
const NO_WEIGHT = 1e-200

/**
 * The best first: the doubtful last, then by priority, then in a weighted shuffle, in which each has the chance of its effective
 * weight's share to be before the others. It keeps no state, so any number of processes give the same shares. `random` gives 0 ≤ x < 1.
 */
export function rank<T extends Contender>(contenders: readonly T[], nowMs: number, random: () => number): T[] {
  const drawn = contenders.map((contender) => ({ contender, draw: drawOf(contender, nowMs, random()) }))
  drawn.sort((a, b) => compare(a.contender, b.contender) || a.draw - b.draw)
  return drawn.map(({ contender }) => contender)
}

function compare(a: Contender, b: Contender): number {
  return Number(a.isDoubtful) - Number(b.isDoubtful) || a.priority - b.priority
}

/** −ln(u)/weight: of such draws the smallest is anybody's with the chance of their weight's share. */
function drawOf({ weight, windows }: Contender, nowMs: number, random: number): number {
  return -Math.log(1 - random) / Math.max(effectiveWeight(weight, windows, nowMs), NO_WEIGHT)
}

/**
 * How far vendor windows move a weight: not below a hundredth, so that an account which is far behind is asked now and then
 * all the same, and what is known of it stays true; up to the ten thousandfold, which is as good as all.
 */
const PACE_MIN = 0.1
const PACE_MAX = 100

/**
 * The operator's weight × pace², where pace is, for each vendor window, the share of it that is left ÷ the share of its time
 * that is left: 1 for an account that is used up evenly, less for one that is ahead of its time, and more and more for one
 * whose quota would be lost at its reset. 0 while a window is full. Why so: docs/decisions.md.
 */
export function effectiveWeight(weight: number, windows: readonly VendorWindow[], nowMs: number): number {
  let pace = 1
  for (const { used, resetAtMs, lengthMs } of windows) {
    // A window whose reset has passed is whole again: its next one begins with the next call.
    if (lengthMs === null || resetAtMs <= nowMs) continue
    if (used >= 1) return 0
    pace *= ((1 - used) * lengthMs) / Math.min(resetAtMs - nowMs, lengthMs)
  }
  return weight * Math.min(Math.max(pace, PACE_MIN), PACE_MAX) ** 2
}

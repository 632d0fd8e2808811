/** The time in unix milliseconds. An argument everywhere, so that tests own it. */
export type Clock = () => number

export const systemClock: Clock = Date.now

/** Calls back once after a time; the returned function cancels. An argument for the same reason. */
export type SetTimer = (afterMs: number, callback: () => void) => () => void

export const systemTimer: SetTimer = (afterMs, callback) => {
  const timer = setTimeout(callback, afterMs)
  return () => clearTimeout(timer)
}

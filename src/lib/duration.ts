const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const

/** Reads `250ms`, `10s`, `5m`, `1h30m` or `30d` into milliseconds; null if it is none of these. */
export function parseDuration(text: string): number | null {
  if (!/^(\d+(\.\d+)?(ms|[smhdw]))+$/.test(text)) return null
  let total = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    total += Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS]
  }
  const whole = Math.round(total) // 8.2 × 60,000 is 491,999.99999999994
  return Number.isSafeInteger(whole) && Math.abs(total - whole) < 1e-6 ? whole : null
}

/** When a wait is over, to the second: `5h, at 2026-11-27 18:00:00 UTC`. */
export function formatWait(waitMs: number, nowMs: number): string {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  return `${formatDuration(seconds * 1000)}, at ${formatTime(nowMs + seconds * 1000)}`
}

/** `2026-11-27 18:00:00 UTC` */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** `90000` → `1m30s`: at most two units, the largest first. */
export function formatDuration(ms: number): string {
  if (Math.round(ms) < 1000) return `${Math.round(ms)}ms`
  const parts: string[] = []
  let rest = Math.round(ms / 1000) * 1000
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const amount = Math.floor(rest / UNIT_MS[unit])
    rest %= UNIT_MS[unit]
    if (amount > 0) parts.push(`${amount}${unit}`)
  }
  return parts.slice(0, 2).join('')
}

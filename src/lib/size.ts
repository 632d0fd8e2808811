const UNIT_BYTES = { b: 1, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3, kb: 1000, mb: 1000 ** 2, gb: 1000 ** 3 } as const

/** Reads `32MiB`, `8 MB` or a plain number of bytes; null if it is neither. */
export function parseSize(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]i?b|b)?$/i.exec(text.trim())
  if (!match) return null
  const bytes = Number(match[1]) * UNIT_BYTES[(match[2] ?? 'b').toLowerCase() as keyof typeof UNIT_BYTES]
  const whole = Math.round(bytes) // 4.35 MB are 4,349,999.999999999
  return Number.isSafeInteger(whole) && Math.abs(bytes - whole) < 1e-6 ? whole : null
}

/** `33554432` → `32 MiB`. */
export function formatSize(bytes: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB'] as const) {
    const amount = bytes / UNIT_BYTES[unit.toLowerCase() as keyof typeof UNIT_BYTES]
    if (amount >= 1) return `${Number(amount.toFixed(1))} ${unit}`
  }
  return `${bytes} B`
}

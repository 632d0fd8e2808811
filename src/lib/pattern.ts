/** Compiles patterns such as `claude-*` (`*` stands for any characters) into one test; an empty list matches nothing. */
export function patternMatcher(patterns: readonly string[]): (text: string) => boolean {
  if (patterns.length === 0) return () => false
  const alternatives = patterns.map((pattern) => pattern.split('*').map(escapeRegExp).join('.*'))
  const expression = new RegExp(`^(?:${alternatives.join('|')})$`, 's')
  return (text) => expression.test(text)
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

/** The one of `known` that is closest to `text` by edit distance, if it is close enough to be a slip of the finger. */
export function nearest(text: string, known: Iterable<string>): string | null {
  let best: string | null = null
  let bestDistance = Math.max(2, Math.floor(text.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(text, candidate)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const substituted = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      current[j] = Math.min(substituted, (previous[j] as number) + 1, (current[j - 1] as number) + 1)
    }
    previous = current
  }
  return previous[b.length] as number
}

/**
 * Compiles patterns such as `claude-*` (`*` stands for any characters) into one test; an empty list matches nothing.
 * No regular expressions: many stars in one would take exponential time on a name that a client chooses.
 */
export function patternMatcher(patterns: readonly string[]): (text: string) => boolean {
  const all = patterns.map((pattern) => pattern.split('*'))
  return (text) => all.some((pieces) => hasPieces(text, pieces))
}

/** True if `text` is the pieces in their order with anything between them. The first place for each piece does: a later one leaves less. */
function hasPieces(text: string, pieces: readonly string[]): boolean {
  const first = pieces[0] as string
  if (pieces.length === 1) return text === first
  if (!text.startsWith(first)) return false
  const last = pieces.at(-1) as string
  let at = first.length
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at)
    if (found < 0) return false
    at = found + piece.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}

/** A longer text is no slip of the finger, and its distances would take long. */
const NEAREST_CHARACTERS_MAX = 100

/** The one of `known` that is closest to `text` by edit distance, if it is close enough to be a slip of the finger. */
export function nearest(text: string, known: Iterable<string>): string | null {
  if (text.length > NEAREST_CHARACTERS_MAX) return null
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

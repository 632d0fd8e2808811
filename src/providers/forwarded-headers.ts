import type { Headers } from '../protocols/protocol.ts'

/** Which of a client's headers go upstream: all others stay here. */
export interface HeaderRules {
  names: ReadonlySet<string>
  prefixes: readonly string[]
}

/** Names and values in turn; none that is in `replaced`. */
export function forwardedHeaders(headers: Headers, rules: HeaderRules, replaced: Record<string, string>): string[] {
  const kept: string[] = []
  for (const name in headers) {
    const allowed = rules.names.has(name) || rules.prefixes.some((prefix) => name.startsWith(prefix))
    if (!allowed || Object.hasOwn(replaced, name)) continue
    const value = headers[name]
    if (typeof value === 'string') kept.push(name, value)
    else if (value) for (const one of value) kept.push(name, one)
  }
  return kept
}

import { closingQuote } from './json-scan.ts'

/** Nesting that a JSON text may have; whoever walks it may recurse. */
const DEPTH_MAX = 512

/** Why a text cannot be read in one way only; the message is fit for whoever sent it. */
export class NotStrict extends Error {}

/** A JSON text as every reader has to understand it: UTF-8, by the grammar, no key twice in an object, and not too deep. Throws NotStrict. */
export function parseStrictly(bytes: Buffer): unknown {
  let text: string
  let value: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch {
    throw new NotStrict('is not valid JSON')
  }
  requireOneOfEachKey(text)
  return value
}

/** The text has to be valid: then a string is a key if a colon follows it. */
function requireOneOfEachKey(text: string): void {
  const open: (Set<string> | null)[] = []
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"': {
        const end = closingQuote(text, at + 1)
        const keys = open.at(-1)
        if (keys && isKey(text, end + 1)) {
          const key = JSON.parse(text.slice(at, end + 1)) as string
          if (keys.has(key)) throw new NotStrict(`has the key '${key.slice(0, 50)}' twice in an object`)
          keys.add(key)
        }
        at = end
        break
      }
      case '{':
        open.push(new Set())
        break
      case '[':
        open.push(null)
        break
      case '}':
      case ']':
        open.pop()
    }
    if (open.length > DEPTH_MAX) throw new NotStrict(`is nested more than ${DEPTH_MAX} levels deep`)
  }
}

function isKey(text: string, from: number): boolean {
  let at = from
  while (/\s/.test(text[at] ?? '')) at++
  return text[at] === ':'
}

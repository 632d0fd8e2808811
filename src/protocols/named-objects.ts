import { GatewayError } from '../domain/errors.ts'
import { closingQuote } from '../lib/json-scan.ts'
import { isObject } from './loose-json.ts'
import type { JsonObject } from './neutral.ts'

/** Where a request names something that its vendor keeps, and what it names. */
export interface Named {
  field: string
  id: string
}

/** Fields that name something wherever they stand in a body, and the ids that a value of theirs names; `holder` is the object that has the field. */
export type NamingFields = Readonly<Record<string, (value: unknown, holder: JsonObject) => readonly string[]>>

/** A value that is an id. */
export function oneId(value: unknown): string[] {
  return typeof value === 'string' ? [value] : []
}

/** The same, but in objects of types that only tell where something came from. */
export function oneIdUnless(isReport: (type: string) => boolean): NamingFields[string] {
  return (value, { type }) => (typeof type === 'string' && isReport(type) ? [] : oneId(value))
}

/** A value that is a list of ids. */
export function manyIds(value: unknown): string[] {
  return Array.isArray(value) ? value.flatMap(oneId) : []
}

/**
 * Finds what a JSON body names by some fields. Most bodies name nothing, and are only searched for the fields' names (40 µs for 240 KB); others
 * are parsed. What one reader could take for another id than the next one is refused: a name that is written twice in
 * an object, or with escapes. The finder throws `invalid_request`.
 */
export function finderOf(fields: NamingFields): (body: Buffer) => Named[] {
  const names = Object.keys(fields)
  const quoted = `"(?:${names.join('|')})"`
  const hint = new RegExp(`${quoted}|${ESCAPED_LETTER.source}`)
  const occurrences = new RegExp(quoted, 'g')
  return (body) => {
    const text = body.toString('latin1')
    if (!hint.test(text)) return []
    requirePlainNames(text, names)
    const written = text.match(occurrences)?.length ?? 0
    if (written === 0) return []
    const found: Named[] = []
    if (collect(parsed(body), fields, found) < written) {
      throw new GatewayError('invalid_request', `the request body has one of ${names.join(', ')} twice in an object`)
    }
    return found
  }
}

/** No encoder of JSON has a reason to write letters so. */
const ESCAPED_LETTER = /\\u00[4-7]/

function requirePlainNames(text: string, names: readonly string[]): void {
  if (!ESCAPED_LETTER.test(text)) return
  for (let at = text.indexOf('"'); at >= 0; ) {
    const end = closingQuote(text, at + 1)
    if (end < 0) return
    const written = text.slice(at, end + 1)
    if (written.length < LONGEST_ESCAPED && written.includes('\\') && names.includes(String(unquoted(written)))) {
      throw new GatewayError('invalid_request', `the request body writes ${unquoted(written)} with escapes`)
    }
    at = text.indexOf('"', end + 1)
  }
}

/** No name is longer, be each of its letters written as `\u0066`. */
const LONGEST_ESCAPED = 200

function unquoted(written: string): unknown {
  try {
    return JSON.parse(written)
  } catch {
    return null
  }
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    throw new GatewayError('invalid_request', 'the request body is not valid JSON')
  }
}

/** Adds what is named to `found`. Returns how often the fields' names stand there, as keys or as texts. */
function collect(value: unknown, fields: NamingFields, found: Named[]): number {
  if (typeof value === 'string') return Object.hasOwn(fields, value) ? 1 : 0
  if (Array.isArray(value)) return value.reduce((sum, item) => sum + collect(item, fields, found), 0)
  if (!isObject(value)) return 0
  let written = 0
  for (const [field, inner] of Object.entries(value)) {
    const idsOf = Object.hasOwn(fields, field) ? fields[field] : undefined
    if (idsOf) {
      written++
      for (const id of idsOf(inner, value)) found.push({ field, id })
    }
    written += collect(inner, fields, found)
  }
  return written
}

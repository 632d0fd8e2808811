import { GatewayError } from '../domain/errors.ts'
import { NotStrict, parseStrictly } from '../lib/strict-json.ts'
import { isObject } from './loose-json.ts'
import type { ScannedForm } from './multipart.ts'
import type { JsonObject } from './neutral.ts'

/** Where a request names something that its vendor keeps, and what it names. */
export interface Named {
  field: string
  id: string
}

/** How a vendor's requests name what it keeps. */
export interface NamingRules {
  /** Stands in every body that names something by more than its top level. */
  hint: RegExp
  /** The ids that a field's value names; `holder` has the field, and is itself the value of `within` (empty at the top). */
  idsOf(field: string, value: unknown, holder: JsonObject, within: string): readonly string[]
  /** What stands in the field is a user's own, or tells where something came from: nothing is asked for by it. */
  isFree(field: string, holder: JsonObject, within: string): boolean
}

/** More things are not named by one request. */
const NAMED_MAX = 1000

/** Finds what requests name. All throw `invalid_request`, also for what two readers could take for two things. */
export interface Finder {
  /** Of a body whose top level is known. Most name nothing, and are only searched for the hint (30 µs for 240 KB); others are parsed. */
  nested(body: Buffer): Named[]
  /** Of a body of any kind. */
  all(body: Buffer): Named[]
  /** Of a file in which each line is a request. */
  lines(bytes: Buffer): Named[]
  /** Of a form: its fields may stand in brackets, as in `input_reference[file_id]`. */
  form(form: ScannedForm): Named[]
}

/** A value that is an id. */
export function oneId(value: unknown): string[] {
  return typeof value === 'string' ? [value] : []
}

/** A value that is an id, or an object that has it. */
export function idOrHolder(value: unknown): string[] {
  return oneId(isObject(value) ? value.id : value)
}

/** A value that is a list of ids. */
export function manyIds(value: unknown): string[] {
  return Array.isArray(value) ? value.flatMap(oneId) : []
}

export function finderOf(rules: NamingRules): Finder {
  // No encoder of JSON has a reason to write letters with escapes.
  const hint = new RegExp(`${rules.hint.source}|\\\\u00[4-7]`)
  const all = (body: Buffer, what = 'the request body') => {
    const found: Named[] = []
    collect(strictly(body, what), '', rules, found)
    return found
  }
  return {
    all,
    nested: (body) => (hint.test(body.toString('latin1')) ? all(body) : []),
    lines: (bytes) =>
      linesOf(bytes).flatMap((line, index) => (line.length === 0 ? [] : all(line, `line ${index + 1} of the file`))),
    form: (form) =>
      form.fields.flatMap(({ name, text }) => {
        const field = name.split(/[[\].]+/).findLast((part) => part !== '') ?? name
        return rules.idsOf(field, text, {}, '').map((id) => ({ field: name, id }))
      }),
  }
}

function strictly(body: Buffer, what: string): unknown {
  try {
    return parseStrictly(body)
  } catch (error) {
    if (error instanceof NotStrict) throw new GatewayError('invalid_request', `${what} ${error.message}`)
    throw error
  }
}

function* split(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at <= bytes.length; ) {
    const end = bytes.indexOf('\n', at)
    yield bytes.subarray(at, end < 0 ? bytes.length : end)
    if (end < 0) return
    at = end + 1
  }
}

function linesOf(bytes: Buffer): Buffer[] {
  return Array.from(split(bytes), (line) => (line.toString('latin1').trim() === '' ? line.subarray(0, 0) : line))
}

/** No deeper than what is parsed strictly. */
function collect(value: unknown, within: string, rules: NamingRules, found: Named[]): void {
  if (Array.isArray(value)) {
    for (const item of value) collect(item, within, rules, found)
    return
  }
  if (!isObject(value)) return
  for (const field in value) {
    for (const id of rules.idsOf(field, value[field], value, within)) {
      if (found.length === NAMED_MAX) {
        throw new GatewayError('invalid_request', `the request names more than ${NAMED_MAX} files or other things`)
      }
      found.push({ field, id })
    }
    if (!rules.isFree(field, value, within)) collect(value[field], field, rules, found)
  }
}

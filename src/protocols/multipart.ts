import { GatewayError } from '../domain/errors.ts'
import type { Place } from '../lib/json-scan.ts'

/** More than any vendor's form has. */
const PARTS_MAX = 256
/** What stands before the value of one part, in bytes. */
const PART_HEAD_BYTES_MAX = 8 * 1024
/** RFC 2046, 5.1.1. */
const BOUNDARY_CHARACTERS_MAX = 70

/** Where the wanted fields of a form have their values. */
export interface ScannedForm {
  /** Undefined if the form does not have it. */
  place(name: string): Place | undefined
  text(name: string): string | undefined
  /** All fields that are no files, in order. */
  fields: readonly { name: string; text: string }[]
  /** The contents of all files. */
  files: readonly Buffer[]
  /** Bytes of all values that are no files. */
  fieldBytes: number
}

/** True for a body in which files travel (RFC 7578). */
export function isForm(contentType: unknown): contentType is string {
  return typeof contentType === 'string' && /^\s*multipart\/form-data\s*(?:;|$)/i.test(contentType)
}

/**
 * Finds the values of some fields in a `multipart/form-data` body; all else is passed over by native search, and nothing is copied. What parsers
 * are known to read in different ways is refused, so that the upstream cannot see another value than was seen here: a preamble, line ends without CR, names
 * that are escaped or encoded, parameters given twice. Throws `invalid_request`, also for a wanted field that is there twice or is a file.
 */
export function scanForm(contentType: string, body: Buffer, wanted: ReadonlySet<string>): ScannedForm {
  const delimiter = Buffer.from(`\r\n--${boundaryOf(contentType)}`, 'latin1')
  const places = new Map<string, Place>()
  const parts: { name: string; isFile: boolean; place: Place }[] = []
  let at = delimiter.length - 2
  if (!body.subarray(0, at).equals(delimiter.subarray(2))) throw broken('it does not begin with its boundary')
  while (!saysAt(body, at, '--')) {
    if (parts.length === PARTS_MAX) throw broken(`it has more than ${PARTS_MAX} parts`)
    if (!saysAt(body, at, '\r\n')) throw broken('a boundary is followed by something else than the end of its line')
    const headLength = body.subarray(at, at + PART_HEAD_BYTES_MAX).indexOf('\r\n\r\n')
    if (headLength < 0) throw broken('a part has no blank line behind its headers, or too much before it')
    const { name, isFile } = readHead(body.toString('latin1', at + 2, at + headLength))
    const start = at + headLength + 4
    const end = body.indexOf(delimiter, start)
    if (end < 0) throw broken('its last boundary is missing')
    parts.push({ name, isFile, place: [start, end] })
    if (wanted.has(name)) {
      if (places.has(name)) throw new GatewayError('invalid_request', `the form has the field '${name}' twice`)
      if (isFile) throw new GatewayError('invalid_request', `${name}: must be a plain field of the form, not a file`)
      places.set(name, [start, end])
    }
    at = end + delimiter.length
  }
  if (/[^\s]/.test(body.toString('latin1', at + 2))) throw broken('something follows its last boundary')
  const plain = parts.filter(({ isFile }) => !isFile)
  return {
    place: (name) => places.get(name),
    text(name) {
      const place = places.get(name)
      return place && body.toString('utf8', ...place)
    },
    get fields() {
      return plain.map(({ name, place }) => ({ name, text: body.toString('utf8', ...place) }))
    },
    get files() {
      return parts.filter(({ isFile }) => isFile).map(({ place }) => body.subarray(...place))
    },
    fieldBytes: plain.reduce((sum, { place: [start, end] }) => sum + end - start, 0),
  }
}

/** A name, and its value in quotes or without. */
const PARAMETER = /\s*;\s*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/y
/** What may end a list of parameters. */
const NOTHING = /^\s*(?:;\s*)?$/

/** By lower-case name, as they are written. Null for what cannot be read in one way only. */
function parametersOf(text: string): Map<string, string> | null {
  const parameters = new Map<string, string>()
  let at = 0
  for (;;) {
    PARAMETER.lastIndex = at
    const [all = '', name = '', quoted, plain] = PARAMETER.exec(text) ?? []
    if (all === '') return NOTHING.test(text.slice(at)) ? parameters : null
    const key = name.toLowerCase()
    if (parameters.has(key)) return null
    parameters.set(key, quoted ?? plain ?? '')
    at += all.length
  }
}

function boundaryOf(contentType: string): string {
  const boundary = parametersOf(contentType.replace(/^[^;]*/, ''))?.get('boundary')
  if (boundary === undefined) throw new GatewayError('invalid_request', 'content-type: names no boundary')
  if (
    boundary.length > BOUNDARY_CHARACTERS_MAX ||
    !/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(boundary) ||
    boundary.includes('\\')
  ) {
    throw new GatewayError(
      'invalid_request',
      `content-type: its boundary must be 1 to ${BOUNDARY_CHARACTERS_MAX} plain characters`,
    )
  }
  return boundary
}

/** What a part's headers say of it. */
function readHead(head: string): { name: string; isFile: boolean } {
  const lines = head.split('\r\n')
  // A line that is folded, or hides another one behind half of a line end.
  if (lines.some((line) => /^[ \t]|[\r\n\0]/.test(line))) throw broken('the headers of a part are broken')
  const dispositions = lines.flatMap((line) => /^content-disposition[ \t]*:(.*)$/i.exec(line)?.[1] ?? [])
  const [, list] = /^\s*form-data(?=\s|;|$)(.*)$/i.exec(dispositions[0] ?? '') ?? []
  const parameters = list !== undefined && dispositions.length === 1 ? parametersOf(list) : null
  const name = parameters?.get('name')
  if (!parameters || name === undefined || name.includes('\\') || parameters.has('name*')) {
    throw broken('a part says its name in no way, or in more than one')
  }
  const isEncoded = lines.some((line) => /^content-transfer-encoding[ \t]*:(?!\s*(?:7bit|8bit|binary)\s*$)/i.test(line))
  if (isEncoded) throw broken('a part is encoded') // RFC 7578, 4.7: nobody should, and not everybody decodes it
  return { name, isFile: parameters.has('filename') || parameters.has('filename*') }
}

function saysAt(body: Buffer, at: number, text: string): boolean {
  return body.toString('latin1', at, at + text.length) === text
}

function broken(why: string): GatewayError {
  return new GatewayError('invalid_request', `the request body is no valid multipart/form-data: ${why}`)
}

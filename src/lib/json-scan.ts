/** Nesting that a JSON text may have; deeper is refused (a parser further on may recurse). */
const DEPTH_MAX = 512
/** A longer key is none that anybody looks for. */
const KEY_BYTES_MAX = 256
/**
 * Bytes of a string that are looked at one by one before the native search takes over, which costs 60 ns a call: few in
 * a string without escaped quotes, many where they are dense.
 */
const LOOK_SHORT = 48
const LOOK_LONG = 2048

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

type State =
  | 'start'
  | 'key or end'
  | 'key'
  | 'in key'
  | 'colon'
  | 'value'
  | 'in string'
  | 'nested'
  | 'scalar'
  | 'comma or end'
  | 'done'

/** Why a text is not a JSON object that we can read; the message is fit for whoever sent it. */
export class JsonScanError extends Error {}

/**
 * Finds the values of some keys in the top level of one JSON object, without parsing the rest: names are decoded
 * (`"mod\u0065l"` is `model`), everything else is skipped (3 to 30 µs per 100 KB, parsing takes 100 to 240 µs). The text may
 * come in any pieces. It checks structure, not grammar: what is inside a skipped value is its reader's business.
 */
export class TopLevelScanner {
  readonly #wanted: ReadonlySet<string>
  readonly #found = new Map<string, Buffer>()
  #state: State = 'start'
  #depth = 0
  #inNestedString = false
  #escaped = false
  #key: Buffer[] = []
  #keyBytes = 0
  #capturing: string | null = null
  #parts: Buffer[] = []

  constructor(wanted: ReadonlySet<string>) {
    this.#wanted = wanted
  }

  /** The raw JSON of each wanted value found so far. */
  get found(): ReadonlyMap<string, Buffer> {
    return this.#found
  }

  /** True once the object's closing brace was read. */
  get done(): boolean {
    return this.#state === 'done'
  }

  /** Reads on. Throws JsonScanError if this is not an object, nests too deep, or has a wanted key twice. */
  push(bytes: Buffer): void {
    const end = bytes.length
    let i = 0
    let from = 0 // where the value that is captured begins in these bytes
    while (i < end) {
      const byte = bytes[i] as number
      switch (this.#state) {
        case 'in key':
          i = this.#readKey(bytes, i)
          break
        case 'in string':
          i = this.#skipString(bytes, i)
          if (this.#stringEnded) this.#endValue(bytes, from, i)
          break
        case 'nested':
          i = this.#skipNested(bytes, i)
          if (this.#depth === 0) this.#endValue(bytes, from, i)
          break
        case 'scalar':
          if (byte === COMMA || byte === CLOSE_BRACE || isSpace(byte)) this.#endValue(bytes, from, i)
          else i++
          break
        default:
          if (!isSpace(byte)) {
            from = i
            this.#step(byte)
          }
          i++
      }
    }
    if (this.#capturing !== null && this.#inValue) this.#parts.push(bytes.subarray(from))
  }

  get #inValue(): boolean {
    return this.#state === 'in string' || this.#state === 'nested' || this.#state === 'scalar'
  }

  /** One byte of structure. */
  #step(byte: number): void {
    switch (this.#state) {
      case 'start':
        if (byte !== OPEN_BRACE) throw new JsonScanError('must be a JSON object')
        this.#state = 'key or end'
        return
      case 'key or end':
        if (byte === CLOSE_BRACE) this.#state = 'done'
        else this.#startKey(byte)
        return
      case 'key':
        this.#startKey(byte)
        return
      case 'colon':
        if (byte !== COLON) throw new JsonScanError('is not valid JSON: a key without a colon')
        this.#state = 'value'
        return
      case 'value':
        if (byte === QUOTE) {
          this.#stringEnded = false
          this.#state = 'in string'
        } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
          this.#depth = 1
          this.#state = 'nested'
        } else if (byte === COMMA || byte === COLON || byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
          throw new JsonScanError('is not valid JSON: a key without a value')
        } else this.#state = 'scalar'
        return
      case 'comma or end':
        if (byte === COMMA) this.#state = 'key'
        else if (byte === CLOSE_BRACE) this.#state = 'done'
        else throw new JsonScanError('is not valid JSON: a comma or a closing brace is missing')
        return
      default:
        throw new JsonScanError('is not valid JSON: something follows the object')
    }
  }

  #startKey(byte: number): void {
    if (byte !== QUOTE) throw new JsonScanError('is not valid JSON: a key must be a string')
    this.#key = []
    this.#keyBytes = 0
    this.#stringEnded = false
    this.#state = 'in key'
  }

  #readKey(bytes: Buffer, start: number): number {
    const end = this.#skipString(bytes, start)
    this.#keyBytes += end - start
    if (this.#keyBytes <= KEY_BYTES_MAX) this.#key.push(bytes.subarray(start, end))
    if (!this.#stringEnded) return end
    const name = this.#keyBytes <= KEY_BYTES_MAX ? decodeKey(this.#key) : null
    this.#capturing = null
    if (name !== null && this.#wanted.has(name)) {
      if (this.#found.has(name)) throw new JsonScanError(`has the key '${name}' twice`)
      this.#capturing = name
      this.#parts = []
    }
    this.#state = 'colon'
    return end
  }

  #stringEnded = false

  /** Skips to behind the closing quote, or to the end of these bytes. */
  #skipString(bytes: Buffer, start: number): number {
    const end = bytes.length
    let i = this.#escaped ? start + 1 : start
    this.#escaped = false
    let look = LOOK_SHORT
    while (i < end) {
      const stop = Math.min(i + look, end)
      while (i < stop) {
        const byte = bytes[i++] as number
        if (byte === QUOTE) {
          this.#stringEnded = true
          return i
        }
        if (byte === BACKSLASH) i++
      }
      if (i >= end) break
      const quote = bytes.indexOf(QUOTE, i)
      if (quote < 0) {
        this.#escaped = endsEscaped(bytes, i, end)
        return end
      }
      if (!endsEscaped(bytes, i, quote)) {
        this.#stringEnded = true
        return quote + 1
      }
      look = quote - i < 4 * LOOK_SHORT ? LOOK_LONG : LOOK_SHORT
      i = quote + 1
    }
    this.#escaped = i > end // the last byte was a backslash
    return end
  }

  /** Skips to behind the bracket that closes the value, or to the end of these bytes. */
  #skipNested(bytes: Buffer, start: number): number {
    const end = bytes.length
    let i = start
    let depth = this.#depth
    if (this.#inNestedString) {
      i = this.#skipString(bytes, i)
      if (!this.#stringEnded) return i
      this.#inNestedString = false
    }
    while (i < end) {
      const byte = bytes[i++] as number
      if (byte === QUOTE) {
        this.#stringEnded = false
        i = this.#skipString(bytes, i)
        if (!this.#stringEnded) {
          this.#inNestedString = true
          break
        }
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (++depth > DEPTH_MAX) throw new JsonScanError(`nests deeper than ${DEPTH_MAX} levels`)
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        if (--depth === 0) break
      }
    }
    this.#depth = depth
    return i
  }

  #endValue(bytes: Buffer, from: number, to: number): void {
    if (this.#capturing !== null) {
      const last = bytes.subarray(from, to)
      this.#found.set(this.#capturing, this.#parts.length === 0 ? last : Buffer.concat([...this.#parts, last]))
      this.#capturing = null
      this.#parts = []
    }
    this.#state = 'comma or end'
  }
}

/** The wanted values of a whole JSON object. Throws JsonScanError, also if the object does not end. */
export function scanTopLevel(body: Buffer, wanted: ReadonlySet<string>): ReadonlyMap<string, Buffer> {
  const scanner = new TopLevelScanner(wanted)
  scanner.push(body)
  if (!scanner.done) throw new JsonScanError('is not valid JSON: it ends too early')
  return scanner.found
}

/** True if an odd number of backslashes stands before `at` (and not before `from`). */
function endsEscaped(bytes: Buffer, from: number, at: number): boolean {
  let first = at
  while (first > from && bytes[first - 1] === BACKSLASH) first--
  return (at - first) % 2 === 1
}

function decodeKey(parts: Buffer[]): string | null {
  const raw = (parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)).toString('utf8').slice(0, -1)
  if (!raw.includes('\\')) return raw
  try {
    return JSON.parse(`"${raw}"`) as string
  } catch {
    return null
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

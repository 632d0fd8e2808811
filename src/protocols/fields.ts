import { GatewayError } from '../domain/errors.ts'
import type { JsonObject } from './neutral.ts'

/** `where: must be a text`, as `invalid_request`. */
export function badField(where: string, what: string): GatewayError {
  return new GatewayError('invalid_request', `${where}: ${what}`)
}

/**
 * An object of a request as it is read, field by field: it refuses what has the wrong type by the field's full name
 * (`messages.0.content.1.text`), and knows which fields nobody has asked for. A field that is null counts as absent.
 */
export class Fields {
  /** Its own name in the request; empty at the top. */
  readonly path: string
  readonly #object: JsonObject
  /** Names that were asked for; few, and so a list is the fastest. */
  readonly #asked: string[] = []

  /** Throws `invalid_request` if it is no object. */
  constructor(value: unknown, path: string) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      throw badField(path || 'the request body', 'must be an object')
    }
    this.path = path
    this.#object = value as JsonObject
  }

  /** The request's body. Throws `invalid_request` if it is no JSON object. */
  static ofBody(body: Buffer): Fields {
    let value: unknown
    try {
      value = JSON.parse(body.toString('utf8'))
    } catch {
      throw new GatewayError('invalid_request', 'the request body is not valid JSON')
    }
    return new Fields(value, '')
  }

  where(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`
  }

  has(name: string): boolean {
    return this.#object[name] !== undefined && this.#object[name] !== null
  }

  raw(name: string): unknown {
    this.#asked.push(name)
    return this.#object[name] ?? null
  }

  text(name: string): string | null {
    return this.#typed(name, 'string', 'a text')
  }

  number(name: string): number | null {
    return this.#typed(name, 'number', 'a number')
  }

  boolean(name: string): boolean | null {
    return this.#typed(name, 'boolean', 'true or false')
  }

  requiredText(name: string): string {
    const value = this.text(name)
    if (value === null) throw badField(this.where(name), 'must be given')
    return value
  }

  list(name: string): unknown[] | null {
    const value = this.raw(name)
    if (value === null || Array.isArray(value)) return value
    throw badField(this.where(name), 'must be a list')
  }

  /** The texts of a list; empty if it is absent. */
  texts(name: string): string[] {
    return (this.list(name) ?? []).map((item, index) => {
      if (typeof item !== 'string') throw badField(`${this.where(name)}.${index}`, 'must be a text')
      return item
    })
  }

  /** The objects of a list; empty if it is absent. */
  objects(name: string): Fields[] {
    return (this.list(name) ?? []).map((item, index) => new Fields(item, `${this.where(name)}.${index}`))
  }

  object(name: string): Fields | null {
    const value = this.raw(name)
    return value === null ? null : new Fields(value, this.where(name))
  }

  /** An object that is passed on as it is, such as a schema. */
  json(name: string): JsonObject | null {
    const value = this.raw(name)
    if (value === null) return null
    if (typeof value !== 'object' || Array.isArray(value)) throw badField(this.where(name), 'must be an object')
    return value as JsonObject
  }

  /** One of these words; null if it is absent. */
  oneOf<Word extends string>(name: string, words: readonly Word[]): Word | null {
    const value = this.text(name)
    if (value === null) return null
    const word = words.find((one) => one === value)
    if (!word) throw badField(this.where(name), `must be one of ${words.join(', ')}`)
    return word
  }

  /** Full names of the fields that nobody asked for. */
  left(): string[] {
    const isLeft = (name: string) => this.has(name) && !this.#asked.includes(name)
    return Object.keys(this.#object)
      .filter(isLeft)
      .map((name) => this.where(name))
  }

  /** As it came. */
  get value(): JsonObject {
    return this.#object
  }

  #typed<T>(name: string, type: 'string' | 'number' | 'boolean', what: string): T | null {
    const value = this.raw(name)
    if (value === null) return null
    if (typeof value !== type) throw badField(this.where(name), `must be ${what}`)
    return value as T
  }
}

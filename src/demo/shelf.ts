import type { IncomingHttpHeaders } from 'node:http'
import { formatOf, type JsonBody, parsed, saidBack } from './formats.ts'
import type { FakeMessage } from './messages.ts'
import { otherAnswer } from './other-answers.ts'

/** A call for an object, or one that may name some. */
export interface ObjectCall {
  method: string
  /** After the version: `/files/file-fake-1/content`. */
  path: string
  /** 'v1' where none stands. */
  version: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  bytes: Buffer
  /** The credential. */
  account: string
  /** Where the caller finds this server. */
  origin: string
}

export interface FakeAnswer {
  /** 200 if left out. */
  status?: number
  headers?: Record<string, string>
  body: string | Buffer
}

/** How a call on one path is answered; the path's group comes as the id. */
export type Route = [
  method: string,
  path: RegExp,
  take: (call: ObjectCall, id: string) => FakeAnswer | Promise<FakeAnswer>,
]

/** Objects of one kind that each account keeps; an object is known to nobody but the account that made it. */
export class Shelf<T extends { id: string }> {
  readonly #max: number
  readonly #things = new Map<string, { account: string; thing: T }>()

  /** The oldest goes when there are more than `max`. */
  constructor(max = 10_000) {
    this.#max = max
  }

  put(account: string, thing: T): T {
    this.#things.set(thing.id, { account, thing })
    const [oldest] = this.#things.keys()
    if (this.#things.size > this.#max && oldest !== undefined) this.#things.delete(oldest)
    return thing
  }

  get(account: string, id: string): T | undefined {
    const kept = this.#things.get(id)
    return kept?.account === account ? kept.thing : undefined
  }

  /** The account that has it. */
  ownerOf(id: string): string | undefined {
    return this.#things.get(id)?.account
  }

  /** Newest first. */
  list(account: string): T[] {
    return [...this.#things.values()]
      .filter((kept) => kept.account === account)
      .map(({ thing }) => thing)
      .reverse()
  }

  /** False if this account has none of that id. */
  delete(account: string, id: string): boolean {
    return this.get(account, id) !== undefined && this.#things.delete(id)
  }
}

/** Numbers for ids, no two alike over all kinds and accounts; they tell the time as well, as tests need none. */
export class Numbers {
  #last = 0

  next(): number {
    return ++this.#last
  }
}

/** When the object of a number was made, in seconds since 1970. */
export function secondsOf(number: number): number {
  return 1_795_000_000 + number
}

/** The same as vendors with ISO times say it. */
export function isoOf(number: number, laterSeconds = 0): string {
  return new Date((secondsOf(number) + laterSeconds) * 1000).toISOString()
}

export function json(value: unknown, status = 200): FakeAnswer {
  return { status, body: JSON.stringify(value) }
}

/** A file as it was sent. */
export interface SentFile {
  filename: string
  mimeType: string
  bytes: Buffer
}

/** Fields of a form; those of a JSON object are read as if they were one's. */
export async function fieldsOf(call: ObjectCall): Promise<Map<string, string | SentFile>> {
  const type = call.headers['content-type'] ?? ''
  if (!type.startsWith('multipart/form-data')) return new Map(Object.entries(parsed(call.bytes.toString())))
  const fields = new Map<string, string | SentFile>()
  for (const [name, value] of await formData(call.bytes, type)) {
    if (typeof value === 'string') fields.set(name, value)
    else {
      const bytes = Buffer.from(await value.arrayBuffer())
      fields.set(name, { filename: value.name, mimeType: value.type || 'application/octet-stream', bytes })
    }
  }
  return fields
}

/** Empty if it is none. */
async function formData(bytes: Buffer, type: string): Promise<FormData> {
  const form = new Response(new Uint8Array(bytes), { headers: { 'content-type': type } }).formData()
  return form.catch(() => new FormData())
}

export function fileIn(fields: Map<string, string | SentFile>, name: string): SentFile | undefined {
  const file = fields.get(name)
  return typeof file === 'object' && Buffer.isBuffer(file.bytes) ? file : undefined
}

/** Undefined for what is missing or no text. */
export function textIn(fields: Map<string, string | SentFile>, name: string): string | undefined {
  const text = fields.get(name)
  return typeof text === 'string' ? text : undefined
}

/** Objects in a body, at any depth. */
export function* objectsIn(body: JsonBody): Generator<JsonBody> {
  if (typeof body !== 'object' || body === null) return
  if (!Array.isArray(body)) yield body
  for (const value of Object.values(body)) yield* objectsIn(value)
}

/** Items after the one of that id, or from the first. Null if the id is none of them. */
export function itemsAfter<T extends { id: string }>(items: T[], id: string | null): T[] | null {
  if (!id) return items
  const index = items.findIndex((item) => item.id === id)
  return index === -1 ? null : items.slice(index + 1)
}

/** What a batch comes to for one of its requests, as the vendor answers on that path. */
export function batchAnswer(path: string, body: JsonBody, id: string): JsonBody {
  const size = JSON.stringify(body ?? null).length
  const format = formatOf('POST', path)
  if (!format) return otherAnswer(path, {}, size)
  const { model, said } = format.read(path, body)
  const text = saidBack(said)
  const message: FakeMessage = { model, text, usage: { input: Math.ceil(size / 4), output: text.length } }
  return JSON.parse(format.body(message, id, body))
}

/** The lines of a JSONL file, as far as they are JSON. */
export function linesOf(bytes: Buffer): JsonBody[] {
  return bytes
    .toString()
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map(parsed)
}

export function jsonLines(values: unknown[]): Buffer {
  return Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''))
}

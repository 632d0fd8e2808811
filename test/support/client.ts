import { type Agent, type ClientRequest, type IncomingHttpHeaders, request } from 'node:http'
import { connect, type Socket } from 'node:net'

/** The most that any single wait of a test may take; a machine under load is slow, a bug is slower. */
const PATIENCE_MS = 30_000

/** Looks again and again until `found` gives something. Throws, naming what was waited for, when patience is over. */
export async function until<T>(
  what: string,
  found: () => T | Promise<T>,
): Promise<Exclude<T, false | null | undefined>> {
  const giveUpAt = performance.now() + PATIENCE_MS
  for (;;) {
    const result = await found()
    if (result) return result as Exclude<T, false | null | undefined>
    if (performance.now() > giveUpAt) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export interface CallOptions {
  method?: string
  /** Default: /v1/messages. */
  path?: string
  key?: string
  headers?: Record<string, string | string[]>
  /** An object is sent as JSON; undefined = the test writes the body itself. */
  body?: object | Buffer | string
  agent?: Agent
}

/** An answer when it is over. */
export interface Answer {
  /** 0 = no head came. */
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  text: string
  /** cut: the connection broke before the answer said that it was whole. */
  ended: 'whole' | 'cut'
}

/** One request by plain node:http, held open so that a test can look at its answer on the way, stop reading, or leave. */
export class ClientCall {
  readonly request: ClientRequest
  /** Resolves when the answer is whole or the connection broke. */
  readonly over: Promise<Answer>
  status = 0
  headers: IncomingHttpHeaders = {}
  readonly #chunks: Buffer[] = []
  #bytes = 0
  #reading = true
  #answer: import('node:http').IncomingMessage | null = null

  constructor(url: string, options: CallOptions) {
    const { promise, resolve } = Promise.withResolvers<Answer>()
    this.over = promise
    const finish = (ended: Answer['ended']) => {
      const { status, headers, text } = this
      resolve({ status, headers, body: this.body, text, ended })
    }
    const json = typeof options.body === 'object' && !Buffer.isBuffer(options.body)
    const body = json ? JSON.stringify(options.body) : (options.body as Buffer | string | undefined)
    this.request = request(url, {
      path: options.path ?? '/v1/messages',
      method: options.method ?? 'POST',
      agent: options.agent ?? false,
      headers: {
        ...(options.key !== undefined && { 'x-api-key': options.key }),
        ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }),
        'content-type': 'application/json',
        'anthropic-version': '2023-06-01',
        ...options.headers,
      },
    })
    this.request.on('response', (answer) => {
      this.#answer = answer
      this.status = answer.statusCode ?? 0
      this.headers = answer.headers
      answer.on('data', (chunk: Buffer) => {
        this.#chunks.push(chunk)
        this.#bytes += chunk.length
      })
      answer.on('end', () => finish('whole'))
      answer.on('error', () => finish('cut'))
      answer.on('close', () => finish('cut'))
      if (!this.#reading) answer.pause()
    })
    this.request.on('error', () => finish('cut'))
    this.request.on('close', () => finish('cut'))
    if (options.method === 'GET' || options.method === 'HEAD' || body !== undefined) this.request.end(body)
  }

  /** What has come so far. */
  get body(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  get bytes(): number {
    return this.#bytes
  }

  get text(): string {
    return this.body.toString('utf8')
  }

  /** Resolves once the answer's head is there. */
  async head(): Promise<this> {
    await until('the head of an answer', () => this.status)
    return this
  }

  /** Resolves once the answer has this text in it. */
  async has(text: string): Promise<this> {
    await until(`${JSON.stringify(text)} in an answer`, () => this.text.includes(text))
    return this
  }

  /** Stops taking what comes; from the start if the head is not there yet. */
  stopReading(): void {
    this.#reading = false
    this.#answer?.pause()
  }

  readOn(): void {
    this.#reading = true
    this.#answer?.resume()
  }

  leave(): void {
    this.request.destroy()
  }
}

/** A connection on which the test says every byte itself. */
export class RawConnection {
  readonly socket: Socket
  #text = ''
  closed = false

  constructor(url: string) {
    const { hostname, port } = new URL(url)
    this.socket = connect(Number(port), hostname)
    this.socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
    })
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      this.closed = true
    })
  }

  /** All that has come. */
  get text(): string {
    return this.#text
  }

  send(text: string | Buffer): void {
    this.socket.write(text)
  }

  async has(text: string): Promise<void> {
    await until(`${JSON.stringify(text)} on a connection (it says ${JSON.stringify(this.#text)})`, () =>
      this.#text.includes(text),
    )
  }

  /** Resolves with all that came, once the other side has closed. */
  async untilClosed(): Promise<string> {
    await until('the end of a connection', () => this.closed)
    return this.#text
  }

  leave(): void {
    this.socket.destroy()
  }
}

/** A request for a message as clients send it. */
export function messageRequest(stream: boolean, more: object = {}): object {
  return {
    model: 'claude-sonnet-5-5',
    max_tokens: 1024,
    stream,
    messages: [{ role: 'user', content: 'say hi' }],
    ...more,
  }
}

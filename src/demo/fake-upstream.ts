import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { type Format, formatOf, parsed, saidBack } from './formats.ts'
import { completions, mediaAnswer } from './media.ts'
import type { FakeMessage, FakeUsage } from './messages.ts'
import { FakeObjects } from './objects.ts'
import { otherAnswer } from './other-answers.ts'

/** How one call is answered. What is left out is done as the real service would. */
export interface Script {
  /** Before the head, in ms; 'forever' = no head comes. */
  headDelayMs?: number | 'forever'
  status?: number
  headers?: Record<string, string>
  /** Sent as it is, instead of a message. */
  body?: string
  /** The model that the answer names; that of the request if left out. */
  model?: string
  /** What the answer says; one delta each. */
  text?: string[]
  toolUse?: FakeMessage['toolUse']
  usage?: FakeUsage
  stopReason?: string
  /** Before each event, between pieces, and before an answer breaks, in ms. */
  eventDelayMs?: number
  /** What happens instead of the rest: after so many events, or bytes of a body. */
  breaks?: { after: number; how: 'reset' | 'clean_end' | 'silence' | 'mid_event' | 'error_event' }
  /** What an error event says. */
  error?: { type: string; message: string }
  /**
   * The connection is closed without a word as soon as the request is there. On one that has answered before it looks
   * just as if it had been closed for being idle at the moment of the request.
   */
  resetBeforeHead?: true
  /** Sends the bytes in pieces that end at these offsets. */
  cuts?: number[]
  /** Compresses although it was not asked to. */
  gzip?: true
}

/** A request as it arrived. */
export interface SeenCall {
  method: string
  path: string
  headers: IncomingMessage['headers']
  /** Of a form, one character for each byte. */
  body: string
  /** Bytes of the answer that were written, in whole events or pieces. */
  bytesSent: number
  /** Set when the answer was sent whole, or the connection closed. */
  over: 'finished' | 'cancelled' | null
}

/** Requests remembered; the oldest go. */
const SEEN_MAX = 10_000

/**
 * A stand-in for the vendors on a loopback port: a real server that speaks their formats and is told, call by call, what
 * to do wrong. For `subgate demo`, tests and benchmarks.
 */
export class FakeUpstream implements AsyncDisposable {
  readonly #server: Server
  readonly #scripts: Script[] = []
  #default: (call: SeenCall) => Script = () => ({})
  #elsewhere: (call: SeenCall) => Script = () => ({})
  #count = 0
  readonly #objects = new FakeObjects()
  readonly seen: SeenCall[] = []
  /** Calls for a message that are neither finished nor cancelled: now, and the most there ever were. */
  running = 0
  mostRunning = 0

  private constructor() {
    this.#server = createServer({ keepAliveTimeout: 60_000, noDelay: true }, (req, res) => void this.#take(req, res))
  }

  static async start(): Promise<FakeUpstream> {
    const upstream = new FakeUpstream()
    upstream.#server.listen(0, '127.0.0.1')
    await once(upstream.#server, 'listening')
    return upstream
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The next calls for a message are answered so, in this order. */
  next(...scripts: Script[]): void {
    this.#scripts.push(...scripts)
  }

  /** All other calls for a message are answered so. */
  always(script: Script | ((call: SeenCall) => Script)): void {
    this.#default = typeof script === 'function' ? script : () => script
  }

  /** What is no call for a message (token counts, model lists) is answered so. */
  elsewhere(script: Script | ((call: SeenCall) => Script)): void {
    this.#elsewhere = typeof script === 'function' ? script : () => script
  }

  async #take(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const call: SeenCall = {
      method: req.method ?? '',
      path: req.url ?? '',
      headers: req.headers,
      body: '',
      bytesSent: 0,
      over: null,
    }
    this.seen.push(call)
    if (this.seen.length > SEEN_MAX) this.seen.shift()
    const format = formatOf(call.method, call.path)
    if (format) this.mostRunning = Math.max(this.mostRunning, ++this.running)
    res.on('close', () => {
      call.over = res.writableFinished ? 'finished' : 'cancelled'
      if (format) this.running--
    })
    const chunks: Buffer[] = []
    try {
      for await (const chunk of req) chunks.push(chunk as Buffer)
    } catch {
      return // the client went away while it was still asking
    }
    const bytes = Buffer.concat(chunks)
    const isForm = /^multipart\//.test(req.headers['content-type'] ?? '')
    call.body = bytes.toString(isForm ? 'latin1' : 'utf8')
    const script = format ? (this.#scripts.shift() ?? this.#default(call)) : this.#elsewhere(call)
    if (script.resetBeforeHead) {
      res.socket?.resetAndDestroy()
      return
    }
    if (script.headDelayMs) await pause(res, script.headDelayMs)
    if (!res.destroyed) await this.#answer(call, bytes, script, res, format)
  }

  async #answer(
    call: SeenCall,
    bytes: Buffer,
    script: Script,
    res: ServerResponse,
    format: Format | null,
  ): Promise<void> {
    const number = ++this.#count
    const headers = { 'content-type': 'application/json', 'request-id': `req_fake_${number}`, ...script.headers }
    const whole = (body: string | Buffer, status = 200, more?: Record<string, string>) =>
      sendBody(call, res, script, {
        status,
        headers: { ...headers, ...more, ...script.headers },
        body: Buffer.from(body),
      })
    if (script.body !== undefined || script.status !== undefined) {
      const { status = 200 } = script
      const error = () => (format ?? formatOf('POST', '/v1/messages'))?.error(status, `scripted ${status}`) ?? ''
      return whole(script.body ?? error(), status)
    }
    const object = await this.#objects.answer(call, bytes)
    if (object) return whole(object.body, object.status, object.headers)
    const media = format ? null : mediaAnswer(call.path, call.body)
    if (media && 'events' in media) {
      const streamed = { ...headers, ...STREAM_HEADERS, ...script.headers }
      return sendEvents(call, res, script, { headers: streamed, events: media.events, format: completions })
    }
    if (media)
      return sendBody(call, res, script, {
        status: 200,
        headers: { ...headers, 'content-type': media.type },
        body: media.body,
      })
    if (!format) return whole(JSON.stringify(otherAnswer(call.path, call.headers, call.body.length)))
    const body = parsed(call.body)
    const { model, stream, said } = format.read(call.path, body)
    const text = script.text ?? saidBack(said)
    const message: FakeMessage = {
      model: script.model ?? model,
      text,
      toolUse: script.toolUse,
      usage: script.usage ?? { input: Math.ceil(call.body.length / 4), output: text.length },
      stopReason: script.stopReason,
    }
    const id = `msg_fake_${number}`
    this.#objects.keep(call, body, message, id)
    if (!stream) return whole(format.body(message, id, body))
    const streamHeaders = format.isSse(call.path) ? STREAM_HEADERS : {}
    const events = format.events(message, id, call.path, body)
    await sendEvents(call, res, script, {
      headers: { ...headers, ...streamHeaders, ...script.headers },
      events,
      format,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }
}

const STREAM_HEADERS = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }

async function sendEvents(
  call: SeenCall,
  res: ServerResponse,
  script: Script,
  { headers, events, format }: { headers: Record<string, string>; events: string[]; format: Format },
): Promise<void> {
  const { breaks } = script
  if (script.gzip) {
    res.writeHead(200, { ...headers, 'content-encoding': 'gzip' }).end(gzipSync(events.join('')))
    return
  }
  res.writeHead(200, headers)
  res.flushHeaders()
  if (script.cuts) return sendInPieces(call, res, Buffer.from(events.join('')), script)
  for (const text of events.slice(0, breaks?.after)) {
    if (script.eventDelayMs) await pause(res, script.eventDelayMs)
    if (res.destroyed) return
    await write(call, res, text)
  }
  if (!breaks) {
    res.end()
    return
  }
  if (script.eventDelayMs) await pause(res, script.eventDelayMs)
  if (!res.destroyed) breakStream(res, events[breaks.after] ?? '', script, format)
}

function breakStream(res: ServerResponse, nextEvent: string, { breaks, error }: Script, format: Format): void {
  switch (breaks?.how) {
    case 'reset':
      res.socket?.resetAndDestroy()
      return
    case 'clean_end':
      res.end()
      return
    case 'mid_event':
      res.write(nextEvent.slice(0, Math.ceil(nextEvent.length / 2)), () => res.socket?.destroySoon())
      return
    case 'error_event':
      res.end(format.errorEvent(error ?? { type: 'overloaded_error', message: 'Overloaded' }))
      return
    case 'silence': // nothing more, and no end
  }
}

async function sendBody(
  call: SeenCall,
  res: ServerResponse,
  script: Script,
  { status, headers, body }: { status: number; headers: Record<string, string>; body: Buffer },
): Promise<void> {
  const { gzip, cuts, breaks, eventDelayMs = 0 } = script
  if (gzip) {
    res.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(gzipSync(body))
    return
  }
  if (cuts) {
    res.writeHead(status, headers)
    return sendInPieces(call, res, body, script)
  }
  res.writeHead(status, { 'content-length': String(body.length), ...headers })
  if (!breaks) {
    call.bytesSent += body.length
    res.end(body)
    return
  }
  await write(call, res, body.subarray(0, breaks.after))
  await pause(res, eventDelayMs)
  if (breaks.how !== 'silence') res.socket?.resetAndDestroy()
}

/** Each piece in a packet of its own, as far as one machine allows. */
async function sendInPieces(
  call: SeenCall,
  res: ServerResponse,
  bytes: Buffer,
  { cuts = [], eventDelayMs = 1 }: Script,
): Promise<void> {
  let from = 0
  for (const to of [...cuts, bytes.length]) {
    if (to > from) await write(call, res, bytes.subarray(from, to))
    from = Math.max(from, to)
    await pause(res, eventDelayMs)
  }
  res.end()
}

/** Resolves once the next bytes may follow: at once, or when the reader has taken what there is. */
async function write(call: SeenCall, res: ServerResponse, bytes: string | Buffer): Promise<void> {
  call.bytesSent += Buffer.byteLength(bytes)
  if (res.write(bytes) || res.destroyed) return
  const over = new AbortController()
  await Promise.race([once(res, 'drain', over), once(res, 'close', over)]).finally(() => over.abort())
}

/** Ends early when the other side goes away, and at once if it has. */
function pause(res: ServerResponse, ms: number | 'forever'): Promise<void> {
  if (res.closed) return Promise.resolve()
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = ms === 'forever' ? undefined : setTimeout(resolve, ms)
  res.once('close', resolve)
  return promise.finally(() => {
    clearTimeout(timer)
    res.off('close', resolve)
  })
}

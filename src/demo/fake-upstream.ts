import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { errorBody, event, type FakeMessage, type FakeUsage, messageBody, messageEvents } from './messages.ts'

/** How one call is answered. What is left out is done as the real service would. */
export interface Script {
  /** Before the head, in ms. */
  headDelayMs?: number
  status?: number
  headers?: Record<string, string>
  /** Sent as it is, instead of a message. */
  body?: string
  /** What the answer says; one delta each. */
  text?: string[]
  toolUse?: FakeMessage['toolUse']
  usage?: FakeUsage
  stopReason?: string
  /** Between events, in ms. */
  eventDelayMs?: number
  /** What happens instead of the rest: after so many events, or bytes of a body. */
  breaks?: { after: number; how: 'reset' | 'clean_end' | 'silence' | 'mid_event' | 'error_event' }
  /** The connection is closed without a word as soon as the request is there. */
  resetBeforeHead?: true
  /** The connection is closed behind the answer's back once it is idle, as a load balancer does. */
  closeWhenIdle?: true
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
  body: string
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
  #count = 0
  readonly seen: SeenCall[] = []
  /** Calls that are neither finished nor cancelled: now, and the most there ever were. */
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

  /** All calls without a script of their own are answered so. */
  always(script: Script | ((call: SeenCall) => Script)): void {
    this.#default = typeof script === 'function' ? script : () => script
  }

  async #take(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const call: SeenCall = { method: req.method ?? '', path: req.url ?? '', headers: req.headers, body: '', over: null }
    this.seen.push(call)
    if (this.seen.length > SEEN_MAX) this.seen.shift()
    const isMessage = call.method === 'POST' && /\/v1\/messages(\?|$)/.test(call.path)
    if (isMessage) this.mostRunning = Math.max(this.mostRunning, ++this.running)
    res.on('close', () => {
      call.over = res.writableFinished ? 'finished' : 'cancelled'
      if (isMessage) this.running--
    })
    try {
      const chunks: Buffer[] = []
      for await (const chunk of req) chunks.push(chunk as Buffer)
      call.body = Buffer.concat(chunks).toString('utf8')
    } catch {
      return // the client went away while it was still asking
    }
    const script = isMessage ? (this.#scripts.shift() ?? this.#default(call)) : {}
    await this.#answer(call, script, res, isMessage)
  }

  async #answer(call: SeenCall, script: Script, res: ServerResponse, isMessage: boolean): Promise<void> {
    if (script.resetBeforeHead) {
      res.socket?.resetAndDestroy()
      return
    }
    if (script.headDelayMs) await sleep(script.headDelayMs)
    if (script.closeWhenIdle) res.on('finish', () => res.socket?.destroySoon())
    if (!isMessage) return sendJson(res, 200, otherAnswer(call))
    const asked = parsed(call.body)
    const message: FakeMessage = {
      model: typeof asked.model === 'string' ? asked.model : 'claude-fake',
      text: script.text ?? echo(asked),
      toolUse: script.toolUse,
      usage: script.usage ?? { input: Math.ceil(call.body.length / 4), output: (script.text ?? echo(asked)).length },
      stopReason: script.stopReason,
    }
    const id = `msg_fake_${++this.#count}`
    const headers = { 'request-id': `req_fake_${this.#count}`, ...script.headers }
    if (script.body !== undefined || script.status !== undefined) {
      const body =
        script.body ?? errorBody(ERROR_TYPES[script.status ?? 500] ?? 'api_error', `scripted ${script.status}`)
      return sendBody(
        res,
        script.status ?? 200,
        { 'content-type': 'application/json', ...headers },
        Buffer.from(body),
        script,
      )
    }
    if (asked.stream !== true) {
      const body = Buffer.from(messageBody(message, id))
      return sendBody(res, 200, { 'content-type': 'application/json', ...headers }, body, script)
    }
    await sendEvents(res, messageEvents(message, id), headers, script)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }
}

const ERROR_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  500: 'api_error',
  529: 'overloaded_error',
}

const STREAM_HEADERS = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }

async function sendEvents(
  res: ServerResponse,
  events: string[],
  headers: Record<string, string>,
  script: Script,
): Promise<void> {
  if (script.gzip) {
    res.writeHead(200, { ...STREAM_HEADERS, ...headers, 'content-encoding': 'gzip' }).end(gzipSync(events.join('')))
    return
  }
  res.writeHead(200, { ...STREAM_HEADERS, ...headers })
  res.flushHeaders()
  if (script.cuts) return sendInPieces(res, Buffer.from(events.join('')), script.cuts)
  for (const [index, text] of events.entries()) {
    if (script.breaks && index >= script.breaks.after) return breakStream(res, text, script.breaks.how)
    if (script.eventDelayMs) await sleep(script.eventDelayMs)
    if (res.destroyed) return
    if (!res.write(text)) await Promise.race([once(res, 'drain'), once(res, 'close')])
  }
  if (script.breaks) return breakStream(res, '', script.breaks.how)
  res.end()
}

function breakStream(res: ServerResponse, nextEvent: string, how: NonNullable<Script['breaks']>['how']): void {
  switch (how) {
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
      res.end(event('error', { error: { type: 'overloaded_error', message: 'Overloaded' } }))
      return
    case 'silence': // nothing more, and no end
  }
}

async function sendBody(
  res: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: Buffer,
  script: Script,
): Promise<void> {
  if (script.gzip) {
    res.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(gzipSync(body))
    return
  }
  res.writeHead(status, { 'content-length': String(body.length), ...headers })
  if (script.cuts) return sendInPieces(res, body, script.cuts)
  if (!script.breaks) {
    res.end(body)
    return
  }
  res.write(body.subarray(0, script.breaks.after), () => {
    if (script.breaks?.how !== 'silence') res.socket?.resetAndDestroy()
  })
}

/** Each piece in a packet of its own, as far as one machine allows. */
async function sendInPieces(res: ServerResponse, bytes: Buffer, cuts: number[]): Promise<void> {
  let from = 0
  for (const to of [...cuts, bytes.length]) {
    if (to > from) res.write(bytes.subarray(from, to))
    from = Math.max(from, to)
    await sleep(1)
  }
  res.end()
}

function sendJson(res: ServerResponse, status: number, value: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json', 'request-id': 'req_fake' }).end(JSON.stringify(value))
}

function otherAnswer(call: SeenCall): unknown {
  if (call.path.includes('/count_tokens')) return { input_tokens: Math.ceil(call.body.length / 4) }
  const models = ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5']
  return {
    data: models.map((id) => ({ type: 'model', id, display_name: id, created_at: '2026-10-07T00:00:00Z' })),
    has_more: false,
  }
}

function parsed(body: string): { model?: unknown; stream?: unknown; messages?: unknown } {
  try {
    return JSON.parse(body) as object
  } catch {
    return {}
  }
}

/** `You said: …` in words, from the last text of the request. */
function echo(asked: { messages?: unknown }): string[] {
  const messages = Array.isArray(asked.messages) ? asked.messages : []
  const last = messages.findLast((message) => message?.role === 'user')?.content
  const text =
    typeof last === 'string'
      ? last
      : Array.isArray(last)
        ? (last.findLast((block) => block?.type === 'text')?.text ?? '')
        : ''
  return `You said: ${String(text).slice(0, 2000)}`.split(/(?<= )/)
}

import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib'
import { GatewayError } from '../domain/errors.ts'
import { formatSize } from '../lib/size.ts'
import type { Protocol } from '../protocols/protocol.ts'
import type { Call } from './call.ts'
import { shuttingDown } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { identify } from './identify.ts'
import type { RunningCalls } from './running-calls.ts'

/** Who calls is found out first, so that a stranger's body is never held. Throws the refusal of any of these steps. */
export async function readCall(
  gateway: Gateway,
  protocol: Protocol,
  req: IncomingMessage,
  { callId, arrivedMs }: { callId: string; arrivedMs: number },
): Promise<Call> {
  const timing = req.headers['x-subgate-timing'] === '1' ? { startedAt: performance.now(), elsewhereMs: 0 } : null
  const { caller, clientIp } = await identify(gateway, req)
  const identifiedAt = timing ? performance.now() : 0
  const body = await readBody(req, gateway.running, {
    maxBodyBytes: gateway.config.server.maxBodyBytes,
    bufferedBytesMax: gateway.config.gateway.bufferedBytesMax,
  })
  if (timing) timing.elsewhereMs += performance.now() - identifiedAt // the client's time to send it
  const url = req.url ?? '/'
  const queryAt = url.indexOf('?')
  try {
    const releaseBody = () => {
      call.body = null
      body.release()
    }
    const call: Call = {
      id: callId,
      arrivedMs,
      protocol,
      facts: protocol.parse(req.headers, body.bytes),
      caller,
      body: body.bytes,
      releaseBody,
      [Symbol.dispose]: releaseBody,
      headers: req.headers,
      query: queryAt < 0 ? '' : url.slice(queryAt),
      clientIp,
      userAgent: req.headers['user-agent']?.slice(0, USER_AGENT_CHARACTERS_MAX) ?? null,
      whenClientLeaves: caller.group.whenClientLeaves ?? (gateway.config.runMode === 'saas' ? 'read_on' : 'abort'),
      timing,
    }
    return call
  } catch (error) {
    body.release()
    throw error
  }
}

/** Of what is kept with the usage row. */
const USER_AGENT_CHARACTERS_MAX = 256

const DECODERS: Record<string, (body: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>> = {
  gzip: promisify(gunzip) as never,
  deflate: promisify(inflate) as never,
  br: promisify(brotliDecompress) as never,
  zstd: promisify(zstdDecompress) as never,
}

export interface ReadLimits {
  /** Of one body, also after decoding. */
  maxBodyBytes: number
  /** Of all bodies that are held at a time. */
  bufferedBytesMax: number
}

/** A request body in memory, counted until it is released. */
export interface HeldBody {
  bytes: Buffer
  release(): void
}

/** Reads the whole body. Throws `too_large`, `unavailable` while too much is held already, `invalid_request` for a broken one. */
export async function readBody(req: IncomingMessage, running: RunningCalls, limits: ReadLimits): Promise<HeldBody> {
  const held = new Holding(running, limits.bufferedBytesMax)
  try {
    const announced = Number(req.headers['content-length'] ?? 0)
    if (announced > limits.maxBodyBytes) throw tooLarge(limits.maxBodyBytes)
    held.grow(announced)
    const raw = await receive(req, running, held, limits.maxBodyBytes)
    const bytes = await decoded(raw, req.headers['content-encoding'], limits.maxBodyBytes)
    held.grow(bytes.length)
    return { bytes, release: () => held.release() }
  } catch (error) {
    held.release()
    throw error
  }
}

/** What one request adds to the bytes that are held for all. */
class Holding {
  readonly #running: RunningCalls
  readonly #max: number
  #bytes = 0

  constructor(running: RunningCalls, max: number) {
    this.#running = running
    this.#max = max
  }

  grow(bytes: number): void {
    if (bytes <= this.#bytes) return
    if (this.#running.bufferedBytes + bytes - this.#bytes > this.#max) {
      throw new GatewayError('unavailable', 'the gateway holds as many request bodies as it may; try again shortly', {
        retryAfterMs: 2000,
      })
    }
    this.#running.bufferedBytes += bytes - this.#bytes
    this.#bytes = bytes
  }

  release(): void {
    this.#running.bufferedBytes -= this.#bytes
    this.#bytes = 0
  }
}

function receive(req: IncomingMessage, running: RunningCalls, held: Holding, maxBytes: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let bytes = 0
  const waiting = { stop: () => refuse(shuttingDown()) }
  const fail = (error: unknown) => {
    running.deleteWaiting(waiting)
    reject(error)
  }
  const refuse = (error: unknown) => {
    req.removeAllListeners('data')
    req.resume() // the rest is thrown away, so that the refusal can be read
    fail(error)
  }
  req.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    try {
      if (bytes > maxBytes) throw tooLarge(maxBytes)
      held.grow(bytes)
    } catch (error) {
      refuse(error)
    }
  })
  req.on('end', () => {
    running.deleteWaiting(waiting)
    resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes))
  })
  const cutOff = () => {
    if (!req.readableEnded) fail(new GatewayError('invalid_request', 'the request body was cut off'))
  }
  req.on('error', cutOff)
  req.on('close', cutOff)
  running.addWaiting(waiting)
  if (req.destroyed) cutOff()
  return promise
}

async function decoded(body: Buffer, encoding: string | undefined, maxOutputLength: number): Promise<Buffer> {
  const name = encoding?.trim().toLowerCase()
  if (!name || name === 'identity') return body
  const decode = DECODERS[name]
  if (!decode) {
    throw new GatewayError(
      'invalid_request',
      `content-encoding: '${name}' is not supported; use gzip, deflate, br or zstd, or none`,
    )
  }
  try {
    return await decode(body, { maxOutputLength })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(maxOutputLength)
    throw new GatewayError('invalid_request', `the request body is not valid ${name}`)
  }
}

function tooLarge(maxBytes: number): GatewayError {
  return new GatewayError(
    'too_large',
    `the request body is larger than ${formatSize(maxBytes)}, the most that this gateway takes`,
    {
      shouldRetry: false,
    },
  )
}

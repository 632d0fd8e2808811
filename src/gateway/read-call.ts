import type { IncomingMessage } from 'node:http'
import type { Transform } from 'node:stream'
import { constants, createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import { formatSize } from '../lib/size.ts'
import type { Protocol } from '../protocols/protocol.ts'
import type { Call } from './call.ts'
import { shuttingDown } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { Holding } from './held-bodies.ts'
import { identify } from './identify.ts'
import type { RunningCalls } from './running-calls.ts'

/** What a client wants by the path that it takes. */
export type Wanted = Pick<Call, 'operation' | 'onlyProvider'>

/** Who calls is found out first, so that a stranger's body is never held. Throws the refusal of any of these steps. */
export async function readCall(
  gateway: Gateway,
  protocol: Protocol,
  req: IncomingMessage,
  { callId, arrivedMs, wanted }: { callId: string; arrivedMs: number; wanted: Wanted },
): Promise<Call> {
  const timing = req.headers['x-subgate-timing'] === '1' ? { startedAt: performance.now(), elsewhereMs: 0 } : null
  let body: HeldBody | null = null
  try {
    const { caller, clientIp } = await identify(gateway, req)
    const identifiedAt = timing ? performance.now() : 0
    const held = await readBody(req, gateway.running, {
      userId: caller.user.id,
      maxBodyBytes: gateway.config.server.maxBodyBytes,
      bufferedBytesMax: gateway.config.gateway.bufferedBytesMax,
    })
    body = held
    if (timing) timing.elsewhereMs += performance.now() - identifiedAt // the client's time to send it
    const url = req.url ?? '/'
    const queryAt = url.indexOf('?')
    const facts = protocol.parse(req.headers, held.bytes, url)
    let copy: { way: string; made: unknown } | null = null
    const copyFor = <T>(way: string, make: () => T): T => {
      if (copy === null) held.add(held.bytes.length) // it is about as long, and only the last one is kept
      if (copy?.way !== way) copy = { way, made: make() }
      return copy.made as T
    }
    const releaseBody = () => {
      call.body = null
      copy = null
      call.facts.conversation = nobodyAsks // it would hold the body for as long as the call lasts
      held.release()
    }
    const call: Call = {
      id: callId,
      arrivedMs,
      protocol,
      facts,
      caller,
      body: held.bytes,
      copyFor,
      leftOut: [],
      leaveOut(name, without) {
        call.facts = protocol.parse(req.headers, without, url)
        call.body = without
        call.leftOut = [...call.leftOut, name]
        copy = null
      },
      releaseBody,
      [Symbol.dispose]: releaseBody,
      headers: req.headers,
      query: queryAt < 0 ? '' : url.slice(queryAt),
      method: req.method ?? 'POST',
      path: url,
      ...wanted,
      heldAt: null,
      unfit: null,
      clientIp,
      userAgent: req.headers['user-agent']?.slice(0, USER_AGENT_CHARACTERS_MAX) ?? null,
      whenClientLeaves: caller.group.whenClientLeaves ?? (gateway.config.runMode === 'saas' ? 'read_on' : 'abort'),
      limitHeaders: [],
      timing,
    }
    return call
  } catch (error) {
    body?.release()
    hangUpSoon(req)
    throw error
  }
}

/** A conversation is asked for before anybody is asked for an answer. */
const nobodyAsks = () => null

/** How long the rest of a refused body is read and thrown away, in ms: clients that first send it all shall see the answer. */
const LINGER_MS = 2000

/** Closes the connection of a request that is refused while its body still comes, if that does not end in a moment. */
function hangUpSoon(req: IncomingMessage): void {
  if (req.complete) return
  req.resume()
  const timer = setTimeout(() => req.socket.destroy(), LINGER_MS).unref()
  req.once('close', () => clearTimeout(timer))
}

/** Of what is kept with the usage row. */
const USER_AGENT_CHARACTERS_MAX = 256

export interface ReadLimits {
  /** Whose body it is. */
  userId: string
  /** Of one body, also after decoding. */
  maxBodyBytes: number
  /** Of all bodies that are held at a time. One user's may be half of it, and always one body. */
  bufferedBytesMax: number
}

const NOTHING = Buffer.alloc(0)

/** A request body in memory, counted until it is released. */
export interface HeldBody {
  /** Empty once it is released. */
  bytes: Buffer
  /** Counts so many bytes more with it. Throws as `readBody` does where too much is held. */
  add(bytes: number): void
  release(): void
}

/** Reads the whole body. Throws `too_large`, `limited` and `unavailable` while too much is held already, `invalid_request` for a broken one. */
export async function readBody(req: IncomingMessage, running: RunningCalls, limits: ReadLimits): Promise<HeldBody> {
  const { userId, maxBodyBytes, bufferedBytesMax } = limits
  const maxOfUser = Math.max(bufferedBytesMax / 2, 2 * maxBodyBytes) // packed and unpacked
  const held = new Holding(running.bodies, userId, { max: bufferedBytesMax, maxOfUser })
  try {
    const announced = Number(req.headers['content-length'] ?? 0)
    if (announced > maxBodyBytes) throw tooLarge(maxBodyBytes)
    held.requireRoom(announced)
    const sent = await receive(req, running, held, maxBodyBytes)
    const bytes = await decoded(sent, req.headers['content-encoding'], held, maxBodyBytes)
    if (bytes !== sent) held.drop(sent.length)
    const body: HeldBody = {
      bytes,
      add: (more) => held.add(more),
      release() {
        body.bytes = NOTHING
        held.release()
      },
    }
    return body
  } catch (error) {
    held.release()
    throw error
  }
}

/** What a piece of a body takes beside its bytes: a client may send each byte as a piece of its own. */
const PIECE_BYTES = 128

function receive(req: IncomingMessage, running: RunningCalls, held: Holding, maxBytes: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const pieces: Buffer[] = []
  let bytes = 0
  const take = (piece: Buffer) => {
    bytes += piece.length
    try {
      if (bytes > maxBytes) throw tooLarge(maxBytes)
      held.add(piece.length + PIECE_BYTES)
      pieces.push(piece)
    } catch (error) {
      fail(error)
    }
  }
  const stopTaking = () => {
    req.off('data', take)
    pieces.length = 0 // these listeners live as long as the request does
    running.deleteWaiting(waiting)
  }
  const fail = (error: unknown) => {
    stopTaking()
    reject(error)
  }
  const waiting = { stop: () => fail(shuttingDown()) }
  req.on('data', take)
  req.on('end', () => {
    held.drop(pieces.length * PIECE_BYTES)
    resolve(pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces))
    stopTaking()
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

/** The largest window that a decoder of `zstd` must have: 8 MiB (RFC 9659). More is memory that nobody counts. */
const ZSTD_WINDOW_LOG_MAX = 23
/** Of decoded bytes, each a trip to another thread. */
const DECODED_PIECE_BYTES = 64 * 1024

const DECODERS: Record<string, () => Transform> = {
  gzip: () => createGunzip({ chunkSize: DECODED_PIECE_BYTES }),
  deflate: () => createInflate({ chunkSize: DECODED_PIECE_BYTES }),
  br: () => createBrotliDecompress({ chunkSize: DECODED_PIECE_BYTES }),
  zstd: () =>
    createZstdDecompress({
      chunkSize: DECODED_PIECE_BYTES,
      params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
    }),
}

/** Counts what comes out as it comes: a few bytes can become many. */
async function decoded(sent: Buffer, encoding: string | undefined, held: Holding, maxBytes: number): Promise<Buffer> {
  const name = encoding?.trim().toLowerCase()
  if (!name || name === 'identity') return sent
  const decoder = DECODERS[name]?.()
  if (!decoder) {
    throw new GatewayError(
      'invalid_request',
      `content-encoding: '${name}' is not supported; use gzip, deflate, br or zstd, or none`,
    )
  }
  decoder.end(sent)
  const pieces: Buffer[] = []
  let bytes = 0
  try {
    for await (const piece of decoder as AsyncIterable<Buffer>) {
      bytes += piece.length
      if (bytes > maxBytes) throw tooLarge(maxBytes)
      held.add(piece.length)
      pieces.push(piece)
    }
  } catch (error) {
    if (isGatewayError(error)) throw error
    throw new GatewayError('invalid_request', `the request body is not valid ${name}`)
  }
  return Buffer.concat(pieces)
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

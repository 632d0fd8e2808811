import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

/** One request, ready to be written to a socket. */
export interface PreparedRequest {
  path: string
  headers: Record<string, string>
  body: string
}

export interface LoadOptions {
  port: number
  requests: PreparedRequest[]
  connections: number
  seconds: number
}

export interface LoadResult {
  answers: number
  /** Answers that were not 200, or connections that broke. */
  failures: number
  seconds: number
  /** Sorted, in ms. */
  firstByteMs: number[]
  lastByteMs: number[]
}

const HEAD_END = Buffer.from('\r\n\r\n')
const CHUNKED_END = Buffer.from('0\r\n\r\n')

/** Asks again and again over a number of kept-alive connections, on bare sockets: cheaper than any HTTP client, so that the load costs little of what is measured. */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const prepared = options.requests.map((request) => encode(request))
  const result: LoadResult = { answers: 0, failures: 0, seconds: 0, firstByteMs: [], lastByteMs: [] }
  const startedAt = performance.now()
  const until = startedAt + options.seconds * 1000
  let next = 0
  await Promise.all(
    Array.from({ length: options.connections }, () =>
      runConnection(options.port, until, () => prepared[next++ % prepared.length] as Buffer, result),
    ),
  )
  result.seconds = (performance.now() - startedAt) / 1000
  result.firstByteMs.sort((a, b) => a - b)
  result.lastByteMs.sort((a, b) => a - b)
  return result
}

function encode({ path, headers, body }: PreparedRequest): Buffer {
  const lines = Object.entries({ host: 'localhost', ...headers, 'content-length': String(Buffer.byteLength(body)) })
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  )
}

async function runConnection(
  port: number,
  until: number,
  nextRequest: () => Buffer,
  result: LoadResult,
): Promise<void> {
  while (performance.now() < until) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await Promise.race([once(socket, 'connect'), once(socket, 'error')]).catch(() => {})
    if (!socket.readyState.startsWith('open')) {
      result.failures++
      continue
    }
    await askOver(socket, until, nextRequest, result)
    socket.destroy()
  }
}

/** Asks over one connection until the time is over or it breaks. */
function askOver(socket: Socket, until: number, nextRequest: () => Buffer, result: LoadResult): Promise<void> {
  return new Promise((resolve) => {
    let askedAt = 0
    let firstAt = 0
    let status = 0
    let left = -1 // bytes of the body still to come; -1: the head is not in; -2: chunked
    let head: Buffer = Buffer.alloc(0)
    let tail: Buffer = Buffer.alloc(0)
    const ask = () => {
      askedAt = performance.now()
      firstAt = 0
      left = -1
      head = Buffer.alloc(0)
      tail = Buffer.alloc(0)
      socket.write(nextRequest())
    }
    const answered = () => {
      const now = performance.now()
      if (status === 200) {
        result.answers++
        result.firstByteMs.push(firstAt - askedAt)
        result.lastByteMs.push(now - askedAt)
      } else result.failures++
      if (now < until) ask()
      else resolve()
    }
    socket.on('data', (chunk: Buffer) => {
      let body = chunk
      if (left === -1) {
        head = head.length === 0 ? chunk : Buffer.concat([head, chunk])
        const end = head.indexOf(HEAD_END)
        if (end < 0) return
        firstAt = performance.now()
        const text = head.toString('latin1', 0, end).toLowerCase()
        status = Number(text.slice(9, 12))
        const length = /content-length: (\d+)/.exec(text)?.[1]
        left = length === undefined ? -2 : Number(length)
        body = head.subarray(end + 4)
      }
      if (left === -2) {
        tail = body.length >= 5 ? body.subarray(-5) : Buffer.concat([tail, body]).subarray(-5)
        if (tail.equals(CHUNKED_END)) answered()
        return
      }
      left -= body.length
      if (left <= 0) answered()
    })
    socket.on('close', () => {
      if (performance.now() < until) result.failures++
      resolve()
    })
    socket.on('error', () => {})
    ask()
  })
}

/** A sorted list's value below which the share of values lies. */
export function percentile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function median(values: number[]): number {
  return percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  )
}

if (parentPort && workerData?.load) parentPort.postMessage(await load(workerData.load as LoadOptions))

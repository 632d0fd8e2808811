import { connect, type Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

export interface OpenStreamsOptions {
  port: number
  keys: string[]
  path: string
  body: string
  streams: number
  seconds: number
  /** Connections are opened evenly over this time first. */
  openSeconds: number
}

export interface OpenStreamsResult {
  events: number
  /** Streams that broke. */
  broken: number
  /** Sorted, in ms: from the upstream's write to the client's read. */
  latencyMs: number[]
  /** Sorted, in ms: how much longer the gap between two events was at the client than at the upstream. */
  addedGapMs: number[]
}

const SENT_AT = /@(\d+\.\d+) /g
/** Of so many events one is kept for the percentiles. */
const SAMPLE = 4

/** Holds streams open and looks at the times of their events. */
async function holdOpen(options: OpenStreamsOptions): Promise<OpenStreamsResult> {
  const result: OpenStreamsResult = { events: 0, broken: 0, latencyMs: [], addedGapMs: [] }
  const sockets: Socket[] = []
  let measuring = false
  let over = false
  for (let stream = 0; stream < options.streams; stream++) {
    const socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true })
    sockets.push(socket)
    socket.write(
      `POST ${options.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nanthropic-version: 2023-06-01\r\n` +
        `x-api-key: ${options.keys[stream % options.keys.length]}\r\ncontent-length: ${Buffer.byteLength(options.body)}\r\n\r\n${options.body}`,
    )
    let lastSent = 0
    let lastReceived = 0
    let sample = stream % SAMPLE
    socket.on('data', (chunk: Buffer) => {
      const received = performance.timeOrigin + performance.now()
      for (const [, text] of chunk.toString('latin1').matchAll(SENT_AT)) {
        const sent = Number(text)
        if (measuring) {
          result.events++
          if (++sample % SAMPLE === 0) {
            result.latencyMs.push(received - sent)
            if (lastSent > 0) result.addedGapMs.push(received - lastReceived - (sent - lastSent))
          }
        }
        lastSent = sent
        lastReceived = received
      }
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (!over) result.broken++
    })
    if (stream % 20 === 0) await sleep((options.openSeconds * 1000 * 20) / options.streams)
  }
  await sleep(2000)
  measuring = true
  await sleep(options.seconds * 1000)
  over = true
  for (const socket of sockets) socket.destroy()
  result.latencyMs.sort((a, b) => a - b)
  result.addedGapMs.sort((a, b) => a - b)
  return result
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

if (parentPort && workerData?.openStreams) {
  parentPort.postMessage(await holdOpen(workerData.openStreams as OpenStreamsOptions))
}

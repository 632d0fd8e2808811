import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { event, messageBody, messageEvents } from '../../src/demo/messages.ts'

// A minimal responder in a process of its own: the whole answer in one write, no script, no parsing. Its answers are
// those of the real format, so that a gateway that meters has something to meter.

const MESSAGE = { model: 'claude-opus-5-5', usage: { input: 250, output: 60 } }

export const JSON_ANSWER = messageBody(
  { ...MESSAGE, text: ['Lorem ipsum dolor sit amet, '.repeat(6)] },
  'msg_bench_0001',
)

/** 200 events. */
export const STREAM_ANSWER = messageEvents(
  { ...MESSAGE, text: Array.from({ length: 194 }, (_, index) => `word${index} lorem `) },
  'msg_bench_0002',
).join('')

/** Streams on this path stay open, with so many ms between their events. */
export const OPEN_STREAMS_PATH = '/v1/messages?open'
export const OPEN_STREAM_EVERY_MS = 500
/** How finely the streams' turns are spread, in ms. */
const TURN_MS = 5

/** An event of an open stream; it says when it was sent (unix ms with fractions). */
function openStreamEvent(): string {
  const text = `lorem ipsum @${(performance.timeOrigin + performance.now()).toFixed(3)} `
  return event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
}

/** Sends every open stream an event in its turn, by one timer. */
class OpenStreams {
  readonly #turns: Set<ServerResponse>[] = Array.from({ length: OPEN_STREAM_EVERY_MS / TURN_MS }, () => new Set())
  #count = 0
  #turn = 0

  constructor() {
    setInterval(() => {
      // A timer that is late takes the turns that it missed.
      const due = Math.floor(performance.now() / TURN_MS)
      for (this.#turn ||= due; this.#turn < due; this.#turn++) {
        for (const res of this.#turns[this.#turn % this.#turns.length] as Set<ServerResponse>)
          res.write(openStreamEvent())
      }
    }, TURN_MS)
  }

  add(res: ServerResponse): void {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    res.write(STREAM_ANSWER.slice(0, STREAM_ANSWER.indexOf('event: content_block_delta')))
    const turn = this.#turns[this.#count++ % this.#turns.length] as Set<ServerResponse>
    turn.add(res)
    res.on('close', () => turn.delete(res))
  }
}

if (process.argv[1] === import.meta.filename) {
  const json = Buffer.from(JSON_ANSWER)
  const stream = Buffer.from(STREAM_ANSWER)
  const open = new OpenStreams()
  const server = createServer({ keepAliveTimeout: 600_000, noDelay: true }, (req, res) => {
    const streams = req.url?.includes('stream')
    req.resume()
    req.on('end', () => {
      if (req.url?.includes('open')) return open.add(res)
      const body = streams ? stream : json
      res.writeHead(200, {
        'content-type': streams ? 'text/event-stream' : 'application/json',
        'content-length': body.length,
      })
      res.end(body)
    })
  })
  server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))
}

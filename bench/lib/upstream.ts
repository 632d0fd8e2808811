import { createServer } from 'node:http'
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

/** One event of a stream that is kept open. */
export const OPEN_STREAM_EVENT = event('content_block_delta', {
  index: 0,
  delta: { type: 'text_delta', text: 'lorem ipsum ' },
})

if (process.argv[1] === import.meta.filename) {
  const json = Buffer.from(JSON_ANSWER)
  const stream = Buffer.from(STREAM_ANSWER)
  const server = createServer({ keepAliveTimeout: 600_000, noDelay: true }, (req, res) => {
    const streams = req.url?.includes('stream')
    req.resume()
    req.on('end', () => {
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

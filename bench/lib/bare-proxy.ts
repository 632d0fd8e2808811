import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pool } from 'undici'

// What a gateway cannot be faster than on this runtime: node:http in, undici's dispatch out, nothing in between.

const pool = new Pool(process.argv[2] as string, {
  connect: { keepAlive: true },
  keepAliveTimeout: 60_000,
  allowH2: false,
})

const server = createServer({ noDelay: true, keepAliveTimeout: 90_000 }, (req, res) => {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => {
    const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
    const headers = ['content-type', 'application/json', 'x-api-key', 'sk-ant-bench']
    pool.dispatch(
      { path: req.url as string, method: req.method as 'POST', headers, body, headersTimeout: 0, bodyTimeout: 0 },
      {
        onRequestStart: (controller) => {
          res.on('close', () => {
            if (!res.writableFinished) controller.abort(new Error('client left'))
          })
        },
        onResponseStart: (_controller, status, answerHeaders) => {
          const length = answerHeaders['content-length']
            ? ['content-length', String(answerHeaders['content-length'])]
            : []
          res.writeHead(status, ['content-type', String(answerHeaders['content-type']), ...length])
        },
        onResponseData: (controller, chunk) => {
          if (res.write(chunk)) return
          controller.pause()
          res.once('drain', () => controller.resume())
        },
        onResponseEnd: () => void res.end(),
        onResponseError: () => void res.destroy(),
      },
    )
  })
})
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))

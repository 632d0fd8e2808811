import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Gateway } from '../gateway/gateway.ts'

/** The process lives. */
export function health(_gateway: Gateway, _req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"ok"}')
}

/** The process takes calls: 503 while it drains, or while the store does not answer. */
export async function ready(gateway: Gateway, _req: IncomingMessage, res: ServerResponse): Promise<void> {
  const reason = gateway.running.draining ? 'draining' : await storeProblem(gateway)
  res.writeHead(reason ? 503 : 200, { 'content-type': 'application/json' })
  res.end(JSON.stringify(reason ? { status: 'not ready', reason } : { status: 'ready' }))
}

async function storeProblem(gateway: Gateway): Promise<string | null> {
  try {
    await gateway.store.ping()
    return null
  } catch (error) {
    return `the store does not answer: ${(error as Error).message}`
  }
}

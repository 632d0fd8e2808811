import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Gateway } from '../gateway/gateway.ts'

/** The process lives. */
export function health(_gateway: Gateway, _req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"ok"}')
}

/** The process takes calls: 503 while it drains, or while store or live state do not answer. */
export async function ready(gateway: Gateway, _req: IncomingMessage, res: ServerResponse): Promise<void> {
  const reason = gateway.running.draining ? 'draining' : await problemOf(gateway)
  res.writeHead(reason ? 503 : 200, { 'content-type': 'application/json' })
  res.end(JSON.stringify(reason ? { status: 'not ready', reason } : { status: 'ready' }))
}

async function problemOf({ store, live }: Gateway): Promise<string | null> {
  return (await saidBy('the store does not answer', store)) ?? (await saidBy('live state does not answer', live))
}

async function saidBy(what: string, of: { ping(): Promise<unknown> }): Promise<string | null> {
  try {
    await of.ping()
    return null
  } catch (error) {
    return `${what}: ${(error as Error).message}`
  }
}

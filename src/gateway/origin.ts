import type { IncomingMessage } from 'node:http'
import type { Gateway } from './gateway.ts'
import { isFromProxy } from './identify.ts'

/** Where a client has reached this gateway: as its operator says, else as the request does, and a proxy of the operator's. */
export function originOf({ config, trustedProxies }: Gateway, req: IncomingMessage): string {
  if (config.server.publicUrl !== null) return config.server.publicUrl
  const said = isFromProxy(req, trustedProxies) ? String(req.headers['x-forwarded-proto'] ?? '') : ''
  const scheme = said.split(',')[0]?.trim() === 'https' ? 'https' : 'http'
  return `${scheme}://${req.headers.host ?? 'localhost'}`
}

import type { IncomingMessage, ServerResponse } from 'node:http'

const PREFLIGHT_SECONDS = '600'

/** Adds what a browser needs to let an allowed origin's page call us. Returns true if that was all there is to answer (a preflight). */
export function allowCrossOrigin(req: IncomingMessage, res: ServerResponse, allowed: readonly string[]): boolean {
  const { origin } = req.headers
  const isPreflight = req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined
  if (origin !== undefined && (allowed.includes('*') || allowed.includes(origin))) {
    res.setHeader('access-control-allow-origin', origin)
    res.setHeader('vary', 'origin')
    res.setHeader('access-control-expose-headers', '*')
    if (isPreflight) {
      res.setHeader('access-control-allow-methods', 'GET, POST, PATCH, DELETE, OPTIONS')
      res.setHeader('access-control-allow-headers', req.headers['access-control-request-headers'] ?? '*')
      res.setHeader('access-control-max-age', PREFLIGHT_SECONDS)
    }
  }
  if (isPreflight) res.writeHead(204).end()
  return isPreflight
}

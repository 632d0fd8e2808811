import type { IncomingMessage, ServerResponse } from 'node:http'
import { countTokens } from '../gateway/count-tokens.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { handleCall } from '../gateway/handle-call.ts'
import { listModels } from '../gateway/list-models.ts'
import { ownUsage } from '../gateway/own-usage.ts'
import { protocols } from '../protocols/index.ts'
import { health, ready } from './health.ts'

type Handler = (gateway: Gateway, req: IncomingMessage, res: ServerResponse, parameter: string) => Promise<void> | void

export interface Route {
  methods: readonly string[]
  /** A path that ends in `/*` matches one more segment, which the handler gets decoded. */
  path: string
  handle: Handler
}

const messages = protocols['anthropic-messages']

/** Every endpoint. */
export const routes: readonly Route[] = [
  { methods: ['POST'], path: '/v1/messages', handle: (gateway, req, res) => handleCall(gateway, messages, req, res) },
  {
    methods: ['POST'],
    path: '/v1/messages/count_tokens',
    handle: (gateway, req, res) => countTokens(gateway, messages, req, res),
  },
  {
    methods: ['GET'],
    path: '/v1/models',
    handle: (gateway, req, res) => listModels(gateway, messages, req, res, null),
  },
  {
    methods: ['GET'],
    path: '/v1/models/*',
    handle: (gateway, req, res, id) => listModels(gateway, messages, req, res, id),
  },
  { methods: ['GET'], path: '/v1/usage', handle: (gateway, req, res) => ownUsage(gateway, messages, req, res) },
  { methods: ['GET', 'HEAD'], path: '/health', handle: health },
  { methods: ['GET', 'HEAD'], path: '/ready', handle: ready },
  // What Claude Code calls at start: harmless answers, never forwarded.
  { methods: ['GET', 'HEAD'], path: '/', handle: greet },
  { methods: ['GET', 'HEAD'], path: '/api/hello', handle: greet },
  { methods: ['POST'], path: '/api/event_logging/batch', handle: swallow },
  { methods: ['POST'], path: '/api/event_logging/v2/batch', handle: swallow },
]

function greet(_gateway: Gateway, _req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'application/json' }).end('{"message":"hello"}')
}

/** Telemetry that nobody here wants: thrown away as it comes. */
function swallow(_gateway: Gateway, req: IncomingMessage, res: ServerResponse): void {
  req.resume()
  res.writeHead(200, { 'content-type': 'application/json' }).end('{}')
}

const byPath = Map.groupBy(routes, (route) => route.path)

/** Finds the route of a path; its methods may not include the asked one. */
export function findRoute(path: string, method: string): { route: Route; parameter: string; allowed: boolean } | null {
  let found = byPath.get(path)
  let parameter = ''
  if (!found) {
    const lastSlash = path.lastIndexOf('/')
    found = byPath.get(`${path.slice(0, lastSlash)}/*`)
    parameter = decoded(path.slice(lastSlash + 1))
    if (parameter === '') return null
  }
  const route = found?.find(({ methods }) => methods.includes(method)) ?? found?.[0]
  return route ? { route, parameter, allowed: route.methods.includes(method) } : null
}

/** Empty if it cannot be decoded. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return ''
  }
}

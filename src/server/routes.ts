import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ProviderName } from '../domain/account.ts'
import { countTokens } from '../gateway/count-tokens.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { handleCall } from '../gateway/handle-call.ts'
import { handleObject } from '../gateway/handle-object.ts'
import { listModels } from '../gateway/list-models.ts'
import { notSupported } from '../gateway/not-supported.ts'
import { ownUsage } from '../gateway/own-usage.ts'
import type { Wanted } from '../gateway/read-call.ts'
import { anthropicObjects } from '../protocols/anthropic-messages/objects.ts'
import * as geminiEndpoints from '../protocols/gemini/endpoints.ts'
import { GEMINI_BATCH, geminiObjects } from '../protocols/gemini/objects.ts'
import { protocols } from '../protocols/index.ts'
import type { ObjectEndpoint, ObjectFormat } from '../protocols/objects.ts'
import * as openaiEndpoints from '../protocols/openai/endpoints.ts'
import { openaiObjects } from '../protocols/openai/objects.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { health, ready } from './health.ts'

type Handler = (gateway: Gateway, req: IncomingMessage, res: ServerResponse, parameter: string) => Promise<void> | void

export interface Route {
  methods: readonly string[]
  /** A `*` as its last segment, or the one before, matches any; the handler gets it decoded. */
  path: string
  handle: Handler
}

const { 'anthropic-messages': messages, 'openai-responses': responses, 'openai-chat': chat, gemini } = protocols

/** Admitted calls in a format. */
function calls(protocol: Protocol, operation: Wanted['operation'], onlyProvider: ProviderName | null = null): Handler {
  return (gateway, req, res) => handleCall(gateway, protocol, req, res, { operation, onlyProvider })
}

/** Answers in a format. */
function answers(protocol: Protocol, onlyProvider: ProviderName | null = null): Handler {
  return calls(protocol, 'messages', onlyProvider)
}

/** Lengths of prompts. */
function counts(protocol: Protocol, onlyProvider: ProviderName | null = null): Handler {
  return (gateway, req, res) => countTokens(gateway, protocol, req, res, { operation: 'count_tokens', onlyProvider })
}

/** About what lies at one account. */
function keeps(format: ObjectFormat, endpoint: ObjectEndpoint, onlyProvider: ProviderName | null = null): Handler {
  return (gateway, req, res, segment) => handleObject(gateway, format, endpoint, req, res, { segment, onlyProvider })
}

function lists(protocolOf: (req: IncomingMessage) => Protocol, onlyProvider: ProviderName | null = null): Handler {
  return (gateway, req, res) => listModels(gateway, protocolOf(req), req, res, null, onlyProvider)
}

function shows(protocolOf: (req: IncomingMessage) => Protocol, onlyProvider: ProviderName | null = null): Handler {
  return (gateway, req, res, id) => listModels(gateway, protocolOf(req), req, res, id, onlyProvider)
}

/** Three vendors have a model list on one path: who asks shows by what else it says. */
function askersProtocol({ headers, url = '' }: IncomingMessage): Protocol {
  const isGoogles = headers['x-goog-api-key'] ?? headers['x-goog-api-client'] ?? /[?&]key=/.test(url)
  if (isGoogles) return gemini
  return headers['anthropic-version'] === undefined ? responses : messages
}

/** In Gemini's format the last segment says what is wanted of a model: `gemini-3.8-flash:generateContent`. */
function geminiMethods(onlyProvider: ProviderName | null = null): Handler {
  const methods = new Map([
    ['generateContent', answers(gemini, onlyProvider)],
    ['streamGenerateContent', answers(gemini, onlyProvider)],
    ['countTokens', counts(gemini, onlyProvider)],
    ['embedContent', calls(geminiEndpoints.embeddings, 'embeddings', onlyProvider)],
    ['batchEmbedContents', calls(geminiEndpoints.embeddings, 'embeddings', onlyProvider)],
    ['predict', calls(geminiEndpoints.predictions, 'predictions', onlyProvider)],
    ['batchGenerateContent', keeps(geminiObjects, GEMINI_BATCH, onlyProvider)],
  ])
  return (gateway, req, res, segment) => {
    const method = segment.slice(segment.lastIndexOf(':') + 1)
    const handle = methods.get(method)
    if (handle) return handle(gateway, req, res, segment)
    return notSupported(gateway, gemini, req, res, `'${method.slice(0, 50)}'`)
  }
}

/** A version of Gemini's API, under a prefix. */
function geminiVersion(version: string, prefix = '', onlyProvider: ProviderName | null = null): Route[] {
  const models = `${prefix}/${version}/models`
  return [
    { methods: ['GET'], path: models, handle: lists(() => gemini, onlyProvider) },
    { methods: ['GET'], path: `${models}/*`, handle: shows(() => gemini, onlyProvider) },
    { methods: ['POST'], path: `${models}/*`, handle: geminiMethods(onlyProvider) },
  ]
}

/** What OpenAI does beside conversations. */
const OPENAI_ENDPOINTS: readonly [path: string, protocol: Protocol, operation: Wanted['operation']][] = [
  ['/completions', chat, 'completions'],
  ['/embeddings', chat, 'embeddings'],
  ['/moderations', openaiEndpoints.moderations, 'moderations'],
  ['/images/generations', openaiEndpoints.images, 'image_generations'],
  ['/images/edits', openaiEndpoints.images, 'image_edits'],
  ['/images/variations', openaiEndpoints.images, 'image_variations'],
  ['/audio/speech', openaiEndpoints.speech, 'speech'],
  ['/audio/transcriptions', openaiEndpoints.transcriptions, 'transcriptions'],
  ['/audio/translations', openaiEndpoints.translations, 'translations'],
]

/** OpenAI's clients are given base URLs with their version, and some without. */
function openaiRoutes(prefix: string): Route[] {
  const endpoints = OPENAI_ENDPOINTS.map(([path, protocol, operation]) => ({
    methods: ['POST'],
    path: prefix + path,
    handle: calls(protocol, operation),
  }))
  return [
    { methods: ['POST'], path: `${prefix}/responses`, handle: answers(responses) },
    { methods: ['GET'], path: `${prefix}/responses`, handle: refuseUpgrade },
    { methods: ['POST'], path: `${prefix}/responses/compact`, handle: calls(responses, 'compact') },
    { methods: ['POST'], path: `${prefix}/responses/input_tokens`, handle: counts(responses) },
    { methods: ['POST'], path: `${prefix}/chat/completions`, handle: answers(chat) },
    ...endpoints,
  ]
}

/** What lies at one account. Three vendors have some of it on one path. */
function objectRoutes(): Route[] {
  const all = [anthropicObjects, openaiObjects, geminiObjects].flatMap((format) =>
    format.endpoints.map((endpoint) => ({ format, endpoint })),
  )
  const byPlace = Map.groupBy(all, ({ endpoint }) => `${endpoint.method} ${endpoint.path}`)
  return Array.from(byPlace.values(), (same) => {
    const [{ endpoint }] = same as [(typeof same)[0]]
    const { method, path } = endpoint
    return {
      methods: [method],
      path,
      handle(gateway, req, res, segment) {
        const asker = askersProtocol(req).name
        const wanted = same.find(({ format }) => format.protocol.name === asker) ?? (same[0] as (typeof same)[0])
        return keeps(wanted.format, wanted.endpoint)(gateway, req, res, segment)
      },
    }
  })
}

/** A prefix whose paths are Antigravity's alone. */
const ANTIGRAVITY = '/antigravity'

/** Every endpoint. */
export const routes: readonly Route[] = [
  { methods: ['POST'], path: '/v1/messages', handle: answers(messages) },
  { methods: ['POST'], path: '/v1/messages/count_tokens', handle: counts(messages) },
  ...openaiRoutes('/v1'),
  ...openaiRoutes(''),
  { methods: ['GET'], path: '/v1/models', handle: lists(askersProtocol) },
  { methods: ['GET'], path: '/v1/models/*', handle: shows(askersProtocol) },
  { methods: ['POST'], path: '/v1/models/*', handle: geminiMethods() },
  ...geminiVersion('v1beta'),
  ...geminiVersion('v1alpha'),
  // Gemini CLI and SDKs that were told to talk to Vertex.
  { methods: ['POST'], path: '/v1beta1/publishers/google/models/*', handle: geminiMethods() },
  { methods: ['POST'], path: `${ANTIGRAVITY}/v1/messages`, handle: answers(messages, 'antigravity') },
  { methods: ['POST'], path: `${ANTIGRAVITY}/v1/messages/count_tokens`, handle: counts(messages, 'antigravity') },
  { methods: ['GET'], path: `${ANTIGRAVITY}/v1/models`, handle: lists(askersProtocol, 'antigravity') },
  ...geminiVersion('v1beta', ANTIGRAVITY, 'antigravity'),
  ...objectRoutes(),
  { methods: ['GET'], path: '/v1/usage', handle: (gateway, req, res) => ownUsage(gateway, messages, req, res) },
  { methods: ['GET', 'HEAD'], path: '/health', handle: health },
  { methods: ['GET', 'HEAD'], path: '/ready', handle: ready },
  // What Claude Code calls at start: harmless answers, never forwarded.
  { methods: ['GET', 'HEAD'], path: '/', handle: greet },
  { methods: ['GET', 'HEAD'], path: '/api/hello', handle: greet },
  { methods: ['POST'], path: '/api/event_logging/batch', handle: swallow },
  { methods: ['POST'], path: '/api/event_logging/v2/batch', handle: swallow },
]

/** Codex asks for a WebSocket first, and takes this for a plain no: any other answer costs it seconds. */
function refuseUpgrade(_gateway: Gateway, _req: IncomingMessage, res: ServerResponse): void {
  const message = 'this gateway answers over HTTP: POST here'
  const body = JSON.stringify({
    error: { message, type: 'invalid_request_error', param: null, code: 'upgrade_required' },
  })
  res.writeHead(426, { 'content-type': 'application/json', upgrade: 'HTTP/1.1', connection: 'close' }).end(body)
}

function greet(_gateway: Gateway, _req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'application/json' }).end('{"message":"hello"}')
}

/** Telemetry that nobody here wants: thrown away as it comes. */
function swallow(_gateway: Gateway, req: IncomingMessage, res: ServerResponse): void {
  req.resume()
  res.writeHead(200, { 'content-type': 'application/json' }).end('{}')
}

const byPath = Map.groupBy(routes, (route) => route.path)

/** Who answers a path, null if nobody does. Its methods may not include the asked one: then there is no handler for it. */
export function findRoute(
  path: string,
  method: string,
): { handle: Handler | null; parameter: string; methods: string[] } | null {
  const { pattern, segment } = patternOf(path)
  const found = byPath.get(pattern)
  const parameter = segment === null ? '' : decoded(segment)
  if (!found || (segment !== null && parameter === '')) return null
  const route = found.find(({ methods }) => methods.includes(method))
  return { handle: route?.handle ?? null, parameter, methods: found.flatMap(({ methods }) => methods) }
}

/** The path of a route that this one may be, and the segment that stands for its `*`. */
function patternOf(path: string): { pattern: string; segment: string | null } {
  if (byPath.has(path) && !path.includes('*')) return { pattern: path, segment: null }
  const segments = path.split('/')
  const last = segments.pop() ?? ''
  const ending = `${segments.join('/')}/*`
  if (byPath.has(ending)) return { pattern: ending, segment: last }
  const named = segments.pop() ?? ''
  return { pattern: `${segments.join('/')}/*/${last}`, segment: named }
}

/** Empty if it cannot be decoded. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return ''
  }
}

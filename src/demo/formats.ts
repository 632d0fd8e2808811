import { chatBody, chatEvents, data, openaiErrorBody } from './chat.ts'
import { geminiAnswer, geminiChunks, geminiErrorBody, geminiStream } from './gemini.ts'
import { completions } from './media.ts'
import { errorBody, event, type FakeMessage, messageBody, messageEvents } from './messages.ts'
import { responsesBody, responsesEvents } from './responses.ts'

/** What of a request decides on its answer. */
export interface Asked {
  model: string
  stream: boolean
  /** What the user said last. */
  said: string
}

export interface FakeError {
  type: string
  message: string
}

/** How the real service answers on one kind of path. */
export interface Format {
  path: RegExp
  read(path: string, body: JsonBody): Asked
  events(message: FakeMessage, id: string, path: string, body: JsonBody): string[]
  body(message: FakeMessage, id: string, body: JsonBody): string
  error(status: number, message: string): string
  errorEvent(error: FakeError): string
  /** False for a stream that is one growing JSON text. */
  isSse(path: string): boolean
}

/** A request's body, of which nothing is known. */
// biome-ignore lint/suspicious/noExplicitAny: the fake looks into whatever comes, and every look is guarded
export type JsonBody = any

const ANTHROPIC_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  413: 'request_too_large',
  422: 'invalid_request_error',
  429: 'rate_limit_error',
  500: 'api_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

const messages: Format = {
  path: /\/v1\/messages(\?|$)/,
  read: (_path, body) => ({ ...modelAndStream(body), said: lastText(body?.messages) }),
  events: messageEvents,
  body: messageBody,
  error: (status, message) => errorBody(ANTHROPIC_TYPES[status] ?? 'api_error', message),
  errorEvent: (error) => event('error', { error }),
  isSse: () => true,
}

const OPENAI_TYPES: Record<number, string> = { 429: 'rate_limit_exceeded', 500: 'server_error', 503: 'server_error' }

const openaiError = (status: number, message: string) =>
  openaiErrorBody(OPENAI_TYPES[status] ?? 'invalid_request_error', message)

const responses: Format = {
  path: /\/responses(\?|$)/,
  read: (_path, body) => ({
    ...modelAndStream(body),
    said: typeof body?.input === 'string' ? body.input : lastText(body?.input),
  }),
  events: (message, id, _path, body) => responsesEvents(message, id, body),
  body: responsesBody,
  error: openaiError,
  errorEvent: ({ type, message }) => event('error', { code: type, message, param: null, sequence_number: 99 }),
  isSse: () => true,
}

const chat: Format = {
  path: /\/chat\/completions(\?|$)/,
  read: (_path, body) => ({ ...modelAndStream(body), said: lastText(body?.messages) }),
  events: (message, id, _path, body) => chatEvents(message, id, body?.stream_options?.include_usage === true),
  body: chatBody,
  error: openaiError,
  errorEvent: ({ type, message }) => data({ error: { message, type, param: null, code: null } }),
  isSse: () => true,
}

const GEMINI_STATUSES: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}

const geminiError = (status: number, message: string) =>
  geminiErrorBody(status, GEMINI_STATUSES[status] ?? 'UNKNOWN', message)
const asksForSse = (path: string) => /[?&]alt=sse(&|$)/.test(path)

const gemini: Format = {
  path: /\/models\/[^/:]+:(?:generateContent|streamGenerateContent)(\?|$)/,
  read: (path, body) => ({
    model: decodeURIComponent(/\/models\/([^/:]+):/.exec(path)?.[1] ?? ''),
    stream: path.includes(':streamGenerateContent'),
    said: lastText(body?.contents),
  }),
  events: (message, id, path) => geminiStream(geminiChunks(message, id), asksForSse(path)),
  body: (message, id) => JSON.stringify(geminiAnswer(message, id)),
  error: geminiError,
  errorEvent: ({ message }) => data({ error: { code: 503, message, status: 'UNAVAILABLE' } }),
  isSse: asksForSse,
}

/** Code Assist and Antigravity: Gemini's answers in an envelope. */
const internal: Format = {
  path: /\/v1internal:(?:generateContent|streamGenerateContent)(\?|$)/,
  read: (path, body) => ({
    model: String(body?.model ?? ''),
    stream: path.includes(':streamGenerateContent'),
    said: lastText(body?.request?.contents),
  }),
  events: (message, id, path) =>
    geminiStream(
      geminiChunks(message, id).map((response) => ({ response, traceId: id })),
      asksForSse(path),
    ),
  body: (message, id) => JSON.stringify({ response: geminiAnswer(message, id), traceId: id }),
  error: geminiError,
  errorEvent: gemini.errorEvent,
  isSse: asksForSse,
}

const FORMATS = [messages, responses, chat, completions, gemini, internal]

/** Null for a path on which nobody is asked for a message. */
export function formatOf(method: string, path: string): Format | null {
  return method === 'POST' ? (FORMATS.find((format) => format.path.test(path)) ?? null) : null
}

/** What it says if nobody tells it: one delta per word. */
export function saidBack(said: string): string[] {
  return `You said: ${said.slice(0, 2000)}`.split(/(?<= )/)
}

/** Empty if it is no JSON. */
export function parsed(body: string): JsonBody {
  try {
    return JSON.parse(body)
  } catch {
    return {}
  }
}

function modelAndStream(body: JsonBody): { model: string; stream: boolean } {
  return { model: typeof body?.model === 'string' ? body.model : 'fake-model', stream: body?.stream === true }
}

/** The last text of the last user who spoke. */
function lastText(turns: unknown): string {
  if (!Array.isArray(turns)) return ''
  const last = turns.findLast((turn) => turn?.role === 'user')
  const content = last?.content ?? last?.parts
  if (typeof content === 'string') return content
  return Array.isArray(content) ? String(content.findLast((part) => typeof part?.text === 'string')?.text ?? '') : ''
}

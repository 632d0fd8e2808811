import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProtocolName } from '../../src/domain/call.ts'

const RECORDINGS = join(import.meta.dirname, '../fixtures/recordings')

/** The real clients whose requests were recorded. */
export const RECORDED_CLIENTS = ['claude-code', 'codex', 'gemini-cli', 'sdks'] as const
export type RecordedClient = (typeof RECORDED_CLIENTS)[number]

/**
 * A request as a client sent it, without credentials and headers of the connection, its long texts and lists cut short;
 * of requests that differ in identifiers alone there is one.
 */
export interface RecordedRequest {
  client: RecordedClient
  /** The sessions in which it was sent. */
  recordings: string[]
  method: string
  /** Path and query. */
  url: string
  headers: Record<string, string>
  body: { [key: string]: unknown }
}

export function recordedRequests(client: RecordedClient): RecordedRequest[] {
  const lines = readFileSync(join(RECORDINGS, `${client}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
  return lines.map((line) => ({ client, ...(JSON.parse(line) as Omit<RecordedRequest, 'client'>) }))
}

/** What a protocol gets of it: Code Assist's envelope is taken off, as it is before a protocol reads a request. */
export function protocolRequest({ url, body }: RecordedRequest): {
  protocol: ProtocolName
  path: string
  body: Buffer
} {
  const [, method] = /^\/v1internal:(.+)/.exec(url) ?? []
  if (method !== undefined) {
    const path = `/v1beta/models/${body.model}:${method}`
    return { protocol: 'gemini', path, body: Buffer.from(JSON.stringify(body.request)) }
  }
  return { protocol: protocolOf(url), path: url, body: Buffer.from(JSON.stringify(body)) }
}

function protocolOf(url: string): ProtocolName {
  if (url.startsWith('/v1/messages')) return 'anthropic-messages'
  if (url.startsWith('/v1/responses')) return 'openai-responses'
  return url.startsWith('/v1/chat/completions') ? 'openai-chat' : 'gemini'
}

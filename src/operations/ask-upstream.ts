import type { ResponseHead, UpstreamRequest } from '../providers/provider.ts'
import { collectBody, isFailure, UpstreamClient } from '../upstream/client.ts'
import type { Workspace } from './workspace.ts'

const TIMEOUT_MS = 15_000
const BODY_BYTES_MAX = 4 * 1024 * 1024

/** What became of a question of ours: an answer, or why there is none and how to allow an address that was refused. */
export type Asked = { head: ResponseHead; body: Buffer } | { failure: string; remedy: string | null }

/** Asks an upstream something that costs nothing. `connectMs` null = as configured. */
export async function askUpstream(
  { config }: Pick<Workspace, 'config'>,
  request: UpstreamRequest,
  connectMs: number | null = null,
): Promise<Asked> {
  await using upstream = new UpstreamClient({
    rules: () => config.urls,
    connectTimeoutMs: () => connectMs ?? config.gateway.connectTimeoutMs,
  })
  const exchange = upstream.send(request)
  const timer = setTimeout(() => exchange.cancel(`no answer within ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS)
  try {
    const head = await exchange.head
    if (isFailure(head)) return { failure: head.message, remedy: head.hint ?? null }
    const { body, failure } = await collectBody(exchange, BODY_BYTES_MAX)
    return failure ? { failure: failure.message, remedy: null } : { head, body }
  } finally {
    clearTimeout(timer)
  }
}

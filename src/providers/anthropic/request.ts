import type { Account, Credentials } from '../../domain/account.ts'
import type { Headers } from '../../protocols/protocol.ts'
import type { Forwarded, Operation, UpstreamRequest } from '../provider.ts'

const PATHS: Record<Operation, { method: 'GET' | 'POST'; path: string }> = {
  messages: { method: 'POST', path: '/v1/messages' },
  count_tokens: { method: 'POST', path: '/v1/messages/count_tokens' },
  models: { method: 'GET', path: '/v1/models' },
}

/** What a client's request may carry to Anthropic beside its body (open lists: a gateway must pass what it does not know). */
const FORWARDED_PREFIXES = ['anthropic-', 'x-claude-code-', 'x-stainless-']
const FORWARDED_NAMES: ReadonlySet<string> = new Set(['x-app', 'user-agent', 'content-type', 'accept'])

/** Sent with requests of our own; clients' requests carry the version that they were written for. */
const OWN_VERSION = '2023-06-01'

export function anthropicRequest(
  operation: Operation,
  forwarded: Forwarded,
  account: Account,
  credentials: Credentials,
  body: Buffer | null,
): UpstreamRequest {
  const { method, path } = PATHS[operation]
  const headers = forwardedHeaders(forwarded.headers, account.headers)
  const own: Record<string, string> = { 'x-api-key': credentials.apiKey, 'accept-encoding': 'identity' }
  if (operation === 'models' && forwarded.headers['anthropic-version'] === undefined) {
    own['anthropic-version'] = OWN_VERSION
  }
  const ours = { ...own, ...account.headers }
  for (const name in ours) headers.push(name, ours[name] as string)
  return { method, baseUrl: account.baseUrl, path: path + forwarded.query, headers, body }
}

function forwardedHeaders(headers: Headers, replaced: Record<string, string>): string[] {
  const kept: string[] = []
  for (const name in headers) {
    const allowed = FORWARDED_NAMES.has(name) || FORWARDED_PREFIXES.some((prefix) => name.startsWith(prefix))
    if (!allowed || Object.hasOwn(replaced, name)) continue
    const value = headers[name]
    if (typeof value === 'string') kept.push(name, value)
    else if (value) for (const one of value) kept.push(name, one)
  }
  return kept
}

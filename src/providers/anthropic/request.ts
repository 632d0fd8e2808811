import { type Account, type Credentials, secretOf } from '../../domain/account.ts'
import { GatewayError } from '../../domain/errors.ts'
import { asWritten } from '../as-written.ts'
import { forwardedHeaders, type HeaderRules } from '../forwarded-headers.ts'
import { withoutSecrets } from '../forwarded-query.ts'
import type { Forwarded, Operation, UpstreamRequest } from '../provider.ts'

const PATHS: Partial<Record<Operation, { method: 'GET' | 'POST'; path: string }>> = {
  messages: { method: 'POST', path: '/v1/messages' },
  count_tokens: { method: 'POST', path: '/v1/messages/count_tokens' },
  models: { method: 'GET', path: '/v1/models' },
}

/** What a client's request may carry to Anthropic beside its body (open lists: a gateway must pass what it does not know). */
const FORWARDED: HeaderRules = {
  names: new Set(['x-app', 'user-agent', 'content-type', 'accept']),
  prefixes: ['anthropic-', 'x-claude-code-', 'x-stainless-'],
}

/** Sent with requests of our own making; clients' requests carry the version that they were written for. */
const OWN_VERSION = '2023-06-01'

export function anthropicRequest(
  operation: Operation,
  forwarded: Forwarded,
  account: Account,
  credentials: Credentials,
  body: Buffer | null,
): UpstreamRequest {
  const place = PATHS[operation]
  if (!place && operation !== 'objects')
    throw new GatewayError('not_supported', `Anthropic has nothing like '${operation}'`)
  const own: Record<string, string> = { 'x-api-key': secretOf(credentials), 'accept-encoding': 'identity' }
  const isOurs = operation === 'models' || forwarded.path === undefined
  if (isOurs && forwarded.headers['anthropic-version'] === undefined) own['anthropic-version'] = OWN_VERSION
  const ours = { ...own, ...account.headers }
  const headers = forwardedHeaders(forwarded.headers, FORWARDED, account.headers)
  for (const name in ours) headers.push(name, ours[name] as string)
  const target = { baseUrl: account.baseUrl, headers }
  if (!place) return { ...target, ...asWritten(forwarded, body) }
  return { ...target, method: place.method, path: place.path + withoutSecrets(forwarded.query), body }
}

import { type Account, type Credentials, secretOf } from '../../domain/account.ts'
import type { ProtocolName } from '../../domain/call.ts'
import { GatewayError } from '../../domain/errors.ts'
import { asWritten } from '../as-written.ts'
import { forwardedHeaders, type HeaderRules } from '../forwarded-headers.ts'
import { withoutSecrets } from '../forwarded-query.ts'
import type { Forwarded, Operation, UpstreamRequest } from '../provider.ts'
import { CLIENT_VERSION, fittedToCodex, isCodexBackend } from './codex-backend.ts'

type Places = Partial<Record<Operation, string>>

/** Under a base URL that ends in a version, as OpenAI's clients are given it. */
const PLACES: Partial<Record<ProtocolName, Places>> = {
  'openai-responses': {
    messages: '/responses',
    count_tokens: '/responses/input_tokens',
    compact: '/responses/compact',
  },
  'openai-chat': {
    messages: '/chat/completions',
    completions: '/completions',
    embeddings: '/embeddings',
    moderations: '/moderations',
    image_generations: '/images/generations',
    image_edits: '/images/edits',
    image_variations: '/images/variations',
    speech: '/audio/speech',
    transcriptions: '/audio/transcriptions',
    translations: '/audio/translations',
  },
}

/**
 * What a client's request may carry to OpenAI beside its body. Not its organization and project, which are the client's own, nor what an
 * answer of one account gave it to bring back to that account (`x-codex-turn-state`, `x-openai-account-routing-override`).
 */
const FORWARDED: HeaderRules = {
  names: new Set([
    'user-agent',
    'content-type',
    'accept',
    'openai-beta',
    'originator',
    'version',
    'session-id',
    'thread-id',
    'session_id',
    'conversation_id',
    'x-client-request-id',
    'x-openai-subagent',
    'x-openai-internal-codex-responses-lite',
    'x-codex-beta-features',
    'x-codex-window-id',
    'x-codex-parent-thread-id',
    'x-codex-turn-metadata',
    'x-codex-routing-hint',
  ]),
  prefixes: ['x-stainless-'],
}

export function openaiRequest(
  operation: Operation,
  forwarded: Forwarded,
  account: Account,
  credentials: Credentials,
  body: Buffer | null,
): UpstreamRequest {
  const own: Record<string, string> = {
    authorization: `Bearer ${secretOf(credentials)}`,
    'accept-encoding': 'identity',
    ...(credentials.kind === 'oauth' && credentials.accountId && { 'chatgpt-account-id': credentials.accountId }),
  }
  const toCodex = isCodexBackend(account)
  const fitted = toCodex && body && operation === 'messages' ? fittedToCodex(body, forwarded.headers) : null
  if (fitted && fitted.body !== body) own.accept = 'text/event-stream'
  const ours = { ...own, ...account.headers }
  const headers = forwardedHeaders(forwarded.headers, FORWARDED, ours)
  for (const name in ours) headers.push(name, ours[name] as string)
  if (operation === 'objects') return { baseUrl: account.baseUrl, headers, ...asWritten(forwarded, body, '/v1') }
  return {
    method: operation === 'models' ? 'GET' : 'POST',
    baseUrl: account.baseUrl,
    path:
      placeOf(operation, forwarded) +
      (toCodex && operation === 'models' ? versioned(forwarded.query) : withoutSecrets(forwarded.query)),
    headers,
    body: fitted?.body ?? body,
    ...(fitted && fitted.dropped.length > 0 && { dropped: fitted.dropped }),
  }
}

function placeOf(operation: Operation, { protocol = 'openai-responses' }: Forwarded): string {
  const place = operation === 'models' ? '/models' : PLACES[protocol]?.[operation]
  if (!place) throw new GatewayError('not_supported', `OpenAI has nothing like '${operation}' in ${protocol}`)
  return place
}

/** The backend lists models for a version of Codex. */
function versioned(query: string): string {
  const asked = new URLSearchParams(query)
  if (!asked.has('client_version')) asked.set('client_version', CLIENT_VERSION)
  return `?${asked}`
}

import { type Account, type Credentials, secretOf } from '../../domain/account.ts'
import type { Headers } from '../../protocols/protocol.ts'
import { forwardedHeaders, type HeaderRules } from '../forwarded-headers.ts'

/** What a client's request may carry to Google beside its body. Not the project that the client would have billed. */
const FORWARDED: HeaderRules = {
  names: new Set([
    'user-agent',
    'content-type',
    'accept',
    'x-goog-api-client',
    'x-goog-request-params',
    'x-goog-fieldmask',
    'x-server-timeout',
    'x-gemini-api-privileged-user-id',
    'x-goog-upload-protocol',
    'x-goog-upload-command',
    'x-goog-upload-offset',
    'x-goog-upload-file-name',
    'x-goog-upload-header-content-length',
    'x-goog-upload-header-content-type',
  ]),
  prefixes: [],
}

/** Names and values in turn: the client's, in place of them ours, in place of both the operator's. */
export function googleHeaders(
  client: Headers,
  account: Pick<Account, 'headers'>,
  credentials: Credentials,
  more: Record<string, string> = {},
): string[] {
  const signature =
    credentials.kind === 'api_key'
      ? { 'x-goog-api-key': credentials.apiKey }
      : { authorization: `Bearer ${secretOf(credentials)}` }
  const ours = { ...signature, 'accept-encoding': 'identity', ...more, ...account.headers }
  const headers = forwardedHeaders(client, FORWARDED, ours)
  for (const name in ours) headers.push(name, ours[name as keyof typeof ours] as string)
  return headers
}

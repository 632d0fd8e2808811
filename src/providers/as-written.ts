import { withoutSecrets } from './forwarded-query.ts'
import type { Forwarded, UpstreamRequest } from './provider.ts'

/** What a client asks for by its own method and path, which begins behind `base` where the account's base URL ends in it. */
export function asWritten(
  { method, path = '', query }: Forwarded,
  body: Buffer | null,
  base = '',
): Pick<UpstreamRequest, 'method' | 'path' | 'body'> {
  const own = path.split('?')[0] as string
  const place = base !== '' && own.startsWith(`${base}/`) ? own.slice(base.length) : own
  return {
    method: method as UpstreamRequest['method'],
    path: place + withoutSecrets(query),
    body: body && body.length > 0 ? body : null,
  }
}

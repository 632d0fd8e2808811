const SECRETS: ReadonlySet<string> = new Set(['key', 'access_token'])

/** A client's query without what it signs with, which is for the gateway alone; all else of it goes on as it is. */
export function withoutSecrets(query: string): string {
  if (!/[?&](?:key|access_token)=|%/.test(query)) return query
  const kept = query.slice(1).split('&')
  const open = kept.filter((pair) => !SECRETS.has(nameOf(pair)))
  if (open.length === kept.length) return query
  return open.length > 0 ? `?${open.join('&')}` : ''
}

function nameOf(pair: string): string {
  const written = pair.split('=')[0] as string
  try {
    return decodeURIComponent(written)
  } catch {
    return written
  }
}

/** A client's query without what it signs with, which is for the gateway alone; all else of it goes on as it is. */
export function withoutSecrets(query: string): string {
  if (!/[?&](?:key|access_token)=/.test(query)) return query
  const kept = query
    .slice(1)
    .split('&')
    .filter((pair) => !/^(?:key|access_token)=/.test(pair))
  return kept.length > 0 ? `?${kept.join('&')}` : ''
}

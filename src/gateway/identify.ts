import type { IncomingMessage } from 'node:http'
import { type BlockList, isIP } from 'node:net'
import { GatewayError } from '../domain/errors.ts'
import type { Headers } from '../protocols/protocol.ts'
import type { Caller } from './directory.ts'
import type { Gateway } from './gateway.ts'

/** Longer is no key of ours. */
const KEY_CHARACTERS_MAX = 512

/**
 * Whose key this is, with every check that any path must make: the key exists and is active, its user may call, its
 * group may be used, the address is allowed. Throws `unauthenticated` or `forbidden`, neither worth a retry.
 */
export async function identify(gateway: Gateway, req: IncomingMessage): Promise<{ caller: Caller; clientIp: string }> {
  const clientIp = clientAddress(req.socket.remoteAddress ?? '', req.headers, gateway.trustedProxies)
  const caller = await gateway.directory.caller(presentedKey(req.headers, req.url))
  if (!caller) throw refused('unauthenticated', 'this API key is not known to the gateway')
  if (caller.key.status !== 'active') throw refused('unauthenticated', 'this API key has been revoked')
  if (caller.key.expiresAtMs !== null && caller.key.expiresAtMs <= gateway.clock()) {
    throw refused('unauthenticated', `this API key expired on ${new Date(caller.key.expiresAtMs).toISOString()}`)
  }
  if (caller.user.status !== 'active') throw refused('forbidden', 'the user of this API key is disabled')
  if (!caller.mayUseGroup)
    throw refused('forbidden', `this API key's group '${caller.group.name}' is not open to its user`)
  if (caller.deniedIps && contains(caller.deniedIps, clientIp)) {
    throw refused('forbidden', `this API key may not be used from ${clientIp}`)
  }
  if (caller.allowedIps && !contains(caller.allowedIps, clientIp)) {
    throw refused('forbidden', `this API key may not be used from ${clientIp}`)
  }
  return { caller, clientIp }
}

/** The one key of a request, from any of the places where clients put it. Throws if there is none, or two that differ. */
export function presentedKey(headers: Headers, url = ''): string {
  let key = ''
  const places = [bearerOf(headers.authorization), headers['x-api-key'], headers['x-goog-api-key'], keyInQuery(url)]
  for (const found of places) {
    if (typeof found !== 'string' || found === '') continue
    const trimmed = found.trim()
    if (key !== '' && key !== trimmed)
      throw refused('unauthenticated', 'two different API keys in one request: send one')
    key = trimmed
  }
  if (key === '') {
    throw refused('unauthenticated', 'no API key: send it as "Authorization: Bearer …" or "x-api-key: …"')
  }
  if (key.length > KEY_CHARACTERS_MAX) throw refused('unauthenticated', 'this API key is not known to the gateway')
  return key
}

const GOOGLES_PATH = /^[^?]*\/(?:models|v1[a-z]*\/(?:files|cachedContents|batches))(?:[/?]|$)/

/** Google's clients may sign in the query of its paths, and of no others. */
function keyInQuery(url: string): string | undefined {
  if (!/[?&]key=/.test(url) || !GOOGLES_PATH.test(url)) return undefined
  return new URLSearchParams(url.slice(url.indexOf('?'))).get('key') ?? undefined
}

function bearerOf(authorization: string | string[] | undefined): string | undefined {
  if (typeof authorization !== 'string' || authorization.slice(0, 7).toLowerCase() !== 'bearer ') return undefined
  return authorization.slice(7)
}

/** The socket's address, or what a trusted proxy says of it: `x-forwarded-for`, read from the right through trusted addresses only. */
export function clientAddress(socketAddress: string, headers: Headers, trusted: BlockList): string {
  let address = plainAddress(socketAddress)
  const forwarded = headers['x-forwarded-for']
  if (!forwarded) return address
  const hops = String(forwarded).split(',')
  while (hops.length > 0 && contains(trusted, address)) {
    const hop = plainAddress((hops.pop() as string).trim())
    if (isIP(hop) === 0) break // not an address: whoever wrote it is not to be believed
    address = hop
  }
  return address
}

/** Whether the other end of a connection is one of the operator's own proxies. */
export function isFromProxy(req: IncomingMessage, trusted: BlockList): boolean {
  return contains(trusted, plainAddress(req.socket.remoteAddress ?? ''))
}

/** `::ffff:10.0.0.1` as the IPv4 address that it is. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address
}

function contains(networks: BlockList, address: string): boolean {
  const family = isIP(address)
  return family !== 0 && networks.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

function refused(code: 'unauthenticated' | 'forbidden', message: string): GatewayError {
  return new GatewayError(code, message, { shouldRetry: false })
}

import { BlockList, isIP } from 'node:net'
import { GatewayError } from '../domain/errors.ts'

/** What upstream URLs may be; the part of the configuration that this folder reads. */
export interface UrlRules {
  allowlist: boolean
  /** Lower case; `*.example.com` covers subdomains. */
  upstreamHosts: readonly string[]
  insecureHttp: boolean
  privateHosts: boolean
}

/** Loopback, private, link-local (cloud metadata among them), CGNAT, multicast and reserved networks: RFC 6890 and its successors. */
const NOT_PUBLIC = new BlockList()
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  NOT_PUBLIC.addSubnet(network, bits, 'ipv4')
}
for (const [network, bits] of [
  ['::', 96], // unspecified, loopback, IPv4-compatible
  ['64:ff9b::', 96], // NAT64: any IPv4 address in disguise
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23], // protocol assignments, Teredo among them
  ['2001:db8::', 32],
  ['2002::', 16], // 6to4
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const) {
  NOT_PUBLIC.addSubnet(network, bits, 'ipv6')
}

/** True for an address that is not on the public internet. IPv4-mapped IPv6 addresses count as the IPv4 address in them. */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 0) return true // not an address at all: nothing that may be connected to
  return NOT_PUBLIC.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

/**
 * Checks an account's base URL and returns it in its normal form, without a trailing slash. Throws `invalid_request`
 * with the remedy; all settings that stand against it are named at once. Names are checked again at connect time, on the address that they resolve to.
 */
export function checkBaseUrl(text: string, rules: UrlRules): string {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw invalid(`'${text}' is not a URL`)
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw invalid(`invalid url scheme: ${url.protocol.slice(0, -1)}`)
  if (url.username || url.password) throw invalid('a URL must not hold a user name or password')
  if (url.search || url.hash) throw invalid('a base URL has no ? or # part')
  const against = objections(url, rules)
  if (against.length > 0) throw invalid(list(against, 'what', '; '), list(against, 'remedy', ' '))
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** What a setting has against a URL, and how to change the setting. */
interface Objection {
  what: string
  remedy: string
}

function objections(url: URL, rules: UrlRules): Objection[] {
  const host = hostOf(url)
  const against: Objection[] = []
  if (url.protocol === 'http:' && !rules.insecureHttp) against.push(INSECURE)
  if (!rules.privateHosts && isPrivateHost(host)) against.push(privateObjection(host))
  if (rules.allowlist && !isAllowedHost(host, rules.upstreamHosts)) {
    const remedy = `Add '${host}' to security.url_allowlist.upstream_hosts.`
    against.push({ what: `the host ${host} is not on the allowlist`, remedy })
  }
  return against
}

const INSECURE: Objection = {
  what: 'invalid url scheme: http',
  remedy: 'Set security.url_allowlist.allow_insecure_http: true to allow http: URLs.',
}

/** Literals in any of their spellings: URL has written 0x7f.1 and 2130706433 as 127.0.0.1 already. */
function isPrivateHost(host: string): boolean {
  return (isIP(host) !== 0 && isPrivateAddress(host)) || /^(?:.*\.)?localhost\.?$/.test(host)
}

function privateObjection(host: string): Objection {
  return {
    what: `${host} is a private address`,
    remedy: 'Set security.url_allowlist.allow_private_hosts: true to allow loopback and private addresses.',
  }
}

function list(against: readonly Objection[], part: keyof Objection, between: string): string {
  return against.map((objection) => objection[part]).join(between)
}

/** True if the list has the host, or a `*.` pattern that covers it. */
export function isAllowedHost(host: string, allowed: readonly string[]): boolean {
  return allowed.some((entry) => {
    const wanted = entry.toLowerCase()
    return wanted.startsWith('*.') ? host.endsWith(wanted.slice(1)) : host === wanted.replace(/^\[|\]$/g, '')
  })
}

/** The host without the brackets of an IPv6 literal. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '')
}

/** The refusal of an address that is not public. */
export function privateHost(host: string): GatewayError {
  const { what, remedy } = privateObjection(host)
  return invalid(what, remedy)
}

function invalid(what: string, hint?: string): GatewayError {
  return new GatewayError('invalid_request', `Invalid base URL: ${what}`, hint ? { hint } : {})
}

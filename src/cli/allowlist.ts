import type { Config } from '../config/load.ts'
import { GatewayError } from '../domain/errors.ts'
import { allowHosts } from '../operations/allow-host.ts'
import { checkBaseUrl, hostOf, isAllowedHost } from '../upstream/urls.ts'
import { reloadDaemon } from './admin-client.ts'
import type { Context } from './context.ts'
import { canAsk, confirm } from './prompt.ts'

/** A host that is not on the allowlist is put there if the operator says so. Throws `conflict` otherwise. */
export async function allowHostOf(context: Context, baseUrl: string, allowed: boolean | undefined): Promise<void> {
  const host = hostToAllow(context.config, baseUrl)
  if (host === null) return
  const question = `${host} is not on the allowlist of upstream hosts. Add it?`
  if (!allowed && !(canAsk(context.io) && (await confirm(context.io, question)))) {
    throw new GatewayError('conflict', `${host} is not on the allowlist of upstream hosts`, {
      hint: 'Add --allow-host to put it there (security.url_allowlist.upstream_hosts).',
    })
  }
  await allow(context, [host])
}

/** The URL's host, if the allowlist is all that stands against it; null if it is on it. Throws what else is wrong with the URL. */
export function hostToAllow({ urls }: Config, baseUrl: string): string | null {
  const host = hostOf(new URL(checkBaseUrl(baseUrl, { ...urls, allowlist: false })))
  return !urls.allowlist || isAllowedHost(host, urls.upstreamHosts) ? null : host
}

/** Puts hosts on the allowlist, also of a gateway that runs. */
export async function allow(context: Context, hosts: string[]): Promise<void> {
  const file = allowHosts(context.load(), hosts)
  context.out.say(`Added ${hosts.join(', ')} to security.url_allowlist.upstream_hosts in ${file}.`)
  const { config } = context.reload()
  if (await reloadDaemon(config)) context.out.say('The running gateway has read it.')
}

import type { Config } from '../config/load.ts'
import type { DaemonStatus } from '../server/admin.ts'
import { askDaemon } from './admin-client.ts'

export const CLIENTS = ['claude-code'] as const
export type Client = (typeof CLIENTS)[number]

/** Shell lines that point a client at the gateway. The Anthropic SDKs read the same variables as Claude Code. */
export function clientLines(client: Client, url: string, key: string): string[] {
  switch (client) {
    case 'claude-code':
      return [`export ANTHROPIC_BASE_URL=${quoted(url)}`, `export ANTHROPIC_AUTH_TOKEN=${quoted(key)}`]
  }
}

/** A call that can be pasted into a shell. */
export function curlLines(url: string, key: string): string[] {
  return [
    `curl -N ${url}/v1/messages \\`,
    `  -H 'authorization: Bearer ${key}' \\`,
    `  -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \\`,
    `  -d '{"model":"claude-sonnet-5-5","max_tokens":64,"stream":true,`,
    `       "messages":[{"role":"user","content":"hello"}]}'`,
  ]
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** Where clients of this machine reach the gateway: where it listens, or will. */
export async function gatewayUrl(config: Config): Promise<string> {
  try {
    return reachable(new URL((await askDaemon<DaemonStatus>(config, '/status')).listening))
  } catch {
    const { host, port } = config.server
    return reachable(new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}`))
  }
}

/** "All addresses" is no address to call. */
function reachable(url: URL): string {
  if (url.hostname === '0.0.0.0' || url.hostname === '[::]') url.hostname = '127.0.0.1'
  return url.origin
}

import type { Config } from '../config/load.ts'
import type { DaemonStatus } from '../server/admin.ts'
import { askDaemon } from './admin-client.ts'

export const CLIENTS = ['claude-code', 'codex', 'gemini-cli', 'openai'] as const
export type Client = (typeof CLIENTS)[number]

/**
 * Shell lines that point a client at the gateway. Anthropic's SDKs read the same variables as Claude Code, and Google's the same as Gemini
 * CLI; `openai` is for OpenAI's SDKs and whatever else reads their variables.
 */
export function clientLines(client: Client, url: string, key: string): string[] {
  switch (client) {
    case 'claude-code':
      return [exported('ANTHROPIC_BASE_URL', url), exported('ANTHROPIC_AUTH_TOKEN', key)]
    case 'codex':
      return [exported('SUBGATE_KEY', key), ...codexLines(url)]
    case 'gemini-cli':
      return [
        `# Gemini CLI also needs this in ~/.gemini/settings.json: {"security":{"auth":{"selectedType":"gemini-api-key"}}}`,
        exported('GOOGLE_GEMINI_BASE_URL', url),
        exported('GEMINI_API_KEY', key),
      ]
    case 'openai':
      return [exported('OPENAI_BASE_URL', `${url}/v1`), exported('OPENAI_API_KEY', key)]
  }
}

/** Codex takes the address of a provider from its configuration alone, or from such arguments, and none of its own can be changed well. */
function codexLines(url: string): string[] {
  const provider = { name: 'subgate', base_url: `${url}/v1`, env_key: 'SUBGATE_KEY' }
  const settings = Object.entries(provider).map(([name, value]) => `model_providers.subgate.${name}=${value}`)
  const flags = ['model_provider=subgate', ...settings].map((setting) => `-c ${quoted(setting)}`)
  return [`codex() { command codex ${flags.join(' ')} "$@"; }`]
}

function exported(name: string, value: string): string {
  return `export ${name}=${quoted(value)}`
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

import type { WantedAccount } from './gateway.ts'
import { secretKey } from './secrets.ts'

/** The services that there are, and under which log-in. */
export type AccountKind = 'anthropic' | 'openai' | 'chatgpt' | 'gemini' | 'code assist' | 'antigravity'

/** Accounts of each kind at the scripted upstream, whose address ends as the vendor's own does. */
export const ACCOUNTS: Record<AccountKind, (url: string) => WantedAccount> = {
  anthropic: (url) => ({ provider: 'anthropic', baseUrl: url }),
  openai: (url) => ({ provider: 'openai', baseUrl: `${url}/v1` }),
  chatgpt: (url) => ({ provider: 'openai', baseUrl: `${url}/backend-api/codex`, ...oauth() }),
  gemini: (url) => ({ provider: 'gemini', baseUrl: url }),
  'code assist': (url) => ({ provider: 'gemini', baseUrl: `${url}/v1internal`, ...oauth() }),
  antigravity: (url) => ({ provider: 'antigravity', baseUrl: `${url}/v1internal`, hybrid: true, ...oauth() }),
}

function oauth() {
  const accessToken = secretKey()
  return { apiKey: accessToken, oauth: { accessToken, accountId: 'project-1', expiresAtMs: null }, onlyClient: null }
}

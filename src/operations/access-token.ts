import type { OauthCredentials } from '../domain/account.ts'
import { claimsOf } from '../lib/jwt.ts'

/** Where OpenAI's tokens say what account they are for. */
const OPENAI_CLAIM = 'https://api.openai.com/auth'

/** What an access token says of itself: when it ends, and for which account it is unless `accountId` says so. */
export function oauthOf(accessToken: string, accountId: string | null): Omit<OauthCredentials, 'kind' | 'accessToken'> {
  const claims = claimsOf(accessToken)
  const { exp } = claims ?? {}
  const named = claims?.[OPENAI_CLAIM] as { chatgpt_account_id?: unknown } | null | undefined
  const claimed = typeof named?.chatgpt_account_id === 'string' ? named.chatgpt_account_id : null
  return {
    accountId: accountId ?? claimed,
    expiresAtMs: Number.isSafeInteger(exp) ? (exp as number) * 1000 : null,
  }
}

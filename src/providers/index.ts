import type { ProviderName } from '../domain/account.ts'
import { anthropic } from './anthropic/index.ts'
import { antigravity } from './antigravity/index.ts'
import { gemini } from './gemini/index.ts'
import { openai } from './openai/index.ts'
import type { Provider } from './provider.ts'

/** Every service that we can call. */
export const providers: Record<ProviderName, Provider> = {
  anthropic,
  openai,
  gemini,
  antigravity,
}

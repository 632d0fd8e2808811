import type { Provider } from '../provider.ts'
import { CODEX_BACKEND_URL, isCodexBackend } from './codex-backend.ts'
import { openaiFault, openaiStreamFault } from './faults.ts'
import { openaiModels } from './models.ts'
import { openaiRequest } from './request.ts'
import { openaiWindows } from './windows.ts'

/** OpenAI's API and whatever speaks like it at another base URL; and, for a ChatGPT login, ChatGPT's backend for Codex. */
export const openai: Provider = {
  name: 'openai',
  title: 'OpenAI',
  defaultBaseUrl: 'https://api.openai.com/v1',
  oauthBaseUrl: CODEX_BACKEND_URL,
  loginClient: 'codex',
  environment: { apiKey: 'OPENAI_API_KEY', baseUrl: 'OPENAI_BASE_URL' },
  defaultModels: [
    'gpt-*',
    'chatgpt-*',
    'codex-*',
    'o1*',
    'o3*',
    'o4*',
    'computer-use-*',
    'davinci-*',
    'babbage-*',
    'text-embedding-*',
    '*-moderation-*',
    'whisper-*',
    'tts-*',
    'dall-e-*',
    'sora-*',
  ],
  speaks: (account) => (isCodexBackend(account) ? ['openai-responses'] : ['openai-responses', 'openai-chat']),
  signedBy: () => 'openai',
  alwaysStreams: isCodexBackend,
  request: openaiRequest,
  readFault: openaiFault,
  readStreamFault: openaiStreamFault,
  windowNames: ['5h', '7d', 'requests', 'tokens'],
  readWindows: openaiWindows,
  readModels: openaiModels,
  requestIdHeader: 'x-request-id',
}

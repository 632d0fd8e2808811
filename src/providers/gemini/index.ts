import { CODE_ASSIST_URL, codeAssistUnwrap, isCodeAssist } from '../google/envelope.ts'
import { googleFault, googleStreamFault } from '../google/faults.ts'
import { projectIn } from '../google/project.ts'
import type { Provider } from '../provider.ts'
import { codeAssistWindows, geminiModels } from './models.ts'
import { geminiRequest } from './request.ts'

/** Google's Gemini API with a key of AI Studio; and, for a Google login, Code Assist, which Gemini CLI calls then. */
export const gemini: Provider = {
  name: 'gemini',
  title: 'Google Gemini',
  defaultBaseUrl: 'https://generativelanguage.googleapis.com',
  oauthBaseUrl: CODE_ASSIST_URL,
  loginClient: 'gemini-cli',
  environment: { apiKey: 'GEMINI_API_KEY', baseUrl: 'GOOGLE_GEMINI_BASE_URL' },
  defaultModels: ['gemini-*', 'gemma-*', 'text-embedding-00*', 'imagen-*', 'veo-*', 'learnlm-*'],
  speaks: () => ['gemini'],
  signedBy: () => 'gemini',
  request: geminiRequest,
  unwrap: (account, stream) => (isCodeAssist(account) ? codeAssistUnwrap(stream) : null),
  readFault: googleFault,
  readStreamFault: googleStreamFault,
  windowNames: [], // a login is told of its models'
  readWindows: () => [],
  readModels: geminiModels,
  readListedWindows: codeAssistWindows,
  readAccountId: projectIn,
  requestIdHeader: 'x-goog-request-id',
}

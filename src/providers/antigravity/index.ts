import { CODE_ASSIST_URL, codeAssistUnwrap } from '../google/envelope.ts'
import { googleFault, googleStreamFault } from '../google/faults.ts'
import { projectIn } from '../google/project.ts'
import type { Provider } from '../provider.ts'
import { isClaude } from './fitted.ts'
import { antigravityModels, antigravityWindows } from './models.ts'
import { antigravityRequest } from './request.ts'

/** Google's Antigravity: Gemini and Claude models, both in Gemini's format within an envelope. */
export const antigravity: Provider = {
  name: 'antigravity',
  title: 'Google Antigravity',
  defaultBaseUrl: CODE_ASSIST_URL,
  oauthBaseUrl: CODE_ASSIST_URL,
  loginClient: null,
  environment: null,
  defaultModels: ['gemini-*', 'claude-*'],
  hasOwnPath: true,
  speaks: () => ['gemini'],
  signedBy: (model) => (isClaude(model) ? 'antigravity' : 'gemini'),
  request: antigravityRequest,
  unwrap: (_account, stream) => codeAssistUnwrap(stream),
  readFault: googleFault,
  readStreamFault: googleStreamFault,
  windowNames: [], // each account is told of its models'
  readWindows: () => [],
  readModels: antigravityModels,
  readListedWindows: antigravityWindows,
  readAccountId: projectIn,
  requestIdHeader: 'x-goog-request-id',
}

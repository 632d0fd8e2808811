import type { Provider } from '../provider.ts'
import { anthropicFault, anthropicStreamFault } from './faults.ts'
import { anthropicRequest } from './request.ts'
import { anthropicWindows } from './windows.ts'

export const anthropic: Provider = {
  name: 'anthropic',
  title: 'Anthropic',
  defaultBaseUrl: 'https://api.anthropic.com',
  oauthBaseUrl: null,
  loginClient: 'claude-code',
  environment: { apiKey: 'ANTHROPIC_API_KEY', baseUrl: 'ANTHROPIC_BASE_URL' },
  defaultModels: ['claude-*'],
  speaks: () => ['anthropic-messages'],
  signedBy: () => 'anthropic',
  request: anthropicRequest,
  readFault: anthropicFault,
  readStreamFault: anthropicStreamFault,
  windowNames: ['5h', '7d', '7d_opus', '7d_sonnet', '7d_oi', 'requests', 'tokens', 'input_tokens', 'output_tokens'],
  readWindows: anthropicWindows,
  readModels(body) {
    const { data } = JSON.parse(body.toString('utf8')) as {
      data: { id: string; display_name?: string; created_at?: string }[]
    }
    return data.map((model) => ({
      id: String(model.id),
      displayName: model.display_name ?? null,
      createdAt: model.created_at ?? null,
    }))
  },
  requestIdHeader: 'request-id',
}

import type { ProviderSamples } from '../../contract/provider.ts'
import { keepSecret } from '../../support/secrets.ts'
import { googleError, googleFaults, googleStreamFaults } from '../gemini/samples.ts'

const CLAUDES = JSON.stringify({
  type: 'error',
  error: { type: 'invalid_request_error', message: 'Invalid `signature` in `thinking` block' },
})

export const antigravitySamples: ProviderSamples = {
  asked: (operation) => ({
    path: `/v1beta/models/claude-opus-5-5:${operation === 'count_tokens' ? 'countTokens' : 'generateContent'}`,
  }),
  credentials: {
    kind: 'oauth',
    accessToken: keepSecret(`ya29.${Math.random()}`),
    accountId: 'a-project',
    expiresAtMs: null,
  },
  enveloped: true,
  withoutQuery: ['models', 'count_tokens'],
  operations: {
    messages: { method: 'POST', path: ':generateContent' },
    count_tokens: { method: 'POST', path: ':countTokens' },
    models: { method: 'POST', path: ':fetchAvailableModels' },
  },
  forwarded: {
    'x-goog-api-client': 'google-genai-sdk/1.30.0 gl-node/v26.10.0',
    accept: '*/*',
  },
  signature: (accessToken) => ['authorization', `Bearer ${accessToken}`],
  faults: [
    ...googleFaults,
    {
      name: 'an error of Claude’s in Google’s',
      status: 400,
      body: googleError(400, 'INVALID_ARGUMENT', CLAUDES),
      expected: { blame: 'request', rest: null, message: 'Invalid `signature` in `thinking` block' },
    },
  ],
  streamFaults: googleStreamFaults,
  windows: [{ name: 'heads tell of none', headers: { 'x-ratelimit-limit': '1' }, expected: [] }],
  models: {
    body: JSON.stringify({
      models: {
        'gemini-3.1-pro-high': { displayName: 'Gemini 3.1 Pro (High)', quotaInfo: { remainingFraction: 1 } },
        'claude-opus-5-5': { quotaInfo: {} },
        'claude-sonnet-4': {},
      },
      deprecatedModelIds: { 'claude-sonnet-4': { newModelId: 'claude-opus-5-5' } },
    }),
    ids: ['gemini-3.1-pro-high', 'claude-opus-5-5'],
  },
}

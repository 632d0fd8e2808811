import type { IncomingHttpHeaders } from 'node:http'

const ANTHROPIC_MODELS = ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5']
const OPENAI_MODELS = ['gpt-6.1-sol', 'gpt-5.5']
const GEMINI_MODELS = ['gemini-3.1-pro-preview', 'gemini-3.8-flash']

/** What vendors answer where nobody asks for a message: counts of tokens, lists of models, who an account is. */
export function otherAnswer(path: string, headers: IncomingHttpHeaders, bodyBytes: number): unknown {
  const tokens = Math.ceil(bodyBytes / 4)
  if (path.includes('/count_tokens')) return { input_tokens: tokens }
  if (path.includes('/input_tokens')) return { object: 'response.input_tokens', input_tokens: tokens }
  if (path.includes(':countTokens')) return { totalTokens: tokens }
  if (path.includes(':embedContent')) return { embedding: { values: [0.25, -0.5] } }
  if (path.includes('/embeddings')) {
    const usage = { prompt_tokens: tokens, total_tokens: tokens }
    return { object: 'list', data: [{ object: 'embedding', index: 0, embedding: [0.25, -0.5] }], model: 'fake', usage }
  }
  if (path.includes(':loadCodeAssist')) {
    return { currentTier: { id: 'standard-tier' }, cloudaicompanionProject: 'fake-project' }
  }
  if (path.includes(':retrieveUserQuota')) {
    return {
      buckets: GEMINI_MODELS.map((modelId) => ({
        modelId,
        remainingFraction: 0.75,
        resetTime: '2026-12-01T00:00:00Z',
      })),
    }
  }
  if (path.includes(':fetchAvailableModels')) {
    const quotaInfo = { remainingFraction: 0.75, resetTime: '2026-12-01T00:00:00Z' }
    const models = [...GEMINI_MODELS, 'claude-opus-5-5'].map((id) => [id, { quotaInfo, displayName: id }])
    return { models: Object.fromEntries(models) }
  }
  if (headers['anthropic-version'] !== undefined) {
    const data = ANTHROPIC_MODELS.map((id) => ({
      type: 'model',
      id,
      display_name: id,
      created_at: '2026-10-07T00:00:00Z',
    }))
    return { data, has_more: false }
  }
  if (headers['x-goog-api-key'] !== undefined) {
    return {
      models: GEMINI_MODELS.map((id) => ({
        name: `models/${id}`,
        displayName: id,
        supportedGenerationMethods: ['generateContent', 'countTokens'],
      })),
    }
  }
  return {
    object: 'list',
    data: OPENAI_MODELS.map((id) => ({ id, object: 'model', created: 1790000000, owned_by: 'openai' })),
  }
}

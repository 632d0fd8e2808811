import type { NeutralRequest } from '../../src/protocols/neutral.ts'

/** The least that a client says. */
export const PLAIN_REQUEST: NeutralRequest = {
  model: 'm',
  stream: true,
  system: [],
  turns: [{ role: 'user', content: [{ kind: 'text', text: 'hi' }] }],
  tools: [],
  toolChoice: null,
  parallelToolCalls: null,
  maxOutputTokens: null,
  temperature: null,
  topP: null,
  topK: null,
  seed: null,
  stopSequences: [],
  reasoning: null,
  outputFormat: null,
  verbosity: null,
  cacheKey: null,
  caching: 'implicit',
}

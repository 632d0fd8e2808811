import t from 'tap'
import { isGatewayError } from '../../src/domain/errors.ts'
import { looksLikeLiteLlm, readLiteLlm } from '../../src/pricing/litellm.ts'

const read = (document: Record<string, unknown>) => readLiteLlm(document, 7, 'a list')

t.test('prices per token are read to the last pico-USD, with their long tier', async (t) => {
  const { rows, skipped } = read({
    'claude-x': {
      litellm_provider: 'anthropic',
      input_cost_per_token: 3e-6,
      output_cost_per_token: 1.5e-5,
      cache_read_input_token_cost: 3e-7,
      cache_creation_input_token_cost: 3.75e-6,
      cache_creation_input_token_cost_above_1hr: 6e-6,
      input_cost_per_token_above_200k_tokens: 6e-6,
      output_cost_per_token_above_200k_tokens: 2.25e-5,
    },
    'gemini/gemini-x': { litellm_provider: 'gemini', input_cost_per_token: 1.875e-8, output_cost_per_token: 7.5e-8 },
  })
  const none = { input: null, output: null, cacheRead: null, cacheWrite5m: null, cacheWrite1h: null }
  t.same(rows, [
    {
      provider: 'anthropic',
      model: 'claude-x',
      effectiveFromMs: 7,
      base: { input: 3e6, output: 15e6, cacheRead: 3e5, cacheWrite5m: 3.75e6, cacheWrite1h: 6e6 },
      long: { abovePromptTokens: 200_000, rates: { ...none, input: 6e6, output: 22.5e6 } },
      source: 'a list',
    },
    {
      provider: 'gemini',
      model: 'gemini-x',
      effectiveFromMs: 7,
      base: { ...none, input: 18_750, output: 75_000 },
      long: null,
      source: 'a list',
    },
  ])
  t.equal(skipped, 0)
})

t.test('what is not ours to price is skipped, whatever it says', async (t) => {
  const { rows, skipped } = read({
    'bedrock/claude-x': { litellm_provider: 'bedrock', input_cost_per_token: 1e-15 },
    image: { litellm_provider: 'openai', input_cost_per_pixel: 1e-8 },
    words: { litellm_provider: 'openai', input_cost_per_token: '3e-6' },
    hostile: { litellm_provider: '__proto__', input_cost_per_token: 1e-6 },
    another: { litellm_provider: 'constructor', input_cost_per_token: 1e-6 },
    nothing: null,
    text: 'x',
  })
  t.same(rows, [])
  t.equal(skipped, 7)
})

t.test('a model that is listed twice has the price of its plain name', async (t) => {
  const plain = { litellm_provider: 'openai', input_cost_per_token: 1e-6 }
  const prefixed = { litellm_provider: 'openai', input_cost_per_token: 2e-6 }
  for (const document of [
    { 'gpt-x': plain, 'openai/gpt-x': prefixed },
    { 'openai/gpt-x': prefixed, 'gpt-x': plain },
  ]) {
    const { rows, skipped } = read(document)
    t.match(rows, [{ model: 'gpt-x', base: { input: 1e6 } }])
    t.same([rows.length, skipped], [1, 1])
  }
})

t.test('a price that cannot be kept exactly is refused', async (t) => {
  for (const price of [1e-13, -1e-6, 1.0000001e-6]) {
    try {
      read({ 'gpt-x': { litellm_provider: 'openai', input_cost_per_token: price } })
      t.fail(`${price} was taken`)
    } catch (error) {
      t.ok(isGatewayError(error, 'invalid_request') && error.message.startsWith('gpt-x: '))
    }
  }
})

t.test('its form is told from ours', async (t) => {
  t.ok(looksLikeLiteLlm({ a: { litellm_provider: 'openai' }, b: null }))
  const others = [null, [], 'x', {}, { anthropic: [{ model: 'a' }] }, [{ litellm_provider: 'openai' }]]
  t.same(others.filter(looksLikeLiteLlm), [])
})

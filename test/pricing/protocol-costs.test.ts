import t from 'tap'
import type { ProtocolName } from '../../src/domain/call.ts'
import { NO_USAGE, type Usage } from '../../src/domain/usage.ts'
import { costOf } from '../../src/pricing/cost.ts'
import { builtInPrices } from '../../src/pricing/open.ts'
import { priceList } from '../../src/pricing/price-list.ts'
import { protocols } from '../../src/protocols/index.ts'

const AT_MS = Date.UTC(2026, 10, 27)
const ONE = 1_000_000

interface Example {
  protocol: ProtocolName
  provider: string
  model: string
  answer: object
  usage: Partial<Usage>
  /** By hand, from the price list: $1 per million tokens is 1,000 nano-USD a token. */
  costNanoUsd: number
}

const EXAMPLES: Example[] = [
  {
    protocol: 'anthropic-messages',
    provider: 'anthropic',
    model: 'claude-opus-5-5',
    answer: {
      type: 'message',
      model: 'claude-opus-5-5',
      content: [],
      stop_reason: 'end_turn',
      usage: {
        ...{ input_tokens: 1000, cache_read_input_tokens: 5000, cache_creation_input_tokens: 300, output_tokens: 400 },
        cache_creation: { ephemeral_5m_input_tokens: 200, ephemeral_1h_input_tokens: 100 },
        output_tokens_details: { thinking_tokens: 150 },
      },
    },
    usage: {
      ...{ inputTokens: 1000, cacheReadTokens: 5000, cacheWrite5mTokens: 200, cacheWrite1hTokens: 100 },
      ...{ outputTokens: 400, reasoningTokens: 150 },
    },
    // 1000 × 4000 + 5000 × 200 + 200 × 5000 + 100 × 8000 + 400 × 20,000; thoughts are inside of the output
    costNanoUsd: 14_800_000,
  },
  {
    protocol: 'openai-responses',
    provider: 'openai',
    model: 'gpt-6.1-sol',
    answer: {
      object: 'response',
      status: 'completed',
      model: 'gpt-6.1-sol',
      output: [],
      usage: {
        ...{ input_tokens: 10_000, output_tokens: 500, total_tokens: 10_500 },
        input_tokens_details: { cached_tokens: 6000, cache_write_tokens: 1000 },
        output_tokens_details: { reasoning_tokens: 300 },
      },
    },
    usage: {
      ...{
        inputTokens: 3000,
        cacheReadTokens: 6000,
        cacheWrite5mTokens: 1000,
        outputTokens: 500,
        reasoningTokens: 300,
      },
    },
    // 3000 × 2000 + 6000 × 100 + 1000 × 2500 + 500 × 10,000; read and written tokens are inside of the input
    costNanoUsd: 14_100_000,
  },
  {
    protocol: 'openai-chat',
    provider: 'openai',
    model: 'gpt-5.5',
    answer: {
      object: 'chat.completion',
      model: 'gpt-5.5',
      choices: [{ index: 0, message: {}, finish_reason: 'stop' }],
      usage: {
        ...{ prompt_tokens: 300_000, completion_tokens: 1000, total_tokens: 301_000 },
        prompt_tokens_details: { cached_tokens: 100_000 },
        completion_tokens_details: { reasoning_tokens: 0 },
      },
    },
    usage: { inputTokens: 200_000, cacheReadTokens: 100_000, outputTokens: 1000 },
    // The tier above 272,000: 200,000 × 10,000 + 100,000 × 1000 + 1000 × 45,000
    costNanoUsd: 2_145_000_000,
  },
  {
    protocol: 'gemini',
    provider: 'gemini',
    model: 'gemini-2.5-flash',
    answer: {
      candidates: [{ content: { parts: [{ text: 'hi' }] }, finishReason: 'STOP' }],
      modelVersion: 'gemini-2.5-flash',
      usageMetadata: {
        ...{ promptTokenCount: 1000, cachedContentTokenCount: 400, toolUsePromptTokenCount: 50 },
        ...{ candidatesTokenCount: 200, thoughtsTokenCount: 100, totalTokenCount: 1350 },
      },
    },
    usage: { inputTokens: 650, cacheReadTokens: 400, outputTokens: 300, reasoningTokens: 100 },
    // (1000 − 400 + 50) × 300 + 400 × 30 + (200 + 100) × 2500; thoughts are beside the candidates
    costNanoUsd: 957_000,
  },
]

t.test('what each format reports lands in its column, and costs what a person works out', async (t) => {
  const prices = priceList(builtInPrices(), [])
  for (const { protocol, provider, model, answer, usage, costNanoUsd } of EXAMPLES) {
    const meter = protocols[protocol].usageMeter(false)
    meter.read(Buffer.from(JSON.stringify(answer)))
    meter.end()
    t.same(meter.reading.usage, { ...NO_USAGE, ...usage }, protocol)
    const price = prices.find(provider, model, AT_MS)
    t.same(
      costOf(meter.reading.usage, price, ONE),
      { costNanoUsd, chargedNanoUsd: costNanoUsd, priceState: 'known' },
      protocol,
    )
  }
})

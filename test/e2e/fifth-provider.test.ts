import t from 'tap'
import type { ProviderName } from '../../src/domain/account.ts'
import type { ProtocolName } from '../../src/domain/call.ts'
import { protocols } from '../../src/protocols/index.ts'
import { providers } from '../../src/providers/index.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { madeUp } from '../fixtures/made-up-provider/index.ts'
import { startGateway } from '../support/gateway.ts'

const MODEL = 'made-1'
const HI = [{ role: 'user', content: 'say hi' }]

const CLIENTS: Record<ProtocolName, { path: string; body: object }> = {
  'anthropic-messages': { path: '/v1/messages', body: { model: MODEL, max_tokens: 9, stream: true, messages: HI } },
  'openai-responses': { path: '/v1/responses', body: { model: MODEL, stream: true, store: false, input: 'say hi' } },
  'openai-chat': {
    path: '/v1/chat/completions',
    body: { model: MODEL, stream: true, messages: HI, stream_options: { include_usage: true } },
  },
  gemini: {
    path: `/v1beta/models/${MODEL}:streamGenerateContent?alt=sse`,
    body: { contents: [{ role: 'user', parts: [{ text: 'say hi' }] }] },
  },
}

t.test('a service more is one folder and its line in the list: then every client is served by it', async (t) => {
  const list = providers as Record<string, Provider>
  list.madeup = madeUp
  t.teardown(() => delete list.madeup)
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({ accounts: [{ provider: 'madeup' as ProviderName, baseUrl: `${site.upstream.url}/v1` }] }),
  })
  gw.upstream.always({ text: ['Hel', 'lo'], usage: { input: 7, output: 3 } })
  for (const [name, { path, body }] of Object.entries(CLIENTS) as [ProtocolName, { path: string; body: object }][]) {
    const answer = await gw.call({ key: gw.scenes.key, path, body })
    const meter = protocols[name].usageMeter(true)
    meter.read(answer.body)
    meter.end()
    t.match(answer, { status: 200, text: /Hel/ }, name)
    t.match(meter.reading, { ended: 'complete', usage: { inputTokens: 7, outputTokens: 3 } }, name)
    t.equal(gw.upstream.seen.at(-1)?.path, '/v1/chat/completions')
  }
  const rows = await gw.settled()
  t.same(
    rows.map(({ provider, outcome }) => `${provider} ${outcome}`),
    Array(4).fill('madeup complete'),
  )
})

import t from 'tap'
import type { ProviderName } from '../../src/domain/account.ts'
import type { ProtocolName } from '../../src/domain/call.ts'
import { protocols } from '../../src/protocols/index.ts'
import { startGateway, type WantedAccount } from '../support/gateway.ts'
import { secretKey } from '../support/secrets.ts'

const MODEL = 'some-model'

/** How a client of each format asks, for a stream or not. */
const CLIENTS: Record<ProtocolName, (stream: boolean) => { path: string; body: object }> = {
  'anthropic-messages': (stream) => ({
    path: '/v1/messages',
    body: {
      model: MODEL,
      max_tokens: 99,
      stream,
      messages: [{ role: 'user', content: 'say hi' }],
      tools: [{ name: 'look', input_schema: { type: 'object' } }],
    },
  }),
  'openai-responses': (stream) => ({
    path: '/v1/responses',
    body: {
      model: MODEL,
      stream,
      input: 'say hi',
      store: false,
      tools: [{ type: 'function', name: 'look', parameters: { type: 'object' } }],
    },
  }),
  'openai-chat': (stream) => ({
    path: '/chat/completions',
    body: {
      ...{ model: MODEL, stream, messages: [{ role: 'user', content: 'say hi' }] },
      ...(stream && { stream_options: { include_usage: true } }),
      tools: [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }],
    },
  }),
  gemini: (stream) => ({
    path: `/v1beta/models/${MODEL}:${stream ? 'streamGenerateContent?alt=sse' : 'generateContent'}`,
    body: {
      contents: [{ role: 'user', parts: [{ text: 'say hi' }] }],
      tools: [{ functionDeclarations: [{ name: 'look', parametersJsonSchema: { type: 'object' } }] }],
    },
  }),
}

/** Accounts of each kind at the scripted upstream, whose address ends as the vendor's own does. */
const ACCOUNTS: Record<string, (url: string) => WantedAccount & { provider: ProviderName }> = {
  anthropic: (url) => ({ provider: 'anthropic', baseUrl: url }),
  openai: (url) => ({ provider: 'openai', baseUrl: `${url}/v1` }),
  chatgpt: (url) => ({ provider: 'openai', baseUrl: `${url}/backend-api/codex`, ...oauth() }),
  gemini: (url) => ({ provider: 'gemini', baseUrl: url }),
  'code assist': (url) => ({ provider: 'gemini', baseUrl: `${url}/v1internal`, ...oauth() }),
  antigravity: (url) => ({ provider: 'antigravity', baseUrl: `${url}/v1internal`, hybrid: true, ...oauth() }),
}

function oauth() {
  const accessToken = secretKey()
  return { apiKey: accessToken, oauth: { accessToken, accountId: 'project-1', expiresAtMs: null }, onlyClient: null }
}

const USAGE = { input: 40, output: 30, cacheRead: 8 }
const names = Object.keys(CLIENTS) as ProtocolName[]

t.test('every client is answered by every kind of account: words, a call, usage, and an end of its own', async (t) => {
  const gw = await startGateway(t, {
    async setUp(site) {
      const scenes = []
      for (const [kind, account] of Object.entries(ACCOUNTS)) {
        for (const name of names) {
          for (const stream of [true, false]) {
            const wanted = { ...account(site.upstream.url), models: ['*'] }
            const script = {
              text: ['Hel', 'lo'],
              toolUse: { id: 'call_1', name: 'look', input: { at: 1 } },
              usage: USAGE,
            }
            scenes.push({
              kind,
              name,
              stream,
              scene: await site.scene({ accounts: [{ ...wanted, scripts: [script] }] }),
            })
          }
        }
      }
      return scenes
    },
  })
  for (const { kind, name, stream, scene } of gw.scenes) {
    const what = `${name} at ${kind}, ${stream ? 'stream' : 'whole'}`
    const { path, body } = CLIENTS[name](stream)
    const answer = await gw.call({ key: scene.key, path, body })
    t.equal(answer.status, 200, `${what}: ${answer.status === 200 ? '' : answer.text}`)
    const meter = protocols[name].usageMeter(stream)
    meter.read(answer.body)
    meter.end()
    const { ended, usage, reportedModel } = meter.reading
    t.match(
      { ended, reportedModel, ended2: answer.ended },
      { ended: 'complete', reportedModel: MODEL, ended2: 'whole' },
      what,
    )
    t.match(usage, { inputTokens: 40, cacheReadTokens: 8, outputTokens: 30 }, `${what}: usage`)
    t.match(answer.text, /Hel/, `${what}: words`)
    t.match(answer.text, /look/, `${what}: the call`)
    t.match(answer.text, /at\\?\\?\\?":\s?1/, `${what}: its arguments`)
    const [row] = (await gw.settled()).filter(({ userId }) => userId === scene.user.id)
    t.match(
      row,
      { outcome: 'complete', protocol: name, usage: { inputTokens: 40, cacheReadTokens: 8, outputTokens: 30 } },
      `${what}: its row`,
    )
  }
})

import t from 'tap'
import type { ProviderName } from '../../src/domain/account.ts'
import type { ProtocolName } from '../../src/domain/call.ts'
import { census } from '../protocols/census.ts'
import { startGateway } from '../support/gateway.ts'
import { protocolRequest, RECORDED_CLIENTS, recordedRequests } from '../support/recordings.ts'

const NATIVE: Record<ProtocolName, ProviderName> = {
  'anthropic-messages': 'anthropic',
  'openai-responses': 'openai',
  'openai-chat': 'openai',
  gemini: 'gemini',
}
const PROVIDERS = ['anthropic', 'openai', 'gemini'] as const
/** Of a chat stream the gateway asks for the usage; nothing else is added to a native request. */
const ASKED_BESIDES = ',"stream_options":{"include_usage":true}'

/** Headers that are the connection's or the credential's, and those that a provider's page of this project names. */
const OWN_HEADERS = new Set([
  'host',
  'connection',
  'content-length',
  'accept-encoding',
  'transfer-encoding',
  'authorization',
  'x-api-key',
  'x-goog-api-key',
])

t.test(
  'what real clients sent goes through the gateway: native requests byte for byte, others without a loss',
  async (t) => {
    const gw = await startGateway(t, {
      async setUp(site) {
        const scenes = new Map<ProviderName, Awaited<ReturnType<typeof site.scene>>>()
        for (const provider of PROVIDERS) {
          const baseUrl = provider === 'openai' ? `${site.upstream.url}/v1` : site.upstream.url
          scenes.set(provider, await site.scene({ accounts: [{ provider, baseUrl, models: ['*'] }] }))
        }
        return scenes
      },
    })
    const seenKinds = new Set<string>()
    for (const client of RECORDED_CLIENTS) {
      for (const recorded of recordedRequests(client)) {
        const { protocol, path, body } = protocolRequest(recorded)
        if (/count_tokens|countTokens|\/models\??$|compact|embed/.test(path)) continue
        const { texts: said, ...counts } = census(JSON.parse(body.toString()))
        for (const provider of PROVIDERS) {
          const where = `${client} ${recorded.recordings[0]} → ${provider}`
          const isNative = provider === NATIVE[protocol]
          const scene = gw.scenes.get(provider)
          const before = gw.upstream.seen.length
          const headers = Object.fromEntries(
            Object.entries(recorded.headers).filter(([name]) => !OWN_HEADERS.has(name.toLowerCase())),
          )
          const answer = await gw.call({ key: scene?.key ?? '', path, headers, body })
          t.equal(answer.status, 200, `${where}: ${answer.status === 200 ? '' : answer.text}`)
          const sent = gw.upstream.seen[before]
          if (isNative) {
            const asked = body.includes(ASKED_BESIDES) ? '' : ASKED_BESIDES
            t.equal(sent?.body.replace(asked, ''), body.toString(), `${where}: the same bytes`)
            seenKinds.add(`${protocol} native`)
            continue
          }
          const { texts, ...arrived } = census(JSON.parse(sent?.body ?? '{}'))
          t.same(arrived, counts, `${where}: tools, messages and images`)
          t.same(
            said.filter((words) => !texts.some((text) => text.includes(words))),
            [],
            `${where}: words`,
          )
          seenKinds.add(`${protocol} to ${provider}`)
        }
      }
    }
    t.equal(seenKinds.size, 12, [...seenKinds].join(', '))
    t.equal((await gw.settled()).filter(({ outcome }) => outcome !== 'complete').length, 0)
  },
)

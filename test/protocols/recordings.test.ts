import t from 'tap'
import type { ProtocolName } from '../../src/domain/call.ts'
import { protocols } from '../../src/protocols/index.ts'
import { protocolRequest, RECORDED_CLIENTS, type RecordedClient, recordedRequests } from '../support/recordings.ts'
import { census } from './census.ts'
import { CODEC_SAMPLES } from './codec-samples.ts'

const FORMATS = Object.keys(CODEC_SAMPLES) as ProtocolName[]

/** What each client says that one of the other formats cannot: all of it, and nothing else. */
const DROPPED: Record<RecordedClient, { always: string[] } & Partial<Record<ProtocolName, string[]>>> = {
  'claude-code': {
    always: ['cache_control', 'context_management', 'diagnostics', 'metadata', 'reasoning', 'safeguards'],
  },
  codex: {
    always: [
      ...['client_metadata', 'input.internal_chat_message_metadata_passthrough', 'input.tools.description'],
      ...['reasoning', 'reasoning.context', 'tools.description'],
    ],
    'anthropic-messages': ['prompt_cache_key', 'verbosity'],
    gemini: ['parallel_tool_calls', 'prompt_cache_key', 'verbosity'],
  },
  'gemini-cli': {
    always: ['reasoning', 'sessionId', 'top_k'],
    'anthropic-messages': ['temperature', 'top_p'],
  },
  sdks: { always: [] },
}

for (const client of RECORDED_CLIENTS) {
  t.test(`${client}: each request is routed by what it says`, async (t) => {
    for (const recorded of recordedRequests(client)) {
      const { recordings, url, headers, body } = recorded
      const request = protocolRequest(recorded)
      const facts = protocols[request.protocol].parse(headers, request.body, request.path)
      const { model = /models\/([^:]+)/.exec(request.path)?.[1], stream = /:stream.*alt=sse/.test(url) } = body
      t.match(facts, { requestedModel: model, stream }, `${recordings[0]} ${url}`)
      t.type(facts.conversation()?.name, 'string', `${recordings[0]} ${url}: conversation`)
    }
  })

  t.test(`${client}: nothing of a conversation is lost on its way to another vendor`, async (t) => {
    const dropped: Record<string, Set<string>> = {}
    for (const recorded of recordedRequests(client)) {
      const { protocol, path, body } = protocolRequest(recorded)
      const decoded = CODEC_SAMPLES[protocol].codec.decodeRequest(body, path)
      const { texts: said, ...counts } = census(JSON.parse(body.toString()))
      for (const upstream of FORMATS.filter((format) => format !== protocol)) {
        const { codec, says } = CODEC_SAMPLES[upstream]
        const encoded = codec.encodeRequest(decoded.request, { model: 'a-model', vendor: says.vendor })
        const { texts, ...sent } = census(JSON.parse(encoded.body.toString()))
        const where = `${recorded.recordings[0]} ${recorded.url} → ${upstream}`
        t.same(sent, counts, where)
        const lost = said.filter((words) => !texts.some((text) => text.includes(words)))
        t.same(lost, [], `${where}: words`)
        dropped[upstream] ??= new Set()
        for (const name of [...decoded.dropped, ...encoded.dropped]) dropped[upstream].add(name)
      }
    }
    const { always, ...more } = DROPPED[client]
    for (const [upstream, names] of Object.entries(dropped)) {
      t.same(
        [...names].sort(),
        [...always, ...(more[upstream as ProtocolName] ?? [])].sort(),
        `dropped for ${upstream}`,
      )
    }
  })
}

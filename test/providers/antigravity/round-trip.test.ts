import { readFileSync } from 'node:fs'
import t from 'tap'
import { FakeUpstream } from '../../../src/demo/fake-upstream.ts'
import type { Account, Credentials } from '../../../src/domain/account.ts'
import { messagesCodec } from '../../../src/protocols/anthropic-messages/codec.ts'
import { geminiCodec } from '../../../src/protocols/gemini/codec.ts'
import { gemini } from '../../../src/protocols/gemini/index.ts'
import { SseSplitter } from '../../../src/protocols/sse.ts'
import { antigravity } from '../../../src/providers/antigravity/index.ts'
import { keepSecret } from '../../support/secrets.ts'

const recorded = JSON.parse(
  readFileSync(new URL('../../fixtures/claude-requests.json', import.meta.url), 'utf8'),
) as Record<'tool', { url: string; body: object }[]>

t.test('a tool turn of Claude Code’s goes to Claude at Antigravity and its answer comes back', async (t) => {
  await using upstream = await FakeUpstream.start()
  upstream.next({ text: ['I ', 'look.'], toolUse: { id: 'fc-1', name: 'Bash', input: { command: 'ls' } } })
  const { url, body } = recorded.tool.at(-1) as { url: string; body: object }
  const { request, asked } = messagesCodec.decodeRequest(Buffer.from(JSON.stringify(body)), url)
  const model = 'claude-opus-5-5'
  const encoded = geminiCodec.encodeRequest(request, { model, vendor: antigravity.signedBy(model) })

  const account = { baseUrl: `${upstream.url}/v1internal`, headers: {} } as unknown as Account
  const accessToken = keepSecret(`ya29.${Math.random()}`)
  const login: Credentials = { kind: 'oauth', accessToken, accountId: 'a-project', expiresAtMs: null }
  const forwarded = { headers: {}, query: '?beta=true', model, stream: true, callId: 'call_1' }
  const {
    baseUrl,
    path,
    headers,
    body: sent,
  } = antigravity.request('messages', forwarded, account, login, encoded.body)
  const pairs = Array.from(
    { length: headers.length / 2 },
    (_, i) => headers.slice(2 * i, 2 * i + 2) as [string, string],
  )
  const response = await fetch(baseUrl + path, { method: 'POST', headers: pairs, body: new Uint8Array(sent as Buffer) })

  const splitter = new SseSplitter()
  const unwrap = antigravity.unwrap?.(account, true) as (bytes: Buffer) => Buffer
  const meter = gemini.usageMeter(true)
  const decoder = geminiCodec.decodeStream(encoded.names)
  const encoder = messagesCodec.encodeStream({ model: request.model, asked, nowMs: 0, newId: (prefix) => `${prefix}1` })
  const written: string[] = []
  for await (const piece of response.body as AsyncIterable<Uint8Array>) {
    const events = splitter.push(Buffer.from(piece))
    if (!events) continue
    const unwrapped = unwrap(events)
    meter.read(unwrapped)
    for (const event of decoder.push(unwrapped)) written.push(encoder.push(event))
  }
  for (const event of decoder.end()) written.push(encoder.push(event))

  t.match(JSON.parse(upstream.seen[0]?.body ?? '').request.contents.slice(-2), [
    { role: 'model', parts: [{ functionCall: { name: 'Bash' } }] },
    { role: 'user', parts: [{ functionResponse: { name: 'Bash', response: { output: /./ } } }] },
  ])
  t.match(meter.reading, { ended: 'complete', reportedModel: model, stopReason: 'STOP', usage: { outputTokens: 2 } })
  const text = written.join('')
  t.match(text, /"type":"tool_use","id":"fc-1","name":"Bash"/)
  t.match(text, /"signature":"subgate\.antigravity\./, 'its signature travels as Antigravity’s')
  t.match(text, /"stop_reason":"tool_use"[\s\S]*message_stop/)
})

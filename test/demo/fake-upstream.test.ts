import t, { type Test } from 'tap'
import { FakeUpstream } from '../../src/demo/fake-upstream.ts'
import { anthropicMessages } from '../../src/protocols/anthropic-messages/index.ts'
import { ClientCall, messageRequest, until } from '../support/client.ts'

async function start(t: Test): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  t.teardown(() => upstream[Symbol.asyncDispose]())
  return upstream
}

t.test('it answers as the real service does: usage and all, whole and as a stream', async (t) => {
  const upstream = await start(t)
  const usage = { input: 5, output: 6, cacheRead: 7, cacheWrite5m: 8, cacheWrite1h: 9, thinking: 2 }
  upstream.always({ text: ['hello'], toolUse: { id: 'toolu_1', name: 'look', input: { at: 1 } }, usage })
  for (const stream of [true, false]) {
    const answer = await new ClientCall(upstream.url, { body: messageRequest(stream) }).over
    const meter = anthropicMessages.usageMeter(stream)
    meter.read(answer.body)
    meter.end()
    t.match(meter.reading, {
      ...{ ended: 'complete', reportedModel: 'claude-sonnet-5-5', stopReason: 'tool_use' },
      usage: {
        ...{ inputTokens: 5, outputTokens: 6, cacheReadTokens: 7, cacheWrite5mTokens: 8, cacheWrite1hTokens: 9 },
        reasoningTokens: 2,
      },
    })
  }
})

t.test('scripts in their order, then what is always so; other paths have their own', async (t) => {
  const upstream = await start(t)
  const status = async (path: string) =>
    (await new ClientCall(upstream.url, { path, body: messageRequest(false) }).over).status
  upstream.next({ status: 401 }, { status: 429 })
  upstream.always({ status: 529 })
  const statuses: number[] = []
  for (let i = 0; i < 4; i++) statuses.push(await status('/v1/messages?beta=true'))
  t.same(statuses, [401, 429, 529, 529])
  t.equal(await status('/v1/messages/count_tokens'), 200)
  upstream.elsewhere({ status: 500 })
  t.equal(await status('/v1/messages/count_tokens'), 500)
})

t.test('it counts what runs, and tells a call that was finished from one that was cancelled', async (t) => {
  const upstream = await start(t)
  upstream.always({ breaks: { after: 1, how: 'silence' } })
  const calls = [1, 2].map(() => new ClientCall(upstream.url, { body: messageRequest(true) }))
  for (const call of calls) await call.has('message_start')
  t.match([upstream.running, upstream.mostRunning], [2, 2])
  for (const call of calls) call.leave()
  await until('both to be over', () => upstream.running === 0)
  upstream.always({})
  await new ClientCall(upstream.url, { body: messageRequest(true) }).over
  t.same(
    upstream.seen.map(({ over }) => over),
    ['cancelled', 'cancelled', 'finished'],
  )
  t.equal(upstream.mostRunning, 2)
})

t.test('a break comes as late as the event in whose place it is', async (t) => {
  const upstream = await start(t)
  for (const after of [0, 1, 100]) {
    upstream.next({ breaks: { after, how: 'error_event' }, eventDelayMs: 20, text: ['hello'] })
    const startedAt = performance.now()
    const { text } = await new ClientCall(upstream.url, { body: messageRequest(true) }).over
    const events = text.match(/^event: \w+/gm) ?? []
    t.equal(events.at(-1), 'event: error')
    t.equal(events.length, Math.min(after, 7) + 1)
    t.ok(performance.now() - startedAt >= events.length * 19, `${events.length} events`)
  }
})

t.test('it speaks every vendor’s format on its path', async (t) => {
  const upstream = await start(t)
  const ask = async (path: string, body: object) => {
    const { status, body: bytes } = await new ClientCall(upstream.url, { path, body: JSON.stringify(body) }).over
    return { status, text: bytes.toString() }
  }
  const turns = [{ role: 'user', content: 'say hi' }]
  const contents = [{ role: 'user', parts: [{ text: 'say hi' }] }]
  const gemini = '/v1beta/models/gemini-3.8-flash'
  const formats: { whole: [string, object]; stream: [string, object] }[] = [
    { whole: ['/v1/messages', { messages: turns }], stream: ['/v1/messages', { messages: turns, stream: true }] },
    { whole: ['/v1/responses', { input: turns }], stream: ['/v1/responses', { input: 'say hi', stream: true }] },
    {
      whole: ['/v1/chat/completions', { messages: turns }],
      stream: ['/v1/chat/completions', { messages: turns, stream: true }],
    },
    {
      whole: [`${gemini}:generateContent`, { contents }],
      stream: [`${gemini}:streamGenerateContent?alt=sse`, { contents }],
    },
    {
      whole: ['/v1internal:generateContent', { model: 'm', request: { contents } }],
      stream: ['/v1internal:streamGenerateContent?alt=sse', { model: 'm', request: { contents } }],
    },
  ]
  for (const { whole, stream } of formats) {
    const [path] = whole
    t.match(JSON.stringify(JSON.parse((await ask(...whole)).text)), 'You said: say hi', path)
    t.match((await ask(...stream)).text, /^(?:event: .*\n)?data: \{.*said.*hi/s, `${path} as a stream`)
    upstream.next({ status: 429 }, { breaks: { after: 1, how: 'error_event' } })
    const refused = await ask(...whole)
    t.equal(refused.status, 429)
    t.match(JSON.parse(refused.text), { error: { message: 'scripted 429' } }, `${path}: an error`)
    t.match((await ask(...stream)).text, /Overloaded[^\n]*\n\n$/, `${path}: an error inside a stream`)
  }
  const array = JSON.parse((await ask(`${gemini}:streamGenerateContent`, { contents })).text)
  t.equal(array.length, 4, 'Gemini without alt=sse is one growing array')
})

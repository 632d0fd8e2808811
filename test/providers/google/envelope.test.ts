import t from 'tap'
import { readEvents } from '../../../src/protocols/sse.ts'
import { codeAssistUnwrap, enveloped, envelopedCount } from '../../../src/providers/google/envelope.ts'
import { projectIn, projectQuestion } from '../../../src/providers/google/project.ts'

const ANSWER = { candidates: [{ content: { parts: [{ text: 'a 👋 "response"' }] } }] }
const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const stream = (text: string) => codeAssistUnwrap(true)(Buffer.from(text)).toString()
const body = (text: string) => codeAssistUnwrap(false)(Buffer.from(text)).toString()

t.test('a request goes into the envelope as the bytes that it was', async (t) => {
  const request = Buffer.from('{ "contents" : [] }')
  const fields = { model: 'm', project: 'p' }
  t.equal(enveloped(fields, request).toString(), '{"model":"m","project":"p","request":{ "contents" : [] }}')
  t.equal(enveloped({ project: undefined }, request).toString(), '{"request":{ "contents" : [] }}')
})

t.test('what is counted are the contents', async (t) => {
  const count = (request: unknown) => JSON.parse(envelopedCount('m', Buffer.from(JSON.stringify(request))).toString())
  t.same(count({ contents: [1], tools: [] }), { request: { model: 'models/m', contents: [1] } })
  t.same(count({ generateContentRequest: { contents: [1] } }), { request: { model: 'models/m', contents: [1] } })
  t.equal(envelopedCount('m', Buffer.from('oops')).toString(), 'oops', 'the upstream will say what is wrong')
})

t.test('every event of a stream is taken out of its envelope', async (t) => {
  const wrapped = event({ response: ANSWER, traceId: 't' })
  t.equal(stream(wrapped), event(ANSWER))
  t.equal(stream(`: hello\n\n${wrapped}${wrapped}`), event(ANSWER) + event(ANSWER))
  t.equal(stream(wrapped.replaceAll('\n', '\r\n')), event(ANSWER))
  const pretty = `${JSON.stringify({ response: ANSWER }, null, 2).replaceAll(/^/gm, 'data: ')}\n\n`
  const [read] = readEvents(stream(pretty))
  t.same(JSON.parse(read?.data ?? ''), ANSWER, 'on many lines')
  t.equal(stream(pretty).split('\n').length, 3, 'it is on one then')
  const torn = `${wrapped}data: {"respo`
  t.equal(stream(torn), `${event(ANSWER)}data: {"respo`)
})

t.test('what stands in no envelope stays as it is', async (t) => {
  for (const text of [event({ error: { code: 429 } }), 'data: [DONE]\n\n', '\n\n', ': x\n\n', event({ response: 7 })]) {
    const bytes = Buffer.from(text)
    t.equal(codeAssistUnwrap(true)(bytes), bytes, text)
  }
  for (const text of ['{"totalTokens":7}', '{"error":{}}', 'oops', '', '[oops', '[7]']) t.equal(body(text), text)
})

t.test('an answer in one body, or as an array', async (t) => {
  t.same(JSON.parse(body(JSON.stringify({ response: ANSWER, traceId: 't' }, null, 2))), ANSWER)
  t.same(JSON.parse(body(JSON.stringify([{ response: ANSWER }, { error: { code: 1 } }]))), [
    ANSWER,
    { error: { code: 1 } },
  ])
})

t.test('which project an account’s calls belong to', async (t) => {
  const read = (value: unknown) => projectIn(Buffer.from(JSON.stringify(value)))
  t.equal(read({ cloudaicompanionProject: 'p', currentTier: {} }), 'p')
  t.equal(read({ cloudaicompanionProject: { id: 'p' } }), 'p')
  t.same([read({}), read({ cloudaicompanionProject: 7 }), projectIn(Buffer.from('<html>'))], [null, null, null])
  t.match(JSON.parse(projectQuestion('ANTIGRAVITY').toString()), { metadata: { ideType: 'ANTIGRAVITY' } })
})

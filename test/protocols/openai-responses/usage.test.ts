import t from 'tap'
import { responsesMeter } from '../../../src/protocols/openai-responses/usage.ts'

t.test('names that every object has are nothing special in an answer', async (t) => {
  const hostile = '{"__proto__":{"usage":9},"constructor":{"model":"x"},"usage":{"__proto__":{"output_tokens":9}}}'
  const body = responsesMeter(false)
  body.read(Buffer.from(hostile))
  body.end()
  t.match(body.reading, { ended: 'complete', usage: { inputTokens: 0, outputTokens: 0 }, reportedModel: null })
  const stream = responsesMeter(true)
  stream.read(Buffer.from(`event: __proto__\ndata: ${hostile}\n\nevent: constructor\ndata: ${hostile}\n\n`))
  t.match(stream.reading, { ended: null, contentSeen: false })
})

t.test('a model is known as soon as the upstream has named it', async (t) => {
  const meter = responsesMeter(true)
  meter.read(Buffer.from('event: response.created\ndata: {"response":{"model":"m","status":"in_progress"}}\n\n'))
  t.match(meter.reading, { reportedModel: 'm', stopReason: null, contentSeen: false, ended: null })
})

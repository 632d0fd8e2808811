import t from 'tap'
import { messagesMeter } from '../../../src/protocols/anthropic-messages/usage.ts'
import { EventTooLarge } from '../../../src/protocols/sse.ts'

t.test('a JSON answer is held for its usage, but not without end', async (t) => {
  const meter = messagesMeter(false)
  const piece = Buffer.alloc(1024 * 1024, ' ')
  for (let i = 0; i < 63; i++) meter.read(piece)
  try {
    meter.read(piece)
    t.fail('64 MiB were taken')
  } catch (error) {
    t.ok(error instanceof EventTooLarge)
  }
})

t.test('names that every object has are nothing special in an answer', async (t) => {
  const hostile =
    '{"__proto__":{"input_tokens":9},"constructor":{"model":"x"},"usage":{"__proto__":{"output_tokens":9}}}'
  const body = messagesMeter(false)
  body.read(Buffer.from(hostile))
  body.end()
  t.match(body.reading, { ended: 'complete', usage: { inputTokens: 0, outputTokens: 0 }, reportedModel: null })
  const stream = messagesMeter(true)
  stream.read(Buffer.from(`event: __proto__\ndata: ${hostile}\n\nevent: constructor\ndata: ${hostile}\n\n`))
  t.match(stream.reading, { ended: null, contentSeen: false })
  t.equal(({} as Record<string, unknown>).input_tokens, undefined)
})

t.test('text in the form of another vendor is counted by parsing each delta', async (t) => {
  const meter = messagesMeter(true)
  const delta = (text: string) =>
    `event: content_block_delta\ndata: ${JSON.stringify({ delta: { text, type: 'text_delta' }, type: 'content_block_delta' })}\n\n`
  meter.read(Buffer.from(delta('one') + delta('two "quoted"') + delta('é')))
  t.equal(meter.reading.textBytes, 3 + 12 + 2)
})

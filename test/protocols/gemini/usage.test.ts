import t from 'tap'
import { geminiMeter } from '../../../src/protocols/gemini/usage.ts'
import { EventTooLarge } from '../../../src/protocols/sse.ts'

t.test('a JSON answer is held for its usage, but not without end', async (t) => {
  const meter = geminiMeter(false)
  const piece = Buffer.alloc(1024 * 1024, ' ')
  for (let i = 0; i < 63; i++) meter.read(piece)
  try {
    meter.read(piece)
    t.fail('64 MiB were taken')
  } catch (error) {
    t.ok(error instanceof EventTooLarge)
  }
})

t.test('usage is known at any moment of a stream', async (t) => {
  const meter = geminiMeter(true)
  const counts = [3, 7, 12].map((candidatesTokenCount) => {
    const chunk = {
      candidates: [{ content: { parts: [{ text: 'a' }] } }],
      usageMetadata: { promptTokenCount: 5, candidatesTokenCount },
    }
    meter.read(Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`))
    return [meter.reading.usage.inputTokens, meter.reading.usage.outputTokens]
  })
  t.same(counts, [
    [5, 3],
    [5, 7],
    [5, 12],
  ])
})

t.test('names that every object has are nothing special in an answer', async (t) => {
  const hostile =
    '{"__proto__":{"usageMetadata":{"promptTokenCount":9}},"constructor":{"modelVersion":"x"},"usageMetadata":{"__proto__":{"promptTokenCount":9}}}'
  const body = geminiMeter(false)
  body.read(Buffer.from(hostile))
  body.end()
  t.match(body.reading, { ended: 'complete', usage: { inputTokens: 0, outputTokens: 0 }, reportedModel: null })
})

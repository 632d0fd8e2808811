import t from 'tap'
import { chatEvents } from '../../../src/demo/chat.ts'
import { hideUsage, withUsageAsked } from '../../../src/protocols/openai-chat/hidden-usage.ts'

t.test('the usage is asked for, and nothing else of the request is touched', async (t) => {
  const cases: [string, string][] = [
    ['{"model":"m","stream":true}', '{"model":"m","stream":true,"stream_options":{"include_usage":true}}'],
    ['{ "model": "m" } \n', '{ "model": "m" ,"stream_options":{"include_usage":true}} \n'],
    ['{"stream_options":{"a":1},"x":"}"}', '{"stream_options":{"a":1,"include_usage":true},"x":"}"}'],
    ['{"stream_options":null,"x":1}', '{"stream_options":{"include_usage":true},"x":1}'],
    ['{"stream_options":{"include_usage":false}}', '{"stream_options":{"include_usage":true}}'],
  ]
  for (const [body, expected] of cases) t.equal(withUsageAsked(Buffer.from(body)).toString(), expected)
})

t.test('a stream looks as if nobody had asked', async (t) => {
  const message = { model: 'm', text: ['a', ' ,"usage":null 😀'], usage: { input: 1, output: 2 } }
  const asked = chatEvents(message, '1', true).join('')
  const plain = chatEvents(message, '1', false).join('')
  const hidden = (text: string) => hideUsage(Buffer.from(text)).toString()
  t.equal(hidden(asked), plain)
  t.equal(hidden(asked.replaceAll('\n', '\r\n')), plain.replaceAll('\n', '\r\n'))
  const bytes = Buffer.from(plain)
  t.equal(hideUsage(bytes), bytes, 'where there is nothing to hide the bytes are the same')
  const withEnd = 'data: {"choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}\n\n'
  t.equal(
    hidden(withEnd),
    'data: {"choices":[{"index":0,"finish_reason":"stop"}]}\n\n',
    'some vendors tell it with the end',
  )
  t.equal(hidden('data: {"usage"'), 'data: {"usage"', 'what is torn stays')
})

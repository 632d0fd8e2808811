import t from 'tap'
import { messageRequest } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

t.test('clients hear what the operator wants them to hear', async (t) => {
  const error = (type: string, message: string) => JSON.stringify({ type: 'error', error: { type, message } })
  const tooLong = { status: 400, body: error('invalid_request_error', 'prompt is too long: 9 tokens > 8 maximum') }
  const other = { status: 400, body: error('invalid_request_error', 'max_tokens: too many') }
  const gw = await startGateway(t, {
    config: {
      error_rules: [
        { when: { status: 400, keywords: ['PROMPT is too long'] }, answer: { status: 413, message: 'Send less.' } },
        { when: { status: [500, 503], provider: 'anthropic' }, answer: { message: 'We are on it.' } },
        { when: { keywords: 'strange' }, answer: { status: 422 } },
        { when: { status: 429 }, answer: { status: 503 } },
      ],
    },
    setUp: (site) =>
      site.scene({
        accounts: [
          {
            scripts: [
              ...[tooLong, other, ...Array(3).fill({ status: 500 })],
              { status: 400, body: error('invalid_request_error', 'a strange one') },
              { headDelayMs: 300, ...tooLong },
              { status: 429, headers: { 'retry-after': '120' } },
            ],
          },
        ],
      }),
  })
  const call = async (stream = false) => {
    const { status, headers, text } = await gw.call({ key: gw.scenes.key, body: messageRequest(stream) })
    return { status, retryAfter: headers['retry-after'], text }
  }
  t.match(await call(), { status: 413, text: /"type":"request_too_large","message":"Send less\."/ })
  t.match(await call(), { status: 400, text: other.body }, 'verbatim, as no rule fits')
  t.match(await call(), { status: 529, retryAfter: '5', text: /"overloaded_error","message":"We are on it\."/ })
  t.match(await call(), { status: 422, text: error('invalid_request_error', 'a strange one') })
  const { gateway } = gw.gateway.config
  gw.gateway.config = { ...gw.gateway.config, gateway: { ...gateway, keepAliveFirstMs: 100 } }
  t.match(
    await call(true),
    { status: 200, text: /event: error\ndata: .*"Send less\."/ },
    'also in a stream that has begun',
  )
  t.match(await call(), { status: 503, retryAfter: '120', text: /rate limit/ })
  const outcomes = (await gw.settled()).map(({ outcome, status }) => [outcome, status])
  t.equal(outcomes.length, 6)
  t.match(outcomes[0], [/./, 413])
})

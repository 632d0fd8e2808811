import t from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import { messageRequest } from '../support/client.ts'
import { startGateway, type WantedAccount } from '../support/gateway.ts'

/** Failures when the client has got something already, and answers that are not of the kind that was asked for. */

t.test('when the client has the head of a stream already, because it was kept waiting', async (t) => {
  const waits = (script: Script, times = 1): WantedAccount => ({
    scripts: Array.from({ length: times }, () => ({ headDelayMs: 500, ...script })),
  })
  const gw = await startGateway(t, {
    config: { 'gateway.keep_alive_first': '150ms', 'gateway.keep_alive_interval': '100ms' },
    setUp: async (site) => ({
      recovers: await site.scene({ accounts: [waits({ status: 500 }), {}] }),
      fails: await site.scene({ accounts: [waits({ status: 500 }, 3)] }),
      limited: await site.scene({ accounts: [waits({ status: 429, headers: { 'retry-after': '60' } })] }),
      refused: await site.scene({
        accounts: [
          waits({
            status: 400,
            body: '{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too many"}}',
          }),
        ],
      }),
      json: await site.scene({ accounts: [waits({ body: '{"type":"message"}' }), {}] }),
      onlyJson: await site.scene({ accounts: [waits({ body: '{"type":"message"}' }, 3)] }),
      again: await site.scene({ accounts: [waits({ status: 500 })] }),
      asJson: await site.scene({ accounts: [waits({})] }),
    }),
  })
  const call = (name: keyof typeof gw.scenes, stream = true) =>
    gw.call({ key: gw.scenes[name].key, body: messageRequest(stream) })
  const [recovers, fails, limited, refused, json, onlyJson, again, asJson] = await Promise.all([
    ...[call('recovers'), call('fails'), call('limited'), call('refused'), call('json'), call('onlyJson')],
    ...[call('again'), call('asJson', false)],
  ])
  const PING = /^event: ping\ndata: \{"type": "ping"\}\n\n/
  for (const answer of [recovers, fails, limited, refused, json, onlyJson, again]) {
    t.match(answer, {
      status: 200,
      headers: { 'content-type': 'text/event-stream; charset=utf-8' },
      text: PING,
      ended: 'whole',
    })
  }
  t.match(recovers?.text, /event: message_start\n[\s\S]*event: message_stop\n/, 'another account may still answer')
  t.match(fails?.text, /event: error\ndata: {"type":"error","error":{"type":"overloaded_error"/)
  t.match(limited?.text, /event: error\ndata: {"type":"error","error":{"type":"rate_limit_error"/)
  t.match(
    refused?.text,
    /event: error\ndata: .*"invalid_request_error","message":"max_tokens: too many"/,
    "the upstream's words",
  )
  t.match(json?.text, /event: message_stop\n/, 'one body is no answer any more')
  t.match(again?.text, /event: message_start\n[\s\S]*event: message_stop\n/, 'the same one may still answer')
  t.match(onlyJson?.text, /event: error\ndata: {"type":"error","error":{"type":"overloaded_error"/)
  t.match(
    asJson,
    { status: 200, headers: { 'content-type': 'application/json' }, text: /^\{"id":"msg/ },
    'who wants no stream gets none',
  )
  const rows = await gw.settled()
  const of = (name: keyof typeof gw.scenes) => rows.find(({ userId }) => userId === gw.scenes[name].user.id)
  t.match(of('recovers'), { outcome: 'complete', status: 200, attempts: [{ fault: 'api_error' }, { fault: null }] })
  t.match(of('fails'), { outcome: 'failed', status: 200, attempts: { length: 3 } })
  t.match(of('refused'), { outcome: 'rejected', error: 'http_400', status: 200 })
  t.match(of('json'), { outcome: 'complete', attempts: [{ fault: 'invalid_answer' }, { fault: null }] })
})

t.test('a preamble is held so that an error may still fail over, but not for long', async (t) => {
  const early: Script = { breaks: { after: 1, how: 'error_event' }, eventDelayMs: 600 }
  for (const [hold, text, attempts] of [
    ['30s', /^event: message_start\n[\s\S]*event: message_stop\n/, 2],
    ['300ms', /^event: message_start\n.*\n\nevent: error\ndata: .*overloaded_error.*\n\n$/, 1],
  ] as const) {
    const gw = await startGateway(t, {
      config: { 'gateway.preamble_hold': hold },
      setUp: (site) => site.scene({ accounts: [{ scripts: [early] }, {}] }),
    })
    const answer = await gw.call({ key: gw.scenes.key, body: messageRequest(true) })
    t.match(answer.text, text, hold)
    t.equal(answer.text.split('message_start').length, 3, 'one beginning: it is named twice in it')
    t.match(await gw.settled(), [{ attempts: { length: attempts } }])
  }
})

t.test('one body instead of a stream goes on as the body that it is', async (t) => {
  const large = JSON.stringify({
    type: 'message',
    usage: { input_tokens: 3, output_tokens: 4 },
    pad: 'x'.repeat(3_000_000),
  })
  const gw = await startGateway(t, {
    config: {
      'gateway.keep_alive_interval': '100ms',
      'gateway.idle_timeout': '1s',
    },
    setUp: async (site) => ({
      whole: await site.scene({ accounts: [{ scripts: [{ body: large.replace('x'.repeat(2_500_000), '') }] }] }),
      silent: await site.scene({
        accounts: [{ scripts: [{ body: large, breaks: { after: 2_000_000, how: 'silence' } }] }],
      }),
      cut: await site.scene({
        accounts: [{ scripts: [{ body: large, breaks: { after: 2_000_000, how: 'reset' }, eventDelayMs: 300 }] }],
      }),
    }),
  })
  const call = (name: keyof typeof gw.scenes) => gw.call({ key: gw.scenes[name].key, body: messageRequest(true) })
  const [whole, silent, cut] = await Promise.all([call('whole'), call('silent'), call('cut')])
  t.match(whole, { status: 200, ended: 'whole', headers: { 'content-type': 'application/json' } })
  t.equal(whole?.text, large.replace('x'.repeat(2_500_000), ''))
  for (const broken of [silent, cut]) {
    t.match(broken, { status: 200, ended: 'cut' }, 'a reset: any other end would look whole')
    t.equal(broken?.text, large.slice(0, broken?.text.length), 'and nothing of ours in it')
  }
  const rows = await gw.settled()
  const outcomes = Object.values(gw.scenes).map(({ user }) => rows.find(({ userId }) => userId === user.id)?.outcome)
  t.same(outcomes, ['complete', 'timed_out', 'upstream_cut'])
})

t.test(
  'an answer that is cut before anything of it went out: the row has the status that the client got',
  async (t) => {
    const half = (how: 'reset' | 'silence'): WantedAccount => ({
      scripts: [
        {
          body: 'event: message_start\ndata: {"type":"message_start"',
          headers: { 'content-type': 'text/event-stream' },
          breaks: { after: 40, how },
          eventDelayMs: 600,
        },
      ],
    })
    const gw = await startGateway(t, {
      config: { 'gateway.preamble_hold': '100ms', 'gateway.idle_timeout': '1s' },
      setUp: async (site) => ({
        cut: await site.scene({ accounts: [half('reset')] }),
        silent: await site.scene({ accounts: [half('silence')] }),
      }),
    })
    const { cut, silent } = gw.scenes
    const [first, second] = await Promise.all(
      [cut, silent].map(({ key }) => gw.call({ key, body: messageRequest(true) })),
    )
    t.match([first, second], [{ status: 503 }, { status: 504 }])
    const rows = await gw.settled()
    const of = ({ user }: typeof cut) => rows.find(({ userId }) => userId === user.id)
    t.match(of(cut), { outcome: 'upstream_cut', status: 503, attempts: [{ fault: null }] })
    t.match(of(silent), { outcome: 'timed_out', status: 504, attempts: [{ fault: null }] })
  },
)

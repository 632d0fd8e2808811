import t from 'tap'
import { messageEvents } from '../../src/demo/messages.ts'
import { AnswerReader } from '../../src/gateway/answer-reader.ts'
import type { GoodAnswer } from '../../src/gateway/attempt.ts'
import type { Call } from '../../src/gateway/call.ts'
import type { ClientAnswer } from '../../src/gateway/client-answer.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { Relay } from '../../src/gateway/relay.ts'
import { protocols } from '../../src/protocols/index.ts'
import { UpstreamExchange } from '../../src/upstream/client.ts'

const EVENTS = messageEvents(
  { model: 'claude-sonnet-5-5', text: ['one', 'two'], usage: { input: 7, output: 2 } },
  'msg',
)

/** A relay whose upstream and client are played by the test; the first events have been read already. */
function start() {
  const gateway = {
    clock: () => 1000,
    config: { gateway: {}, answerHeaders: { add: [], remove: [] } },
    ticker: { watch: () => () => {} },
  } as unknown as Gateway
  const upstream = { waits: false }
  const controller = {
    pause: () => {
      upstream.waits = true
    },
    resume: () => {
      upstream.waits = false
    },
    abort: () => {},
  }
  const exchange = new UpstreamExchange(() => {})
  exchange.onRequestStart(controller as never)
  exchange.onResponseStart(controller as never, 200, {})
  const reader = new AnswerReader(protocols['anthropic-messages'], true)
  for (const event of EVENTS.slice(0, 4)) reader.push(Buffer.from(event))
  let readOn = () => {}
  const relayed: string[] = []
  const client = {
    left: false,
    blocked: true,
    relay(bytes: Buffer) {
      relayed.push(bytes.toString())
      return false
    },
    onDrain(callback: () => void) {
      readOn = callback
    },
  } as unknown as ClientAnswer
  const head = { status: 200, headers: {} }
  const parts = { exchange, head, reader, whole: false, clientStreams: true, dropped: [] }
  const answer = parts as unknown as GoodAnswer
  const relay = new Relay(gateway, { arrivedMs: 0, timing: null, limitHeaders: [] } as unknown as Call, answer, client)
  return { relay, relayed, upstream, exchange, controller, readOn: () => readOn() }
}

t.test('a client that cannot take the first events keeps the upstream waiting', async (t) => {
  for (const held of [false, true]) {
    const { relay, relayed, upstream, exchange, controller, readOn } = start()
    if (held) exchange.onResponseData(controller as never, Buffer.from(EVENTS[4] as string))
    void relay.run()
    t.equal(relayed.join(''), EVENTS.slice(0, held ? 5 : 4).join(''))
    t.equal(upstream.waits, true, held ? 'with more of them held' : 'with nothing more there yet')
    readOn()
    t.equal(upstream.waits, false)
  }
})

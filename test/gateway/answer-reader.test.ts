import t from 'tap'
import { messageBody, messageEvents } from '../../src/demo/messages.ts'
import { AnswerReader } from '../../src/gateway/answer-reader.ts'
import { protocols } from '../../src/protocols/index.ts'

const messages = protocols['anthropic-messages']
const MESSAGE = { model: 'claude-sonnet-5-5', text: ['Hé', 'llo ', '🌍'], usage: { input: 7, output: 3, cacheRead: 2 } }
const EVENTS = messageEvents(MESSAGE, 'msg_1')
const STREAM = Buffer.from(EVENTS.join(''))
const STOP = EVENTS.at(-1) as string

/** Reads the pieces, and tells what could go out at once and what was held to the end. */
function read(streams: boolean, pieces: Buffer[]): { ready: string; held: string; reader: AnswerReader } {
  const reader = new AnswerReader(messages, streams)
  for (const piece of pieces) reader.push(piece)
  reader.end()
  return {
    ready: Buffer.concat(reader.ready).toString(),
    held: Buffer.concat(reader.held).toString(),
    reader,
  }
}

t.test('cut at every byte, a stream is passed on unchanged, its terminal event held, its usage the same', async (t) => {
  const wrong: number[] = []
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const { ready, held, reader } = read(true, [STREAM.subarray(0, cut), STREAM.subarray(cut)])
    const { usage, ended, reportedModel, stopReason } = reader.reading
    const right =
      ready + held === STREAM.toString() &&
      held === STOP &&
      ended === 'complete' &&
      usage.inputTokens === 7 &&
      usage.outputTokens === 3 &&
      usage.cacheReadTokens === 2 &&
      reportedModel === MESSAGE.model &&
      stopReason === 'end_turn'
    if (!right) wrong.push(cut)
  }
  t.same(wrong, [])
})

t.test('what comes behind the terminal event is held with it', async (t) => {
  const trailing = 'event: ping\ndata: {}\n\n'
  t.equal(read(true, [STREAM, Buffer.from(trailing)]).held, STOP + trailing)
  t.equal(read(true, [Buffer.from(STREAM.toString() + trailing)]).held, STOP + trailing, 'in the same piece')
})

t.test('what comes behind the terminal event is passed on even if it lacks its blank line', async (t) => {
  for (const torn of ['data: [DONE]', ': bye\n', '\n']) {
    t.equal(read(true, [STREAM, Buffer.from(torn)]).held, STOP + torn, JSON.stringify(torn))
    t.equal(
      read(true, [Buffer.from(STREAM.toString() + torn)]).held,
      STOP + torn,
      `${JSON.stringify(torn)} in one piece`,
    )
  }
})

t.test('a terminal event that lacks its blank line counts; any other torn event is dropped', async (t) => {
  const whole = STREAM.subarray(0, STREAM.length - 2)
  t.equal(read(true, [whole]).held, STOP.slice(0, -2))
  t.equal(read(true, [whole]).reader.reading.ended, 'complete')
  const torn = Buffer.from(`${EVENTS.slice(0, -1).join('')}event: content_block_delta\nda`)
  const { ready, held, reader } = read(true, [torn])
  t.equal(ready, EVENTS.slice(0, -1).join(''))
  t.equal(held, '')
  t.equal(reader.reading.ended, null)
})

t.test('of a JSON body the last piece is held, and with it at the end whatever has not gone out', async (t) => {
  const body = Buffer.from(messageBody(MESSAGE, 'msg_1'))
  const reader = new AnswerReader(messages, false)
  reader.push(body.subarray(0, 10))
  reader.push(body.subarray(10, 50))
  t.equal(Buffer.concat(reader.ready.splice(0)).toString(), body.toString('utf8', 0, 10))
  reader.push(body.subarray(50))
  t.equal(Buffer.concat(reader.ready).toString(), body.toString('utf8', 10, 50))
  reader.end()
  t.same(reader.ready, [])
  t.equal(Buffer.concat(reader.held).toString(), body.toString('utf8', 10))
  t.match(reader.reading, { ended: 'complete', usage: { inputTokens: 7, outputTokens: 3, cacheReadTokens: 2 } })
})

t.test('a JSON body that is edited goes out when all of it is there; a stream event by event', async (t) => {
  const body = Buffer.from('{"a":1}')
  const reader = new AnswerReader(messages, false, (bytes) => Buffer.from(`${bytes}!`))
  for (const byte of body) reader.push(Buffer.from([byte]))
  t.same(reader.ready, [])
  reader.end()
  t.same(reader.held.map(String), ['{"a":1}!'], 'edited once')

  const seen: string[] = []
  const hidesPings = (bytes: Buffer) => {
    seen.push(bytes.toString())
    return bytes.includes('event: ping') ? Buffer.alloc(0) : bytes
  }
  const stream = new AnswerReader(messages, true, hidesPings)
  const trailing = ': bye'
  for (const text of [...EVENTS, trailing]) {
    stream.push(Buffer.from(text.slice(0, 5)))
    stream.push(Buffer.from(text.slice(5)))
  }
  stream.end()
  t.same(seen, [...EVENTS, trailing], 'all that the upstream sent, whole and in order')
  const shown = EVENTS.filter((text) => !text.startsWith('event: ping'))
  t.equal(Buffer.concat([...stream.ready, ...stream.held]).toString(), shown.join('') + trailing)
  t.equal(stream.reading.ended, 'complete')
})

t.test('of an answer that came in an envelope the client would get what was inside', async (t) => {
  const unwrap = (bytes: Buffer) => Buffer.from(bytes.toString().replaceAll('envelope ', ''))
  const reader = new AnswerReader(messages, true, null, unwrap)
  for (const event of EVENTS) reader.push(Buffer.from(event.replace('data: ', 'data: envelope ')))
  t.equal(reader.bytesForClient, STREAM.length)
})

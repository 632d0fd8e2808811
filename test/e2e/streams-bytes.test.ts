import t from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import { messageBody, messageEvents } from '../../src/demo/messages.ts'
import { messageRequest, until } from '../support/client.ts'
import { type Scene, startGateway, type TestGateway } from '../support/gateway.ts'
import { seededRandom } from '../support/random.ts'

/** What the upstream sends is what the client gets, byte by byte, and neither has to take more than it can. */

const SEEDS = 50
const STREAM_HEAD = { 'content-type': 'text/event-stream; charset=utf-8' }
const WORDS = ['a', 'word ', 'naïve ', '🌍🌎 ', '"quoted" ', '\n\n', 'event: message_stop\n', '\\u0000', 'data: [DONE]']

interface Sent {
  bytes: Buffer
  usage: { input: number; output: number; cacheRead: number }
  cuts: number[]
}

/** A stream that this seed makes up, and where it is cut. */
function streamOf(seed: number): Sent {
  const random = seededRandom(seed)
  const upTo = (max: number) => Math.floor(random() * max)
  const text = Array.from({ length: 1 + upTo(20) }, () => WORDS[upTo(WORDS.length)] as string)
  const usage = { input: upTo(10_000), output: 1 + upTo(10_000), cacheRead: upTo(10_000) }
  const toolUse = random() < 0.5 ? { id: 'toolu_1', name: 'look', input: { at: text[0] } } : undefined
  let stream = messageEvents({ model: 'claude-sonnet-5-5', text, usage, toolUse }, `msg_${seed}`).join('')
  if (seed % 3 === 1) stream = stream.replaceAll('\n', '\r\n')
  if (seed % 5 === 1) stream = `: a comment\n\n${stream}: another\n\n`
  const bytes = Buffer.from(stream)
  const cuts = Array.from({ length: 1 + upTo(40) }, () => upTo(bytes.length)).sort((a, b) => a - b)
  return { bytes, usage, cuts }
}

t.test('fifty streams, each cut elsewhere', async (t) => {
  const streams = Array.from({ length: SEEDS }, (_, seed) => streamOf(seed))
  const gw = await startGateway(t, {
    setUp: (site) =>
      Promise.all(
        streams.map(({ bytes, cuts }) =>
          site.scene({ accounts: [{ scripts: [{ body: bytes.toString(), headers: STREAM_HEAD, cuts }] }] }),
        ),
      ),
  })
  const answers = await Promise.all(gw.scenes.map(({ key }) => gw.call({ key, body: messageRequest(true) })))
  const rows = new Map((await gw.settled()).map((row) => [row.userId, row]))
  const found = gw.scenes.map(({ user }, seed) => {
    const { outcome, usage } = rows.get(user.id) ?? {}
    return {
      seed,
      identical: answers[seed]?.body.equals(streams[seed]?.bytes as Buffer),
      ...{ outcome, input: usage?.inputTokens, output: usage?.outputTokens, cacheRead: usage?.cacheReadTokens },
    }
  })
  t.same(
    found,
    streams.map(({ usage }, seed) => ({ seed, identical: true, outcome: 'complete', ...usage })),
  )
})

t.test('what comes late behind the terminal event comes too, if it comes soon', async (t) => {
  const { bytes } = streamOf(0)
  const soon = Buffer.concat([bytes, Buffer.from(': bye\n\n')])
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scene = (eventDelayMs: number) =>
        site.scene({
          accounts: [{ scripts: [{ body: `${soon}`, headers: STREAM_HEAD, cuts: [bytes.length], eventDelayMs }] }],
        })
      return { soon: await scene(300), never: await scene(60_000) }
    },
  })
  const [inTime, tooLate] = [gw.scenes.soon, gw.scenes.never].map(({ key }) =>
    gw.open({ key, body: messageRequest(true) }),
  )
  await inTime?.has('message_stop')
  t.equal((await inTime?.over)?.text, soon.toString())
  const late = await tooLate?.over
  t.match(late, { ended: 'whole', text: bytes.toString() }, 'an upstream that does not close keeps nobody')
  t.match(await gw.settled(), [{ outcome: 'complete' }, { outcome: 'complete' }])
})

t.test('one body, of any size, in pieces or compressed', async (t) => {
  const usage = { input: 11, output: 22 }
  const body = (characters: number) =>
    messageBody({ model: 'claude-sonnet-5-5', text: ['é'.repeat(characters / 2)], usage }, 'msg_1')
  const stream = messageEvents({ model: 'claude-sonnet-5-5', text: ['x'.repeat(100_000), 'y'], usage }, 'msg_1').join(
    '',
  )
  const cases: { script: Script; sent: string; stream?: true }[] = [
    { script: { body: body(100) }, sent: body(100) },
    { script: { body: body(100), cuts: [1, 2, 3, 50, 60] }, sent: body(100) },
    { script: { body: body(3_000_000) }, sent: body(3_000_000) },
    { script: { body: body(3_000_000), cuts: [1, 1_048_576, 1_048_577, 2_900_000] }, sent: body(3_000_000) },
    { script: { body: body(1000), gzip: true }, sent: body(1000) },
    { script: { body: body(3_000_000), gzip: true }, sent: body(3_000_000) },
    { script: { body: stream, headers: STREAM_HEAD, gzip: true }, sent: stream, stream: true },
  ]
  const gw = await startGateway(t, {
    setUp: (site) => Promise.all(cases.map(({ script }) => site.scene({ accounts: [{ scripts: [script] }] }))),
  })
  for (const [index, { key, user }] of gw.scenes.entries()) {
    const { sent, stream = false } = cases[index] as (typeof cases)[0]
    const answer = await gw.call({ key, body: messageRequest(stream), headers: { 'accept-encoding': 'gzip' } })
    const row = (await gw.settled()).find(({ userId }) => userId === user.id)
    t.ok(answer.text === sent && answer.ended === 'whole', `case ${index}`)
    t.equal(answer.headers['content-encoding'], undefined, 'identity, whatever the upstream made of it')
    t.match(row, { outcome: 'complete', usage: { inputTokens: 11, outputTokens: 22 } })
  }
  t.same(new Set(gw.upstream.seen.map(({ headers }) => headers['accept-encoding'])), new Set(['identity']))
})

t.test('events come as they are sent, not when it is convenient', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({
        accounts: [{ scripts: [{ text: ['one ', 'two ', 'three '], breaks: { after: 5, how: 'silence' } }] }],
      }),
  })
  const call = gw.open({ key: gw.scenes.key, body: messageRequest(true) })
  await call.has('"two "')
  t.notMatch(call.text, 'three')
  call.leave()
  await gw.settled()
})

// Two hops over loopback, each with the kernel's own buffers of some megabytes at both ends.
const PIECE = 'x'.repeat(64 * 1024)
const PIECES = 640
const IN_FLIGHT_MAX = 30 * 1024 * 1024

async function largeStream(
  t: Parameters<typeof startGateway>[0],
  stallTimeout: string,
): Promise<TestGateway & { scenes: Scene }> {
  return startGateway(t, {
    config: { 'gateway.client_stall_timeout': stallTimeout },
    setUp: (site) => site.scene({ accounts: [{ scripts: [{ text: Array(PIECES).fill(PIECE) }] }] }),
  })
}

/** Resolves when a number has stopped growing. */
async function atRest(what: string, read: () => number): Promise<number> {
  let last = -1
  let looks = 0
  return until(`${what} to come to rest`, () => {
    looks = read() === last ? looks + 1 : 0
    last = read()
    return looks > 60 ? last : null
  })
}

t.test('a client that does not read holds the upstream back, and gets all once it does', async (t) => {
  const gw = await largeStream(t, '60s')
  const call = gw.open({ key: gw.scenes.key, body: messageRequest(true) })
  call.stopReading()
  await call.head()
  const seen = await until('the upstream to be asked', () => gw.upstream.seen[0])
  const sent = await atRest('the upstream', () => seen.bytesSent)
  t.ok(sent < IN_FLIGHT_MAX, `${(sent / 2 ** 20).toFixed(1)} MiB are on their way, of ${(PIECES * 64) / 1024}`)
  call.readOn()
  const answer = await call.over
  t.equal(answer.ended, 'whole')
  t.equal(answer.text.split(PIECE).length - 1, PIECES)
  t.match(await gw.settled(), [{ outcome: 'complete' }])
})

t.test('a client that goes on not reading is given up, and the upstream with it', async (t) => {
  const gw = await largeStream(t, '500ms')
  const call = gw.open({ key: gw.scenes.key, body: messageRequest(true) })
  call.stopReading()
  await call.head()
  t.match(await gw.settled(), [{ outcome: 'client_left', status: 200 }])
  call.readOn()
  t.match(await call.over, { status: 200, ended: 'cut' })
  t.equal(await until('the upstream call to be over', () => gw.upstream.seen[0]?.over), 'cancelled')
})

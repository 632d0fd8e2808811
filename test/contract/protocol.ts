import type { Test } from 'tap'
import { ERROR_STATUS, type ErrorCode, GatewayError } from '../../src/domain/errors.ts'
import type { Usage } from '../../src/domain/usage.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import { AnswerReader } from '../../src/gateway/answer-reader.ts'
import type { CallFacts, MeterReading, Protocol } from '../../src/protocols/protocol.ts'
import { readEvents } from '../../src/protocols/sse.ts'

/** An upstream's answer, and what is to be read from it however it is cut. */
export interface AnswerSample {
  name: string
  bytes: Buffer
  /** False for a JSON body. */
  streams: boolean
  usage: Partial<Usage>
  reading: Partial<Omit<MeterReading, 'usage' | 'error'>>
  /** The error event's data, where the answer ends in one. */
  error?: string
  /** Of a stream: where the terminal event begins; null = there is none, and all goes out at once. */
  terminalAt?: number | null
  /** Where its model's name does not stand as its first JSON text of that name: bytes that do not come again and end in it. */
  modelWritten?: string
  /** Bytes at the end that are part of no event and go to nobody. */
  tornBytes?: number
}

/** What a gateway does with an answer that comes in these pieces. */
interface Outcome {
  passed: Buffer
  /** Bytes that may go out before the call is charged. */
  readyBytes: number
  reading: MeterReading
}

/** A client's name for a model that a map sends under another. */
const ASKED = 'asked "for" 模型'

/** `sent`: the answer is one to a client that asked for ASKED, which was sent under this name. */
function readAnswer(protocol: Protocol, streams: boolean, pieces: Buffer[], sent?: string): Outcome {
  const facts = { requestedModel: ASKED } as CallFacts
  const edit = sent === undefined ? null : protocol.answerEdit(facts, sent, streams)
  const reader = new AnswerReader(protocol, streams, edit)
  for (const piece of pieces) reader.push(piece)
  reader.end()
  const readyBytes = reader.ready.reduce((sum, bytes) => sum + bytes.length, 0)
  return { passed: Buffer.concat([...reader.ready, ...reader.held]), readyBytes, reading: reader.reading }
}

/** What a protocol must do for the gateway; every protocol runs it with answers in its own format. */
export function protocolContract(t: Test, protocol: Protocol, samples: AnswerSample[]): void {
  t.test('answers are read for what they say', async (t) => {
    for (const sample of samples) {
      const { reading, passed, readyBytes } = readAnswer(protocol, sample.streams, [sample.bytes])
      const { usage, error, ...rest } = reading
      t.same(usage, { ...NO_USAGE, ...sample.usage }, `${sample.name}: usage`)
      t.match(rest, sample.reading, sample.name)
      t.equal(error?.data ?? null, sample.error ?? null, `${sample.name}: error`)
      t.ok(passed.equals(untorn(sample)), `${sample.name}: nothing but a torn end is lost`)
      if (sample.terminalAt !== undefined)
        t.equal(readyBytes, sample.terminalAt ?? passed.length, `${sample.name}: terminal`)
    }
  })

  t.test('an answer cut into two at any byte is the same answer', async (t) => {
    for (const sample of samples) t.same(differences(protocol, sample, cutsOf(sample)), [], sample.name)
  })

  t.test('an answer in single bytes, or in pieces of any lengths, is the same answer', async (t) => {
    for (const sample of samples) t.same(differences(protocol, sample, manyPiecesOf(sample)), [], sample.name)
  })

  t.test('an answer under a map names the model that was asked for; all else of it is the same', async (t) => {
    for (const sample of samples) {
      const { streams, name, terminalAt } = sample
      const plain = readAnswer(protocol, streams, [sample.bytes])
      const sent = plain.reading.reportedModel ?? 'a-model'
      const edited = readAnswer(protocol, streams, [sample.bytes], sent)
      const expected = renamed(sample, untorn(sample), plain.reading.reportedModel)
      t.equal(edited.passed.toString(), expected.toString(), name)
      t.same(edited.reading, plain.reading, `${name}: it is read as it came`)
      if (streams && terminalAt !== undefined && terminalAt !== null) {
        const held = renamed(sample, untorn(sample).subarray(terminalAt), plain.reading.reportedModel)
        t.equal(edited.passed.length - edited.readyBytes, held.length, `${name}: terminal`)
      }
      t.same(differences(protocol, sample, [...cutsOf(sample), ...manyPiecesOf(sample)], sent), [], `${name}: cut`)
    }
  })

  t.test('an edit that finds nothing to change gives back the bytes themselves', async (t) => {
    t.equal(protocol.answerEdit({ requestedModel: 'a' } as CallFacts, 'a', true), null, 'there is none without a map')
    for (const { bytes, streams, name } of samples) {
      const edit = protocol.answerEdit({ requestedModel: ASKED } as CallFacts, 'another-model', streams)
      t.equal(edit?.(bytes), bytes, name)
    }
  })

  t.test('nothing that comes behind the terminal event goes out before it, and nothing goes out twice', async (t) => {
    for (const { bytes, streams, terminalAt, name } of samples) {
      if (!streams || terminalAt === undefined || terminalAt === null) continue
      const reader = new AnswerReader(protocol, streams)
      const early: number[] = []
      for (const [at] of bytes.entries()) {
        reader.push(bytes.subarray(at, at + 1))
        const ready = reader.ready.reduce((sum, piece) => sum + piece.length, 0)
        if (ready > terminalAt || !Buffer.concat(reader.ready).equals(bytes.subarray(0, ready))) early.push(at)
      }
      t.same(early, [], name)
    }
  })

  t.test('garbage for an answer is no answer, and never throws', async (t) => {
    const random = randomFrom(4711)
    const outcomes = new Set<string | null>()
    for (const sample of samples) {
      for (let i = 0; i < 20; i++) {
        const damaged = Buffer.from(sample.bytes)
        for (let n = 0; n < 8; n++) damaged[Math.floor(random() * damaged.length)] = Math.floor(random() * 256)
        const { reading } = readAnswer(protocol, sample.streams, piecesOf(damaged, random))
        readAnswer(protocol, sample.streams, piecesOf(damaged, random), reading.reportedModel ?? 'a-model')
        outcomes.add(reading.ended)
        if (Object.values(reading.usage).some((count) => !Number.isSafeInteger(count) || count < 0))
          outcomes.add('not a count')
      }
    }
    t.notOk(outcomes.has('not a count'))
    for (const body of ['', ' ', 'null', '[]', '"a"', '<html><body>502</body></html>', '{"type":']) {
      t.equal(readAnswer(protocol, false, [Buffer.from(body)]).reading.ended, null, `${body} as a JSON body`)
      t.equal(readAnswer(protocol, true, [Buffer.from(body)]).reading.ended, null, `${body} as a stream`)
    }
  })

  t.test('a keep-alive is a whole event that means nothing', async (t) => {
    const meter = protocol.usageMeter(true)
    t.equal(meter.read(protocol.keepAlive()), -1)
    t.match(meter.reading, { ended: null, contentSeen: false })
    t.ok(protocol.keepAlive().toString().endsWith('\n\n'))
  })

  t.test('every error of ours has a status, a body in JSON, and what the client needs to behave', async (t) => {
    for (const code of Object.keys(ERROR_STATUS) as ErrorCode[]) {
      const plain = protocol.renderError(new GatewayError(code, `because "${code}"`), 'call_1')
      t.ok(plain.status >= 400 && plain.status < 600, code)
      t.match(JSON.stringify(JSON.parse(plain.body.toString())), JSON.stringify(`because "${code}"`).slice(1, -1))
      t.notOk(
        'retry-after' in plain.headers || 'x-should-retry' in plain.headers,
        `${code} says nothing that it does not know`,
      )
      const told = protocol.renderError(
        new GatewayError(code, 'x', { retryAfterMs: 1001, shouldRetry: false }),
        'call_1',
      )
      t.match(told.headers, { 'retry-after': '2', 'x-should-retry': 'false' }, code)
      const names = Object.keys(plain.headers).map((name) => name.toLowerCase())
      t.notOk(names.some((name) => ['content-type', 'content-length', 'transfer-encoding'].includes(name)))
    }
  })

  t.test('an error of ours inside a stream is an error to the protocol’s own reader', async (t) => {
    const event = protocol.renderStreamError(new GatewayError('overloaded', 'line\r\none\n\ntwo 😀'), 'call_1')
    t.equal([...readEvents(event.toString())].length, 1, 'one event, whatever the message holds')
    const { reading } = readAnswer(protocol, true, [event])
    t.equal(reading.ended, 'error')
    t.match(reading.error?.data, /two 😀/)
  })
}

function untorn({ bytes, tornBytes = 0 }: AnswerSample): Buffer {
  return bytes.subarray(0, bytes.length - tornBytes)
}

/** What a client gets of these bytes of the answer if its model is called ASKED there, as often as it is named. */
function renamed(sample: AnswerSample, bytes: Buffer, model: string | null): Buffer {
  if (model === null) return bytes
  const { modelWritten = JSON.stringify(model) } = sample
  const asked = modelWritten.replace(/"[^"]*"$/, () => JSON.stringify(ASKED))
  return Buffer.from(bytes.toString().replaceAll(modelWritten, () => asked))
}

function cutsOf({ bytes }: AnswerSample): Buffer[][] {
  return Array.from(bytes, (_, at) => [bytes.subarray(0, at), bytes.subarray(at)])
}

function manyPiecesOf({ bytes }: AnswerSample): Buffer[][] {
  const inBytes = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
  return [inBytes, ...Array.from({ length: 50 }, (_, seed) => piecesOf(bytes, randomFrom(seed)))]
}

/** Where an answer in pieces is not what it is as a whole; at most a few of them. */
function differences(protocol: Protocol, sample: AnswerSample, ways: Buffer[][], sent?: string): string[] {
  const whole = readAnswer(protocol, sample.streams, [sample.bytes], sent)
  const expected = JSON.stringify(whole.reading)
  const wrong: string[] = []
  for (const pieces of ways) {
    const { passed, readyBytes, reading } = readAnswer(protocol, sample.streams, pieces, sent)
    const cuts = pieces.length > 3 ? `${pieces.length} pieces` : `cut at ${pieces[0]?.length}`
    if (JSON.stringify(reading) !== expected) wrong.push(`${cuts}: ${JSON.stringify(reading)} instead of ${expected}`)
    if (!passed.equals(whole.passed)) wrong.push(`${cuts}: the bytes differ`)
    if (sample.streams && readyBytes !== whole.readyBytes) wrong.push(`${cuts}: terminal at ${readyBytes}`)
  }
  return wrong.slice(0, 3)
}

function piecesOf(bytes: Buffer, random: () => number): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = Math.ceil(random() ** 3 * 200)
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  return pieces
}

/** Mulberry32: the same numbers for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

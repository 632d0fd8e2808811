import t from 'tap'
import { NO_USAGE, type Usage } from '../../src/domain/usage.ts'
import { AnswerReader } from '../../src/gateway/answer-reader.ts'
import * as google from '../../src/protocols/gemini/endpoints.ts'
import * as openai from '../../src/protocols/openai/endpoints.ts'
import { openaiChat } from '../../src/protocols/openai-chat/index.ts'
import type { MeterReading, Protocol } from '../../src/protocols/protocol.ts'

interface Sample {
  protocol: Protocol
  bytes: string
  /** The bytes that wait for the charge begin here; absent = a body. */
  heldFrom?: number
  ended: MeterReading['ended']
  usage?: Partial<Usage>
  unmetered?: boolean
}

const event = (value: object, name = '') => `${name && `event: ${name}\n`}data: ${JSON.stringify(value)}\n\n`
const tokens = (details: object) => ({ input_tokens: 14, output_tokens: 45, total_tokens: 59, ...details })
const PARTIAL = event({ type: 'image_generation.partial_image', b64_json: 'AA==' }, 'image_generation.partial_image')
const IMAGE = event({ type: 'image_generation.completed', b64_json: 'AA==', usage: tokens({}) })
const DELTA = event({ type: 'transcript.text.delta', delta: 'wörd "usage":{} ' })
const TEXT = event({
  type: 'transcript.text.done',
  text: 'wörd',
  usage: tokens({ input_token_details: { audio_tokens: 0 } }),
})
const ERROR = event({ type: 'error', error: { code: 'server_error', message: 'no' } }, 'error')
const DONE = 'data: [DONE]\n\n'
const COUNTED = { inputTokens: 14, outputTokens: 45 }

const SAMPLES: Record<string, Sample> = {
  images: {
    protocol: openai.images,
    bytes: '{"data":[],"usage":{"input_tokens":5}} \n',
    ended: 'complete',
    unmetered: true,
  },
  'half an image': { protocol: openai.images, bytes: '{"data":[{"b64_json":"AA', ended: null, unmetered: true },
  'no image': { protocol: openai.images, bytes: '<html></html>', ended: null, unmetered: true },
  'an error in place of an image': {
    protocol: openai.images,
    bytes: '{"error":{"code":"x"}}',
    ended: 'error',
    unmetered: true,
  },
  'two images in events': {
    ...{ protocol: openai.images, bytes: PARTIAL + IMAGE + PARTIAL + IMAGE, ended: 'complete', unmetered: true },
    heldFrom: (PARTIAL + IMAGE + PARTIAL + IMAGE).length,
  },
  'no image in events': {
    protocol: openai.images,
    bytes: PARTIAL,
    heldFrom: PARTIAL.length,
    ended: null,
    unmetered: true,
  },
  'an error between images': {
    ...{ protocol: openai.images, bytes: PARTIAL + ERROR, heldFrom: PARTIAL.length, ended: 'error', unmetered: true },
  },
  sound: { protocol: openai.speech, bytes: '\u0000{"error":1}\u00ff', ended: 'complete', unmetered: true },
  silence: { protocol: openai.speech, bytes: '', ended: null, unmetered: true },
  'a transcript': {
    ...{ protocol: openai.transcriptions, ended: 'complete', usage: COUNTED },
    bytes: JSON.stringify({ text: 'w', usage: tokens({ type: 'tokens' }) }),
  },
  'a transcript of sound': {
    ...{ protocol: openai.transcriptions, ended: 'complete', unmetered: true },
    bytes: JSON.stringify({ text: 'w', usage: tokens({ input_token_details: { text_tokens: 4, audio_tokens: 10 } }) }),
    usage: { inputTokens: 4, outputTokens: 45 },
  },
  'a transcript by the second': {
    ...{ protocol: openai.transcriptions, ended: 'complete', unmetered: true },
    bytes: '{"text":"w","usage":{"type":"duration","seconds":4}}',
  },
  'a transcript in plain text': { protocol: openai.transcriptions, bytes: 'w', ended: 'complete', unmetered: true },
  'a transcript in events': {
    ...{ protocol: openai.transcriptions, bytes: DELTA + TEXT, ended: 'complete', usage: COUNTED },
    heldFrom: DELTA.length + 1, // ö is two bytes
  },
  'a transcript of somebody else’s': {
    ...{ protocol: openai.transcriptions, bytes: DELTA + DONE, ended: 'complete', unmetered: true },
    heldFrom: DELTA.length + 1,
  },
  moderations: { protocol: openai.moderations, bytes: '{"model":"m","results":[]}', ended: 'complete' },
  'no moderations': { protocol: openai.moderations, bytes: '{}', ended: null },
  'a legacy completion': {
    ...{ protocol: openaiChat, ended: 'complete', usage: { inputTokens: 5, outputTokens: 2 } },
    bytes: '{"model":"m","choices":[{"text":"w"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}',
  },
  vectors: { protocol: google.embeddings, bytes: '{"embedding":{"values":[1]}}', ended: 'complete', unmetered: true },
  'vectors with their tokens': {
    ...{ protocol: google.embeddings, ended: 'complete', usage: { inputTokens: 7 } },
    bytes:
      '{"embeddings":[],"usageMetadata":{"promptTokenCount":7,"promptTokensDetails":[{"modality":"TEXT","tokenCount":7}]}}',
  },
  'vectors of images': {
    ...{ protocol: google.embeddings, ended: 'complete', usage: { inputTokens: 4 }, unmetered: true },
    bytes:
      '{"embedding":{},"usageMetadata":{"promptTokenCount":7,"promptTokensDetails":[{"modality":"IMAGE","tokenCount":3}]}}',
  },
  'no vectors': { protocol: google.embeddings, bytes: '{"x":1}', ended: null },
  predictions: { protocol: google.predictions, bytes: '{"predictions":[]}', ended: 'complete', unmetered: true },
}

function read({ protocol, heldFrom }: Sample, pieces: Buffer[]) {
  const reader = new AnswerReader(protocol, heldFrom !== undefined)
  for (const piece of pieces) reader.push(piece)
  reader.end()
  const ready = Buffer.concat(reader.ready)
  const { usage, unmetered, ended } = reader.reading
  return { said: { usage, unmetered, ended }, readyBytes: ready.length, bytes: Buffer.concat([ready, ...reader.held]) }
}

t.test('answers are read for what they say, however they are cut', async (t) => {
  for (const [name, sample] of Object.entries(SAMPLES)) {
    const bytes = Buffer.from(sample.bytes)
    const { ended, unmetered = false, usage, heldFrom } = sample
    const expected = { ended, unmetered, usage: { ...NO_USAGE, ...usage } }
    const whole = read(sample, [bytes])
    t.same(whole.said, expected, name)
    t.ok(whole.bytes.equals(bytes), `${name}: byte for byte`)
    if (heldFrom !== undefined) t.equal(whole.readyBytes, heldFrom, `${name}: what waits for the charge`)
    const wrong: number[] = []
    for (let at = 0; at <= bytes.length; at++) {
      const cut = read(sample, [bytes.subarray(0, at), bytes.subarray(at)])
      const isSame = JSON.stringify(cut) === JSON.stringify({ ...whole, readyBytes: cut.readyBytes })
      if (!isSame || (heldFrom !== undefined && cut.readyBytes !== heldFrom)) wrong.push(at)
    }
    t.same(wrong, [], `${name}: cut at any byte`)
  }
})

t.test('of a large answer nothing is kept, and half of one is not whole', async (t) => {
  const piece = Buffer.alloc(1024 * 1024, 'x')
  const answer = (protocol: Protocol, first: string, last: string) => {
    const meter = protocol.usageMeter(false)
    for (const bytes of [Buffer.from(first), ...Array(80).fill(piece), Buffer.from(last)]) meter.read(bytes)
    meter.end()
    return meter.reading.ended
  }
  t.equal(answer(openai.images, '{"data":"', '"} '), 'complete')
  t.equal(answer(openai.images, '{"data":"', ''), null)
  t.equal(answer(google.predictions, '[', '}'), null)
  t.equal(answer(openai.speech, '', ''), 'complete')
})

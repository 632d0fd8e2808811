import { once } from 'node:events'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { chatEvents } from '../src/demo/chat.ts'
import { geminiChunks, geminiStream } from '../src/demo/gemini.ts'
import { messageEvents } from '../src/demo/messages.ts'
import { responsesEvents } from '../src/demo/responses.ts'
import type { ProtocolName } from '../src/domain/call.ts'
import { AnswerReader } from '../src/gateway/answer-reader.ts'
import { messagesCodec } from '../src/protocols/anthropic-messages/codec.ts'
import type { Codec } from '../src/protocols/codec.ts'
import { geminiCodec } from '../src/protocols/gemini/codec.ts'
import { protocols } from '../src/protocols/index.ts'
import type { NeutralRequest, SignatureVendor, Tool, Turn } from '../src/protocols/neutral.ts'
import { chatCodec } from '../src/protocols/openai-chat/codec.ts'
import { responsesCodec } from '../src/protocols/openai-responses/codec.ts'
import { translate } from '../src/protocols/translation.ts'
import { PLAIN_REQUEST } from '../test/support/neutral.ts'
import { type LoadOptions, type LoadResult, median, type PreparedRequest } from './lib/load.ts'
import { cpuSeconds, startScript } from './lib/subjects.ts'

// What does translation cost? First through the gateway: CPU of a call by each client to an account at Anthropic, of 100 KB in
// and 200 events out. Then each pair of formats by itself, alternating in one run: an answer of 200 events that comes event by
// event, read natively (metered, its bytes pass) and translated on top, and a request of 100 KB.

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    'round-ms': { type: 'string', default: '150' },
    /** `0` leaves the gateway out. */
    seconds: { type: 'string', default: '4' },
    only: { type: 'string' },
  },
})
const ROUNDS = Number(values.rounds)
const ROUND_MS = Number(values['round-ms'])
const SECONDS = Number(values.seconds)
const GATEWAY_ROUNDS = 3
const CONNECTIONS = 32
const REQUEST_CHARACTERS = 100_000

const MODEL = 'a-model'
const CLAUDE = 'claude-opus-5-5'
/** What bench/lib has an upstream for. */
const NATIVE = 'anthropic-messages'
const ANSWER = {
  model: MODEL,
  text: Array.from({ length: 194 }, (_, index) => `word${index} lorem `),
  usage: { input: 250, output: 60 },
}

interface Format {
  codec: Codec
  vendor: SignatureVendor
  path: string
  events: string[]
}

const FORMATS: Record<ProtocolName, Format> = {
  'anthropic-messages': {
    codec: messagesCodec,
    vendor: 'anthropic',
    path: '/v1/messages',
    events: messageEvents(ANSWER, 'msg_1'),
  },
  'openai-responses': {
    codec: responsesCodec,
    vendor: 'openai',
    path: '/v1/responses',
    events: responsesEvents(ANSWER, '1'),
  },
  'openai-chat': {
    codec: chatCodec,
    vendor: 'openai',
    path: '/v1/chat/completions',
    events: chatEvents(ANSWER, '1', true),
  },
  gemini: {
    codec: geminiCodec,
    vendor: 'gemini',
    path: `/v1beta/models/${MODEL}:streamGenerateContent?alt=sse`,
    events: geminiStream(geminiChunks(ANSWER, '1'), true),
  },
}
const NAMES = Object.keys(FORMATS) as ProtocolName[]

/** A conversation as long as agents have them. */
function conversation(): NeutralRequest {
  const said = 'Please look at this "code" and say\nwhat it does. '.repeat(20)
  const turns: Turn[] = Array.from({ length: Math.round(REQUEST_CHARACTERS / said.length / 2) }, () => [
    { role: 'user' as const, content: [{ kind: 'text' as const, text: said }] },
    { role: 'assistant' as const, content: [{ kind: 'text' as const, text: said }] },
  ]).flat()
  const tools = Array.from({ length: 20 }, (_, index): Tool => {
    const parameters = { type: 'object', properties: { path: { type: 'string' }, line: { type: 'integer' } } }
    return {
      kind: 'function',
      namespace: null,
      name: `tool_${index}`,
      description: 'Does it.',
      parameters,
      strict: null,
      deferred: false,
    }
  })
  return {
    ...PLAIN_REQUEST,
    model: MODEL,
    system: ['You are a helpful assistant.'],
    turns: [...turns, { role: 'user', content: [{ kind: 'text', text: 'Go on.' }] }],
    tools,
    maxOutputTokens: 1024,
  }
}

let ids = 0
const ASKER = { model: 'an-alias', nowMs: Date.now(), newId: (prefix: string) => `${prefix}${++ids}` }

interface Pair {
  client: ProtocolName
  upstream: ProtocolName
}

function translationOf({ client, upstream }: Pair, body: Buffer) {
  const [ours, theirs] = [FORMATS[client], FORMATS[upstream]]
  const codecs = { client: ours.codec, upstream: theirs.codec }
  return translate(codecs, { body, path: ours.path }, { model: MODEL, vendor: theirs.vendor }, ASKER)
}

/** One answer, event by event, as the gateway reads it. */
function read(upstream: ProtocolName, pieces: Buffer[], edit: ((bytes: Buffer) => Buffer) | null): number {
  const reader = new AnswerReader(protocols[upstream], true, edit)
  let bytes = 0
  for (const piece of pieces) {
    reader.push(piece)
    for (const out of reader.ready) bytes += out.length
    reader.ready.length = 0
  }
  reader.end()
  return bytes
}

/** Microseconds of CPU for one run of each of these, medians of rounds in turn. */
function timed(runs: (() => unknown)[]): number[] {
  const rounds = runs.map((): number[] => [])
  for (let round = -1; round < ROUNDS; round++) {
    for (const [index, run] of runs.entries()) {
      const until = performance.now() + ROUND_MS
      const before = process.cpuUsage()
      let count = 0
      while (performance.now() < until) {
        run()
        count++
      }
      const { user, system } = process.cpuUsage(before)
      if (round >= 0) rounds[index]?.push((user + system) / count)
    }
  }
  return rounds.map(median)
}

/** CPU in microseconds that the gateway takes for a call by each client to an account at Anthropic; the first one is native. */
async function gatewayMicros(): Promise<Map<ProtocolName, number>> {
  const upstream = await startScript('upstream', 'upstream.ts', [])
  const gateway = await startScript('simple', 'gateway.ts', [`http://127.0.0.1:${upstream.port}/stream`, 'simple'])
  const run = async (client: ProtocolName) => {
    const requests = gateway.keys.map((key) => requestOf(client, key))
    const options: LoadOptions = { port: gateway.port, requests, connections: CONNECTIONS, seconds: SECONDS }
    const before = cpuSeconds(gateway.pid)
    const worker = new Worker(new URL('./lib/load.ts', import.meta.url), { workerData: { load: options } })
    const [{ answers, failures }] = (await once(worker, 'message')) as [LoadResult]
    if (failures > 0) throw new Error(`${failures} calls by a client of ${client} failed`)
    return ((cpuSeconds(gateway.pid) - before) * 1e6) / answers
  }
  const rounds = new Map(NAMES.map((client) => [client, [] as number[]]))
  for (let round = -1; round < GATEWAY_ROUNDS; round++) {
    for (const [client, measured] of rounds) {
      const micros = await run(client)
      if (round >= 0) measured.push(micros) // before, the compiler has to see it
    }
  }
  await gateway.stop()
  await upstream.stop()
  return new Map([...rounds].map(([client, measured]) => [client, median(measured)]))
}

function requestOf(client: ProtocolName, key: string): PreparedRequest {
  const { codec, vendor, path } = FORMATS[client]
  const { body } = codec.encodeRequest({ ...conversation(), model: CLAUDE }, { model: CLAUDE, vendor })
  const headers = {
    'content-type': 'application/json',
    'anthropic-version': '2023-06-01',
    authorization: `Bearer ${key}`,
  }
  return { path: path.replace(MODEL, CLAUDE), headers, body: body.toString() }
}

console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}; medians of ${ROUNDS} rounds of ${ROUND_MS} ms`,
)
const callMicros = SECONDS > 0 ? await gatewayMicros() : null
const nativeCall = callMicros?.get(NATIVE) ?? Number.NaN
if (callMicros) {
  console.log('\nThrough the gateway, 100 KB in and 200 events out, to an account at Anthropic\n')
  console.log('| client | µs of CPU per call | of native |')
  console.log('| --- | ---: | ---: |')
  for (const [client, micros] of callMicros) {
    console.log(`| ${client} | ${micros.toFixed(0)} | ${(micros / nativeCall).toFixed(2)} × |`)
  }
}
const nativeAnswer = FORMATS[NATIVE].events.map((event) => Buffer.from(event))
const [nativeAnswerMicros = 0] = timed([() => read(NATIVE, nativeAnswer, null)])
console.log(
  '\nµs of CPU; call: an estimate, from the native call above with what reading and translating this pair takes\n',
)
console.log(
  '| client ← upstream | native /event | translated /event | of native | native /KB | translated /KB | codecs alone /event | request 100 KB | call |',
)
console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
for (const client of NAMES) {
  for (const upstream of NAMES) {
    const pair = { client, upstream }
    const label = `${client} ← ${upstream}`
    if (client !== upstream && (values.only === undefined || label.includes(values.only))) print(label, pair)
  }
}
process.exit(0)

function print(label: string, pair: Pair): void {
  const { events } = FORMATS[pair.upstream]
  const pieces = events.map((event) => Buffer.from(event))
  const kb = pieces.reduce((sum, { length }) => sum + length, 0) / 1024
  const { codec, vendor } = FORMATS[pair.client]
  const asked = codec.encodeRequest(conversation(), { model: MODEL, vendor }).body
  const translation = translationOf(pair, asked)
  const answer = () => translation.answer({ upstream: true, client: true })
  const [native = 0, translated = 0, alone = 0, request = 0] = timed([
    () => read(pair.upstream, pieces, null),
    () => {
      const translated = answer()
      const bytes = read(pair.upstream, pieces, (bytes) => translated.push(bytes))
      translated.end()
      return bytes
    },
    () => {
      const translated = answer()
      for (const piece of pieces) translated.push(piece)
      return translated.end()
    },
    () => translationOf(pair, asked),
  ])
  const micros = (value: number) => value.toFixed(2)
  const call = nativeCall - nativeAnswerMicros + native
  const translatedCall = call - native + translated + request
  const cells = [
    ...[native / events.length, translated / events.length].map(micros),
    `${(translated / native).toFixed(1)} ×`,
    ...[native / kb, translated / kb, alone / events.length, request].map(micros),
    Number.isNaN(call) ? '' : `${(translatedCall / call).toFixed(2)} ×`,
  ]
  console.log(`| ${label} | ${cells.join(' | ')} |`)
}

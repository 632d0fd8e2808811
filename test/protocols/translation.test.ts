import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { ProtocolName } from '../../src/domain/call.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import { eventsOf } from '../../src/protocols/answers.ts'
import { markOfClient } from '../../src/protocols/gemini/signatures.ts'
import { protocols } from '../../src/protocols/index.ts'
import {
  type AssistantBlock,
  ERROR_KINDS,
  type NeutralAnswer,
  type NeutralError,
  type NeutralRequest,
  type ReasoningBlock,
  type Tool,
  type ToolCallBlock,
} from '../../src/protocols/neutral.ts'
import { COMMON_NAMES, ToolNames } from '../../src/protocols/tool-names.ts'
import { type Translation, translate } from '../../src/protocols/translation.ts'
import {
  answerOf,
  asker,
  type CodecSamples,
  gathered,
  readStream,
  requestOf,
  requestWith,
  type Sayable,
  same,
  toolsOf,
  wholeEvents,
  withoutId,
} from '../contract/codec.ts'
import { census } from './census.ts'
import { CODEC_SAMPLES as SAMPLES } from './codec-samples.ts'
import { ASSEMBLED, REPLAYS } from './replays.ts'

const FORMATS = Object.keys(SAMPLES) as ProtocolName[]
/** A nightly run asks for more inputs. */
const RUNS = { numRuns: Math.ceil(Number(process.env.SUBGATE_FUZZ_RUNS ?? 10_000) / 100) }
/** How an upstream answers, and how a client wants it. */
const WAYS = [
  { upstream: false, client: false },
  { upstream: true, client: true },
  { upstream: true, client: false },
  { upstream: false, client: true },
]
type Way = (typeof WAYS)[number]

/** What both can say. */
function common(a: Sayable, b: Sayable): Sayable {
  const both = Object.entries(a).map(([key, ours]) => {
    const theirs = b[key as keyof Sayable]
    if (Array.isArray(ours)) return [key, ours.filter((one) => (theirs as unknown[]).includes(one))]
    return [key, typeof ours === 'boolean' ? ours && theirs : ours]
  })
  return { ...Object.fromEntries(both), reasoningFirst: a.reasoningFirst || b.reasoningFirst }
}

class Pair {
  readonly #client: ProtocolName
  readonly #upstream: ProtocolName
  readonly #ours: CodecSamples
  readonly #theirs: CodecSamples

  constructor(client: ProtocolName, upstream: ProtocolName) {
    this.#client = client
    this.#upstream = upstream
    this.#ours = SAMPLES[client]
    this.#theirs = SAMPLES[upstream]
  }

  check(t: Test): void {
    const [ours, theirs] = [this.#ours, this.#theirs]
    const both = common(ours.says, theirs.says)

    t.test('a request that both formats can say says the same', async () => {
      fc.assert(
        fc.property(requestOf({ ...both, reasoning: false }), (said) => {
          const { body, dropped } = this.#translate(said)
          same(
            dropped.filter((name) => !FILLERS.includes(name)),
            [],
          )
          const read = theirs.codec.decodeRequest(body, theirs.path(said)).request
          return same(withoutFillers(read, both), withoutFillers(said, both))
        }),
        RUNS,
      )
    })

    t.test('a request that only the client can say loses no tool, call, result, picture or word', async () => {
      const says = { ...ours.says, mediaTypes: ['image/png'], mediaUrls: true, settings: [], reasoning: false }
      fc.assert(
        fc.property(requestOf(says), (request) => {
          const said = { ...request, outputFormat: null }
          const { texts, ...counts } = census(JSON.parse(this.#written(said).body.toString()))
          const { texts: sent, ...sentCounts } = census(JSON.parse(this.#translate(said).body.toString()))
          same(sentCounts, counts)
          same(
            texts.filter((words) => !sent.some((text) => text.includes(words))),
            [],
          )
        }),
        RUNS,
      )
    })

    t.test('an answer says the same, however it comes and is wanted', async () => {
      const { namespaces, customTools, reasoning } = ours.says
      const { vendor } = theirs.says
      // Tools are the client's, thoughts are the upstream's, and chat clients see their words only.
      const says = { ...both, namespaces, customTools, vendor, reasoning: reasoning && theirs.says.reasoning }
      fc.assert(
        fc.property(answerOf(says), (answer) => {
          const expected = withoutId({ ...answer, model: 'asked-model' })
          for (const way of WAYS) same(withoutId(this.#answered(answer, way)), expected)
        }),
        RUNS,
      )
    })

    t.test('an answer is metered as the client’s own', async () => {
      const { vendor } = theirs.says
      fc.assert(
        fc.property(answerOf({ ...both, vendor }), (answer) => {
          for (const way of WAYS) {
            const { usage, ended } = metered(this.#client, this.#answer(answer, way), way.client)
            same({ usage, ended }, { usage: answer.usage, ended: 'complete' })
          }
        }),
        RUNS,
      )
    })

    t.test(
      'a stream that is cut off looks complete only where the upstream’s own client would take it for such',
      async (t) => {
        for (const { name, bytes, events } of theirs.streams) {
          if (events.at(-1)?.type !== 'finish') continue
          const whole = wholeEvents(bytes)
          for (const [count] of whole.entries()) {
            const cut = whole.slice(0, count)
            const isWhole = metered(this.#upstream, Buffer.concat(cut), true).ended === 'complete'
            const streamed = this.#read(cut, { upstream: true, client: true })
            const gathered = this.#read(cut, { upstream: true, client: false })
            const where = `${name}: after ${count} events`
            t.equal(readStream(ours.codec, [streamed]).at(-1)?.type, isWhole ? 'finish' : 'error', where)
            t.equal(metered(this.#client, streamed, true).ended, isWhole ? 'complete' : 'error', `${where}, metered`)
            t.equal(gathered.length > 0, isWhole, `${where}, wanted whole`)
          }
        }
      },
    )

    t.test('each stream of the upstream’s is one of the client’s, which ends as it does', async (t) => {
      for (const { name, bytes, events } of theirs.streams) {
        const streamed = this.#read(wholeEvents(bytes), { upstream: true, client: true })
        const [last, meant] = [readStream(ours.codec, [streamed]).at(-1), events.at(-1)]
        t.equal(last?.type, meant?.type, name)
        t.equal(metered(this.#client, streamed, true).ended, meant?.type === 'error' ? 'error' : 'complete', name)
        if (meant?.type === 'error') t.match(last, { error: { message: meant.error.message } })
      }
    })

    t.test('an error says of what kind it is, as far as both formats tell', async (t) => {
      const translation = this.#translate(requestWith(ours.says, []))
      for (const kind of ERROR_KINDS) {
        const error: NeutralError = { kind, message: `about ${kind}` }
        const sent = theirs.codec.encodeError(400, error, 'call_1')
        const told = translation.error(sent.status, sent.body, 'call_2')
        const known = [theirs, ours].reduce((error, { codec }) => {
          const { status, body } = codec.encodeError(400, error, '')
          return codec.decodeError(status, body)
        }, error)
        const read = ours.codec.decodeError(told.status, told.body)
        t.same(read, known, kind)
        t.match(read.message, error.message)
        t.equal(metered(this.#client, told.body, false).ended, 'error', `${kind}: metered`)
      }
    })

    t.test('tools come back under the names that the client gave them', async (t) => {
      const long = 'a'.repeat(60)
      const twins = [`mcp__${long}__read_it`, `mcp__${long}__read_that`]
      const calls = twins.map((name, index) => callOf({ id: `call_${index}`, name }))
      if (ours.says.namespaces) calls.push(callOf({ id: 'call_ns', namespace: `mcp__${long}`, name: 'read_it' }))
      if (ours.says.customTools) calls.push(callOf({ id: 'call_c', name: 'edit', tool: 'custom', input: '*** Begin' }))
      const answer = answerWith(calls)
      const tools = toolsOf(answer)
      t.equal(tools.length, calls.length)
      const wire = this.#toolsSent(tools)
      t.equal(new Set(wire).size, calls.length, 'each has its own')
      for (const name of wire) t.match(name, /^[a-zA-Z0-9_-]{1,64}$/)
      for (const way of WAYS) {
        const read = this.#answered(answer, way)
        t.same('content' in read && read.content, calls)
      }
    })

    if (ours.says.reasoning && theirs.says.reasoning) {
      t.test('what the upstream signed comes back to it, through a client of another vendor', async (t) => {
        const { vendor } = theirs.says
        const thought: ReasoningBlock = {
          kind: 'reasoning',
          text: 'Let me look.',
          signature: { vendor, value: 'c2lnbmVk.+/==' },
          redacted: false,
        }
        const hidden: ReasoningBlock = { ...thought, text: '', redacted: theirs.says.redacted }
        const call = callOf({ id: 'call_1', name: 'look', input: '{"at":1}' })
        for (const [block, isStream] of [thought, hidden].flatMap((block) => [
          [block, true] as const,
          [block, false] as const,
        ])) {
          const answer = answerWith([block, call])
          const first = requestWith(ours.says, toolsOf(answer))
          const bytes = this.#answer(answer, { upstream: true, client: isStream })
          const got = isStream ? ASSEMBLED[this.#client](bytes) : JSON.parse(bytes.toString())
          const next = REPLAYS[this.#client](JSON.parse(this.#written(first).body.toString()), got)
          const [body, path] = [Buffer.from(JSON.stringify(next)), ours.path(first)]
          const sent = this.#translateBody(body, path)
          t.notOk(sent.dropped.includes('reasoning'))
          const { turns } = theirs.codec.decodeRequest(sent.body, theirs.path(first)).request
          t.same(turns.find(({ role }) => role === 'assistant')?.content, [block, call])
          const { request } = ours.codec.decodeRequest(body, path)
          for (const { codec, says } of Object.values(SAMPLES).filter(({ says }) => says.vendor !== vendor)) {
            const elsewhere = codec.encodeRequest(request, { model: 'm', vendor: says.vendor }).body.toString()
            t.notMatch(elsewhere, /c2lnbmVk|subgate\./, `but it goes to no other: ${says.vendor}`)
          }
        }
      })
    }
  }

  /** As the client writes it. */
  #written(request: NeutralRequest): { body: Buffer; path: string } {
    const target = { model: request.model, vendor: this.#ours.says.vendor }
    return { body: this.#ours.codec.encodeRequest(request, target).body, path: this.#ours.path(request) }
  }

  #translate(request: NeutralRequest): Translation {
    const { body, path } = this.#written(request)
    return this.#translateBody(body, path, request.model)
  }

  #translateBody(body: Buffer, path: string, model = 'm'): Translation {
    const pair = { client: this.#ours.codec, upstream: this.#theirs.codec }
    return translate(pair, { body, path }, { model, vendor: this.#theirs.says.vendor }, asker(null))
  }

  /** What the tools are called upstream, in their order. */
  #toolsSent(tools: Tool[]): string[] {
    const request = requestWith(this.#ours.says, tools)
    const { body } = this.#translate(request)
    return this.#theirs.codec.decodeRequest(body, this.#theirs.path(request)).request.tools.map(({ name }) => name)
  }

  /** What the client gets of it. */
  #answer(answer: NeutralAnswer, way: Way): Buffer {
    const { codec } = this.#theirs
    const tools = toolsOf(answer)
    const said = {
      ...answer,
      content: answer.content.map((block) => asSentBy(block, new ToolNames(tools, COMMON_NAMES))),
    }
    const asked = this.#askedUpstream(way.upstream)
    if (!way.upstream) return this.#read([codec.encodeAnswer(said, asker(asked))], way, tools)
    const encoder = codec.encodeStream(asker(asked))
    return this.#read(
      eventsOf(said).map((event) => Buffer.from(encoder.push(event))),
      way,
      tools,
    )
  }

  #answered(answer: NeutralAnswer, way: Way): NeutralAnswer | NeutralError {
    const { codec } = this.#ours
    const bytes = this.#answer(answer, way)
    const names = new ToolNames(toolsOf(answer), COMMON_NAMES)
    const read = way.client ? gathered(readStream(codec, [bytes], names), bytes) : codec.decodeAnswer(bytes, names)
    return 'kind' in read ? read : { ...read, content: read.content.map(asClientsSign) }
  }

  #askedUpstream(stream: boolean): unknown {
    const request = { ...requestWith(this.#theirs.says, []), stream }
    const { body } = this.#theirs.codec.encodeRequest(request, { model: 'm', vendor: this.#theirs.says.vendor })
    return this.#theirs.codec.decodeRequest(body, this.#theirs.path(request)).asked
  }

  /** What the client gets of these pieces. */
  #read(pieces: Buffer[], way: Way, tools: Tool[] = []): Buffer {
    const request = { ...requestWith(this.#ours.says, tools), stream: way.client }
    const reader = this.#translate(request).answer(way)
    return Buffer.concat([...pieces.map((piece) => reader.push(piece)), reader.end()])
  }
}

/** Upstreams know neither namespaces nor tools of free text. */
function asSentBy(block: AssistantBlock, names: ToolNames): AssistantBlock {
  if (block.kind !== 'tool_call') return block
  const { namespace, name, tool, input } = block
  const sent = tool === 'custom' ? JSON.stringify({ input }) : input
  return { ...block, namespace: null, name: names.wireName(namespace, name), tool: 'function', input: sent }
}

/** What stands for another vendor's signature is one of Gemini's to whoever reads the answer as an upstream's. */
function asClientsSign(block: AssistantBlock): AssistantBlock {
  if (block.kind !== 'reasoning' || block.signature?.vendor !== 'gemini') return block
  return { ...block, ...markOfClient(block.signature.value) }
}

/** What a format always says of media, and so what another that cannot say it always drops. */
const FILLERS = ['detail', 'filename']

/** Without what a format always writes though nobody said it, and its own way of caching. */
function withoutFillers(request: NeutralRequest, { detail, mediaNames, schemaName }: Sayable): object {
  const bare = (_: string, value: { kind?: string } | null) => {
    if (value?.kind === 'media')
      return { ...value, ...(!detail && { detail: null }), ...(!mediaNames && { name: null }) }
    return value?.kind === 'json_schema' && !schemaName ? { ...value, name: null } : value
  }
  return JSON.parse(JSON.stringify({ ...request, caching: null }, bare))
}

function callOf(call: Partial<ToolCallBlock>): ToolCallBlock {
  return { kind: 'tool_call', id: 'call_1', namespace: null, name: 'look', tool: 'function', input: '{}', ...call }
}

function answerWith(content: AssistantBlock[]): NeutralAnswer {
  const usage = { ...NO_USAGE, inputTokens: 3, outputTokens: 5 }
  return { id: 'a-1', model: 'a-model', content, stop: { reason: 'tool_use', sequence: null }, usage }
}

function metered(protocol: ProtocolName, bytes: Buffer, stream: boolean) {
  const meter = protocols[protocol].usageMeter(stream)
  meter.read(bytes)
  meter.end()
  return meter.reading
}

for (const client of FORMATS) {
  for (const upstream of FORMATS) {
    if (client !== upstream) t.test(`${client} → ${upstream}`, async (t) => new Pair(client, upstream).check(t))
  }
}

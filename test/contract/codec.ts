import fc from 'fast-check'
import type { Test } from 'tap'
import { isGatewayError } from '../../src/domain/errors.ts'
import { NO_USAGE, type Usage } from '../../src/domain/usage.ts'
import { AnswerGatherer, eventsOf } from '../../src/protocols/answers.ts'
import type { Asker, Codec, Target } from '../../src/protocols/codec.ts'
import {
  type AssistantBlock,
  type EFFORTS,
  ERROR_KINDS,
  type MediaBlock,
  type NeutralAnswer,
  type NeutralEvent,
  type NeutralRequest,
  type ReasoningBlock,
  type SignatureVendor,
  type Stop,
  type TextBlock,
  type Tool,
  type ToolCallBlock,
  type Turn,
  type UserBlock,
} from '../../src/protocols/neutral.ts'
import { SseSplitter } from '../../src/protocols/sse.ts'
import { COMMON_NAMES, ToolNames } from '../../src/protocols/tool-names.ts'
import { PLAIN_REQUEST } from '../support/neutral.ts'

/** What a wire format can say; generated conversations say no more, and so must come back as they were. */
export interface Sayable {
  /** Whose signatures are its own. */
  vendor: SignatureVendor
  /** Its clients can carry reasoning, own and foreign. */
  reasoning: boolean
  redacted: boolean
  namespaces: boolean
  customTools: boolean
  deferred: boolean
  strict: boolean
  /** System words between turns. */
  systemLater: boolean
  /** Several texts before the conversation, kept apart. */
  systemMany: boolean
  /** Text blocks that follow each other are kept apart. */
  textsApart: boolean
  /** Reasoning before text and calls only, not between them. */
  reasoningFirst: boolean
  /** Media types that users may send. */
  mediaTypes: string[]
  mediaUrls: boolean
  mediaNames: boolean
  detail: boolean
  mediaInResults: boolean
  resultErrors: boolean
  /** Calls keep the ids that they were given. */
  callIds: boolean
  settings: (keyof Pick<
    NeutralRequest,
    'temperature' | 'topP' | 'topK' | 'seed' | 'stopSequences' | 'verbosity' | 'cacheKey' | 'parallelToolCalls'
  >)[]
  efforts: (typeof EFFORTS)[number][]
  budget: boolean
  /** Of a schema for the answer: its name, and whether it is strict. */
  schemaName: boolean
  schemaStrict: boolean
  plainJson: boolean
  caching: NeutralRequest['caching']
  stops: Stop['reason'][]
  /** Kinds of usage that answers report. */
  usage: (keyof Usage)[]
}

export interface CodecSamples {
  codec: Codec
  says: Sayable
  /** Where a request of this stream flag is sent; models may stand in it. */
  path(request: NeutralRequest): string
  /** Stream bytes as vendors send them, with what they mean when whole. */
  streams: { name: string; bytes: Buffer; events: NeutralEvent[] }[]
  /** Requests in the format's own words to damage. */
  requests: Buffer[]
  answers: Buffer[]
}

const NO_NAMES = new ToolNames([], COMMON_NAMES)

export function asker(asked: unknown): Asker {
  let ids = 0
  return { model: 'asked-model', asked, nowMs: Date.UTC(2026, 10, 27), newId: (prefix) => `${prefix}${++ids}` }
}

/** Fuzzed inputs of each codec; a million in the nightly run. */
export const RUNS = Number(process.env.SUBGATE_FUZZ_RUNS ?? 10_000)

/** What a codec must do; every codec runs it. */
export function codecContract(t: Test, { codec, says, path, streams, requests, answers }: CodecSamples): void {
  const target = (request: NeutralRequest): Target => ({ model: request.model, vendor: says.vendor })

  t.test('a request that the format can say comes back as it was', async () => {
    fc.assert(
      fc.property(requestOf(says), (request) => {
        const { body, dropped } = codec.encodeRequest(request, target(request))
        if (dropped.length > 0) throw new Error(`dropped: ${dropped.join(', ')}`)
        const again = codec.decodeRequest(body, path(request))
        if (again.dropped.length > 0) throw new Error(`dropped when read: ${again.dropped.join(', ')}`)
        return same(again.request, request)
      }),
      { numRuns: 500 },
    )
  })

  t.test('an answer that the format can say comes back as it was, whole and as a stream', async () => {
    fc.assert(
      fc.property(answerOf(says), (answer) => {
        const tools = toolsOf(answer)
        const names = new ToolNames(tools, COMMON_NAMES)
        const asked = askedFor(codec, says, path, tools)
        const expected = { ...answer, model: 'asked-model' }
        same(withoutId(codec.decodeAnswer(codec.encodeAnswer(answer, asker(asked)), names)), withoutId(expected))
        const encoder = codec.encodeStream(asker(asked))
        const bytes = Buffer.from(
          eventsOf(answer)
            .map((event) => encoder.push(event))
            .join(''),
        )
        return same(withoutId(gathered(readStream(codec, [bytes], names), bytes)), withoutId(expected))
      }),
      { numRuns: 500 },
    )
  })

  t.test('a stream means the same however it is cut, with CRLF, comments and unknown events', async (t) => {
    for (const { name, bytes, events } of streams) {
      t.same(readStream(codec, [bytes]), events, name)
      const wrong: number[] = []
      const expected = JSON.stringify(events)
      for (const [at] of bytes.entries()) {
        const read = readStream(codec, [bytes.subarray(0, at), bytes.subarray(at)])
        if (JSON.stringify(merged(read)) !== JSON.stringify(merged(events))) wrong.push(at)
      }
      t.same(wrong.slice(0, 3), [], `${name}: cut in two`)
      const text = bytes.toString()
      for (const [how, other] of [
        ['CRLF', text.replaceAll('\n', '\r\n')],
        ['comments', text.replaceAll('\n\n', '\n\n: hello\n\n')],
        ['unknown events', text.replaceAll('\n\n', '\n\nevent: novelty\ndata: {"type":"novelty"}\n\n')],
      ] as const) {
        t.equal(JSON.stringify(readStream(codec, [Buffer.from(other)])), expected, `${name}: ${how}`)
      }
    }
  })

  t.test('a stream that is cut off anywhere never looks complete', async (t) => {
    for (const { name, bytes, events } of streams) {
      if (events.at(-1)?.type !== 'finish') continue
      const decoder = codec.decodeStream(NO_NAMES)
      const finishesAt = wholeEvents(bytes).findIndex((event) =>
        decoder.push(event).some(({ type }) => type === 'finish'),
      )
      for (let count = 0; count < (finishesAt < 0 ? wholeEvents(bytes).length : finishesAt); count++) {
        const read = readStream(codec, wholeEvents(bytes).slice(0, count))
        t.equal(read.at(-1)?.type, 'error', `${name}: after ${count} events`)
        requireGrammar(read)
      }
    }
  })

  t.test('every way to end a stream is the protocol’s own', async (t) => {
    const error: NeutralEvent = { type: 'error', error: { kind: 'overloaded', message: 'busy "just\n\nnow"' } }
    const start: NeutralEvent = { type: 'start', id: 'x', model: 'm', usage: null }
    const text: NeutralEvent[] = [
      { type: 'open', block: { kind: 'text' } },
      { type: 'delta', text: 'half' },
    ]
    for (const events of [[error], [start, error], [start, ...text, error]]) {
      const encoder = codec.encodeStream(asker(askedFor(codec, says, path, [])))
      const bytes = Buffer.from(events.map((event) => encoder.push(event)).join(''))
      const read = readStream(codec, [bytes])
      t.match(read.at(-1), { type: 'error', error: { message: error.error.message } })
    }
  })

  t.test('errors of each kind come through, and garbage is an error too', async (t) => {
    for (const kind of ERROR_KINDS) {
      const { status, body } = codec.encodeError(400, { kind, message: `about ${kind}` }, 'call_1')
      t.match(codec.decodeError(status, body).message, `about ${kind}`)
    }
    for (const garbage of ['', 'null', '<html>502</html>', '{"error":', '[[]]']) {
      t.equal(typeof codec.decodeError(502, Buffer.from(garbage)).message, 'string')
    }
  })

  t.test('damaged bytes throw nothing but a refusal of the request', async (t) => {
    const random = fc.sample(fc.integer(), { numRuns: 1, seed: 4711 })[0] as number
    const next = randomFrom(random)
    for (let run = 0; run < RUNS; run++) {
      const of = (list: Buffer[]) => damaged(list[run % list.length] as Buffer, next)
      try {
        codec.decodeRequest(of(requests), path({ model: 'm', stream: run % 2 === 0 } as NeutralRequest))
      } catch (error) {
        if (!isGatewayError(error, 'invalid_request')) throw error
      }
      codec.decodeAnswer(of(answers), NO_NAMES)
      codec.decodeError(400 + (run % 200), of(answers))
      requireGrammar(readStream(codec, [of(streams.map(({ bytes }) => bytes))]))
    }
    t.pass(`${RUNS} of each`)
  })
}

// ---- reading ----

export function readStream(codec: Codec, pieces: Buffer[], names = NO_NAMES): NeutralEvent[] {
  const splitter = new SseSplitter()
  const decoder = codec.decodeStream(names)
  const read: NeutralEvent[] = []
  for (const piece of pieces) {
    const whole = splitter.push(piece)
    if (whole) read.push(...decoder.push(whole))
  }
  const rest = splitter.rest()
  if (rest) read.push(...decoder.push(rest))
  read.push(...decoder.end())
  return read
}

export function wholeEvents(bytes: Buffer): Buffer[] {
  return bytes
    .toString()
    .split(/(?<=\n\n)/)
    .map((text) => Buffer.from(text))
}

/** Deltas that follow each other as one. */
function merged(events: NeutralEvent[]): NeutralEvent[] {
  const result: NeutralEvent[] = []
  for (const event of events) {
    const last = result.at(-1)
    if (event.type === 'delta' && last?.type === 'delta')
      result[result.length - 1] = { type: 'delta', text: last.text + event.text }
    else result.push(event)
  }
  return result
}

/** Throws unless the events are one start, whole blocks, and one end. */
export function requireGrammar(events: NeutralEvent[]): void {
  let state: 'before' | 'between' | 'in' | 'over' = 'before'
  const wrong = (event: NeutralEvent) => new Error(`'${event.type}' ${state}: ${JSON.stringify(events)}`)
  for (const event of events) {
    if (state === 'over') throw wrong(event)
    switch (event.type) {
      case 'start':
        if (state !== 'before') throw wrong(event)
        state = 'between'
        break
      case 'open':
        if (state !== 'between') throw wrong(event)
        state = 'in'
        break
      case 'delta':
      case 'signature':
        if (state !== 'in') throw wrong(event)
        break
      case 'close':
        if (state !== 'in') throw wrong(event)
        state = 'between'
        break
      case 'finish':
        if (state !== 'between') throw wrong(event)
        state = 'over'
        break
      case 'error':
        state = 'over'
    }
  }
  if (state !== 'over') throw new Error(`no end: ${JSON.stringify(events)}`)
}

export function gathered(events: NeutralEvent[], bytes: Buffer): NeutralAnswer {
  requireGrammar(events)
  const gatherer = new AnswerGatherer()
  for (const event of events) gatherer.push(event)
  if (!gatherer.answer) throw new Error(`no answer in ${bytes.toString()}`)
  return gatherer.answer
}

export function withoutId(answer: NeutralAnswer | { kind: string; message: string }): object {
  return { ...answer, id: '' }
}

/** True, or throws with both. */
export function same(actual: unknown, expected: unknown): boolean {
  const [a, b] = [canonical(actual), canonical(expected)]
  if (a !== b) throw new Error(`\n${a}\ninstead of\n${b}`)
  return true
}

function canonical(value: unknown): string {
  return JSON.stringify(
    value,
    (_, part) =>
      part && typeof part === 'object' && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([x], [y]) => (x < y ? -1 : 1)))
        : part,
    1,
  )
}

function damaged(bytes: Buffer, next: () => number): Buffer {
  const copy = Buffer.from(bytes)
  for (let n = 0; n < 1 + next() * 8; n++) copy[Math.floor(next() * copy.length)] = Math.floor(next() * 256)
  return next() < 0.2 ? copy.subarray(0, Math.floor(next() * copy.length)) : copy
}

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** What a client asked for that offers these tools. */
function askedFor(codec: Codec, says: Sayable, path: CodecSamples['path'], tools: Tool[]): unknown {
  const request = requestWith(says, tools)
  return codec.decodeRequest(codec.encodeRequest(request, { model: 'm', vendor: says.vendor }).body, path(request))
    .asked
}

/** The least that a client says that offers these tools. */
export function requestWith(says: Sayable, tools: Tool[]): NeutralRequest {
  return { ...PLAIN_REQUEST, tools, maxOutputTokens: 100, caching: says.caching }
}

// ---- generating ----

const words = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
    fc.constantFrom('hello', 'line\nline\r\n\r\ndata: x', '"quoted" \\ and \u2028', '😀 </s>'),
  )
  .filter((text) => text.trim() !== '') // some vendors refuse a text without a word
const name = fc.stringMatching(/^[a-z][a-zA-Z0-9_-]{0,20}$/)
const json = fc.dictionary(name, fc.oneof(words, fc.integer(), fc.boolean(), fc.constant(null), fc.array(fc.integer())))
const base64 = words.map((text) => Buffer.from(text).toString('base64')) // text, as some formats write plain text unpacked

function text(): fc.Arbitrary<TextBlock> {
  return words.map((text) => ({ kind: 'text', text }))
}

function media(says: Sayable): fc.Arbitrary<MediaBlock> {
  const types = fc.constantFrom(...says.mediaTypes)
  return types.chain((mediaType) => {
    const isDocument = !mediaType.startsWith('image/')
    const data = fc.record({ kind: fc.constant('base64' as const), data: base64 })
    const url = fc.record({ kind: fc.constant('url' as const), url: fc.webUrl({ validSchemes: ['https'] }) })
    return fc.record({
      kind: fc.constant('media' as const),
      mediaType: fc.constant(mediaType),
      source: says.mediaUrls && !isDocument ? fc.oneof(data, url) : data,
      name: isDocument && says.mediaNames ? name.map((name) => `${name}.pdf`) : fc.constant(null),
      detail:
        !isDocument && says.detail
          ? fc.constantFrom('low' as const, 'high' as const, 'auto' as const)
          : fc.constant(null),
    })
  })
}

function withUrlType(block: MediaBlock): MediaBlock {
  return block.source.kind === 'url' ? { ...block, mediaType: null } : block
}

function tool(says: Sayable): fc.Arbitrary<Tool> {
  const head = {
    namespace: says.namespaces ? fc.option(name.map((name) => `ns_${name}`)) : fc.constant(null),
    name,
    description: fc.option(words),
  }
  const schema = fc.record({
    type: fc.constant('object'),
    properties: fc.dictionary(name, fc.record({ type: fc.constantFrom('string', 'integer', 'boolean') })),
  })
  const fn = fc.record({
    kind: fc.constant('function' as const),
    ...head,
    parameters: schema,
    strict: says.strict ? fc.option(fc.boolean()) : fc.constant(null),
    deferred: says.deferred ? fc.boolean() : fc.constant(false),
  })
  if (!says.customTools) return fn
  return fc.oneof(
    fn,
    fc.record({
      kind: fc.constant('custom' as const),
      ...head,
      format: fc.option(fc.constant({ type: 'grammar', syntax: 'lark', definition: 'start: /.+/' })),
    }),
  )
}

function reasoning(says: Sayable): fc.Arbitrary<ReasoningBlock> {
  const signature = fc.record({
    vendor: fc.constant(says.vendor),
    value: base64,
  })
  const open = fc.record({
    kind: fc.constant('reasoning' as const),
    text: words,
    signature,
    redacted: fc.constant(false),
  })
  if (!says.redacted) return open
  return fc.oneof(
    open,
    fc.record({
      kind: fc.constant('reasoning' as const),
      text: fc.constant(''),
      signature,
      redacted: fc.constant(true),
    }),
  )
}

/** Blocks of one assistant turn; `ids` makes ids that no other call has. */
function assistantBlocks(says: Sayable, tools: Tool[], ids: () => string): fc.Arbitrary<AssistantBlock[]> {
  const own = tools.filter((tool) => tool.kind !== 'hosted')
  const calls: fc.Arbitrary<ToolCallBlock[]> =
    own.length === 0
      ? fc.constant([])
      : fc.array(
          fc.constantFrom(...own).chain((tool) =>
            (tool.kind === 'function' ? json.map((value) => JSON.stringify(value)) : words).map((input) => ({
              kind: 'tool_call' as const,
              id: ids(),
              namespace: tool.namespace,
              name: tool.name,
              tool: tool.kind,
              input,
            })),
          ),
          { maxLength: 3 },
        )
  const thoughts = says.reasoning
    ? fc.array(reasoning(says), { maxLength: says.reasoningFirst ? 1 : 2 })
    : fc.constant([])
  const texts = fc.array(text(), { minLength: 1, maxLength: says.textsApart ? 2 : 1 })
  return fc.tuple(thoughts, texts, calls).map(([thoughts, texts, calls]) => [...thoughts, ...texts, ...calls])
}

/** Without doubles, and those of a namespace next to each other, as a format that has namespaces writes them. */
function distinct(tools: Tool[]): Tool[] {
  const seen = new Set<string>()
  const once = tools.filter((tool) => {
    const fits = !seen.has(tool.name)
    seen.add(tool.name)
    return fits
  })
  const namespaceOf = (tool: Tool) => (tool.kind === 'hosted' ? '' : (tool.namespace ?? ''))
  return once.sort((a, b) => namespaceOf(a).localeCompare(namespaceOf(b)))
}

export function requestOf(says: Sayable): fc.Arbitrary<NeutralRequest> {
  return fc
    .array(tool(says), { maxLength: 4 })
    .map(distinct)
    .chain((tools) => {
      let count = 0
      const ids = () => `call_${++count}`
      const userText = fc.array(fc.oneof(text(), media(says).map(withUrlType)), {
        minLength: 1,
        maxLength: says.textsApart ? 3 : 1,
      })
      const round = fc.tuple(
        userText,
        assistantBlocks(says, tools, ids),
        fc.option(text(), { freq: 3 }),
        fc.array(
          fc.tuple(text(), fc.option(media({ ...says, mediaTypes: ['image/png'], mediaUrls: false })), fc.boolean()),
          {
            minLength: 3,
            maxLength: 3,
          },
        ),
      )
      return fc.record({
        model: name,
        stream: fc.boolean(),
        system: fc.array(words, { maxLength: says.systemMany ? 3 : 1 }),
        turns: fc
          .tuple(fc.array(round, { maxLength: 3 }), userText)
          .map(([rounds, last]) => turnsOf(says, rounds, last)),
        tools: fc.constant(tools),
        toolChoice:
          tools.length === 0
            ? fc.constant(null)
            : fc.option(
                fc.oneof(
                  fc.record({ kind: fc.constantFrom('auto' as const, 'none' as const, 'any' as const) }),
                  fc
                    .constantFrom(...tools.filter((tool) => tool.kind !== 'hosted'))
                    .map(({ namespace, name }) => ({ kind: 'tool' as const, namespace, name })),
                ),
              ),
        parallelToolCalls: setting(says, 'parallelToolCalls', tools.length === 0 ? fc.constant(null) : fc.boolean()),
        maxOutputTokens: fc.integer({ min: 2000, max: 100_000 }),
        temperature: setting(says, 'temperature', fc.constantFrom(0, 0.5, 1)),
        topP: setting(says, 'topP', fc.constantFrom(0.25, 0.9)),
        topK: setting(says, 'topK', fc.constantFrom(1, 40)),
        seed: setting(says, 'seed', fc.constantFrom(1, 42)),
        stopSequences: says.settings.includes('stopSequences') ? fc.array(words, { maxLength: 2 }) : fc.constant([]),
        reasoning: fc.constant(null),
        outputFormat: fc.option(
          fc.oneof(
            fc.record({
              kind: fc.constant('json_schema' as const),
              name: says.schemaName ? name : fc.constant(null),
              schema: fc.constant({ type: 'object', properties: { a: { type: 'string' } } }),
              strict: says.schemaStrict ? fc.option(fc.boolean()) : fc.constant(null),
            }),
            ...(says.plainJson ? [fc.constant({ kind: 'json' as const })] : []),
          ),
        ),
        verbosity: setting(says, 'verbosity', fc.constantFrom('low' as const, 'medium' as const, 'high' as const)),
        cacheKey: setting(says, 'cacheKey', name),
        caching: fc.constant(says.caching),
      })
    })
}

function setting<T>(says: Sayable, key: Sayable['settings'][number], value: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return says.settings.includes(key) ? fc.option(value) : fc.constant(null)
}

type Round = [UserBlock[], AssistantBlock[], TextBlock | null, [TextBlock, MediaBlock | null, boolean][]]

/** A conversation that every vendor takes: users first, every call with its result in the next turn, results first in it. */
function turnsOf(says: Sayable, rounds: Round[], last: UserBlock[]): Turn[] {
  const turns: Turn[] = []
  let results: UserBlock[] = []
  const user = (content: UserBlock[]) => {
    // Who keeps results and words apart by turns cannot say both in one.
    turns.push({ role: 'user', content: results.length > 0 && !says.textsApart ? results : [...results, ...content] })
    results = []
  }
  for (const [content, answer, system, outputs] of rounds) {
    user(content)
    if (system && says.systemLater) turns.push({ role: 'system', content: [system] })
    turns.push({ role: 'assistant', content: answer })
    const calls = answer.filter((block) => block.kind === 'tool_call')
    results = calls.map((call, index) => {
      const [words, picture, failed] = outputs[index] as Round[3][number]
      return {
        kind: 'tool_result',
        callId: call.id,
        content: picture && says.mediaInResults ? [words, picture] : [words],
        isError: says.resultErrors && failed,
      }
    })
  }
  user(last)
  return turns
}

export function toolsOf({ content }: NeutralAnswer): Tool[] {
  const calls = content.filter((block) => block.kind === 'tool_call')
  return distinct(
    calls.map(
      ({ namespace, name, tool }): Tool =>
        tool === 'function'
          ? {
              kind: 'function',
              namespace,
              name,
              description: null,
              parameters: { type: 'object' },
              strict: null,
              deferred: false,
            }
          : { kind: 'custom', namespace, name, description: null, format: null },
    ),
  )
}

export function answerOf(says: Sayable): fc.Arbitrary<NeutralAnswer> {
  return fc
    .array(tool(says), { maxLength: 3 })
    .map(distinct)
    .chain((tools) => {
      let count = 0
      return fc.record({
        id: name,
        model: name,
        content: assistantBlocks(says, tools, () => `call_${++count}`),
        reason: fc.constantFrom(...says.stops.filter((reason) => reason !== 'tool_use' && reason !== 'stop_sequence')),
        counts: fc.record(Object.fromEntries(says.usage.map((kind) => [kind, fc.integer({ min: 0, max: 1e6 })]))),
      })
    })
    .map(({ id, model, content, reason, counts }) => {
      const usage = { ...NO_USAGE, ...counts } as Usage
      usage.reasoningTokens = Math.min(usage.reasoningTokens, usage.outputTokens)
      const calls = content.some(({ kind }) => kind === 'tool_call')
      return { id, model, content, stop: { reason: calls ? 'tool_use' : reason, sequence: null }, usage }
    })
}

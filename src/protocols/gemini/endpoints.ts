import { GatewayError } from '../../domain/errors.ts'
import { elementPlaces, type Place } from '../../lib/json-scan.ts'
import { isObject } from '../loose-json.ts'
import { BodyMeter, countOf, readError } from '../metering.ts'
import { opaqueMeter } from '../opaque.ts'
import type { CallFacts, Headers, MeterReading, Protocol } from '../protocol.ts'
import { scanRequest } from '../request-facts.ts'
import { gemini } from './index.ts'
import { geminiNamed } from './named.ts'
import { parseGeminiPath } from './path.ts'

// Methods of Google's models beside conversations. What they use is not told, or not always, so their price is not known when they are asked for.

/** Texts as vectors: `embedContent`, `batchEmbedContents`. */
export const embeddings: Protocol = {
  ...gemini,
  parse: parseMethod,
  usageMeter: () =>
    new BodyMeter(new Set(['embedding', 'embeddings', 'usageMetadata', 'error']), (answer, reading) => {
      if (readError(answer, reading) || !(answer.place('embedding') ?? answer.place('embeddings'))) return
      readTokens(answer.value('usageMetadata'), reading)
      reading.ended = 'complete'
    }),
  answerEdit: () => null,
}

/** Imagen, and whatever else is asked by `predict`. */
export const predictions: Protocol = {
  ...gemini,
  parse: parseMethod,
  usageMeter: opaqueMeter({ isJson: true, finishedBy: [], isTerminal: false, readUsage: null }),
  answerEdit: () => null,
}

const KEYS: ReadonlySet<string> = new Set(['model', 'requests'])
const MODEL: ReadonlySet<string> = new Set(['model'])

/** The model stands in the path, and once more in the body of some. Throws `invalid_request` if that is another one. */
function parseMethod(_headers: Headers, body: Buffer, path: string): CallFacts {
  const { model } = parseGeminiPath(path)
  const names = modelNames(body)
  const other = names.find(({ name }) => lastSegment(name) !== model)
  if (other) {
    throw new GatewayError('invalid_request', `model: the body names another one than the path, which says '${model}'`)
  }
  return {
    requestedModel: model,
    modelAt: null,
    ...(names.length > 0 && { withModel: (whole, upstreamModel) => withModels(whole, names, upstreamModel) }),
    stream: false,
    maxOutputTokens: null,
    costs: 'unknown',
    named: geminiNamed.nested(body),
    conversation: () => null,
  }
}

interface ModelName {
  /** `models/gemini-embedding-001` */
  name: string
  place: Place
}

/** In order: the body's own, and those of the requests of a batch. */
function modelNames(body: Buffer): ModelName[] {
  const keys = scanRequest(body, KEYS)
  const own = keys.place('model')
  const names: ModelName[] = own ? [{ name: String(keys.value('model')), place: own }] : []
  const requests = keys.place('requests')
  for (const [start, end] of requests ? (elementPlaces(body.subarray(...requests)) ?? []) : []) {
    const from = (requests?.[0] ?? 0) + start
    const request = scanRequest(body.subarray(from, from + end - start), MODEL)
    const place = request.place('model')
    if (place) names.push({ name: String(request.value('model')), place: [from + place[0], from + place[1]] })
  }
  return names.sort((one, other) => one.place[0] - other.place[0])
}

/** What stands before a model's name stays. */
function withModels(body: Buffer, names: readonly ModelName[], model: string): Buffer {
  let from = 0
  const pieces = names.flatMap(({ name, place: [start, end] }) => {
    const before = body.subarray(from, start)
    from = end
    return [before, Buffer.from(JSON.stringify(name.slice(0, name.lastIndexOf('/') + 1) + model))]
  })
  return Buffer.concat([...pieces, body.subarray(from)])
}

function lastSegment(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1)
}

/** Only some models tell them, and those of images and sounds, told by their modality, have other prices. */
function readTokens(reported: unknown, reading: MeterReading): void {
  reading.unmetered = true
  const tokens = isObject(reported) ? countOf(reported.promptTokenCount) : null
  if (tokens === null || !isObject(reported)) return
  const details = Array.isArray(reported.promptTokensDetails) ? reported.promptTokensDetails : []
  const others = details.filter((one) => isObject(one) && one.modality !== 'TEXT')
  const otherTokens = others.reduce((sum, one) => sum + (countOf(one.tokenCount) ?? 0), 0)
  reading.usage.inputTokens = Math.max(0, tokens - otherTokens)
  reading.unmetered = otherTokens > 0
}

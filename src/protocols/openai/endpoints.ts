import { CONVERSATION_FIELDS, conversationOf } from '../conversation.ts'
import { asObject } from '../loose-json.ts'
import { BodyMeter, countOf, readError } from '../metering.ts'
import { modelEdit } from '../model-edit.ts'
import { isForm, scanForm } from '../multipart.ts'
import { opaqueMeter } from '../opaque.ts'
import { openaiChat } from '../openai-chat/index.ts'
import type { AnswerEdit, CallFacts, Headers, MeterReading, Protocol, UsageMeter } from '../protocol.ts'
import { checkedModel, factsOf, scanRequest } from '../request-facts.ts'
import { openaiNamed } from './named.ts'

// OpenAI's endpoints beside conversations: clients and accounts of Chat Completions have them, errors and models look as they do there, and only requests and answers are others.

/** What of a form routing looks at. */
const FORM_FIELDS: ReadonlySet<string> = new Set(['model', 'stream', 'stream_format', 'response_format'])
/** What of a JSON text. */
const JSON_FIELDS: ReadonlySet<string> = new Set([...FORM_FIELDS, ...CONVERSATION_FIELDS])

/** A request in JSON or in a form, of which the named fields are read. */
interface Fields {
  facts: CallFacts
  text(name: string): string | undefined
}

/** An endpoint whose requests say the model, in JSON or in a form. `also` adds what else there is to know of a request. */
function endpoint(
  usageMeter: (stream: boolean) => UsageMeter,
  also: (fields: Fields) => Partial<CallFacts>,
  defaultModel: string | null = null,
  answerEdit: Protocol['answerEdit'] = () => null,
): Protocol {
  const { askedBody: _, ...chat } = openaiChat
  return {
    ...chat,
    usageMeter,
    answerEdit,
    parse(headers, body) {
      const type = headers['content-type']
      const fields = isForm(type) ? formFields(headers, type, body) : jsonFields(headers, body, defaultModel)
      return { ...fields.facts, ...also(fields) }
    },
  }
}

function jsonFields(headers: Headers, body: Buffer, defaultModel: string | null): Fields {
  const keys = scanRequest(body, JSON_FIELDS)
  const text = (name: string) => {
    const value = keys.value(name)
    return typeof value === 'string' ? value : undefined
  }
  if (defaultModel === null || keys.raw('model') !== undefined) {
    return { facts: { ...factsOf(headers, keys, null, () => null), named: openaiNamed.nested(body) }, text }
  }
  const conversation = () =>
    conversationOf(
      headers,
      (field) => keys.value(field),
      () => null,
    )
  const facts = { requestedModel: defaultModel, modelAt: null, withModel, stream: false, maxOutputTokens: null }
  return { facts: { ...facts, conversation }, text }
}

/** Into a JSON object that names no model. */
function withModel(body: Buffer, model: string): Buffer {
  const open = body.indexOf('{') + 1
  const isEmpty = /^\s*\}\s*$/.test(body.toString('latin1', open))
  const named = Buffer.from(`"model":${JSON.stringify(model)}${isEmpty ? '' : ','}`)
  return Buffer.concat([body.subarray(0, open), named, body.subarray(open)])
}

function formFields(headers: Headers, contentType: string, body: Buffer): Fields {
  const form = scanForm(contentType, body, FORM_FIELDS)
  const modelAt = form.place('model') ?? null
  return {
    text: (name) => form.text(name),
    facts: {
      requestedModel: checkedModel(form.text('model')),
      modelAt,
      withModel: (whole, model) =>
        Buffer.concat([whole.subarray(0, modelAt?.[0]), Buffer.from(model), whole.subarray(modelAt?.[1])]),
      stream: /^(?:true|1)$/i.test(form.text('stream') ?? ''),
      maxOutputTokens: null,
      textBytes: form.fieldBytes,
      named: openaiNamed.form(form),
      conversation: () =>
        conversationOf(
          headers,
          () => undefined,
          () => null,
        ),
    },
  }
}

/**
 * Texts and images looked at for what must not be. Free at OpenAI, also where no model is named: then it is `omni-moderation-latest`
 * (platform.openai.com/docs/api-reference/moderations).
 */
export const moderations = endpoint(
  () =>
    new BodyMeter(new Set(['model', 'results', 'error']), (answer, reading) => {
      const model = answer.value('model')
      if (typeof model === 'string') reading.reportedModel = model
      if (!readError(answer, reading) && answer.place('results')) reading.ended = 'complete'
    }),
  () => ({ costs: 'nothing' }),
  'omni-moderation-latest',
  ({ requestedModel }: CallFacts, upstreamModel: string, stream: boolean): AnswerEdit | null =>
    modelEdit(upstreamModel, requestedModel, stream, { holder: null, once: false }),
)

/**
 * Images made, edited and varied. Their tokens have other prices than those of texts. One stream may bring several images, so that it
 * is over at its end only.
 */
export const images = endpoint(
  opaqueMeter({
    isJson: true,
    finishedBy: ['image_generation.completed', 'image_edit.completed'],
    isTerminal: false,
    readUsage: null,
  }),
  ({ facts }) => ({ costs: 'unknown', ...(facts.stream && { startsLate: true }) }),
)

/** Texts spoken. Some models are billed by the character, others by tokens of sound. */
export const speech = endpoint(
  opaqueMeter({ isJson: false, finishedBy: ['speech.audio.done'], isTerminal: true, readUsage: null }),
  (fields) => ({ costs: 'unknown', stream: fields.text('stream_format') === 'sse' }),
)

const transcriptMeter = opaqueMeter({
  isJson: false,
  finishedBy: ['transcript.text.done'],
  isTerminal: true,
  readUsage: readTokens,
})

/** Sound written down. Models that are billed by tokens tell them, in a JSON answer or a stream. */
export const transcriptions = endpoint(transcriptMeter, ({ facts, text }) => {
  const tellsTokens = TELLING_FORMATS.has(text('response_format')) && !BY_THE_SECOND.test(facts.requestedModel)
  return tellsTokens ? {} : { costs: 'unknown' }
})

/** Sound written down in English: only by a model that is billed by the second. */
export const translations = endpoint(transcriptMeter, () => ({ costs: 'unknown' }))

const BY_THE_SECOND = /^whisper-/
const TELLING_FORMATS: ReadonlySet<string | undefined> = new Set([undefined, 'json', 'verbose_json', 'diarized_json'])

/** Tokens of sound cost something else than those of text (gpt-4o-transcribe: $6 and $2.50 a million, by OpenAI's cookbook), and no row has a price for them. */
function readTokens(value: unknown, reading: MeterReading): void {
  const reported = asObject(value)
  const input = countOf(reported?.input_tokens)
  const output = countOf(reported?.output_tokens)
  if (input === null || output === null) return // billed by the second, or not told
  const audio = Math.min(input, countOf(asObject(reported?.input_token_details)?.audio_tokens) ?? 0)
  reading.usage.inputTokens = input - audio
  reading.usage.outputTokens = output
  reading.unmetered = audio > 0
}

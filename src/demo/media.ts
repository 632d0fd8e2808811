import { data, openaiErrorBody } from './chat.ts'
import type { Format, JsonBody } from './formats.ts'
import { event, type FakeUsage } from './messages.ts'

// What vendors answer beside conversations: images, sounds, texts about sounds, vectors.

/** A body, or a stream of events where one was asked for. */
export type MediaAnswer = { type: string; body: Buffer } | { events: string[] }

/** Every byte there is, so that nothing can take it for text. */
export const SOUND = Buffer.from(Array.from({ length: 1024 }, (_, index) => index % 256))
export const IMAGE = SOUND.toString('base64')

/** An image's tokens, of which one has other prices than those of texts. */
const IMAGE_USAGE = {
  input_tokens: 50,
  output_tokens: 4160,
  total_tokens: 4210,
  input_tokens_details: { text_tokens: 10, image_tokens: 40 },
}
const TOKENS = {
  type: 'tokens',
  input_tokens: 14,
  output_tokens: 45,
  total_tokens: 59,
  input_token_details: { text_tokens: 4, audio_tokens: 10 },
}
const SAID = 'Imagine the wildest idea.'

/** Null for a path that is none of these. */
export function mediaAnswer(path: string, body: string): MediaAnswer | null {
  const [, what] = /(\/images\/\w+|\/audio\/\w+|\/moderations|:batchEmbedContents|:predict)(?:\?|$)/.exec(path) ?? []
  switch (what) {
    case '/images/generations':
      return says(body, 'stream', 'true') ? { events: imageEvents('image_generation') } : json(imagesBody())
    case '/images/edits':
      return says(body, 'stream', 'true') ? { events: imageEvents('image_edit') } : json(imagesBody())
    case '/images/variations':
      return json(imagesBody())
    case '/audio/speech':
      return says(body, 'stream_format', 'sse') ? { events: speechEvents() } : { type: 'audio/mpeg', body: SOUND }
    case '/audio/transcriptions':
      return transcript(body)
    case '/audio/translations':
      return json({ text: SAID })
    case '/moderations':
      return json({
        id: 'modr-1',
        model: /"model":\s*"([^"]+)"/.exec(body)?.[1] ?? 'omni-moderation-latest',
        results: [{ flagged: false, categories: { violence: false }, category_scores: { violence: 0.01 } }],
      })
    case ':batchEmbedContents':
      return json({ embeddings: [{ values: [0.25, -0.5] }, { values: [0.5, 0.25] }] })
    case ':predict':
      return json({ predictions: [{ mimeType: 'image/png', bytesBase64Encoded: IMAGE }] })
    default:
      return null
  }
}

/** A field of a request in JSON or in a form. */
function says(body: string, name: string, value: string): boolean {
  return new RegExp(`"${name}":\\s*"?${value}\\b|name="?${name}"?\r\n\r\n${value}\r\n`).test(body)
}

function json(value: object): MediaAnswer {
  return { type: 'application/json', body: Buffer.from(JSON.stringify(value)) }
}

function imagesBody(): object {
  return { created: 1795000000, data: [{ b64_json: IMAGE }], output_format: 'png', usage: IMAGE_USAGE }
}

function imageEvents(kind: string): string[] {
  return [
    event(`${kind}.partial_image`, { b64_json: IMAGE, partial_image_index: 0 }),
    event(`${kind}.completed`, { b64_json: IMAGE, usage: IMAGE_USAGE }),
  ]
}

function speechEvents(): string[] {
  return [
    data({ type: 'speech.audio.delta', audio: IMAGE }),
    data({ type: 'speech.audio.done', usage: { input_tokens: 14, output_tokens: 101, total_tokens: 115 } }),
  ]
}

/** By the second for the models that are billed so, and not told at all in a text. */
function transcript(body: string): MediaAnswer {
  const bySecond = says(body, 'model', 'whisper-1')
  if (says(body, 'response_format', 'text'))
    return { type: 'text/plain; charset=utf-8', body: Buffer.from(`${SAID}\n`) }
  if (says(body, 'response_format', 'srt')) {
    return { type: 'text/plain; charset=utf-8', body: Buffer.from(`1\n00:00:00,000 --> 00:00:04,000\n${SAID}\n\n`) }
  }
  if (says(body, 'stream', 'true') && !bySecond) {
    const words = SAID.split(/(?<= )/).map((delta) => data({ type: 'transcript.text.delta', delta }))
    return { events: [...words, data({ type: 'transcript.text.done', text: SAID, usage: TOKENS })] }
  }
  return json({ text: SAID, usage: bySecond ? { type: 'duration', seconds: 4 } : TOKENS })
}

/** A legacy completion. */
export const completions: Format = {
  path: /\/completions(\?|$)/,
  read: (_path, body) => ({
    model: String(body?.model ?? ''),
    stream: body?.stream === true,
    said: typeof body?.prompt === 'string' ? body.prompt : '',
  }),
  events(message, id, _path, body) {
    const includeUsage = body?.stream_options?.include_usage === true
    const shared = { ...head(message.model, id), ...(includeUsage && { usage: null }) }
    const chunk = (text: string, finish_reason: string | null) =>
      data({ ...shared, choices: [{ text, index: 0, logprobs: null, finish_reason }] })
    const told = { ...shared, choices: [], usage: usageOf(message.usage) }
    return [
      ...message.text.map((text) => chunk(text, null)),
      chunk('', 'stop'),
      ...(includeUsage ? [data(told)] : []),
      'data: [DONE]\n\n',
    ]
  },
  body: ({ model, text, usage }, id) =>
    JSON.stringify({
      ...head(model, id),
      choices: [{ text: text.join(''), index: 0, logprobs: null, finish_reason: 'stop' }],
      usage: usageOf(usage),
    }),
  error: (_status, message) => openaiErrorBody('invalid_request_error', message),
  errorEvent: ({ type, message }: { type: string; message: string }): string =>
    data({ error: { message, type, param: null, code: null } }),
  isSse: (): boolean => true,
}

function head(model: JsonBody, id: string): object {
  return { id: `cmpl-${id}`, object: 'text_completion', created: 1795000000, model }
}

function usageOf({ input, output }: FakeUsage): object {
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output }
}

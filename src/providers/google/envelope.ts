import { type ScannedObject, scanTopLevel } from '../../lib/json-scan.ts'
import { asObject, objectOf } from '../../protocols/loose-json.ts'
import type { AnswerEdit } from '../../protocols/protocol.ts'
import { readEvents } from '../../protocols/sse.ts'

// `v1internal` speaks Gemini's format in an envelope: {model, project, request} for {response, traceId}.

/** At the end of the base URL of every account that is called so. */
const PATH = '/v1internal'
export const CODE_ASSIST_URL = `https://cloudcode-pa.googleapis.com${PATH}`

export function isCodeAssist({ baseUrl }: { baseUrl: string }): boolean {
  return baseUrl.endsWith(PATH)
}

/** The body around a request, whose bytes stay as they are. */
export function enveloped(fields: Record<string, string | undefined>, request: Buffer): Buffer {
  const head = JSON.stringify(fields).slice(0, -1)
  return Buffer.concat([Buffer.from(`${head}${head === '{' ? '' : ','}"request":`), request, Buffer.from('}')])
}

/** What is asked how long it is: of all that a request says, only its contents are counted here. */
export function envelopedCount(model: string, request: Buffer): Buffer {
  const asked = objectOf(request.toString('utf8'))
  if (!asked) return request
  const contents = asked.contents ?? asObject(asked.generateContentRequest)?.contents
  return Buffer.from(JSON.stringify({ request: { model: `models/${model}`, contents } }))
}

/** Takes an answer out of its envelope; an error stands in none. */
export function codeAssistUnwrap(stream: boolean): AnswerEdit {
  return stream ? unwrappedEvents : unwrappedBody
}

function unwrappedEvents(bytes: Buffer): Buffer {
  let isWrapped = false
  const events = [...readEvents(bytes.toString('utf8'))].map(({ data, whole }) => {
    const inner = answerIn(data)
    if (inner !== null) isWrapped = true
    return `data: ${inner ?? data.replaceAll('\n', '\ndata: ')}${whole ? '\n\n' : ''}`
  })
  return isWrapped ? Buffer.from(events.join('')) : bytes
}

/** A stream that was not asked for as events is an array of envelopes. */
function unwrappedBody(bytes: Buffer): Buffer {
  const text = bytes.toString('utf8')
  const inner = answerIn(text)
  if (inner !== null) return Buffer.from(inner)
  if (!/^\s*\[/.test(text)) return bytes
  try {
    const chunks = (JSON.parse(text) as { response?: unknown }[]).map((chunk) => chunk?.response ?? chunk)
    return Buffer.from(JSON.stringify(chunks))
  } catch {
    return bytes
  }
}

const ENVELOPE_KEYS: ReadonlySet<string> = new Set(['response'])

/** On one line, as an event's data has to be; null if there is no envelope. */
function answerIn(json: string): string | null {
  let envelope: ScannedObject
  try {
    envelope = scanTopLevel(Buffer.from(json), ENVELOPE_KEYS)
  } catch {
    return null
  }
  const raw = envelope.raw('response')
  return raw?.startsWith('{') ? raw.replaceAll(/[\r\n]+/g, ' ') : null
}

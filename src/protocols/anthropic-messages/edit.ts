import { type Place, scannedOrNull, withValueAt } from '../../lib/json-scan.ts'
import type { AnswerEdit, CallFacts } from '../protocol.ts'
import { type PlacedEvent, placeOfData, readEvents } from '../sse.ts'

/**
 * Where a map has changed the model's name, the answer names the one that was asked for: a stream in its `message_start`,
 * a JSON body at its top. Any other name than the one that was sent is the upstream's own word on what answered, and stays.
 */
export function messagesAnswerEdit(
  { requestedModel }: CallFacts,
  upstreamModel: string,
  stream: boolean,
): AnswerEdit | null {
  if (upstreamModel === requestedModel) return null
  return stream ? streamEdit(upstreamModel, requestedModel) : (body) => renamed(body, upstreamModel, requestedModel)
}

function renamed(body: Buffer, from: string, to: string): Buffer {
  const place = modelPlace(body, from)
  return place ? withValueAt(body, place, to) : body
}

const START = 'message_start'

function streamEdit(from: string, to: string): AnswerEdit {
  let isStarted = false
  return (bytes) => {
    if (isStarted || !bytes.includes(START)) return bytes
    const text = bytes.toString('latin1') // one character per byte: offsets are those of the bytes
    for (const event of readEvents(text)) {
      const message = startedMessage(event)
      if (!message) continue
      isStarted = true
      const place = modelPlace(message.json, from)
      if (!place) return bytes
      const inText = (at: number) => placeOfData(text, event.start, message.at + at)
      return withValueAt(bytes, [inText(place[0]), inText(place[1])], to)
    }
    return bytes
  }
}

const EVENT_KEYS: ReadonlySet<string> = new Set(['type', 'message'])

/** The message of a `message_start`, and where in the event's data it begins; null for any other event. */
function startedMessage({ name, data }: PlacedEvent): { json: Buffer; at: number } | null {
  const json = Buffer.from(data, 'latin1')
  const event = scannedOrNull(json, EVENT_KEYS)
  const place = event?.place('message')
  if (!place || (name !== START && event?.value('type') !== START)) return null
  return { json: json.subarray(...place), at: place[0] }
}

const MODEL_KEY: ReadonlySet<string> = new Set(['model'])

/** Where a message names this model; null if it names another, or none. */
function modelPlace(message: Buffer, model: string): Place | null {
  const object = scannedOrNull(message, MODEL_KEY)
  return object?.value('model') === model ? (object.place('model') ?? null) : null
}

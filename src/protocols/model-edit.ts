import { type Place, scannedOrNull, withValueAt } from '../lib/json-scan.ts'
import type { AnswerEdit } from './protocol.ts'
import { type PlacedEvent, placeOfData, readEvents } from './sse.ts'

/** Where the events of a stream name the model; a JSON body names it at its top. */
export interface ModelPlace {
  /** The object in an event that names it; null: the event's own top. */
  holder: string | null
  /** Only the first event that has it does. */
  once: boolean
  /** The name's own name, if it is not `model`. */
  key?: string
}

/**
 * Where a map has changed the model's name, the answer names the one that was asked for. Any other name than the one that was
 * sent is the upstream's own word on what answered, and stays. Null where no map has.
 */
export function modelEdit(sent: string, asked: string, stream: boolean, at: ModelPlace): AnswerEdit | null {
  if (sent === asked) return null
  if (stream) return streamEdit(sent, asked, at)
  const { key = 'model' } = at
  return (body) => {
    const place = modelPlace(body, sent, key)
    return place ? withValueAt(body, place, asked) : body
  }
}

function streamEdit(sent: string, asked: string, { holder, once, key = 'model' }: ModelPlace): AnswerEdit {
  const keys = new Set(holder === null ? [] : [holder])
  const word = `"${holder ?? key}"`
  let isOver = false
  return (bytes) => {
    if (isOver || !bytes.includes(word)) return bytes
    const text = bytes.toString('latin1') // one character per byte: offsets are those of the bytes
    const places: Place[] = []
    for (const event of readEvents(text)) {
      const named = namedIn(event, holder, keys)
      if (!named) continue
      isOver = once
      const place = modelPlace(named.json, sent, key)
      const inText = (at: number) => placeOfData(text, event.start, named.at + at)
      if (place) places.push([inText(place[0]), inText(place[1])])
      if (once) break
    }
    return places.reduceRight((edited, place) => withValueAt(edited, place, asked), bytes)
  }
}

/** The object that may name a model, and where in the event's data it begins; null if the event has none. */
function namedIn(
  { data }: PlacedEvent,
  holder: string | null,
  keys: ReadonlySet<string>,
): { json: Buffer; at: number } | null {
  const json = Buffer.from(data, 'latin1')
  if (holder === null) return { json, at: 0 }
  const place = scannedOrNull(json, keys)?.place(holder)
  return place ? { json: json.subarray(...place), at: place[0] } : null
}

/** Where an object names this model; null if it names another, or none. */
function modelPlace(object: Buffer, model: string, key: string): Place | null {
  const scanned = scannedOrNull(object, new Set([key]))
  return scanned?.value(key) === model ? (scanned.place(key) ?? null) : null
}

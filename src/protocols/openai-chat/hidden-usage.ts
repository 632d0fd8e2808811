import { scanTopLevel, withValueAt } from '../../lib/json-scan.ts'
import { asObject, objectOf } from '../loose-json.ts'
import type { AnswerEdit, CallFacts } from '../protocol.ts'
import { type PlacedEvent, readEvents } from '../sse.ts'

// A stream tells its usage only if it is asked to. The gateway always asks, and a client that did not does not see it.

export interface ChatFacts extends CallFacts {
  /** The client wants a last chunk that tells the usage. */
  includeUsage: boolean
}

const OPTIONS = 'stream_options'

/** The body with the usage asked for. */
export function withUsageAsked(body: Buffer): Buffer {
  const options = scanTopLevel(body, new Set([OPTIONS]))
  const place = options.place(OPTIONS)
  const asked = { ...asObject(options.value(OPTIONS)), include_usage: true }
  if (place) return withValueAt(body, place, asked)
  const end = body.lastIndexOf('}')
  const more = `,"${OPTIONS}":${JSON.stringify(asked)}`
  return Buffer.concat([body.subarray(0, end), Buffer.from(more), body.subarray(end)])
}

/** Takes the chunk that tells the usage out of a stream, and the key from all others. */
export const hideUsage: AnswerEdit = (bytes) => {
  if (!bytes.includes('"usage"')) return bytes
  const text = bytes.toString('utf8')
  const events = [...readEvents(text)]
  const pieces = events.map((event, index) => shown(event, text.slice(event.start, events[index + 1]?.start)))
  return Buffer.from(pieces.join(''))
}

/** In a chunk before the last one. Within a text the quotes would be escaped. */
const NO_USAGE_YET = /,\s*"usage"\s*:\s*null/

/** The event as it was if there is nothing to hide. */
function shown({ data, whole }: PlacedEvent, written: string): string {
  if (!whole || !data.includes('"usage"')) return written
  const without = written.replace(NO_USAGE_YET, '')
  if (without !== written) return without
  const chunk = objectOf(data)
  if (!chunk || chunk.usage === undefined) return written
  if (Array.isArray(chunk.choices) && chunk.choices.length === 0) return ''
  const { usage: _, ...rest } = chunk
  return `data: ${JSON.stringify(rest)}\n\n`
}

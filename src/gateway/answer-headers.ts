import type { Headers } from '../protocols/protocol.ts'
import type { GoodAnswer } from './attempt.ts'
import type { Call, Timing } from './call.ts'
import type { AnswerHead } from './client-answer.ts'
import type { Gateway } from './gateway.ts'

/**
 * What of an upstream's answer headers goes on to the client. Vendors' rate-limit headers do not: they describe the
 * account, not the caller.
 */
const PASSED: ReadonlySet<string> = new Set([
  'content-type',
  'content-language',
  'cache-control',
  'content-disposition',
  'request-id',
  'x-request-id',
  'retry-after',
  'x-should-retry',
  // Of uploads to Google, which go on where the gateway says.
  'x-goog-upload-url',
  'x-goog-upload-status',
  'x-goog-upload-chunk-granularity',
  'x-goog-upload-size-received',
])

/** The head of an upstream's answer as the client gets it. */
export function answerHead(gateway: Gateway, call: Call, answer: GoodAnswer): AnswerHead {
  const { head } = answer
  const own = [...timingHeader(call.timing), ...call.limitHeaders, ...droppedHeader(answer.dropped)]
  return { status: head.status, headers: passedHeaders(gateway, headersFor(answer), own) }
}

/** An answer that changes from a stream to one body, or the other way, says so. */
function headersFor({ head, reader, clientStreams }: GoodAnswer): Headers {
  if (reader.streams === clientStreams) return head.headers
  return { ...head.headers, 'content-type': clientStreams ? 'text/event-stream; charset=utf-8' : 'application/json' }
}

/** What of the request its upstream has no place for: the call goes on without. */
function droppedHeader(dropped: readonly string[]): string[] {
  if (dropped.length === 0) return []
  const names = dropped.join(', ').replace(/[^\x20-\x7e]/g, '?')
  return [
    'x-subgate-dropped',
    names.length > DROPPED_CHARACTERS_MAX ? `${names.slice(0, DROPPED_CHARACTERS_MAX)} ...` : names,
  ]
}

const DROPPED_CHARACTERS_MAX = 1000

function timingHeader(timing: Timing | null): string[] {
  if (!timing) return []
  const ownMs = performance.now() - timing.startedAt - timing.elsewhereMs
  return ['server-timing', `gateway;dur=${ownMs.toFixed(3)}`]
}

export function passedHeaders(
  gateway: Gateway,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  own: string[] = [],
): string[] {
  const { add, remove } = gateway.config.answerHeaders
  const passed = own
  for (const name in headers) {
    if ((!PASSED.has(name) && !add.includes(name)) || remove.includes(name)) continue
    const value = headers[name]
    if (typeof value === 'string') passed.push(name, value)
    else if (value) for (const one of value) passed.push(name, one)
  }
  return passed
}

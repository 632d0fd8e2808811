import { hash } from 'node:crypto'
import type { Script } from '../../src/demo/fake-upstream.ts'
import { seededRandom } from '../../test/support/random.ts'

// What everybody in a chaos run does, drawn from its seed: a call's plan depends on the seed and on the call's name
// alone, so that a run can be made again however its calls are timed.

/** A client does in one call: */
export interface ClientPlan {
  asks: 'message' | 'token count'
  streams: boolean
  /** Which of its user's keys, and which of its own conversations. */
  key: number
  conversation: number
  leaves: { how: 'asking' } | { how: 'after ms' | 'after bytes'; after: number } | null
  /** It stops reading for so long. */
  stopsReadingMs: number | null
}

/** An upstream does with one attempt of a call: */
export interface UpstreamPlan {
  /** In words, for the summary. */
  kind: string
  /** So many pieces of text, each a stream's event. */
  pieces: number
  script: Script
}

type Random = () => number

function randomFor(seed: number, name: string): Random {
  return seededRandom(Number.parseInt(hash('sha1', `${seed} ${name}`).slice(0, 8), 16))
}

const between = (random: Random, from: number, to: number) => from + Math.floor(random() * (to - from + 1))
const oneOf = <T>(random: Random, values: readonly T[]) => values[Math.floor(random() * values.length)] as T

/** One of a table's entries, each as often as its weight says. */
function drawn<T extends { weight: number }>(random: Random, table: readonly T[]): T {
  let left = random() * table.reduce((sum, { weight }) => sum + weight, 0)
  for (const entry of table) {
    left -= entry.weight
    if (left < 0) return entry
  }
  return table.at(-1) as T
}

export function clientPlan(seed: number, name: string): ClientPlan {
  const random = randomFor(seed, name)
  const leaving = random()
  return {
    asks: random() < 0.03 ? 'token count' : 'message',
    streams: random() < 0.6,
    key: between(random, 0, 1),
    conversation: between(random, 0, 2),
    leaves:
      leaving < 0.02
        ? { how: 'asking' }
        : leaving < 0.1
          ? { how: 'after ms', after: between(random, 0, 700) }
          : leaving < 0.14
            ? { how: 'after bytes', after: between(random, 1, 2500) }
            : null,
    stopsReadingMs: random() < 0.03 ? between(random, 100, 2500) : null,
  }
}

export function upstreamPlan(seed: number, name: string, attempt: number): UpstreamPlan {
  const random = randomFor(seed, `${name} at its attempt ${attempt}`)
  const { kind, script } = drawn(random, KINDS)
  const pieces = isLong(kind) ? LONG_PIECES : between(random, 1, 8)
  const { streams } = clientPlan(seed, name)
  return { kind, pieces, script: { eventDelayMs: between(random, 0, 12), ...script(random, { streams, pieces }) } }
}

/** What is to be broken. */
interface Wanted {
  streams: boolean
  pieces: number
}

interface Kind {
  kind: string
  weight: number
  script: (random: Random, answer: Wanted) => Script
}

const HTML = { body: '<html><body><h1>Bad Gateway</h1></body></html>', headers: { 'content-type': 'text/html' } }
const DISABLED = '{"type":"error","error":{"type":"permission_error","message":"This organization has been disabled."}}'
const NO_FUNDS =
  '{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}'

const LONG = 'long'
const LONG_PIECES = 60
/** Beside its text a stream has a start, a block's start, a ping, the block's end, a delta and the stop. */
const OTHER_EVENTS = 6
/** Of a JSON answer. */
const BYTES_MAX = 600

/** Somewhere before its end. */
const broken =
  (how: NonNullable<Script['breaks']>['how']) =>
  (random: Random, { streams, pieces }: Wanted) => ({
    breaks: { after: between(random, 0, streams ? pieces + OTHER_EVENTS - 1 : BYTES_MAX), how },
  })
const status = (code: number, weight: number, more: Script = {}): Kind => ({
  kind: `status ${code}`,
  weight,
  script: () => ({ status: code, ...more }),
})

/** Everything that the scripted upstream can do. What puts an account out of service for long is rare. */
const KINDS: Kind[] = [
  { kind: 'good', weight: 90, script: () => ({}) },
  { kind: 'slow head', weight: 8, script: (random) => ({ headDelayMs: between(random, 100, 900) }) },
  { kind: 'slow events', weight: 8, script: (random) => ({ eventDelayMs: between(random, 50, 250) }) },
  {
    kind: 'torn into packets',
    weight: 8,
    script: (random) => ({
      cuts: Array.from({ length: 12 }, () => between(random, 1, 2500)).sort((a, b) => a - b),
      eventDelayMs: between(random, 0, 5),
    }),
  },
  { kind: 'compressed', weight: 3, script: () => ({ gzip: true }) },
  { kind: 'connection closed after', weight: 4, script: () => ({ headers: { connection: 'close' } }) },
  ...[400, 404, 413, 422].map((code) => status(code, 1.5)),
  ...[500, 502, 503, 504, 529].map((code) => status(code, 2)),
  status(408, 1),
  status(429, 1),
  status(429, 1, { headers: { 'retry-after': '1' } }),
  status(302, 0.5, { headers: { location: 'http://127.0.0.1:1/' } }),
  status(401, 0.3),
  status(403, 0.3),
  { kind: 'organization disabled', weight: 0.3, script: () => ({ status: 403, body: DISABLED }) },
  { kind: 'no funds', weight: 0.3, script: () => ({ status: 400, body: NO_FUNDS }) },
  { kind: 'HTML page, 502', weight: 1, script: () => ({ status: 502, ...HTML }) },
  { kind: 'HTML page, 200', weight: 1, script: () => HTML },
  { kind: 'empty body', weight: 1, script: () => ({ body: '' }) },
  { kind: 'reset before the head', weight: 8, script: () => ({ resetBeforeHead: true }) },
  { kind: 'silence before the head', weight: 1, script: () => ({ headDelayMs: 'forever' }) },
  { kind: 'reset', weight: 6, script: broken('reset') },
  { kind: 'clean end too early', weight: 6, script: broken('clean_end') },
  { kind: 'cut within an event', weight: 6, script: broken('mid_event') },
  { kind: 'silence', weight: 2, script: broken('silence') },
  {
    kind: 'error event',
    weight: 8,
    script: (random, answer) => ({
      ...broken('error_event')(random, answer),
      error: {
        type: oneOf(random, ['overloaded_error', 'api_error', 'invalid_request_error', 'timeout_error']),
        message: 'scripted',
      },
    }),
  },
  { kind: LONG, weight: 0.7, script: () => ({ eventDelayMs: 0 }) },
  {
    kind: `${LONG}, reset`,
    weight: 0.7,
    script: (_, { streams }) => ({ eventDelayMs: 0, breaks: { after: streams ? 30 : 1_200_000, how: 'reset' } }),
  },
]

/** Whether an answer of this kind is so long that as JSON it is not held whole, and a cut of it cannot be hidden. */
export function isLong(kind: string): boolean {
  return kind.startsWith(LONG)
}

/** Pieces of an answer's text, each of which says whose answer it is, by which upstream call, and which piece of how many. */
export function stampedText(name: string, upstreamCall: number, { kind, pieces }: UpstreamPlan): string[] {
  const filler = isLong(kind) ? 'lorem ipsum '.repeat(2000) : ''
  return Array.from({ length: pieces }, (_, piece) => `[${name} ${upstreamCall} ${piece}/${pieces}] ${filler}`)
}

/** See `stampedText`: name, upstream call, piece, pieces. */
export const STAMP = /\[([\w-]+) (\d+) (\d+)\/(\d+)\] /g

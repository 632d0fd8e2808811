import { formatDuration, parseDuration } from '../lib/duration.ts'
import { nearest } from '../lib/pattern.ts'
import { GatewayError } from './errors.ts'

/** How long something may take, in ms. */
export interface Deadlines {
  /** A connection. */
  connectMs: number
  /** A stream's head and first event. */
  firstEventMs: number
  /** Silence inside a stream. */
  idleMs: number
  /** A non-stream answer, from the call's arrival on. */
  answerMs: number
  /** Any call, from its arrival on. */
  totalMs: number
}

/** As operators write them: the beginnings of the configuration's keys. */
const NAMES = {
  connect: 'connectMs',
  first_event: 'firstEventMs',
  idle: 'idleMs',
  answer: 'answerMs',
  total: 'totalMs',
} as const satisfies Record<string, keyof Deadlines>

/** Deadlines are looked at ten times a second. */
const DEADLINE_MIN_MS = 100
const DEADLINE_MAX_MS = 24 * 3_600_000

/** One instruction of an operator. A null name stands for all of them, null ms for the configuration's. */
export interface DeadlineChange {
  name: keyof Deadlines | null
  ms: number | null
}

/** Reads `first_event=90s`, or what takes deadlines away: `first_event=none` or `none`. Throws `invalid_request`. */
export function parseDeadlineChange(text: string): DeadlineChange {
  if (text === 'none') return { name: null, ms: null }
  const [, word = '', time = ''] = /^([^=]+)=([^=]+)$/.exec(text) ?? []
  const known = Object.keys(NAMES)
  if (word === '') throw invalid(`'${text}' is not NAME=TIME, such as first_event=90s`)
  if (!known.includes(word)) {
    const similar = nearest(word, known)
    const meant = similar === null ? '' : `; did you mean ${similar}?`
    throw invalid(`'${word}' is no deadline. Possible: ${known.join(', ')}${meant}`)
  }
  const name = NAMES[word as keyof typeof NAMES]
  if (time === 'none') return { name, ms: null }
  const ms = parseDuration(time)
  if (ms === null) throw invalid(`'${time}' is not a duration such as 500ms, 90s or 5m`)
  if (ms < DEADLINE_MIN_MS || ms > DEADLINE_MAX_MS) {
    const [min, max] = [DEADLINE_MIN_MS, DEADLINE_MAX_MS].map(formatDuration)
    throw invalid(`a deadline is ${min} to ${max} long`)
  }
  return { name, ms }
}

/** The deadlines after these changes, one after the other. */
export function changedDeadlines(before: Partial<Deadlines>, changes: readonly DeadlineChange[]): Partial<Deadlines> {
  let result = { ...before }
  for (const { name, ms } of changes) {
    if (name === null) result = {}
    else if (ms === null) delete result[name]
    else result[name] = ms
  }
  return result
}

/** `connect 3s, first_event 1m30s`; empty without any. */
export function formatDeadlines(deadlines: Partial<Deadlines>): string {
  const given = Object.entries(NAMES).flatMap(([word, name]) => {
    const ms = deadlines[name]
    return ms === undefined ? [] : [`${word} ${ms % 1000 === 0 ? formatDuration(ms) : `${ms}ms`}`]
  })
  return given.join(', ')
}

function invalid(message: string): GatewayError {
  return new GatewayError('invalid_request', message)
}

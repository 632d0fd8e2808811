import { Argument, CommanderError, InvalidArgumentError, Option } from 'commander'
import { parsePostgresUrl } from '../config/postgres-server.ts'
import { isGatewayError } from '../domain/errors.ts'
import { parseMultiplier, parseUsd } from '../domain/money.ts'
import { parseDuration } from '../lib/duration.ts'
import { nearest } from '../lib/pattern.ts'

/** Makes a reader of a flag's text whose complaint is a usage error (exit code 2). */
export function flag<T>(read: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return read(text)
    } catch (error) {
      if (isGatewayError(error, 'invalid_request')) throw new InvalidArgumentError(error.message)
      throw error
    }
  }
}

/** For a flag that may be given several times, and may hold several values with commas between them. */
export function listFlag<T>(read: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  const one = flag(read)
  return (text, before = []) => [
    ...before,
    ...text
      .split(',')
      .map((part) => part.trim())
      .filter(Boolean)
      .map(one),
  ]
}

export const usdFlag = flag(parseUsd)
export const multiplierFlag = flag(parseMultiplier)
export const textListFlag = listFlag((text) => text)

/** Where a PostgreSQL is; the text as it was given. */
export const postgresUrlFlag = (text: string): string => {
  try {
    parsePostgresUrl(text)
    return text
  } catch (error) {
    throw new InvalidArgumentError(`the URL ${(error as Error).message}`)
  }
}

/** A whole number of at least `min`. */
export function wholeFlag(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`'${text}' is not a whole number of ${min} or more`)
    }
    return value
  }
}

/** A word that is none of those that are possible. commander leaves it alone, where it writes a preface to its own. */
export class WrongChoice extends CommanderError {
  constructor(text: string, name: string, possible: readonly string[]) {
    const similar = nearest(text, possible)
    const meant = similar === null ? '' : `; did you mean ${similar}?`
    super(2, 'subgate.wrongChoice', `'${text}' is no ${name}. Possible: ${possible.join(', ')}${meant}`)
  }
}

/** An argument that is one of a few words. */
export function choiceArgument(name: string, possible: readonly string[]): Argument {
  return new Argument(`<${name}>`).choices(possible).argParser(choice(name, possible))
}

/** A flag whose value is one of a few words. */
export function choiceOption(flags: string, description: string, possible: readonly string[]): Option {
  const option = new Option(flags, description).choices(possible)
  return option.argParser(choice(`value of ${option.long}`, possible))
}

function choice(name: string, possible: readonly string[]): (text: string) => string {
  return (text) => {
    if (!possible.includes(text)) throw new WrongChoice(text, name, possible)
    return text
  }
}

/** Stands for null on its way through commander, which makes an empty text of a null. */
const NONE = Symbol('none')

/** The same as another flag's reader, or `none` for null: how `set` takes a limit away. */
export function orNone<T>(read: (text: string) => T, none = 'none'): (text: string) => T | typeof NONE {
  return (text) => (text === none ? NONE : read(text))
}

/** A command's flags with null where `orNone` said so. */
export function withNulls<Flags extends object>(flags: Flags): Flags {
  return Object.fromEntries(
    Object.entries(flags).map(([name, value]) => [name, value === NONE ? null : value]),
  ) as Flags
}

/** Throws a usage error if a `set` command was not told what to change. */
export function requireChange(changes: object): void {
  if (Object.keys(changes).length === 0) throw new InvalidArgumentError('say what to change; --help lists the flags')
}

const DAY_MS = 86_400_000

/** A moment in the past: `2026-11-25`, `2026-11-25T14:00`, `today`, `yesterday`, or `7d` for so long ago. Days begin at local midnight, or with `utc` at midnight UTC. */
export function pastMoment(text: string, nowMs: number, utc: boolean): number {
  if (text === 'today') return startOfDay(nowMs, utc)
  if (text === 'yesterday') return startOfDay(startOfDay(nowMs, utc) - DAY_MS / 2, utc)
  const ago = parseDuration(text)
  return ago !== null ? nowMs - ago : moment(text, utc)
}

/** A moment to come: a day or time, or `30d` from now. */
export function futureMoment(text: string, nowMs: number, utc: boolean): number {
  const ahead = parseDuration(text)
  const ms = ahead !== null ? nowMs + ahead : moment(text, utc)
  if (ms <= nowMs) throw new InvalidArgumentError(`'${text}' is in the past`)
  return ms
}

/** The midnight before a moment. */
export function startOfDay(ms: number, utc: boolean): number {
  return utc ? ms - (ms % DAY_MS) : new Date(ms).setHours(0, 0, 0, 0)
}

function moment(text: string, utc: boolean): number {
  const match = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|[+-]\d{2}:\d{2})?)?$/.exec(text)
  const [, day, time = '00:00', zone = utc ? 'Z' : ''] = match ?? []
  const ms = match ? Date.parse(`${day}T${time}${zone}`) : Number.NaN
  if (Number.isNaN(ms)) {
    throw new InvalidArgumentError(`'${text}' is not a time such as 2026-11-25, 2026-11-25T14:00, or 30d`)
  }
  return ms
}

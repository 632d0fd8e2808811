import { styleText } from 'node:util'
import { redact } from '../lib/log.ts'
import { type Column, formatTime, tableLines } from './format.ts'

/** Where a command's words go. */
export interface Streams {
  stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }
  stderr: NodeJS.WritableStream & { isTTY?: boolean }
}

export interface OutputOptions {
  json: boolean
  quiet: boolean
  color: boolean
  utc: boolean
}

type Style = Parameters<typeof styleText>[0]

/** stdout is data, stderr is talk: every command speaks through this. */
export class Output {
  readonly json: boolean
  readonly utc: boolean
  readonly #streams: Streams
  readonly #options: OutputOptions

  constructor(streams: Streams, options: OutputOptions) {
    this.json = options.json
    this.utc = options.utc
    this.#streams = streams
    this.#options = options
  }

  /** One document: JSON with `--json`, else what `human` says. */
  data(value: unknown, human: () => string): void {
    this.#write(this.json ? JSON.stringify(forJson(value), null, 2) : human())
  }

  /** A list: a JSON array, or a table with a word for an empty one. */
  list<T>(rows: readonly T[], columns: readonly Column<T>[], empty: string): void {
    if (this.json) this.#write(JSON.stringify(forJson(rows), null, 2))
    else if (rows.length === 0) this.say(empty)
    else this.#write(this.table(rows, columns))
  }

  /** A table as text, in the terminal's width. */
  table<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
    const { stdout } = this.#streams
    const width = stdout.isTTY ? (stdout.columns ?? 80) : null
    return tableLines(rows, columns, width, (style, text) => this.style(style, text)).join('\n')
  }

  /** Names and values, one pair a line; pairs without a value are left out. */
  facts(pairs: readonly (readonly [string, string | null | undefined])[]): string {
    const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '')
    const width = Math.max(...known.map(([name]) => name.length))
    return known.map(([name, value]) => `${this.style('dim', name.padEnd(width))}  ${value}`).join('\n')
  }

  /** One line of data of many: with `--json` one object a line. */
  line(value: unknown, human: () => string): void {
    this.#write(this.json ? JSON.stringify(forJson(value)) : human())
  }

  /** Data as it is. Resolves when more may be written. */
  raw(text: string): Promise<void> {
    if (this.#streams.stdout.write(text)) return Promise.resolve()
    return new Promise((resolve) => this.#streams.stdout.once('drain', resolve))
  }

  /** Talk: progress, results in words, hints. Silenced by `--quiet`. */
  say(text: string): void {
    if (!this.#options.quiet) this.#streams.stderr.write(`${text}\n`)
  }

  /** Talk that takes the place of the last such line; with '' it is gone. False where there is no terminal to do that on. */
  redraw(text: string): boolean {
    if (!this.#streams.stderr.isTTY || this.#options.quiet) return false
    this.#streams.stderr.write(`\r\u001b[K${text}`)
    return true
  }

  /** What `--quiet` does not silence. */
  warn(text: string): void {
    this.#streams.stderr.write(`${this.styleError('yellow', 'warning:')} ${redact(text)}\n`)
  }

  error(message: string, hint: string | undefined): void {
    this.#streams.stderr.write(`${this.styleError('red', 'error:')} ${redact(message)}\n`)
    if (hint) this.#streams.stderr.write(`${redact(hint)}\n`)
  }

  /** A bug: all that is known of it. */
  bug(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#streams.stderr.write(`${this.styleError('red', 'this is a bug in subgate:')}\n${redact(text)}\n`)
  }

  style(style: Style, text: string): string {
    return this.#options.color && this.#streams.stdout.isTTY ? styleText(style, text, { validateStream: false }) : text
  }

  styleError(style: Style, text: string): string {
    return this.#options.color && this.#streams.stderr.isTTY ? styleText(style, text, { validateStream: false }) : text
  }

  time(ms: number): string {
    return formatTime(ms, this.utc)
  }

  #write(text: string): void {
    if (text !== '') this.#streams.stdout.write(`${text}\n`)
  }
}

/** Keys that hold a moment; each gets its ISO form beside it. */
const MOMENTS: ReadonlySet<string> = new Set([
  'atMs',
  'createdAtMs',
  'endedAtMs',
  'expiresAtMs',
  'restUntilMs',
  'sinceMs',
  'startedAtMs',
  'untilMs',
  'effectiveFromMs',
  'resetAtMs',
  'sampledAtMs',
  'wokenAtMs',
])

/** A value as `--json` shows it: base units as they are, and for each moment `atMs` also `at` in ISO form. */
export function forJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(forJson)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) => {
      if (!MOMENTS.has(key) || (typeof inner !== 'number' && inner !== null)) return [[key, forJson(inner)]]
      return [
        [key, inner],
        [key.slice(0, -2), inner === null ? null : new Date(inner).toISOString()],
      ]
    }),
  )
}

import { stripVTControlCharacters } from 'node:util'
import { formatUsd, NANO_PER_USD } from '../domain/money.ts'

/** How one value of a table's column is written, and how the column may shrink. */
export interface Column<T> {
  title: string
  /** Null and undefined show as a dash. */
  value: (row: T) => string | number | null | undefined
  align?: 'left' | 'right'
  /** Gives way first when the table is wider than the terminal. */
  shrinks?: boolean
  color?: (row: T) => Color | null
}

export type Color = 'red' | 'yellow' | 'green' | 'dim'

/** Columns of spaces between two columns. */
const GAP = '  '
/** A shrunk column keeps at least this many characters. */
const SHRUNK_MIN = 8

/** Lays rows out in columns, the title line first. `width` is the terminal's; null = as wide as it comes. */
export function tableLines<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  width: number | null,
  paint: (style: Color | 'bold', text: string) => string,
): string[] {
  const cells = rows.map((row) => columns.map((column) => cellText(column.value(row))))
  const widths = columns.map((column, index) =>
    Math.max(column.title.length, ...cells.map((row) => displayWidth(row[index] as string))),
  )
  if (width !== null) shrink(widths, columns, width)
  const padded = (texts: string[]) =>
    texts.map((text, index) => pad(fit(text, widths[index] as number), widths[index] as number, columns[index]?.align))
  const title = padded(columns.map((column) => column.title.toUpperCase()))
  const lines = cells.map((texts, at) =>
    padded(texts).map((text, index) => {
      const color = columns[index]?.color?.(rows[at] as T)
      return color ? paint(color, text) : text
    }),
  )
  return [paint('bold', title.join(GAP).trimEnd()), ...lines.map((line) => line.join(GAP).trimEnd())]
}

function cellText(value: string | number | null | undefined): string {
  if (value === null || value === undefined || value === '') return '-'
  return printable(typeof value === 'number' ? formatCount(value) : value)
}

function shrink<T>(widths: number[], columns: readonly Column<T>[], width: number): void {
  const total = () => widths.reduce((sum, one) => sum + one, 0) + GAP.length * (widths.length - 1)
  for (const only of [true, false]) {
    for (;;) {
      const over = total() - width
      if (over <= 0) return
      const candidates = widths
        .map((current, index) => ({ current, index }))
        .filter(({ current, index }) => (columns[index]?.shrinks ?? false) === only && current > SHRUNK_MIN)
      const widest = candidates.sort((a, b) => b.current - a.current)[0]
      if (!widest) break
      widths[widest.index] = Math.max(SHRUNK_MIN, widest.current - over)
    }
  }
}

function fit(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  let kept = ''
  for (const character of text) {
    if (displayWidth(kept + character) > width - 1) break
    kept += character
  }
  return `${kept}…`
}

function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const spaces = ' '.repeat(Math.max(0, width - displayWidth(text)))
  return align === 'right' ? spaces + text : text + spaces
}

/** Cells that a text takes on a terminal: wide East Asian characters and emoji take two, combining marks none. */
export function displayWidth(text: string): number {
  let width = 0
  for (const character of stripVTControlCharacters(text)) {
    if (/\p{Mark}|\p{Format}/u.test(character)) continue
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(
        character,
      )
        ? 2
        : 1
  }
  return width
}

/** What others have written (names, user agents, vendors' words) without anything that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/\p{Control}/gu, (character) => (character === '\n' || character === '\t' ? ' ' : '�'))
}

/** `1234567` → `1,234,567` */
export function formatCount(value: number | bigint): string {
  return value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',')
}

/** An amount with the digits that matter at its size; `formatUsd` has them all. */
export function shortUsd(nanoUsd: number): string {
  const size = Math.abs(nanoUsd)
  const decimals = size >= 100 * NANO_PER_USD ? 2 : size >= NANO_PER_USD ? 4 : size >= NANO_PER_USD / 1000 ? 6 : 9
  const step = 10n ** BigInt(9 - decimals)
  const rounded = ((BigInt(size) + step / 2n) / step) * step
  return formatUsd(nanoUsd < 0 ? -rounded : rounded)
}

/** A moment as `2026-11-25 14:03:12`, in local time or UTC. */
export function formatTime(ms: number, utc: boolean): string {
  const date = new Date(utc ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000)
  return `${date.toISOString().slice(0, 19).replace('T', ' ')}${utc ? 'Z' : ''}`
}

/** `1 call`, `1,234 calls` */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}

/** The oldest first: ids are random, and so is their order. */
export function byAge<T extends { createdAtMs: number }>(rows: readonly T[]): T[] {
  return rows.toSorted((a, b) => a.createdAtMs - b.createdAtMs)
}

/** Shares as text, `0.5` → `50%`. */
export function formatShare(share: number): string {
  return `${Math.round(share * 100)}%`
}

/** Pico-USD per token as USD per million tokens: `2500000` → `2.5`. */
export function formatPrice(picoUsd: number): string {
  return formatUsd(picoUsd * 1000)
    .replace('$', '')
    .replace(/\.00$/, '')
}

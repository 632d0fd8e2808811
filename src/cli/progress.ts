import { formatCount } from './format.ts'
import type { Output } from './output.ts'

/** Characters of a whole bar. */
const BAR_WIDTH = 24
/** How often the bar is drawn again at most, in ms. */
const REDRAW_MS = 100
/** What there is to say about the rest is said when so much of the time has passed, in ms. */
const GUESS_AFTER_MS = 3000

/** How far long work has come: a bar on a terminal, else a line for each tenth. Gone when it is disposed of. */
export class Progress implements Disposable {
  readonly #out: Output
  readonly #now: () => number
  #begun: { atMs: number; done: number } | null = null
  #drawnAtMs = Number.NEGATIVE_INFINITY
  #said = ''

  constructor(out: Output, now: () => number) {
    this.#out = out
    this.#now = now
  }

  /** `doing` is the kind of work, `what` its object; `done` and `total` count the same `unit`. */
  show(step: { doing: string; what: string; done: number; total: number; unit: string }): void {
    const { doing, what, done, total, unit } = step
    const share = total === 0 ? 1 : done / total
    const nowMs = this.#now()
    this.#begun ??= { atMs: nowMs, done }
    const isNews = `${doing} ${Math.floor(share * 10)}` !== this.#said
    if (!isNews && nowMs - this.#drawnAtMs < REDRAW_MS) return
    this.#drawnAtMs = nowMs
    const percent = `${Math.floor(share * 100)} %`
    const bar = '█'.repeat(Math.floor(share * BAR_WIDTH)).padEnd(BAR_WIDTH, '░')
    const drawn = this.#out.redraw(`${bar} ${percent.padStart(5)}  ${doing} ${what}${this.#rest(done, total, nowMs)}`)
    if (isNews && !drawn) this.#out.say(`${doing}: ${percent}, ${formatCount(done)} of ${formatCount(total)} ${unit}`)
    this.#said = `${doing} ${Math.floor(share * 10)}`
  }

  /** How long the rest takes at the pace so far. */
  #rest(done: number, total: number, nowMs: number): string {
    const { atMs, done: before } = this.#begun ?? { atMs: nowMs, done }
    const passedMs = nowMs - atMs
    if (passedMs < GUESS_AFTER_MS || done === before || done === total) return ''
    const seconds = Math.ceil((passedMs * (total - done)) / (done - before) / 1000)
    return seconds < 90 ? `, ${seconds} s left` : `, ${Math.ceil(seconds / 60)} min left`
  }

  [Symbol.dispose](): void {
    this.#out.redraw('')
  }
}

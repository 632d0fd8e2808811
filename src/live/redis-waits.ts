import type { Clock, SetTimer } from '../lib/clock.ts'
import type { Admission, AdmitRequest, RankedCandidate, Refused, Ticket } from './live-state.ts'

/** The longest that a timer can be set. */
const TIMER_MAX_MS = 2 ** 31 - 1
/** After its deadline a wait that nobody has ended is asked for again so often: Redis may have been away. */
const ASK_AGAIN_MS = 1000

/** A call of this process that stands in line. */
export interface Wait {
  readonly request: AdmitRequest
  /** A running call that waits for another account. */
  readonly isMoving: boolean
  /** All that it was ever asked with, of each account the latest. */
  candidates: RankedCandidate[]
  readonly number: number
  readonly outcome: PromiseWithResolvers<Admission | Refused>
  /** When something is to happen to it that is known beforehand, in unix ms: the sticky wait ends, accounts are back, the deadline. */
  wakesMs: number[]
  /** The same, as Redis told it. */
  toldMs: number
  /** The latest of them that has passed. */
  passedMs: number
  cancelTimer: () => void
}

/** The calls of this process that stand in line, and when it has to remind Redis of each. */
export class Waits {
  readonly #clock: Clock
  readonly #setTimer: SetTimer
  readonly #remind: (wait: Wait) => void
  readonly #waits = new Map<string, Wait>()
  /** A ticket may end before anybody waits for it, so they are remembered for as long as somebody has them. */
  readonly #tickets = new WeakMap<Ticket, Wait>()

  constructor(clock: Clock, setTimer: SetTimer, remind: (wait: Wait) => void) {
    this.#clock = clock
    this.#setTimer = setTimer
    this.#remind = remind
  }

  get(callId: string): Wait | undefined {
    return this.#waits.get(callId)
  }

  /** All, in order of arrival. */
  all(): Wait[] {
    return [...this.#waits.values()].sort((a, b) => a.number - b.number)
  }

  /** The wait that a ticket stands for, in line or not. */
  of(ticket: Ticket): Wait | undefined {
    return this.#tickets.get(ticket)
  }

  /** A call stands in line, perhaps since it was asked for before; it is looked at again at `toldMs`. */
  enter(of: Pick<Wait, 'request' | 'isMoving' | 'number' | 'toldMs'>, candidates: RankedCandidate[]): Ticket {
    const { callId } = of.request
    let wait = this.#waits.get(callId)
    if (!wait) {
      const passedMs = Number.NEGATIVE_INFINITY
      const outcome = Promise.withResolvers<Admission | Refused>()
      outcome.promise.catch(() => {}) // it may be given up before anybody comes to wait
      wait = { ...of, candidates: [], outcome, wakesMs: [], passedMs, cancelTimer: () => {} }
      this.#waits.set(callId, wait)
      this.rerank(wait, candidates)
    }
    this.told(wait, of.toldMs)
    const ticket: Ticket = { kind: 'ticket', callId, number: of.number }
    this.#tickets.set(ticket, wait)
    return ticket
  }

  /** Other accounts would do for it. */
  rerank(wait: Wait, candidates: RankedCandidate[]): void {
    const { session, deadlineMs } = wait.request
    const rests = candidates.flatMap(({ onlyOwnFromMs }) => onlyOwnFromMs ?? [])
    const stickyMs = session && !wait.isMoving ? [Math.min(this.#clock() + session.waitMs, deadlineMs - 1)] : []
    const sticky = wait.candidates.length === 0 ? stickyMs : wait.wakesMs.slice(0, stickyMs.length)
    wait.wakesMs = [...sticky, ...rests, deadlineMs]
    wait.candidates = latest([...wait.candidates, ...candidates])
    this.#watch(wait)
  }

  /** Redis looks at it again at that time. */
  told(wait: Wait, atMs: number): void {
    wait.toldMs = atMs
    this.#watch(wait)
  }

  /** It stands in line no longer. */
  leave(wait: Wait): void {
    wait.cancelTimer()
    wait.cancelTimer = () => {}
    if (this.#waits.get(wait.request.callId) === wait) this.#waits.delete(wait.request.callId)
  }

  #watch(wait: Wait): void {
    if (this.#waits.get(wait.request.callId) !== wait) return
    wait.cancelTimer()
    const nowMs = this.#clock()
    const next = [...wait.wakesMs, wait.toldMs].filter((atMs) => atMs > wait.passedMs)
    const atMs = next.length > 0 ? Math.min(...next) : nowMs + ASK_AGAIN_MS
    wait.cancelTimer = this.#setTimer(Math.min(Math.max(0, atMs - nowMs), TIMER_MAX_MS), () => {
      wait.passedMs = Math.max(wait.passedMs, Math.min(this.#clock(), atMs))
      this.#watch(wait)
      this.#remind(wait)
    })
  }
}

/** Of each account what was said of it last. */
function latest(candidates: RankedCandidate[]): RankedCandidate[] {
  return [...new Map(candidates.map((candidate) => [candidate.accountId, candidate])).values()]
}

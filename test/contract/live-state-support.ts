import { type Consumption, NO_CONSUMPTION } from '../../src/domain/limit.ts'
import type { Clock, SetTimer } from '../../src/lib/clock.ts'
import type {
  Admission,
  AdmitRequest,
  LiveState,
  RankedCandidate,
  Refused,
  Settlement,
  Ticket,
} from '../../src/live/live-state.ts'

/** Time that passes when it is told to, with its timers. */
export class FakeTime {
  nowMs = Date.UTC(2026, 10, 25, 10)
  readonly #timers = new Set<{ atMs: number; callback: () => void }>()

  readonly clock: Clock = () => this.nowMs

  readonly setTimer: SetTimer = (afterMs, callback) => {
    if (afterMs > 2 ** 31 - 1) throw new Error('a real timer would fire at once')
    const timer = { atMs: this.nowMs + afterMs, callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size
  }

  pass(ms: number): void {
    const untilMs = this.nowMs + ms
    for (;;) {
      const due = [...this.#timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)
      const [next] = due
      if (!next) break
      this.#timers.delete(next)
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.callback()
    }
    this.nowMs = untilMs
  }
}

/** One kind of live state: makes empty ones, that processes can share. */
export interface LiveStateMaker {
  name: string
  /** The share of random histories that is tried: where a step is a round trip, all of them take minutes. */
  share: number
  open(time: FakeTime): Promise<Shared>
}

/** What processes share of live state. */
export interface Shared {
  /** Another process, with timers of its own. */
  join(processId: string, setTimer: SetTimer): Promise<LiveState>
}

/** A process beside the world's own one, that can be stopped: killed, for those who see it from outside. */
export interface Neighbour {
  live: LiveState
  /** From now on its heart does not beat. */
  stop(): void
  /** It had not died: what it had to do meanwhile it does now. */
  goOn(): void
}

/** A live state, its time, and shorter words for what tests do with it. */
export interface World extends AsyncDisposable {
  live: LiveState
  time: FakeTime
  /** A request of user `u` with its key `u-key` for account `A`, without limits, that may wait for 30 s; with these changes. */
  request(changes?: Partial<AdmitRequest>): AdmitRequest
  /** Admits it, or throws if it has to wait or is refused. */
  run(changes?: Partial<AdmitRequest>): Promise<Admission>
  /** Puts it in line, or throws if it need not or may not wait. */
  wait(changes?: Partial<AdmitRequest>): Promise<Waiting>
  /** Has it refused, or throws. */
  refuse(changes?: Partial<AdmitRequest>): Promise<Refused['refusal']>
  /** `of` is the process that the call belongs to; the world's own unless it is said. */
  end(admission: Admission, end?: Partial<Settlement>, of?: LiveState): Promise<void>
  /** Reserves more money for it, or raises what it counts for in limits. */
  raise(admission: Admission, more: { reservedNanoUsd?: number; estimate?: Partial<Consumption> }, of?: LiveState): void
  /** Another process that shares the state. */
  join(processId: string): Promise<Neighbour>
  /** Call ids in line, in order of arrival. */
  inLine(): Promise<string[]>
  /** Account by call id. */
  running(): Promise<Record<string, string>>
}

/** A ticket and what becomes of it. */
export interface Waiting {
  ticket: Ticket
  outcome: Promise<Admission | Refused>
  abort: (reason: Error) => void
}

export async function openWorld(maker: LiveStateMaker, time = new FakeTime()): Promise<World> {
  const shared = await maker.open(time)
  const live = await shared.join('process', time.setTimer)
  let calls = 0
  const request: World['request'] = (changes = {}) => {
    const userId = changes.userId ?? 'u'
    return {
      callId: `call-${++calls}`,
      userId,
      keyId: `${userId}-key`,
      groupId: 'g',
      userConcurrency: null,
      keyConcurrency: null,
      candidates: accounts('A'),
      session: null,
      lineExtra: 20,
      deadlineMs: time.nowMs + 30_000,
      needsBalance: false,
      quotaNanoUsd: null,
      reservedNanoUsd: 0,
      limits: [],
      estimate: { ...NO_CONSUMPTION, requests: 1 },
      ...changes,
    }
  }
  return {
    live,
    time,
    request,
    async run(changes) {
      const answer = await live.admit(request(changes))
      if (answer.kind !== 'admission') throw new Error(`not admitted: ${JSON.stringify(answer)}`)
      return answer
    },
    async wait(changes) {
      const answer = await live.admit(request(changes))
      if (answer.kind !== 'ticket') throw new Error(`does not wait: ${JSON.stringify(answer)}`)
      return waitFor(live, answer)
    },
    async refuse(changes) {
      const answer = await live.admit(request(changes))
      if (answer.kind !== 'refused') throw new Error(`not refused: ${JSON.stringify(answer)}`)
      return answer.refusal
    },
    end: (admission, end, of = live) =>
      of.settle(admission, { debitNanoUsd: 0, spentNanoUsd: 0, confirmsBinding: false, used: null, ...end }),
    raise: (admission, { reservedNanoUsd = 0, estimate }, of = live) =>
      of.raise(admission, { reservedNanoUsd, estimate: { ...NO_CONSUMPTION, ...estimate } }),
    join: (processId) => neighbour(shared, processId, time),
    inLine: async () => (await live.tickets()).map(({ callId }) => callId),
    running: async () =>
      Object.fromEntries((await live.admissions()).map(({ callId, accountId }) => [callId, accountId])),
    [Symbol.asyncDispose]: () => live[Symbol.asyncDispose](),
  }
}

async function neighbour(shared: Shared, processId: string, time: FakeTime): Promise<Neighbour> {
  let isStopped = false
  const missed: (() => void)[] = []
  const live = await shared.join(processId, (afterMs, callback) =>
    time.setTimer(afterMs, () => (isStopped ? missed.push(callback) : callback())),
  )
  return {
    live,
    stop: () => {
      isStopped = true
    },
    goOn: () => {
      isStopped = false
      for (const callback of missed.splice(0)) callback()
    },
  }
}

/** Waits for a ticket, with a way to give it up. */
export function waitFor(live: LiveState, ticket: Ticket): Waiting {
  const giveUp = new AbortController()
  const outcome = live.await(ticket, giveUp.signal)
  outcome.catch(() => {}) // whoever looks at it sees the error
  return { ticket, outcome, abort: (reason) => giveUp.abort(reason) }
}

/** `A:1 B` → account A with one slot, then B without a limit. */
export function accounts(text: string): RankedCandidate[] {
  return text.split(' ').map((word) => {
    const [accountId = '', limit] = word.split(':')
    return { accountId, model: 'm', concurrency: limit === undefined ? null : Number(limit), limits: [] }
  })
}

/** Accounts that are of use only to calls whose session is bound to them, from a time on. */
export function onlyOwn(text: string, fromMs: number): RankedCandidate[] {
  return accounts(text).map((account) => ({ ...account, onlyOwnFromMs: fromMs }))
}

/** A session that is waited for up to 20 s, three in line, and bound for an hour. */
export function session(key: string, changes: Partial<NonNullable<AdmitRequest['session']>> = {}) {
  return { key, ttlMs: 3_600_000, waitMs: 20_000, line: 3, ...changes }
}

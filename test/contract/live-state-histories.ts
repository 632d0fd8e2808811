import fc from 'fast-check'
import type { Test } from 'tap'
import type { Admission, AdmitRequest, LiveState, RankedCandidate, Refused, Ticket } from '../../src/live/live-state.ts'
import { LiveStateModel, type Outcome } from './live-state-model.ts'
import {
  accounts,
  type LiveStateMaker,
  type Neighbour,
  openWorld,
  session,
  type Waiting,
  type World,
  waitFor,
} from './live-state-support.ts'

type Weighted = { weight: number; arbitrary: fc.Arbitrary<Step> }

/** Limits of a history: of each user, of each key and of each account. Null = none. */
interface Limits {
  users: (number | null)[]
  keys: (number | null)[]
  accounts: (number | null)[]
  lineExtra: number
  balanceNanoUsd: number
}

/** Places of accounts, best first, at least one; and of those that rest for so long. */
interface Wanted {
  able: number[]
  resting: number[]
  restMs: number
}

/** Something that happens. `which` picks one of those that run or wait, whoever is there at the time; -1 = the last. */
type Step =
  | {
      kind: 'admit'
      user: number
      key: number
      accounts: Wanted
      session: number | null
      reserves: boolean
      next: boolean
    }
  | { kind: 'raise'; which: number; nanoUsd: number }
  /** The second process dies, and another takes its place. */
  | { kind: 'die' }
  /** A call of a process that died has ended all the same. */
  | { kind: 'settle late'; which: number; confirmsBinding: boolean; debit: number }
  | { kind: 'settle'; which: number; confirmsBinding: boolean; debit: number }
  | { kind: 'move'; which: number; accounts: Wanted }
  | { kind: 'abort'; which: number }
  | { kind: 'rerank'; which: number; accounts: Wanted }
  | { kind: 'unbind'; which: number }
  | { kind: 'pass'; ms: number }

const USERS = 3
const ACCOUNTS = ['A', 'B', 'C']
/** The user who pays; the others' calls are free. */
const PAYER = 0

const limit = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 3 }) },
  { weight: 1, arbitrary: fc.constant(null) },
)
const tensOfMs = (max: number) => fc.nat(max).map((tens) => tens * 10)
const allAble = (able: readonly number[]): Wanted => ({ able: [...able], resting: [], restMs: 0 })
const someAccounts: fc.Arbitrary<Wanted> = fc
  .tuple(fc.shuffledSubarray([0, 1, 2], { minLength: 1 }), fc.subarray([0, 1, 2]), tensOfMs(300))
  .map(([able, others, restMs]) => ({ able, resting: others.filter((place) => !able.includes(place)), restMs }))
const mostlyNone = fc.oneof({ weight: 1, arbitrary: limit }, { weight: 3, arbitrary: fc.constant(null) })
const orForbidden = (limit: fc.Arbitrary<number | null>) =>
  fc.oneof({ weight: 40, arbitrary: limit }, { weight: 1, arbitrary: fc.constant(0) })
const each = (limit: fc.Arbitrary<number | null>, length: number) =>
  fc.array(orForbidden(limit), { minLength: length, maxLength: length })
const limits: fc.Arbitrary<Limits> = fc.record({
  users: each(limit, USERS),
  keys: each(mostlyNone, USERS * 2),
  accounts: each(limit, ACCOUNTS.length),
  lineExtra: fc.integer({ min: 0, max: 8 }),
  balanceNanoUsd: fc.integer({ min: 0, max: 300 }),
})
const which = fc.nat(50)
const unbind = fc.record({ kind: fc.constant('unbind' as const), which })
const steps = (admit: Weighted, settle: Weighted, passMs: fc.Arbitrary<number>, ...others: Weighted[]) => {
  const move = fc.record({ kind: fc.constant('move' as const), which, accounts: someAccounts })
  const abort = fc.record({ kind: fc.constant('abort' as const), which })
  const rerank = fc.record({ kind: fc.constant('rerank' as const), which, accounts: someAccounts })
  const pass = fc.record({ kind: fc.constant('pass' as const), ms: passMs })
  const step: fc.Arbitrary<Step> = fc.oneof(
    admit,
    settle,
    { weight: 2, arbitrary: move },
    { weight: 1, arbitrary: abort },
    { weight: 1, arbitrary: rerank },
    ...others,
    { weight: 3, arbitrary: pass },
  )
  return fc.array(step, { minLength: 30, maxLength: 120, size: 'max' })
}
const admitting = (parts: { user: fc.Arbitrary<number>; key: fc.Arbitrary<number>; accounts: fc.Arbitrary<Wanted> }) =>
  fc.record({
    kind: fc.constant('admit' as const),
    session: fc.option(fc.nat(1)),
    reserves: fc.boolean(),
    next: fc.boolean(),
    ...parts,
  })
const debits = { confirmsBinding: fc.boolean(), debit: fc.nat(9) }
const settling = (which: fc.Arbitrary<number>) => fc.record({ kind: fc.constant('settle' as const), which, ...debits })

/** Anything, with pauses long enough that waits end in every way. */
const mixed = fc.tuple(
  limits,
  steps(
    { weight: 8, arbitrary: admitting({ user: fc.nat(USERS - 1), key: fc.nat(1), accounts: someAccounts }) },
    { weight: 5, arbitrary: settling(which) },
    tensOfMs(80),
    { weight: 1, arbitrary: unbind },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('raise' as const), which, nanoUsd: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: 'die' }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('settle late' as const), which, ...debits }) },
  ),
)
/** One user's calls, most of which end at once, while A is busy for long: tickets are passed again and again. */
const passing = fc.tuple(
  limits.map((limits) => ({ ...limits, users: [null, 2, null], accounts: [1, 3, 3] })),
  steps(
    {
      weight: 10,
      arbitrary: admitting({
        user: fc.oneof({ weight: 5, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.constant(2) }),
        key: fc.nat(1),
        accounts: fc.constantFrom([0], [1], [2, 1], [0, 1]).map(allAble),
      }),
    },
    {
      weight: 10,
      arbitrary: settling(fc.oneof({ weight: 20, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: which })),
    },
    tensOfMs(5),
  ),
)
// Not tens of ms, so that no two waits end in the same instant.
const WAIT_MS = 3_007
const STICKY_WAIT_MS = 2_003

/** Timers of the two processes. */
const HEARTS = 2

/** All that shows of a live state. */
interface Seen {
  said: Outcome
  running: [string, string][]
  tickets: { callId: string; accountIds: string[]; passes: number }[]
  bindings: [string, string][]
  outcomes: [string, string][]
}

/** A history that happens to a live state and to the model alike. */
class History {
  readonly #world: World
  #next: Neighbour
  readonly #limits: Limits
  readonly #model: LiveStateModel
  readonly #admissions = new Map<string, Admission>()
  /** Of processes that died. */
  readonly #lost: Admission[] = []
  /** Calls of the second process. */
  readonly #ofNext = new Set<string>()
  readonly #waiting = new Map<string, Waiting>()
  readonly #outcomes = new Map<string, Outcome>()

  constructor(world: World, next: Neighbour, limits: Limits) {
    this.#world = world
    this.#next = next
    this.#limits = limits
    this.#model = new LiveStateModel(world.time.nowMs)
    this.#model.balances.set(userId(PAYER), limits.balanceNanoUsd)
  }

  /** Returns what the live state and the model say after the step; they should be the same. */
  async take(step: Step): Promise<[Seen, Seen]> {
    const { live, time } = this.#world
    let said: [Outcome, Outcome] = ['', '']
    if (step.kind === 'pass') {
      time.pass(step.ms)
      this.#model.pass(step.ms)
    } else if (step.kind === 'admit') {
      const request = this.#request(step)
      const process = step.next ? this.#next.live : live
      if (step.next) this.#ofNext.add(request.callId)
      said = [
        this.#entered(request.callId, await process.admit(request)),
        this.#model.admit(request, process.processId),
      ]
      this.#passOn()
    } else if (step.kind === 'settle') {
      const admission = pick([...this.#admissions.values()], step.which)
      if (admission) await this.#settle(admission, step)
    } else if (step.kind === 'settle late') {
      const [admission] = this.#lost.splice(step.which % (this.#lost.length || 1), 1)
      if (admission) await this.#settle(admission, step)
    } else if (step.kind === 'die') {
      await this.#die()
    } else if (step.kind === 'raise') {
      const admission = pick([...this.#admissions.values()], step.which)
      if (admission) {
        this.#world.raise(admission, { reservedNanoUsd: step.nanoUsd }, this.#liveOf(admission.callId))
        this.#model.raise(admission.callId, step.nanoUsd)
      }
    } else if (step.kind === 'unbind') {
      const binding = pick([...(await live.bindings())], step.which)
      if (binding) {
        await live.unbind({ sessionKey: binding.sessionKey })
        this.#model.unbind(binding.sessionKey)
      }
    } else if (step.kind === 'move') {
      const idle = [...this.#admissions.values()].filter(({ callId }) => !this.#waiting.has(callId))
      const admission = pick(idle, step.which)
      if (admission) {
        const candidates = this.#candidates(step.accounts)
        const { callId } = admission
        this.#admissions.set(callId, { ...admission, accountId: '' })
        const moved = await this.#liveOf(callId).move(admission, candidates)
        said = [this.#entered(callId, moved), this.#model.move(callId, candidates)]
      }
    } else {
      const waiting = pick([...this.#waiting.values()], step.which)
      if (waiting && step.kind === 'abort') {
        this.#model.abort(waiting.ticket.callId)
        waiting.abort(new Error('aborted'))
      } else if (waiting && step.kind === 'rerank') {
        const candidates = this.#candidates(step.accounts)
        await this.#liveOf(waiting.ticket.callId).rerank(waiting.ticket, candidates)
        this.#model.rerank(waiting.ticket.callId, candidates)
      }
    }
    await this.#hear()
    return [await this.#seen(said[0]), this.#expected(said[1])]
  }

  /** Ends everything that waits or runs, or was lost. */
  async end(): Promise<void> {
    for (const admission of this.#lost) await this.#world.end(admission)
    for (const waiting of this.#waiting.values()) waiting.abort(new Error('aborted'))
    await this.#hear()
    for (const admission of this.#admissions.values()) {
      await this.#world.end(admission, {}, this.#liveOf(admission.callId))
      await this.#hear()
    }
  }

  /** Limits that are exceeded, counted from what was granted and not given back. */
  exceeded(): string[] {
    const used = new Map<string, number>()
    const count = (name: string) => used.set(name, (used.get(name) ?? 0) + 1)
    for (const { callId, accountId } of this.#admissions.values()) {
      const [user = '', key = ''] = callId.split(' ')
      count(user)
      count(key)
      if (accountId) count(accountId)
    }
    return [...used].filter(([name, slots]) => slots > (this.#limitOf(name) ?? Infinity)).map(([name]) => name)
  }

  /** The process that a call came to; of one that died, the other. */
  #liveOf(callId: string): LiveState {
    return this.#ofNext.has(callId) ? this.#next.live : this.#world.live
  }

  #limitOf(name: string): number | null | undefined {
    const { users, keys, accounts } = this.#limits
    const place = Number(name.slice(1))
    return name.startsWith('u') ? users[place] : name.startsWith('k') ? keys[place] : accounts[ACCOUNTS.indexOf(name)]
  }

  #request({ user, key, accounts, session: place, reserves }: Step & { kind: 'admit' }): AdmitRequest {
    const { nowMs } = this.#world.time
    const keyPlace = user * 2 + key
    const keyId = `k${keyPlace}`
    const pays = user === PAYER
    return this.#world.request({
      callId: `${userId(user)} ${keyId} ${nowMs}`,
      userId: userId(user),
      keyId,
      userConcurrency: this.#limits.users[user] ?? null,
      keyConcurrency: this.#limits.keys[keyPlace] ?? null,
      candidates: this.#candidates(accounts),
      session: place === null ? null : session(`${keyId} ${place}`, { waitMs: STICKY_WAIT_MS, line: 1 }),
      lineExtra: this.#limits.lineExtra,
      deadlineMs: nowMs + WAIT_MS,
      needsBalance: pays,
      reservedNanoUsd: pays && reserves ? 10 : 0,
    })
  }

  /** What the dead process's calls held is free, what they cost is learnt anew, and another process begins. */
  async #die(): Promise<void> {
    const { processId } = this.#next.live
    await this.#next.live[Symbol.asyncDispose]()
    this.#model.giveUp(processId)
    await this.#hear()
    for (const callId of this.#ofNext) {
      const admission = this.#admissions.get(callId)
      if (admission) this.#lost.push(admission)
      this.#admissions.delete(callId)
    }
    this.#ofNext.clear()
    await learnBalance(this.#world, this.#model.balances.get(userId(PAYER)) ?? 0)
    this.#model.unknown.clear()
    this.#next = await this.#world.join(`${processId}'`)
  }

  #candidates({ able, resting, restMs }: Wanted): RankedCandidate[] {
    const candidate = (place: number): RankedCandidate => ({
      accountId: ACCOUNTS[place] as string,
      model: 'm',
      concurrency: this.#limits.accounts[place] ?? null,
      limits: [],
    })
    const onlyOwnFromMs = this.#world.time.nowMs + restMs
    return [...able.map(candidate), ...resting.map((place) => ({ ...candidate(place), onlyOwnFromMs }))]
  }

  #entered(callId: string, answer: Awaited<ReturnType<LiveState['admit']>>): Outcome {
    if (answer.kind === 'unknown' || answer.kind === 'unknown_usage') return answer.kind
    if (answer.kind === 'ticket') {
      this.#listen(answer)
      return 'waits'
    }
    return this.#note(callId, answer)
  }

  #listen(ticket: Ticket): void {
    const waiting = waitFor(this.#liveOf(ticket.callId), ticket)
    this.#waiting.set(ticket.callId, waiting)
    const end = (outcome: Outcome) => {
      this.#waiting.delete(ticket.callId)
      this.#outcomes.set(ticket.callId, outcome)
    }
    waiting.outcome.then(
      (answer) => end(this.#note(ticket.callId, answer)),
      ({ message }: Error) =>
        end(message.includes('ended while') ? 'ended' : message === 'live state is closed' ? 'gone' : message),
    )
  }

  #note(callId: string, answer: Admission | Refused): Outcome {
    if (answer.kind === 'admission') {
      this.#admissions.set(callId, answer)
      return answer.accountId
    }
    const { reason, subject, limit, metric } = answer.refusal
    if (metric !== 'concurrent') return 'spent'
    return `${limit === 0 ? 'forbidden' : reason} ${subject}`
  }

  async #settle(
    admission: Admission,
    { confirmsBinding, debit }: Step & { kind: 'settle' | 'settle late' },
  ): Promise<void> {
    this.#admissions.delete(admission.callId)
    const debitNanoUsd = admission.callId.startsWith(userId(PAYER)) ? debit : 0
    await this.#world.end(admission, { confirmsBinding, debitNanoUsd }, this.#liveOf(admission.callId))
    this.#model.settle(admission.callId, confirmsBinding, debitNanoUsd)
  }

  /** No two calls come in the same instant. */
  #passOn(): void {
    this.#world.time.pass(10)
    this.#model.pass(10)
  }

  /** Lets those who wait hear what became of them. */
  async #hear(): Promise<void> {
    const inLine = new Set(await this.#world.inLine())
    const ended = [...this.#waiting.values()].filter(({ ticket }) => !inLine.has(ticket.callId))
    await Promise.allSettled(ended.map(({ outcome }) => outcome))
  }

  async #seen(said: Outcome): Promise<Seen> {
    const { live } = this.#world
    return {
      said,
      running: sorted(await this.#world.running()),
      tickets: (await live.tickets()).map(({ callId, accountIds, passes }) => ({ callId, accountIds, passes })),
      bindings: sorted(Object.fromEntries((await live.bindings()).map((one) => [one.sessionKey, one.accountId]))),
      outcomes: sorted(Object.fromEntries(this.#outcomes)),
    }
  }

  #expected(said: Outcome): Seen {
    const { running, tickets, bindings, outcomes } = this.#model
    return {
      said,
      running: sorted(running),
      tickets,
      bindings: sorted(Object.fromEntries(bindings)),
      outcomes: sorted(Object.fromEntries(outcomes)),
    }
  }
}

export async function historiesContract(t: Test, maker: LiveStateMaker): Promise<void> {
  for (const [name, histories, ticketsMin] of [
    ['mixed', mixed, 10_000],
    ['passing', passing, 10_000],
  ] as const) {
    t.test(`a random history goes as in a model that is slow and plain · ${name}`, async (t) => {
      let tickets = 0
      let due = 0
      await fc.assert(
        fc.asyncProperty(histories, async ([limits, steps]) => {
          await using world = await openWorld(maker)
          await learnBalance(world, limits.balanceNanoUsd)
          const history = new History(world, await world.join('next'), limits)
          for (const step of steps) {
            const [seen, expected] = await history.take(step)
            same(seen, expected)
            same(history.exceeded(), [])
            tickets += seen.tickets.length
            due += seen.tickets.filter(({ passes }) => passes >= 8).length
          }
          await history.end()
          same([await world.running(), await world.inLine(), world.time.timers], [{}, [], HEARTS])
        }),
        { seed: 20261125, numRuns: 300 * maker.share, interruptAfterTimeLimit: 20_000 },
      )
      t.ok(tickets > ticketsMin * maker.share, `${tickets} tickets were looked at, ${due} of them due`)
      if (name === 'passing') t.ok(due > 50 * maker.share)
    })
  }

  t.test('nobody starves, however badly it is timed', async (t) => {
    const badTiming = fc.record({
      userConcurrency: fc.integer({ min: 1, max: 4 }),
      keyConcurrency: fc.constantFrom(null, 1, 2),
      tickets: fc.integer({ min: 1, max: 4 }),
      others: fc.integer({ min: 0, max: 4 }),
    })
    await fc.assert(
      fc.asyncProperty(badTiming, async ({ tickets, others, ...limits }) => {
        await using world = await openWorld(maker)
        const deadlineMs = Number.MAX_SAFE_INTEGER
        const enter = async (changes: Partial<AdmitRequest>) => {
          const request = world.request({ deadlineMs, ...changes })
          const { kind } = await world.live.admit(request)
          return { callId: request.callId, kind }
        }
        const endThoseAt = async (accountId: string) => {
          for (const admission of await world.live.admissions()) {
            if (admission.accountId === accountId)
              await world.end({ kind: 'admission', bound: false, boundBefore: null, ...admission })
          }
        }
        await enter({ userId: 'other-0', candidates: accounts('A:1') })
        const unlucky = []
        for (let n = 0; n < tickets; n++) unlucky.push(await enter({ ...limits, candidates: accounts('A:1') }))
        const roundsMax = 10 + (tickets + 1) * (others + 1)
        for (let rounds = 0; rounds < roundsMax; rounds++) {
          // All of the user's slots are busy elsewhere whenever the account comes free, and others want it too.
          while ((await enter({ ...limits, candidates: accounts('B') })).kind === 'admission');
          for (let n = 1; n <= others; n++) await enter({ userId: `other-${n}`, candidates: accounts('A:1') })
          await endThoseAt('A')
          await endThoseAt('B')
        }
        const inLine = new Set(await world.inLine())
        same(
          unlucky.filter(({ callId }) => inLine.has(callId)),
          [],
        )
      }),
      { seed: 20261125, numRuns: 60 * maker.share },
    )
    t.pass()
  })
}

/** Tells what the payer has, as the store would, in which none of its calls are. */
async function learnBalance({ live }: World, balanceNanoUsd: number): Promise<void> {
  const payer = { userId: userId(PAYER), keyId: 'k0' }
  await live.learn(payer, async () => ({ balanceNanoUsd, keySpentNanoUsd: 0, recordedCallIds: [] }))
}

function userId(user: number): string {
  return `u${user}`
}

function pick<T>(list: T[], place: number): T | undefined {
  return list.at(place % list.length)
}

function sorted(record: Record<string, string>): [string, string][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Throws what the test framework's shrinking can work with. */
function same(seen: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(expected)]
  if (a !== b) throw new Error(`seen ${a}\nexpected ${b}`)
}

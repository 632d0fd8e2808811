import fc from 'fast-check'
import type { Test } from 'tap'
import type {
  Consumption,
  Limit,
  Limited,
  LimitMetric,
  LimitRefusal,
  LimitSubject,
  LimitWindow,
} from '../../src/domain/limit.ts'
import type {
  Admission,
  AdmitRequest,
  LiveState,
  RankedCandidate,
  Refused,
  StoredUsage,
  UnknownUsage,
} from '../../src/live/live-state.ts'
import { type FakeTime, type LiveStateMaker, type Neighbour, openWorld, type World } from './live-state-support.ts'

/**
 * Histories of calls against limits, beside a list of all calls ever made from which everything is added up anew each
 * time. Of sliding windows the list knows two sums: of what must count, and of what may, as a bucket counts until it is
 * wholly out. Between them, what the limiter counts has to lie; what it admits must be below the limit by the first,
 * what it refuses above it by the second. What calls may use counts in full as long as they run, as far as it was raised,
 * and for nothing once their process has died; what they used counts whenever it is told, also by one that had not died.
 */

const QUARTER_MS = 900_000
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const SUBJECTS: [LimitSubject, string][] = [
  ['key', 'k0'],
  ['key', 'k1'],
  ['user', 'u'],
  ['group', 'g'],
  ['account', 'A'],
  ['account', 'B'],
]
const sliding = (ms: number): LimitWindow => ({ kind: 'sliding', ms })
const calendar = (unit: 'day' | 'week' | 'month', timeZone: string): LimitWindow => ({
  kind: 'calendar',
  unit,
  timeZone,
})
const anchored = (every: number | 'month', start: string): LimitWindow => ({
  kind: 'anchored',
  every,
  startMs: Date.parse(start),
})
const SHORT_WINDOWS = [
  ...[1000, 7000, 60_000, HOUR_MS, 5 * HOUR_MS].map(sliding),
  anchored(5_400_000, '2026-11-25T11:15Z'),
]
const WINDOWS = [
  ...SHORT_WINDOWS,
  ...[DAY_MS, 30 * DAY_MS].map(sliding),
  ...[calendar('day', 'Europe/Berlin'), calendar('week', 'Asia/Kathmandu'), calendar('month', 'America/New_York')],
  ...[anchored(7 * DAY_MS, '2026-11-01T10:30Z'), anchored('month', '2026-08-31T23:45Z')],
]
const MODELS = ['opus-5', 'opus-6', 'haiku-5']
const isKept = (window: LimitWindow) => window.kind !== 'sliding' || window.ms >= HOUR_MS

/** The most of a metric that a limit here allows: some few calls' worth. */
const MAX: Record<LimitMetric, number> = {
  requests: 6,
  input_tokens: 200,
  output_tokens: 200,
  tokens: 400,
  all_tokens: 500,
  usd: 4000,
}
const SOME = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
const MANY = [1, 1.5, 2, 3, 4, 5]
const limitOf = (windows: LimitWindow[], models: (string | undefined)[], shares: number[]): fc.Arbitrary<Limit> =>
  fc
    .tuple(
      fc.constantFrom(...(Object.keys(MAX) as LimitMetric[])),
      fc.constantFrom(...windows),
      fc.constantFrom(...shares),
      fc.constantFrom(...models),
    )
    .map(([metric, window, share, models]) => ({
      metric,
      window,
      max: Math.ceil(share * MAX[metric]),
      ...(models !== undefined && { models }),
    }))
const nameOf = ({ metric, window, models }: Limit) => JSON.stringify([metric, window, models])
/** `shares` are of the most above. */
const limitsOf = (subject: LimitSubject, windows: LimitWindow[], shares: number[]) =>
  fc.uniqueArray(
    limitOf(windows, subject === 'account' ? [undefined, 'opus-*', 'haiku-5', '*'] : [undefined], shares),
    {
      maxLength: 3,
      selector: nameOf,
    },
  )
const allLimits = (windows: LimitWindow[], shares: number[]) =>
  fc.tuple(...SUBJECTS.map(([subject]) => limitsOf(subject, windows, shares)))

const consumption: fc.Arbitrary<Consumption> = fc
  .tuple(fc.nat(60), fc.nat(60), fc.nat(60))
  .map(([inputTokens, outputTokens, cacheReadTokens]) => ({
    requests: 1,
    inputTokens,
    outputTokens,
    cacheReadTokens,
    costNanoUsd: inputTokens * 3 + outputTokens * 7,
    spentNanoUsd: inputTokens * 5 + outputTokens * 11,
  }))

type End = 'settle' | 'never made' | 'record only'
type Step =
  | {
      kind: 'admit'
      key: number
      accounts: string[]
      model: string
      estimate: Consumption
      twice: boolean
      next: boolean
    }
  | { kind: 'end'; which: number; how: End; truth: Consumption }
  | { kind: 'raise'; which: number; estimate: Consumption }
  | { kind: 'move'; which: number; accounts: string[]; model: string }
  | { kind: 'pass'; ms: number }
  /** The process dies with all that runs, and the next one has other limits. */
  | { kind: 'restart'; limits: Limit[][] }
  /** The operator sets limits on somebody who has none yet. */
  | { kind: 'limit'; subject: number; limits: Limit[] }
  /** A second process is stopped, for good or not, or goes on. */
  | { kind: 'stop' }
  | { kind: 'go on' }

const someAccounts = fc.constantFrom<string[][]>(['A'], ['B'], ['A', 'B'], ['B', 'A'])
const which = fc.nat(20)
const passMs = fc.oneof(
  { weight: 6, arbitrary: fc.nat(2000) },
  { weight: 6, arbitrary: fc.nat(60_000) },
  { weight: 3, arbitrary: fc.nat(HOUR_MS) },
  { weight: 1, arbitrary: fc.nat(2 * DAY_MS) },
  { weight: 1, arbitrary: fc.nat(40 * DAY_MS) },
)
const how = fc.constantFrom<End[]>('settle', 'settle', 'settle', 'settle', 'never made', 'record only')
const model = fc.constantFrom(...MODELS)
const steps = (
  windows: LimitWindow[],
  passMs: fc.Arbitrary<number>,
  ...others: { weight: number; arbitrary: fc.Arbitrary<Step> }[]
) => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 10,
      arbitrary: fc.record({
        kind: fc.constant('admit' as const),
        key: fc.nat(1),
        accounts: someAccounts,
        model,
        estimate: consumption,
        twice: fc.boolean(),
        next: fc.boolean(),
      }),
    },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('end' as const), which, how, truth: consumption }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('raise' as const), which, estimate: consumption }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('move' as const), which, accounts: someAccounts, model }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: passMs }) },
    {
      weight: 1,
      arbitrary: fc
        .nat(SUBJECTS.length - 1)
        .chain((subject) =>
          limitsOf((SUBJECTS[subject] as [LimitSubject, string])[0], windows, SOME).map(
            (limits): Step => ({ kind: 'limit', subject, limits }),
          ),
        ),
    },
    ...others,
  )
  return fc.array(step, { minLength: 10, maxLength: 60, size: 'max' })
}
/** Ends of calls while the store is asked: before it looks, and after. */
const race = fc.record({ before: fc.array(which, { maxLength: 2 }), after: fc.array(which, { maxLength: 2 }) })
const races = fc.array(race, { minLength: 1, maxLength: 8 })
/** One process, that is killed now and then, and time enough for every window. */
const alone = fc.record({
  processes: fc.constant(1),
  limits: allLimits(WINDOWS, SOME),
  steps: steps(WINDOWS, passMs, {
    weight: 1,
    arbitrary: allLimits(WINDOWS, SOME).map((limits): Step => ({ kind: 'restart', limits })),
  }),
  races,
})
/** Two processes, of which one is stopped now and then: it dies, or comes back before or after it was given up. */
const two = fc.record({
  processes: fc.constant(2),
  limits: allLimits(SHORT_WINDOWS, MANY),
  steps: steps(
    SHORT_WINDOWS,
    fc.oneof({ weight: 2, arbitrary: fc.nat(2000) }, { weight: 3, arbitrary: fc.nat(90_000) }),
    { weight: 2, arbitrary: fc.constant<Step>({ kind: 'stop' }) },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: 'go on' }) },
  ),
  races,
})
interface Plan {
  processes: number
  limits: Limit[][]
  steps: Step[]
  races: { before: number[]; after: number[] }[]
}

/** A call as the list has it. */
interface Call {
  request: AdmitRequest
  atMs: number
  accountId: string
  model: string
  /** It runs in the second process. */
  isNext: boolean
  /** What it may use, as it was raised. */
  estimate: Consumption
  /** Subjects with limits of which it was admitted. */
  limited: Set<string>
  /** Undefined: it runs, or died. Null: it was never made. */
  truth: Consumption | null | undefined
  row: Consumption | null
  /** The store's looks that had been taken when it was recorded. */
  recordedAt: number
  /** All that knew of it is gone. */
  isGone: boolean
  /** Its process was given up. */
  isLost: boolean
}

const NOTHING: Consumption = {
  requests: 0,
  inputTokens: 0,
  cacheReadTokens: 0,
  outputTokens: 0,
  costNanoUsd: 0,
  spentNanoUsd: 0,
}

class History {
  readonly #maker: LiveStateMaker
  readonly #time: FakeTime
  readonly #races: Plan['races']
  #world: World
  #limits: Limit[][]
  #calls: Call[] = []
  /** When each subject's kept windows were learnt, and by which look: calls before that are known by quarters of an hour. */
  readonly #learnt = new Map<string, { ms: number; look: number }>()
  #moving: Call | null = null
  readonly #isTwo: boolean
  #next: Neighbour | null = null
  /** When the second process was stopped. */
  #stoppedMs: number | null = null
  #looks = 0
  readonly seen: Record<string, number> = {}

  constructor(maker: LiveStateMaker, world: World, plan: Plan) {
    this.#maker = maker
    this.#time = world.time
    this.#world = world
    this.#limits = plan.limits
    this.#races = plan.races
    this.#isTwo = plan.processes === 2
  }

  async take(step: Step): Promise<void> {
    this.#note(step.kind)
    switch (step.kind) {
      case 'admit':
        return this.#admit(step)
      case 'end': {
        const call = pick(this.#running(), step.which)
        if (call) await this.#end(call, step.how, step.truth)
        return
      }
      case 'move': {
        const call = pick(this.#running(), step.which)
        if (call) await this.#move(call, step.accounts, step.model)
        return
      }
      case 'raise': {
        const call = pick(this.#running(), step.which)
        if (call) this.#raise(call, step.estimate)
        return
      }
      case 'pass':
        this.#time.pass(step.ms)
        await this.#noteLosses()
        return
      case 'stop':
        if (!this.#next) return
        this.#next.stop()
        this.#stoppedMs ??= this.#time.nowMs
        return
      case 'go on':
        this.#next?.goOn()
        this.#stoppedMs = null
        await this.#noteLosses()
        return
      case 'restart':
        await this.#restart(step.limits)
        return
      case 'limit':
        if (this.#limits[step.subject]?.length === 0) this.#limits[step.subject] = step.limits
    }
  }

  /** What is counted of everybody lies between what must and what may be. */
  async check(): Promise<void> {
    for (const [index, [subject, id]] of SUBJECTS.entries()) {
      const limited = this.#limited(index)
      const standings = await this.#world.live.standings(limited)
      if (!Array.isArray(standings)) continue
      for (const { limit, used } of standings) {
        const [must, may] = this.#sums(subject, id, limit)
        if (used < must || used > may) fail(`of ${subject} ${id} ${used} is counted`, { limit, must, may })
      }
    }
  }

  async end(): Promise<void> {
    await this.#next?.live[Symbol.asyncDispose]()
    await this.#world[Symbol.asyncDispose]()
    if (this.#time.timers > 0) fail('a heart still beats', this.#time.timers)
  }

  // ---- what happens ----

  async #admit({ key, accounts, model, estimate, twice, next }: Step & { kind: 'admit' }): Promise<void> {
    const isNext = next && this.#isTwo && this.#stoppedMs === null
    if (isNext) this.#next ??= await this.#world.join('next')
    const callerPlaces = [key, 2, 3]
    const limits = callerPlaces.map((place) => this.#limited(place)).filter((limited) => limited.limits.length > 0)
    const candidates = this.#candidates(accounts, model)
    const request = this.#world.request({ userId: 'u', keyId: `k${key}`, candidates, limits, estimate })
    const live = this.#liveOf({ isNext })
    const answer = await this.#knowing(() => live.admit(request))
    if (answer.kind === 'refused') {
      this.#note('refused')
      this.#judgeRefusal(answer.refusal as LimitRefusal, limits, accounts, model)
      return
    }
    this.#note('admitted')
    for (const { subject, id, limits: theirs } of limits) this.#mustHaveRoom(subject, id, theirs)
    this.#judgeAccount(answer.accountId, accounts, model)
    const limited = new Set(limits.map(({ subject, id }) => `${subject} ${id}`))
    if (this.#limited(accountPlace(answer.accountId)).limits.length > 0) limited.add(`account ${answer.accountId}`)
    const atMs = this.#time.nowMs
    const { accountId } = answer
    const fresh = { truth: undefined, row: null, recordedAt: 0, isGone: false, isLost: false }
    this.#calls.push({ request, atMs, accountId, model, isNext, estimate, limited, ...fresh })
    if (!twice) return
    const again = await live.admit(request)
    if (again.kind !== 'admission') fail('a second time it is not admitted', again)
  }

  async #end(call: Call, how: End, truth: Consumption): Promise<void> {
    const used = how === 'never made' ? null : truth
    if (used && !call.row) Object.assign(call, { row: used, recordedAt: this.#looks })
    if (how === 'record only') return
    call.truth = how === 'never made' && call.row ? call.row : (call.row ?? used)
    if (call.isLost) this.#note('settled after it was given up')
    const live = this.#liveOf(call)
    const end = { debitNanoUsd: 0, spentNanoUsd: 0, confirmsBinding: false }
    await live.settle(admissionOf(call), { ...end, used: call.truth })
    await live.settle(admissionOf(call), { ...end, used: truth }) // a second settlement moves nothing
  }

  #raise(call: Call, estimate: Consumption): void {
    this.#liveOf(call).raise(admissionOf(call), { reservedNanoUsd: 0, estimate })
    if (call.isLost) return
    const names = Object.keys(estimate) as (keyof Consumption)[]
    const most = names.map((name) => [name, Math.max(call.estimate[name], estimate[name])])
    call.estimate = Object.fromEntries(most) as unknown as Consumption
  }

  async #move(call: Call, accounts: string[], model: string): Promise<void> {
    if (call.row || call.isLost) return // it has ended
    this.#moving = call
    const answer = await this.#knowing(() =>
      this.#liveOf(call).move(admissionOf(call), this.#candidates(accounts, model)),
    )
    this.#moving = null
    call.accountId = ''
    if (answer.kind === 'refused') {
      for (const accountId of accounts) this.#mustBeFull(accountId, model)
      await this.#end(call, 'never made', call.request.estimate)
      return
    }
    this.#judgeAccount(answer.accountId, accounts, model)
    call.accountId = answer.accountId
    call.model = model
    if (this.#limited(accountPlace(answer.accountId)).limits.length > 0) call.limited.add(`account ${answer.accountId}`)
  }

  #candidates(accounts: string[], model: string): RankedCandidate[] {
    return accounts.map((accountId) => ({
      accountId,
      model,
      concurrency: null,
      limits: this.#limited(accountPlace(accountId)).limits,
    }))
  }

  #liveOf({ isNext }: Pick<Call, 'isNext'>): LiveState {
    return isNext && this.#next ? this.#next.live : this.#world.live
  }

  /** A process that has been stopped for 35 s was given up, and what it may have recorded is asked for anew. */
  async #noteLosses(): Promise<void> {
    const mine = this.#running()
      .concat(this.#stopped())
      .filter(({ isNext, isLost }) => isNext && !isLost)
    if (mine.length === 0) return
    const running = new Set((await this.#world.live.admissions()).map(({ callId }) => callId))
    const lost = mine.filter(({ request }) => !running.has(request.callId))
    const silentMs = this.#stoppedMs === null ? 0 : this.#time.nowMs - this.#stoppedMs
    if (lost.length > 0 && lost.length < mine.length) fail('it was given up by halves', lost)
    if (this.#stoppedMs !== null && silentMs < 25_000 && lost.length > 0) fail('it was given up too soon', silentMs)
    if (silentMs >= 35_000 && lost.length === 0) fail('it was not given up', silentMs)
    for (const call of lost) {
      this.#note('given up')
      call.isLost = true
      const { keyId, userId, groupId } = call.request
      for (const name of [`key ${keyId}`, `user ${userId}`, `group ${groupId}`, `account ${call.accountId}`]) {
        this.#learnt.delete(name)
      }
    }
  }

  /** Another process: it knows what is recorded, and nothing else. */
  async #restart(limits: Limit[][]): Promise<void> {
    await this.#world[Symbol.asyncDispose]()
    this.#world = await openWorld(this.#maker, this.#time)
    const names = new Set(this.#calls.map(({ request }) => request.callId))
    const fresh = this.#world.request
    this.#world.request = (changes) => {
      const request = fresh(changes)
      const deadlineMs = this.#time.nowMs + 30_000
      return { ...request, deadlineMs, callId: `${request.callId} after ${names.size}` }
    }
    for (const call of this.#calls) call.isGone = true
    this.#limits = limits.map((some) => [...some])
    this.#learnt.clear()
  }

  async #knowing<T extends { kind: string }>(
    ask: () => Promise<T>,
  ): Promise<Exclude<T, UnknownUsage | { kind: 'unknown' | 'ticket' }> & (Admission | Refused)> {
    for (let looks = 0; looks < 9; looks++) {
      const answer = await ask()
      if (answer.kind === 'admission' || answer.kind === 'refused') return answer as never
      if (answer.kind !== 'unknown_usage') fail('it is neither admitted nor refused', answer)
      for (const limited of (answer as unknown as UnknownUsage).of) await this.#learn(limited)
    }
    throw new Error('learnt in vain')
  }

  async #learn(limited: Limited): Promise<void> {
    const { subject, id } = limited
    const { before, after } = this.#races[this.#looks % this.#races.length] as Plan['races'][number]
    const endOne = async (place: number) => {
      const call = pick(this.#running(), place)
      if (!call || call === this.#moving) return
      await this.#end(call, place % 5 === 0 ? 'record only' : 'settle', call.request.estimate)
      this.#note('ended during a look')
    }
    await this.#world.live.learnUsage(limited, async ({ fromMs, stepMs, byModel, callIds }) => {
      if (stepMs % QUARTER_MS !== 0) fail('the store cannot cut time there', stepMs)
      for (const place of before) await endOne(place)
      const rows = this.#calls.filter((call) => call.row && isOf(call, subject, id))
      const recent = rows.filter(({ atMs }) => atMs - (atMs % QUARTER_MS) > fromMs - QUARTER_MS)
      const spans = Map.groupBy(recent, ({ atMs, model }) => `${atMs - (atMs % stepMs)} ${byModel ? model : ''}`)
      const stored: StoredUsage = {
        spans: Array.from(spans, ([name, calls]) => {
          const [startMs = '', model = ''] = name.split(' ')
          const used = calls.map(({ row }) => row as Consumption).reduce(added)
          return { fromMs: Number(startMs), toMs: Number(startMs) + stepMs, ...(byModel && { model }), used }
        }),
        recordedCallIds: callIds.filter((callId) => rows.some(({ request }) => request.callId === callId)),
      }
      this.#looks++
      for (const place of after) await endOne(place)
      return stored
    })
    this.#note('looks')
    this.#learnt.set(`${subject} ${id}`, { ms: this.#time.nowMs, look: this.#looks })
  }

  // ---- what ought to be ----

  #judgeRefusal(refusal: LimitRefusal, limits: Limited[], accounts: string[], model: string): void {
    if (refusal.reason !== 'limit') fail('refused for something else', refusal)
    const { subject, subjectId, metric, window, models, limit: max, used, retryAfterMs } = refusal
    const limit = { metric, window, max, ...(models !== undefined && { models }) }
    if (!isCovered(model, limit)) fail('refused for other models', refusal)
    const [must, may] = this.#sums(subject, subjectId, limit)
    if (used < must || used > may || used < max) fail('refused with a wrong sum', { refusal, must, may })
    if (subject === 'account') for (const accountId of accounts) this.#mustBeFull(accountId, model)
    else if (!limits.some((limited) => limited.subject === subject && limited.id === subjectId))
      fail('of whom?', refusal)
    if (max === 0) {
      if (retryAfterMs !== null) fail('nothing is never allowed', refusal)
      return
    }
    if (retryAfterMs === null || retryAfterMs <= 0) fail('it does not say when', refusal)
    // From then on there is room, and before there might be none.
    const [mustThen] = this.#sums(subject, subjectId, limit, this.#time.nowMs + (retryAfterMs as number))
    const [, mayBefore] = this.#sums(subject, subjectId, limit, this.#time.nowMs + (retryAfterMs as number) - 1)
    if (mustThen >= max || mayBefore < max) fail('a wrong time', { refusal, mustThen, mayBefore })
  }

  /** The account that was taken has room, and those that were preferred have none. */
  #judgeAccount(taken: string, accounts: string[], model: string): void {
    const { limits } = this.#limited(accountPlace(taken))
    this.#mustHaveRoom(
      'account',
      taken,
      limits.filter((limit) => isCovered(model, limit)),
    )
    for (const passed of accounts.slice(0, accounts.indexOf(taken))) this.#mustBeFull(passed, model)
  }

  #mustHaveRoom(subject: LimitSubject, id: string, limits: readonly Limit[]): void {
    for (const limit of limits) {
      const [must] = this.#sums(subject, id, limit)
      if (must >= limit.max) fail(`${subject} ${id} was over its limit`, { limit, must })
    }
  }

  #mustBeFull(accountId: string, model: string): void {
    const limits = this.#limited(accountPlace(accountId)).limits.filter((limit) => isCovered(model, limit))
    const isFull = limits.some((limit) => this.#sums('account', accountId, limit)[1] >= limit.max)
    if (!isFull) fail(`account ${accountId} had room`, limits)
  }

  /** What must count of a limit at a moment, and what may. */
  #sums(subject: LimitSubject, id: string, limit: Limit, nowMs = this.#time.nowMs): [number, number] {
    const { metric, window } = limit
    const learnt = (isKept(window) && this.#learnt.get(`${subject} ${id}`)) || { ms: Number.NEGATIVE_INFINITY, look: 0 }
    let must = 0
    let may = 0
    for (const call of this.#calls) {
      if (!isOf(call, subject, id) || !isCovered(call.model, limit)) continue
      const isHere = !call.isGone && (isKept(window) || call.limited.has(`${subject} ${id}`))
      const isStored = call.row !== null && call.recordedAt < learnt.look
      const soFar = isStored ? call.row : call.isLost ? NOTHING : call.estimate
      const counted = isHere ? (call.truth === undefined ? soFar : call.truth) : isKept(window) ? call.row : null
      if (!counted) continue
      const amount = amountOf(metric, subject, counted)
      if (window.kind !== 'sliding') {
        const isIn = periodOf(window, call.atMs) === periodOf(window, nowMs)
        if (isIn) must += amount
        if (isIn) may += amount
      } else {
        const ageMs = nowMs - call.atMs
        const lateMs = window.ms / 60 + (isStored ? QUARTER_MS : 0)
        if (ageMs < window.ms) must += amount
        if (ageMs <= window.ms + lateMs) may += amount
      }
    }
    return [must, may]
  }

  #running(): Call[] {
    return this.#calls.filter((call) => isUnsettled(call) && !(call.isNext && this.#stoppedMs !== null))
  }

  #stopped(): Call[] {
    return this.#calls.filter((call) => isUnsettled(call) && call.isNext && this.#stoppedMs !== null)
  }

  #limited(place: number): Limited {
    const [subject, id] = SUBJECTS[place] as [LimitSubject, string]
    return { subject, id, limits: this.#limits[place] ?? [] }
  }

  #note(what: string): void {
    this.seen[what] = (this.seen[what] ?? 0) + 1
  }
}

export async function limitHistoriesContract(t: Test, maker: LiveStateMaker): Promise<void> {
  const often = ['admitted', 'refused', 'looks', 'ended during a look', 'raise', 'move']
  for (const [name, plans, seenOften] of [
    ['one process', alone, [...often, 'restart']],
    ['two processes', two, [...often, 'given up', 'settled after it was given up']],
  ] as const) {
    t.test(`limits count as a list of all calls does · ${name}`, async (t) => {
      const seen: Record<string, number> = {}
      await fc.assert(
        fc.asyncProperty(plans, async (plan) => {
          const world = await openWorld(maker)
          const history = new History(maker, world, { ...plan, limits: plan.limits.map((some) => [...some]) })
          for (const step of plan.steps) {
            await history.take(step)
            await history.check()
          }
          await history.end()
          for (const [what, count] of Object.entries(history.seen)) seen[what] = (seen[what] ?? 0) + count
        }),
        { seed: 20261127, numRuns: 2000 * maker.share, interruptAfterTimeLimit: 60_000 },
      )
      t.ok(true, JSON.stringify(seen))
      for (const what of seenOften) t.ok((seen[what] ?? 0) > 200 * maker.share, `${what}: ${seen[what]}`)
    })
  }
}

function isUnsettled({ isGone, truth }: Call): boolean {
  return !isGone && truth === undefined
}

function admissionOf({ request, accountId }: Call): Admission {
  return { kind: 'admission', callId: request.callId, accountId, bound: false, boundBefore: null }
}

/** Whether a limit is of a model: patterns here have one star at most, at their end. */
function isCovered(model: string, { models }: Limit): boolean {
  if (models === undefined) return true
  return models.endsWith('*') ? model.startsWith(models.slice(0, -1)) : model === models
}

function accountPlace(accountId: string): number {
  return SUBJECTS.findIndex(([subject, id]) => subject === 'account' && id === accountId)
}

function isOf({ request, accountId }: Call, subject: LimitSubject, id: string): boolean {
  return { key: request.keyId, user: request.userId, group: request.groupId, account: accountId }[subject] === id
}

function amountOf(metric: LimitMetric, subject: LimitSubject, used: Consumption): number {
  const { requests, inputTokens, outputTokens, cacheReadTokens, costNanoUsd, spentNanoUsd } = used
  return {
    requests,
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    tokens: inputTokens + outputTokens,
    all_tokens: inputTokens + outputTokens + cacheReadTokens,
    usd: subject === 'account' ? costNanoUsd : spentNanoUsd,
  }[metric]
}

function added(a: Consumption, b: Consumption): Consumption {
  const names = Object.keys(a) as (keyof Consumption)[]
  return Object.fromEntries(names.map((name) => [name, a[name] + b[name]])) as unknown as Consumption
}

const formats = new Map<string, Intl.DateTimeFormat>()
const days = new Map<string, string>()

/** A name for the period that a moment lies in. */
function periodOf(window: Exclude<LimitWindow, { kind: 'sliding' }>, ms: number): string {
  return window.kind === 'calendar' ? calendarPeriodOf(window, ms) : anchoredPeriodOf(window, ms)
}

/** The number of starts that have been, one after the other. */
function anchoredPeriodOf({ every, startMs }: LimitWindow & { kind: 'anchored' }, ms: number): string {
  if (every !== 'month') return String(Math.floor((ms - startMs) / every))
  const start = new Date(startMs)
  for (let months = 0; ; months++) {
    const [year, month] = [start.getUTCFullYear(), start.getUTCMonth() + months + 1]
    const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate()
    const nextMs = Date.UTC(year, month, Math.min(start.getUTCDate(), lastDay)) + (startMs % DAY_MS)
    if (ms < nextMs) return String(months)
  }
}

/** By what the clocks of its zone show. */
function calendarPeriodOf({ unit, timeZone }: LimitWindow & { kind: 'calendar' }, ms: number): string {
  const asked = `${timeZone} ${ms}`
  let day = days.get(asked)
  if (day === undefined) {
    const format = formats.get(timeZone) ?? new Intl.DateTimeFormat('en-CA', { timeZone, dateStyle: 'short' })
    formats.set(timeZone, format)
    day = format.format(ms)
    if (days.size > 100_000) days.clear()
    days.set(asked, day)
  }
  if (unit === 'day') return day
  if (unit === 'month') return day.slice(0, 7)
  const date = new Date(`${day}T00:00:00Z`)
  return String(Math.floor((date.getTime() / DAY_MS + 3) / 7)) // 1 January 1970 was a Thursday
}

function pick<T>(list: T[], place: number): T | undefined {
  return list[place % list.length]
}

/** Throws what the test framework's shrinking can work with. */
function fail(what: string, facts: unknown): never {
  throw new Error(`${what}: ${JSON.stringify(facts)}`)
}

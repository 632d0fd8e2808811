import fc from 'fast-check'
import type { Test } from 'tap'
import type { Admission, AdmitRequest, RankedCandidate } from '../../src/live/live-state.ts'
import { accounts, type LiveStateMaker, openWorld, type Waiting, type World, waitFor } from './live-state-support.ts'

/**
 * What must hold of the line at any time, said each by itself and counted from what shows outside. The model of
 * live-state-histories.ts says more, but in one piece: who reads it cannot see why.
 */

type Step =
  | { kind: 'admit'; user: number; key: number; accounts: string[] }
  | { kind: 'end'; which: number }
  | { kind: 'give up'; which: number }
  | { kind: 'move'; which: number; accounts: string[] }
  | { kind: 'pass'; ms: number }

const WAIT_MS = 10_000
/** Later calls of the same user by which a ticket becomes due. */
const PASSES = 8

const some = fc.shuffledSubarray(['A', 'B', 'C'], { minLength: 1 })
const which = fc.nat(30)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 9, arbitrary: fc.record({ kind: fc.constant('admit'), user: fc.nat(2), key: fc.nat(1), accounts: some }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('end'), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('give up'), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('move'), which, accounts: some }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.nat(4000) }) },
) as fc.Arbitrary<Step>
const slots = fc.constantFrom(1, 1, 2, 3, null)
const history = fc.record({
  users: fc.tuple(slots, slots, slots),
  keys: fc.tuple(slots, slots),
  accounts: fc.tuple(slots, slots, slots),
  lineExtra: fc.nat(6),
  steps: fc.array(step, { minLength: 30, maxLength: 120, size: 'max' }),
})
type Plan = typeof history extends fc.Arbitrary<infer T> ? T : never

/** Calls against a live state, and what they hold by what they were told. */
class Line {
  readonly world: World
  readonly #plan: Plan
  readonly requests = new Map<string, AdmitRequest>()
  readonly admissions = new Map<string, Admission>()
  readonly waiting = new Map<string, Waiting>()
  /** Calls that were refused by the last step, for a line that is full. */
  refused: AdmitRequest[] = []

  constructor(world: World, plan: Plan) {
    this.world = world
    this.#plan = plan
  }

  async take(step: Step): Promise<void> {
    const { live, time } = this.world
    this.refused = []
    if (step.kind === 'admit') {
      const request = this.#request(step)
      this.requests.set(request.callId, request)
      this.#hear(request.callId, await live.admit(request))
    } else if (step.kind === 'pass') time.pass(step.ms)
    else if (step.kind === 'give up') {
      pick([...this.waiting.values()], step.which)?.abort(new Error('given up'))
    } else {
      const idle = [...this.admissions.values()].filter(({ callId }) => !this.waiting.has(callId))
      const admission = pick(idle, step.which)
      if (admission && step.kind === 'end') await this.end(admission)
      else if (admission && step.kind === 'move') {
        this.admissions.set(admission.callId, { ...admission, accountId: '' })
        this.#hear(admission.callId, await live.move(admission, this.#candidates(step.accounts)))
      }
    }
    await this.#listen()
  }

  async end(admission: Admission): Promise<void> {
    this.admissions.delete(admission.callId)
    await this.world.end(admission)
  }

  /** How many slots are in use of a user, a key or an account. */
  inUse(of: 'userId' | 'keyId' | 'accountId', id: string): number {
    return [...this.admissions.values()].filter(({ callId, accountId }) => {
      return (of === 'accountId' ? accountId : this.requests.get(callId)?.[of]) === id
    }).length
  }

  /** The request, that it has been asked again with other candidates if it moves. */
  requestOf(callId: string): AdmitRequest {
    const request = this.requests.get(callId)
    if (!request) throw new Error(`nobody asked for ${callId}`)
    return request
  }

  #request({ user, key, accounts }: Step & { kind: 'admit' }): AdmitRequest {
    const { users, keys, lineExtra } = this.#plan
    const userId = `u${user}`
    return this.world.request({
      userId,
      keyId: `${userId}-k${key}`,
      userConcurrency: users[user] ?? null,
      keyConcurrency: keys[key] ?? null,
      candidates: this.#candidates(accounts),
      lineExtra,
      deadlineMs: this.world.time.nowMs + WAIT_MS,
    })
  }

  #candidates(ids: string[]): RankedCandidate[] {
    const { accounts } = this.#plan
    return ids.map((accountId) => ({
      accountId,
      model: 'm',
      concurrency: accounts[['A', 'B', 'C'].indexOf(accountId)] ?? null,
      limits: [],
    }))
  }

  #hear(callId: string, answer: { kind: string }): void {
    if (answer.kind === 'admission') this.admissions.set(callId, answer as Admission)
    else if (answer.kind === 'ticket') this.waiting.set(callId, waitFor(this.world.live, answer as never))
    else this.refused.push(this.requestOf(callId))
  }

  async #listen(): Promise<void> {
    const inLine = new Set(await this.world.inLine())
    for (const [callId, { outcome }] of this.waiting) {
      if (inLine.has(callId)) continue
      this.waiting.delete(callId)
      const answer = await outcome.catch(() => null)
      if (answer?.kind === 'admission') this.admissions.set(callId, answer)
    }
  }
}

export async function propertiesContract(t: Test, maker: LiveStateMaker): Promise<void> {
  /** Checks something after every step of many random histories. */
  const always = (name: string, check: (line: Line, step: Step) => Promise<string | null>) =>
    t.test(name, async (t) => {
      let tickets = 0
      await fc.assert(
        fc.asyncProperty(history, async (plan) => {
          await using world = await openWorld(maker)
          const line = new Line(world, plan)
          for (const step of plan.steps) {
            await line.take(step)
            tickets += line.waiting.size
            const wrong = await check(line, step)
            if (wrong !== null) throw new Error(wrong)
          }
        }),
        { seed: 20261127, numRuns: 150 * maker.share, interruptAfterTimeLimit: 20_000 },
      )
      t.ok(tickets > 5000 * maker.share, `${tickets} tickets were looked at`)
    })

  await always(
    'nobody waits but for a slot that is taken, or kept for an older ticket of the same user',
    async (line) => {
      const views = await line.world.live.tickets()
      for (const { callId, userId, keyId, number, accountIds } of views) {
        const { userConcurrency, keyConcurrency, candidates } = line.requestOf(callId)
        const isMoving = line.admissions.has(callId)
        const isDueBefore = views.some(
          (other) => other.userId === userId && other.number < number && other.passes >= PASSES,
        )
        const isFull = (of: 'userId' | 'keyId' | 'accountId', id: string, limit: number | null) =>
          limit !== null && line.inUse(of, id) >= limit
        const limitOf = (accountId: string) =>
          candidates.find((candidate) => candidate.accountId === accountId)?.concurrency ?? null
        if (
          !isMoving &&
          (isDueBefore || isFull('userId', userId, userConcurrency) || isFull('keyId', keyId, keyConcurrency))
        )
          continue
        // Of a moving call other accounts are wanted than it came with: any of them has one, or it would not wait.
        if (isMoving || accountIds.every((id) => isFull('accountId', id, limitOf(id)))) continue
        return `${callId} waits for nothing`
      }
      return null
    },
  )

  await always('no limit of slots is ever passed', async (line) => {
    for (const { callId, accountId } of line.admissions.values()) {
      const { userId, keyId, userConcurrency, keyConcurrency, candidates } = line.requestOf(callId)
      const accountLimit = candidates.find((candidate) => candidate.accountId === accountId)?.concurrency ?? null
      if (line.inUse('userId', userId) > (userConcurrency ?? Infinity)) return `${userId} runs too many`
      if (line.inUse('keyId', keyId) > (keyConcurrency ?? Infinity)) return `${keyId} runs too many`
      if (line.inUse('accountId', accountId) > (accountLimit ?? Infinity)) return `${accountId} runs too many`
    }
    return null
  })

  await always('a call has one deadline, whether it waits once or again for another account', async (line, step) => {
    // Who moves when its time is over is told so as soon as time passes.
    if (step.kind !== 'pass') return null
    for (const { callId } of await line.world.live.tickets()) {
      const { deadlineMs } = line.requestOf(callId)
      if (line.world.time.nowMs >= deadlineMs) return `${callId} still waits`
    }
    return null
  })

  await always('who has one slot is passed eight times and no more', async (line) => {
    for (const { callId, passes } of await line.world.live.tickets()) {
      const { userConcurrency, keyConcurrency } = line.requestOf(callId)
      // Of a key's only slot it is the key's other calls that cannot pass.
      if (userConcurrency === 1 && keyConcurrency !== 1 && passes > PASSES)
        return `${callId} was passed ${passes} times`
    }
    return null
  })

  await always('a line is as long as its limit and line_extra, and refuses only then', async (line) => {
    const views = await line.world.live.tickets()
    const longest = new Map<string, number>()
    const add = (name: string, limit: number | null, extra: number) => longest.set(name, (limit ?? 0) + extra)
    for (const { callId } of views) {
      const { userId, keyId, userConcurrency, keyConcurrency, candidates, lineExtra } = line.requestOf(callId)
      add(userId, userConcurrency, lineExtra)
      add(keyId, keyConcurrency, lineExtra)
      for (const { accountId, concurrency } of candidates) add(accountId, concurrency, lineExtra)
    }
    const places = [...longest.values()].reduce((sum, places) => sum + places, 0)
    const isMoving = views.some(({ callId }) => line.admissions.has(callId))
    if (!isMoving && views.length > places) return `${views.length} wait where ${places} may`
    for (const { lineExtra, userConcurrency, keyConcurrency, candidates } of line.refused) {
      const shortest = Math.min(
        ...[userConcurrency, keyConcurrency, ...candidates.map(({ concurrency }) => concurrency)].map(
          (limit) => (limit ?? Number.POSITIVE_INFINITY) + lineExtra,
        ),
      )
      if (views.length < shortest) return `refused although only ${views.length} wait`
    }
    return null
  })

  t.test('a due ticket is served after as many releases as there are turns before it', async (t) => {
    const plan = fc.record({
      slots: fc.integer({ min: 1, max: 3 }),
      others: fc.integer({ min: 0, max: 4 }),
      older: fc.integer({ min: 0, max: 3 }),
    })
    await fc.assert(
      fc.asyncProperty(plan, async ({ slots, others, older }) => {
        await using world = await openWorld(maker)
        const patient = { deadlineMs: Number.MAX_SAFE_INTEGER, lineExtra: 100 }
        const atA = { ...patient, userConcurrency: slots, candidates: accounts('A:1') }
        const atB = { ...patient, userConcurrency: slots, candidates: accounts('B') }
        let holder = await world.run({ userId: 'first', ...patient, candidates: accounts('A:1') })
        const mine = []
        for (let n = 0; n <= older; n++) mine.push((await world.wait(atA)).ticket.callId)
        for (let n = 0; n < others; n++)
          await world.wait({ userId: `other-${n}`, ...patient, candidates: accounts('A:1') })
        for (let n = 0; n < PASSES; n++) await world.end(await world.run(atB))
        const last = mine.at(-1) as string
        let releases = 0
        // The user's newcomers want every slot that is not kept, at once and always.
        for (; (await world.inLine()).includes(last); releases++) {
          if (releases > (older + 1) * (others + 2)) throw new Error(`${last} is still in line`)
          for (let n = 0; n < 5; n++) await world.live.admit(world.request(atB))
          for (const { callId, accountId } of await world.live.admissions()) {
            if (accountId === 'B') await world.end({ ...holder, callId, accountId })
          }
          await world.end(holder)
          const next = (await world.live.admissions()).find(({ accountId }) => accountId === 'A')
          if (next) holder = { ...holder, callId: next.callId }
        }
      }),
      { seed: 20261127, numRuns: 60 * maker.share },
    )
    t.pass()
  })
}

function pick<T>(list: T[], place: number): T | undefined {
  return list[place % list.length]
}

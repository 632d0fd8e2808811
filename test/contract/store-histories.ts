import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Test } from 'tap'
import type { CallRecord } from '../../src/domain/call.ts'
import { GatewayError } from '../../src/domain/errors.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import type { StoreDriver } from '../../src/store/driver.ts'
import { SpillFile } from '../../src/store/spill.ts'
import type { Store } from '../../src/store/store.ts'
import {
  addScene,
  callOf,
  freeCallOf,
  type Scene,
  START_MS,
  temporaryFolder,
  until,
  type World,
  type WorldMaker,
} from '../support/store.ts'

const QUARTER_MS = 900_000
const USERS = 3
const SPILL_BYTES = 64 * 1024

/** Balances stay far from 2^53: at most some hundreds of these are added up. */
const amount = fc.oneof(
  fc.constant(0),
  fc.nat(10_000),
  fc.nat(2 ** 31 - 1).map((n) => n * 2 ** 12 + 1),
)
const someCall = fc.record({
  user: fc.nat(USERS - 1),
  pays: fc.boolean(),
  charged: amount,
  cost: amount,
  quarter: fc.nat(3),
  model: fc.constantFrom('claude-a', 'claude-b'),
  outcome: fc.constantFrom('complete' as const, 'client_left' as const, 'failed' as const),
  tokens: fc.nat(2 ** 31 - 1),
})
const calls = fc.array(someCall, { minLength: 1, maxLength: 5 })

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('record' as const), calls }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('record again' as const),
      calls,
      which: fc.array(fc.nat(99), { maxLength: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('credit' as const),
      user: fc.nat(USERS - 1),
      amount,
      takes: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('outage' as const), calls, crashesAfterReplay: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('killed while running' as const), calls, ended: fc.nat(3) }) },
  fc.record({ kind: fc.constant('poison' as const), calls }),
  fc.record({ kind: fc.constant('prune' as const), quarter: fc.nat(4) }),
)
type Made = { user: number; call: CallRecord }
type SomeCall = typeof someCall extends fc.Arbitrary<infer S> ? S : never
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** What must be so after a history, in the plainest way. */
class Model {
  readonly balances: bigint[] = new Array<bigint>(USERS).fill(0n)
  readonly calls = new Map<string, CallRecord>()
  readonly pruned = new Set<string>()
  ledgerEntries = 0

  credit(user: number, amountNanoUsd: number): void {
    this.balances[user] = (this.balances[user] ?? 0n) + BigInt(amountNanoUsd)
    this.ledgerEntries++
  }

  record(user: number, call: CallRecord): void {
    if (this.calls.has(call.id)) return
    this.calls.set(call.id, call)
    if (call.payer === 'balance' && call.chargedNanoUsd > 0) this.credit(user, -call.chargedNanoUsd)
  }

  prune(beforeMs: number): number {
    const before = this.pruned.size
    for (const call of this.calls.values()) if (call.atMs < beforeMs) this.pruned.add(call.id)
    return this.pruned.size - before
  }

  kept(): CallRecord[] {
    return [...this.calls.values()].filter(({ id }) => !this.pruned.has(id))
  }

  total(name: 'costNanoUsd' | 'chargedNanoUsd'): bigint {
    return [...this.calls.values()].reduce((sum, call) => sum + BigInt(call[name]), 0n)
  }
}

/** A gateway's life on a database: its store, its spill file, and what went wrong. */
class History implements AsyncDisposable {
  readonly #world: World
  readonly #model = new Model()
  readonly #scenes: Scene[]
  readonly #folder = temporaryFolder()
  #store: Store
  #isOut = false
  #processes = 0

  private constructor(world: World, store: Store, scenes: Scene[]) {
    this.#world = world
    this.#store = store
    this.#scenes = scenes
  }

  static async begin(world: World): Promise<History> {
    const store = await world.open()
    const scenes: Scene[] = []
    for (let n = 0; n < USERS; n++) scenes.push(await addScene(store))
    const history = new History(world, store, scenes)
    await store[Symbol.asyncDispose]()
    await history.#start()
    return history
  }

  get #spillPath(): string {
    return join(this.#folder.path, 'spill.log')
  }

  async #start(): Promise<void> {
    const inner = await this.#world.openDriver()
    const driver: StoreDriver = {
      ...inner,
      write: (name, input, atMs) =>
        this.#isOut ? Promise.reject(new GatewayError('unavailable', 'out')) : inner.write(name, input, atMs),
      [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
    }
    const spill = await SpillFile.open(this.#spillPath, SPILL_BYTES)
    this.#store = await this.#world.open({ spill, processId: `prs_${this.#processes++}` }, driver)
  }

  async #restart(): Promise<void> {
    await this.#store[Symbol.asyncDispose]()
    await this.#start()
  }

  #made(some: SomeCall[]): Made[] {
    return some.map(({ user, pays, charged, cost, quarter, model, outcome, tokens }) => {
      const make = pays ? callOf : freeCallOf
      const call = make(this.#scenes[user] as Scene, {
        atMs: START_MS + quarter * QUARTER_MS + (tokens % QUARTER_MS),
        upstreamModel: model,
        outcome,
        costNanoUsd: cost,
        usage: { ...NO_USAGE, inputTokens: tokens, outputTokens: tokens },
        ...(pays && { chargedNanoUsd: charged }),
      })
      return { user, call }
    })
  }

  async #record(made: Made[], expected: string): Promise<void> {
    const hows = await Promise.all(made.map(({ call }) => this.#store.usage.record(call, false)))
    if (hows.some((how) => how !== expected)) throw new Error(`${hows} instead of ${expected}`)
    for (const { user, call } of made) this.#model.record(user, call)
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'record':
        return this.#record(this.#made(step.calls), 'committed')
      case 'record again': {
        // New ones and old ones, some twice in one batch.
        const kept = this.#model.kept()
        const old = step.which.flatMap((n) => kept[n % kept.length] ?? [])
        const made = this.#made(step.calls)
        return this.#record(
          [...made, ...[...old, ...old].map((call) => ({ user: this.#userOf(call), call })), ...made],
          'committed',
        )
      }
      case 'credit': {
        const amountNanoUsd = step.takes ? -step.amount : step.amount
        const { userId } = this.#scenes[step.user] as Scene
        await this.#store.users.credit({ id: userId, amountNanoUsd, note: null, by: 'test' })
        return this.#model.credit(step.user, amountNanoUsd)
      }
      case 'outage':
        return this.#outage(step)
      case 'killed while running':
        return this.#killed(step)
      case 'poison': {
        const nobody = { ...(this.#scenes[0] as Scene), userId: 'usr_nobody' }
        const poison = this.#store.usage.record(callOf(nobody, { chargedNanoUsd: 1 }), false)
        const [refused] = await Promise.allSettled([poison, this.#record(this.#made(step.calls), 'committed')])
        if (refused.status === 'fulfilled') throw new Error('poison was stored')
        return
      }
      case 'prune': {
        const beforeMs = START_MS + step.quarter * QUARTER_MS + 1000
        const rows = await this.#store.usage.prune({ beforeMs, by: 'test' })
        const expected = this.#model.prune(beforeMs)
        if (rows !== expected) throw new Error(`${rows} rows were pruned instead of ${expected}`)
      }
    }
  }

  /** The store is away and the process ends; the next one may be killed between its replay and the end of the spill. */
  async #outage({ calls, crashesAfterReplay }: Extract<Step, { kind: 'outage' }>): Promise<void> {
    this.#isOut = true
    await this.#record(this.#made(calls), 'spilled')
    await this.#store[Symbol.asyncDispose]()
    this.#isOut = false
    const copy = `${this.#spillPath}.copy`
    await copyFile(this.#spillPath, copy)
    await this.#start()
    if (!crashesAfterReplay) return
    await this.#store[Symbol.asyncDispose]()
    await copyFile(copy, this.#spillPath)
    await this.#start()
  }

  /** Calls leave a trace in the journal; some end, of the others the next process finds the trace. */
  async #killed({ calls, ended }: Extract<Step, { kind: 'killed while running' }>): Promise<void> {
    const made = this.#made(calls)
    const traces = made.map(({ user, call }) => ({
      user,
      call: { ...call, outcome: 'interrupted' as const, usage: { ...NO_USAGE }, costNanoUsd: 0, chargedNanoUsd: 0 },
    }))
    for (const { call } of traces) this.#store.usage.journal(call)
    const journal = this.#world.database.selectFrom('running_calls').select('id')
    await until(async () => (await journal.execute()).length === made.length)
    for (const { user, call } of made.slice(0, ended)) {
      await this.#store.usage.record(call, true)
      this.#model.record(user, call)
    }
    await this.#restart()
    const found = await this.#store.usage.closeInterrupted({ processId: null })
    const expected = traces.slice(ended).map(({ call }) => call.id)
    if (found.join() !== expected.toSorted().join()) throw new Error(`${found} were interrupted instead of ${expected}`)
    for (const { user, call } of traces.slice(ended)) this.#model.record(user, call)
  }

  #userOf(call: CallRecord): number {
    return this.#scenes.findIndex(({ userId }) => userId === call.userId)
  }

  /** What is not as the model says. */
  async differences(): Promise<string[]> {
    const { problems, calls, ledgerEntries } = await this.#store.usage.verify()
    const found = [...problems]
    const compare = (name: string, actual: unknown, expected: unknown) => {
      if (String(actual) !== String(expected)) found.push(`${name}: ${actual} instead of ${expected}`)
    }
    const users = await Promise.all(this.#scenes.map(({ userId }) => this.#store.users.find(userId)))
    compare(
      'balances',
      users.map((user) => user.balanceNanoUsd),
      this.#model.balances,
    )
    compare('ledger entries', ledgerEntries, this.#model.ledgerEntries)
    compare('calls', calls, this.#model.kept().length)
    const ids = (await this.#store.usage.list({ limit: 10_000 })).map(({ id }) => id)
    compare(
      'ids',
      ids,
      this.#model
        .kept()
        .map(({ id }) => id)
        .toSorted(),
    )
    const [total] = await this.#store.usage.report({ filter: {}, by: 'provider' })
    compare('requests', total?.requests ?? 0, this.#model.calls.size)
    compare('cost', total?.costNanoUsd ?? 0, this.#model.total('costNanoUsd'))
    compare('charged', total?.chargedNanoUsd ?? 0, this.#model.total('chargedNanoUsd'))
    for (const [user, { userId, keyId }] of this.#scenes.entries()) {
      const standing = await this.#store.ledger.standing({ userId, keyId, spending: 'charged', callIds: ids })
      const own = [...this.#model.calls.values()].filter((call) => call.userId === userId)
      compare(
        `spent by ${user}`,
        standing.keySpentNanoUsd,
        own.reduce((sum, call) => sum + call.chargedNanoUsd, 0),
      )
      compare(`recorded of ${user}`, standing.recordedCallIds.toSorted(), ids)
    }
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]()
    this.#folder[Symbol.dispose]()
  }
}

/** Whatever happens to a gateway and its store, money adds up, and is what an obviously right model says. */
export async function historiesContract(t: Test, worlds: WorldMaker, numRuns: number): Promise<void> {
  await t.test('any history adds up', async (t) => {
    const wrong = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 15 }), async (steps) => {
      await using world = await worlds.make()
      await using history = await History.begin(world)
      for (const step of steps) await history.take(step)
      const differences = await history.differences()
      if (differences.length > 0) throw new Error(differences.join('\n'))
    })
    await fc.assert(wrong, { seed: 20261125, numRuns, endOnFailure: true })
    t.pass(`${numRuns} histories`)
  })
}

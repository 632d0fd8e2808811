import { pino } from 'pino'
import { type Config, loadConfig } from '../../src/config/load.ts'
import type { CallRecord } from '../../src/domain/call.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import { admit } from '../../src/gateway/admit.ts'
import type { AdmittedCall } from '../../src/gateway/admitted-call.ts'
import type { GoodAnswer } from '../../src/gateway/attempt.ts'
import { BillingGuard } from '../../src/gateway/billing-guard.ts'
import { Breakers } from '../../src/gateway/breakers.ts'
import type { Call } from '../../src/gateway/call.ts'
import type { ClientAnswer } from '../../src/gateway/client-answer.ts'
import { Counters } from '../../src/gateway/counters.ts'
import { type Caller, Directory } from '../../src/gateway/directory.ts'
import { endOfFailure } from '../../src/gateway/ends.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { ask } from '../../src/gateway/handle-call.ts'
import { ModelLists } from '../../src/gateway/list-models.ts'
import { RunningCalls } from '../../src/gateway/running-calls.ts'
import { VendorWindows } from '../../src/gateway/windows.ts'
import { Ticker } from '../../src/lib/ticker.ts'
import { MemoryLiveState } from '../../src/live/memory.ts'
import { priceList } from '../../src/pricing/price-list.ts'
import type { UpstreamClient } from '../../src/upstream/client.ts'
import { seededRandom } from '../support/random.ts'
import { START_MS } from '../support/store.ts'
import { MODEL_PROTOCOL, ModelClient } from './model-client.ts'
import { type AccountPlan, ModelStore, storedAccount, storedCallers, type UserPlan } from './model-store.ts'
import { ModelUpstream } from './model-upstream.ts'
import { VirtualTime } from './virtual-time.ts'
import { type LiveWatcher, watched } from './watched-live.ts'

/** What all calls ask for. */
export const MODEL = 'claude-sonnet-4-5'
export interface WorldPlan {
  seed: number
  /** Given the world's random numbers. */
  accounts: (random: () => number) => AccountPlan[]
  users: UserPlan[]
  config?: Partial<Config['gateway']>
  /** How fine the gateway's deadlines are; coarser than the real 100 ms where hours have to pass. */
  tickMs?: number
}

/** How a call went. */
export interface CallEnding {
  callId: string
  /** The account that answered; null if none did. */
  accountId: string | null
  /** Null: no slot was ever taken for it. */
  record: CallRecord | null
  /** What it was told; null if it was answered. */
  error: Error | null
}

export interface CallPlan {
  /** Names its conversation; left out = it has none. */
  conversation?: string
  /** The client leaves after so long, if the call is not over by then. */
  leavesAfterMs?: number
}

/**
 * A gateway without HTTP: the real steps of a call, real directory, live state, windows, rests and breakers, under a clock
 * of our own, with random numbers from a seed, between callers and upstreams that are models.
 */
export class World implements AsyncDisposable {
  readonly time: VirtualTime
  readonly gateway: Gateway
  readonly upstream: ModelUpstream
  readonly store: ModelStore
  /** For whatever the world around the gateway does; the gateway has its own. */
  readonly random: () => number
  readonly callers = new Map<string, Caller>()
  readonly #parts: AsyncDisposableStack
  readonly #live: MemoryLiveState
  readonly #watchers: LiveWatcher[] = []
  #calls = 0
  /** Records of calls that have not come to their end. */
  readonly #records = new Map<string, CallRecord>()
  /** Calls that were admitted, and those of them that have a record. */
  admitted = 0
  recorded = 0

  static async open(plan: WorldPlan): Promise<World> {
    const world = new World(plan)
    await world.gateway.directory.start()
    for (const { id, keys = [null] } of plan.users) {
      for (const index of keys.keys()) {
        const caller = await world.gateway.directory.caller(`${id}/${index}`)
        if (!caller) throw new Error(`no caller ${id}/${index}`)
        world.callers.set(`${id}/${index}`, caller)
      }
    }
    return world
  }

  private constructor({ seed, accounts, users, config, tickMs = 1000 }: WorldPlan) {
    const time = new VirtualTime(START_MS)
    const { clock, setTimer } = time
    this.time = time
    this.random = seededRandom(seed)
    this.upstream = new ModelUpstream(time)
    this.store = new ModelStore((record) => this.#records.set(record.id, record))
    for (const account of accounts(this.random)) {
      this.store.addAccount(storedAccount(account))
      this.upstream.add(account.id, {
        headMs: () => 0,
        serviceMs: () => 0,
        cost: () => 0,
        windows: [],
        fault: () => null,
        ...account,
      })
    }
    for (const user of users) for (const caller of storedCallers(user)) this.store.addCaller(caller)

    const parts = new AsyncDisposableStack()
    const { store } = this.store
    const log = pino({ level: 'silent' })
    const ticker = parts.use(new Ticker(clock, (ms, callback) => setTimer(Math.max(ms, tickMs), callback)))
    const defaults = loadConfig({ env: { HOME: '/' }, cwd: '/', terminal: false }).config
    this.#live = parts.use(new MemoryLiveState('simulation', clock, setTimer))
    const gateway: Gateway = {
      config: { ...defaults, gateway: { ...defaults.gateway, ...config } },
      trustedProxies: null as never,
      prices: priceList([], []),
      clock,
      random: seededRandom(seed + 1),
      ticker,
      log,
      store,
      live: watched(this.#live, this.#watchers),
      upstream: this.upstream as unknown as UpstreamClient,
      directory: parts.use(
        new Directory({
          ...{ store, log, clock, setTimer },
          hashKey: (key) => key,
          openCredentials: () => ({ kind: 'api_key', apiKey: 'model' }),
        }),
      ),
      breakers: new Breakers(),
      windows: parts.use(new VendorWindows({ store, clock, setTimer, log })),
      guard: new BillingGuard(() => gateway.config.guard, clock),
      running: new RunningCalls(ticker),
      counters: new Counters(),
      models: new ModelLists(),
    }
    this.gateway = gateway
    this.#parts = parts
  }

  /** Who calls with this key: `user/0`. */
  caller(key: string): Caller {
    const caller = this.callers.get(key)
    if (!caller) throw new Error(`nobody has the key ${key}`)
    return caller
  }

  /** Has each step of live state told. */
  watch<T extends LiveWatcher>(watcher: T): T {
    this.#watchers.push(watcher)
    return watcher
  }

  /** One call from its arrival to its end, as handleCall leads it; it never rejects but for bugs. */
  async call(caller: Caller, plan: CallPlan = {}): Promise<CallEnding> {
    const { gateway } = this
    const call = this.#callOf(caller, plan.conversation)
    const client = new ModelClient()
    let leave: (() => void) | null = null
    if (plan.leavesAfterMs !== undefined) leave = this.time.setTimer(plan.leavesAfterMs, () => client.leave())
    const asClient = client as unknown as ClientAnswer
    let running: AdmittedCall | null = null
    let error: Error | null = null
    try {
      running = await admit(gateway, call, asClient)
      this.admitted++
      const answer = await ask(gateway, running, asClient)
      await readToTheEnd(running, answer)
      await running.record({ ...GOOD_END, outcome: client.left ? 'client_left' : 'complete' })
    } catch (thrown) {
      error = thrown as Error
      if (running) await running.record(endOfFailure(error, asClient, running))
    } finally {
      leave?.()
      await running?.settle()
    }
    const record = this.#records.get(call.id) ?? null
    this.#records.delete(call.id)
    if (record) this.recorded++
    return { callId: call.id, accountId: error ? null : (record?.accountId ?? null), record, error }
  }

  #callOf(caller: Caller, conversation: string | undefined): Call {
    const named = conversation === undefined ? null : { name: conversation, source: 'x-session-affinity' as const }
    return {
      id: `call-${++this.#calls}`,
      arrivedMs: this.time.clock(),
      protocol: MODEL_PROTOCOL,
      facts: { requestedModel: MODEL, modelAt: null, stream: true, maxOutputTokens: null, conversation: () => named },
      caller,
      body: null,
      path: '',
      operation: 'messages',
      onlyProvider: null,
      method: 'POST',
      heldAt: null,
      unfit: null,
      leftOut: [],
      leaveOut() {},
      copyFor: (_way, make) => make(),
      releaseBody() {},
      headers: {},
      query: '',
      clientIp: '',
      userAgent: null,
      whenClientLeaves: 'abort',
      limitHeaders: [],
      timing: null,
      [Symbol.dispose]() {},
    }
  }

  /** Calls that were begun. */
  get calls(): number {
    return this.#calls
  }

  /** What is held, waits or is still to come when everybody has gone home, in words; empty = nothing, as it must be. */
  async close(): Promise<string[]> {
    const { gateway, upstream, time } = this
    const left: [string, number][] = [
      ['slots are held', (await this.#live.admissions()).length],
      ['tickets are in line', (await this.#live.tickets()).length],
      ['calls are admitted', gateway.running.size],
      ['upstream calls run', upstream.running],
      ['calls were admitted and have no record', this.admitted - this.recorded],
      ['records have no call', this.#records.size],
    ]
    await this.#parts.disposeAsync()
    left.push(['timers are set', time.timers])
    return left.filter(([, count]) => count !== 0).map(([what, count]) => `in the end ${count} ${what}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync()
  }
}

const GOOD_END = {
  ...{ error: null, usage: { ...NO_USAGE }, unmetered: false, estimated: false, reportedModel: null, stopReason: null },
  ...{ firstTokenMs: null, status: 200, upstreamRequestId: null, storedAs: null },
}

/** Reads an answer on to its end; a call that is stopped, because its client left, ends there. */
async function readToTheEnd(running: AdmittedCall, { exchange }: GoodAnswer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  running.onStop((reason) => exchange.cancel(reason))
  exchange.attach({ data() {}, end: resolve, fail: () => resolve() })
  await promise
}

import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { type Limit, type Limited, NO_CONSUMPTION } from '../src/domain/limit.ts'
import { systemClock, systemTimer } from '../src/lib/clock.ts'
import type { Admission, AdmitRequest, LiveState, RankedCandidate } from '../src/live/live-state.ts'
import { MemoryLiveState } from '../src/live/memory.ts'
import { RedisLiveState } from '../src/live/redis.ts'
import { RedisConnection } from '../src/live/redis-connection.ts'
import { RedisServer } from '../test/support/redis.ts'

// What live state in Redis costs for one call (`admit` and `settle`): time, CPU of Redis and of Node, and what is sent.
// Beside it the same calls with live state in memory. Starts a private redis-server.

const HELP = 'Usage: node bench/live.ts [--calls N] [--at-once N]'
const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '20000' },
    'at-once': { type: 'string', default: '64' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(`${HELP}\n`)
  process.exit(0)
}
const CALLS = Number(values.calls)
const AT_ONCE = Number(values['at-once'])

const USERS = 50
const ACCOUNTS = 6
const MINUTE: Limit['window'] = { kind: 'sliding', ms: 60_000 }
const HOURS: Limit['window'] = { kind: 'sliding', ms: 5 * 3_600_000 }
const MONTH: Limit['window'] = { kind: 'calendar', unit: 'month', timeZone: 'Europe/Berlin' }
const limit = (metric: Limit['metric'], window: Limit['window']): Limit => ({ metric, max: 1e12, window })
const USER_LIMITS = [limit('requests', MINUTE), limit('tokens', HOURS)]
const KEY_LIMITS = [limit('usd', MONTH)]
const GROUP_LIMITS = [limit('usd', HOURS)]
const ACCOUNT_LIMITS = [limit('requests', MINUTE)]

interface Scenario {
  name: string
  /** What a call of a user asks for. */
  request(user: number, callId: string): AdmitRequest
}

function request(user: number, callId: string, changes: Partial<AdmitRequest>): AdmitRequest {
  return {
    callId,
    userId: `usr_${user}`,
    keyId: `key_${user}`,
    groupId: 'grp_1',
    userConcurrency: 1000,
    keyConcurrency: null,
    candidates: accounts(user, 1000, []),
    session: { key: `session of ${user}`, ttlMs: 3_600_000, waitMs: 20_000, line: 3 },
    lineExtra: 1000,
    deadlineMs: systemClock() + 30_000,
    needsBalance: true,
    quotaNanoUsd: null,
    reservedNanoUsd: 1000,
    limits: [],
    estimate: { ...NO_CONSUMPTION, requests: 1, inputTokens: 1000, outputTokens: 1000, spentNanoUsd: 1000 },
    ...changes,
  }
}

/** Six of them, in an order of the user's own. */
function accounts(user: number, concurrency: number, limits: Limit[]): RankedCandidate[] {
  return Array.from({ length: ACCOUNTS }, (_, place) => {
    return { accountId: `acc_${(user + place) % ACCOUNTS}`, model: 'claude-sonnet-5', concurrency, limits }
  })
}

const SCENARIOS: Scenario[] = [
  { name: 'no limits', request: (user, callId) => request(user, callId, {}) },
  {
    name: 'five limits',
    request: (user, callId) => {
      const limits: Limited[] = [
        { subject: 'key', id: `key_${user}`, limits: KEY_LIMITS },
        { subject: 'user', id: `usr_${user}`, limits: USER_LIMITS },
        { subject: 'group', id: 'grp_1', limits: GROUP_LIMITS },
      ]
      return request(user, callId, { limits, candidates: accounts(user, 1000, ACCOUNT_LIMITS) })
    },
  },
  {
    // Of those that come at once a quarter runs, and three quarters wait for accounts.
    name: 'waiting lines',
    request: (user, callId) =>
      request(user, callId, { candidates: accounts(user, Math.ceil(AT_ONCE / 4 / ACCOUNTS), []), session: null }),
  },
]

const END = {
  debitNanoUsd: 900,
  spentNanoUsd: 900,
  confirmsBinding: true,
  used: { ...NO_CONSUMPTION, requests: 1, inputTokens: 900, outputTokens: 300, spentNanoUsd: 900 },
}

async function learnAll(live: LiveState, { request }: Scenario): Promise<void> {
  const nothing = async () => ({ spans: [], recordedCallIds: [] })
  for (let user = 0; user < USERS; user++) {
    const { userId, keyId, limits, candidates } = request(user, 'none')
    const stored = async () => ({ balanceNanoUsd: 1e15, keySpentNanoUsd: 0, recordedCallIds: [] })
    await live.learn({ userId, keyId }, stored)
    for (const limited of limits) await live.learnUsage(limited, nothing)
    for (const { accountId, limits } of candidates)
      await live.learnUsage({ subject: 'account', id: accountId, limits }, nothing)
  }
}

/** So many calls, so many at once, each admitted and settled; returns how many had to wait. */
async function play(live: LiveState, { name, request }: Scenario, round: string, calls: number): Promise<number> {
  let next = 0
  let waited = 0
  const one = async (user: number) => {
    while (next < calls) {
      const answer = await live.admit(request(user, `${name} ${round} ${next++}`))
      let admission = answer as Admission
      if (answer.kind === 'ticket') {
        waited++
        admission = (await live.await(answer, new AbortController().signal)) as Admission
      }
      if (admission.kind !== 'admission') throw new Error(`not admitted: ${JSON.stringify(admission)}`)
      await live.settle(admission, END)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, (_, place) => one(place % USERS)))
  return waited
}

const server = await RedisServer.start()
const spy = new Redis(server.url)
const connection = await RedisConnection.open({ url: server.url })
const rows: Record<string, Record<string, string | number>> = {}
try {
  for (const scenario of SCENARIOS) {
    const options = { clock: systemClock, setTimer: systemTimer, space: `${scenario.name}:` }
    await using live = await RedisLiveState.join(connection, { processId: 'bench', ...options })
    await using memory = new MemoryLiveState('bench', systemClock, systemTimer)
    await learnAll(live, scenario)
    await learnAll(memory, scenario)
    await play(live, scenario, 'warm', CALLS / 10)
    await play(memory, scenario, 'warm', CALLS / 10)
    await spy.config('RESETSTAT')
    const before = { node: process.cpuUsage(), redis: await redisCpu(), atMs: performance.now() }
    const waited = await play(live, scenario, 'measured', CALLS)
    const seconds = (performance.now() - before.atMs) / 1000
    const { user, system } = process.cpuUsage(before.node)
    const redis = (await redisCpu()) - before.redis
    const functions = await functionMicros()
    const memoryBefore = process.cpuUsage()
    await play(memory, scenario, 'measured', CALLS)
    const inMemory = process.cpuUsage(memoryBefore)
    rows[scenario.name] = {
      'calls/s': Math.round(CALLS / seconds),
      'waited %': Math.round((waited / CALLS) * 100),
      'µs in functions': round(functions / CALLS),
      'µs of Redis CPU': round(redis / CALLS),
      'µs of Node CPU': round((user + system) / CALLS),
      'µs of Node CPU, memory': round((inMemory.user + inMemory.system) / CALLS),
    }
  }
} finally {
  spy.disconnect()
  await connection[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
}
process.stdout.write(`${CALLS} calls (admit + settle), ${AT_ONCE} at once, per call:\n`)
console.table(rows)

/** CPU time of the process, in µs. */
async function redisCpu(): Promise<number> {
  const info = await spy.info('cpu')
  const seconds = [...info.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].map(([, value]) => Number(value))
  return seconds.reduce((sum, value) => sum + value, 0) * 1e6
}

/** Time in functions since the last reset, in µs. */
async function functionMicros(): Promise<number> {
  return Number(/cmdstat_fcall:.*?usec=(\d+)/.exec(await spy.info('commandstats'))?.[1] ?? 0)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Limit, NO_CONSUMPTION } from '../../src/domain/limit.ts'
import { systemClock, systemTimer } from '../../src/lib/clock.ts'
import type { Admission, AdmitRequest, LiveState, Settlement, Ticket } from '../../src/live/live-state.ts'
import { RedisLiveState } from '../../src/live/redis.ts'
import { RedisConnection } from '../../src/live/redis-connection.ts'
import { LiveProcess } from '../support/live-process.ts'
import { seededRandom } from '../support/random.ts'
import { RedisServer } from '../support/redis.ts'

// What only a real Redis and several processes can show; in real time. The contract of live state is in test/contract.

const END: Settlement = { debitNanoUsd: 0, spentNanoUsd: 0, confirmsBinding: false, used: null }
const NEVER = new AbortController().signal

let calls = 0
function request(changes: Partial<AdmitRequest> = {}): AdmitRequest {
  return {
    callId: `call-${++calls}`,
    userId: 'u',
    keyId: 'k',
    groupId: 'g',
    userConcurrency: 1,
    keyConcurrency: null,
    candidates: [{ accountId: 'A', model: 'm', concurrency: null, limits: [] }],
    session: null,
    lineExtra: 20,
    deadlineMs: Date.now() + 60_000,
    needsBalance: false,
    quotaNanoUsd: null,
    reservedNanoUsd: 0,
    limits: [],
    estimate: { ...NO_CONSUMPTION, requests: 1 },
    ...changes,
  }
}

/** A process within this one, with connections of its own. */
async function join(t: Test, url: string, processId: string): Promise<RedisLiveState> {
  const connection = await RedisConnection.open({ url })
  const live = await RedisLiveState.join(connection, { processId, clock: systemClock, setTimer: systemTimer })
  live.startBeating()
  t.teardown(async () => {
    await live[Symbol.asyncDispose]()
    await connection[Symbol.asyncDispose]()
  })
  return live
}

async function startRedis(t: Test): Promise<RedisServer> {
  const server = await RedisServer.start()
  t.teardown(() => server[Symbol.asyncDispose]())
  return server
}

async function admitted(live: LiveState, changes: Partial<AdmitRequest> = {}): Promise<Admission> {
  const answer = await live.admit(request(changes))
  if (answer.kind !== 'admission') throw new Error(`not admitted: ${JSON.stringify(answer)}`)
  return answer
}

async function inLine(live: LiveState, changes: Partial<AdmitRequest> = {}): Promise<Ticket> {
  const answer = await live.admit(request(changes))
  if (answer.kind !== 'ticket') throw new Error(`it does not wait: ${JSON.stringify(answer)}`)
  return answer
}

/** Asks again and again until it is so; throws after a time. */
async function until(what: string, isSo: () => Promise<boolean>, withinMs: number): Promise<number> {
  const startedMs = Date.now()
  while (!(await isSo().catch(() => false))) {
    if (Date.now() - startedMs > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`)
    await sleep(20)
  }
  return Date.now() - startedMs
}

t.test('no limit is ever exceeded by three processes, and users’ calls are served in order of arrival', async (t) => {
  const server = await startRedis(t)
  const processes = await Promise.all(['one', 'two', 'three'].map((id) => join(t, server.url, id)))
  const seed = Number(process.env.SUBGATE_TEST_SEED ?? Date.now() % 1_000_000)
  t.comment(`seed ${seed}`)
  const random = seededRandom(seed)
  const place = (places: number) => Math.floor(random() * places)
  const slots = { u0: 1, u1: 3, u2: 5, k0: 1, k1: 2, k2: 4, A: 2, B: 3, C: 2 } as Record<string, number>
  const perSecond: Limit = { metric: 'requests', max: 100, window: { kind: 'sliding', ms: 1000 } }
  const running = new Map<string, number>()
  const exceeded = new Set<string>()
  const starts: number[] = []
  let waited = 0
  let refusals = 0
  let lastOfU0 = 0
  const outOfOrder: number[] = []
  const hold = (names: string[], by: 1 | -1) => {
    for (const name of names) {
      const count = (running.get(name) ?? 0) + by
      running.set(name, count)
      if (count > (slots[name] as number)) exceeded.add(name)
    }
  }
  const caller = async () => {
    for (let calls = 0; calls < 60; calls++) {
      const user = place(3)
      const live = processes[place(3)] as LiveState
      // Who is checked for order takes any account: an older call that waits for another is passed rightly.
      const ids = ['A', 'B', 'C'].sort(() => random() - 0.5).slice(0, user === 0 ? 3 : 1 + place(3))
      const names = [`u${user}`, `k${user}`]
      const sentMs = Date.now()
      const answer = await live.admit(
        request({
          userId: `u${user}`,
          keyId: `k${user}`,
          userConcurrency: slots[`u${user}`] as number,
          keyConcurrency: slots[`k${user}`] as number,
          candidates: ids.map((accountId) => ({
            accountId,
            model: 'm',
            concurrency: slots[accountId] as number,
            limits: [],
          })),
          lineExtra: 50,
          limits: [{ subject: 'group', id: 'g', limits: [perSecond] }],
        }),
      )
      if (answer.kind === 'ticket') waited++
      const admission = answer.kind === 'ticket' ? await live.await(answer, NEVER) : answer
      if (admission.kind === 'refused') {
        refusals++
        await sleep(20 + place(60))
        continue
      }
      if (admission.kind !== 'admission') throw new Error(JSON.stringify(admission))
      // It was counted between these two moments.
      starts.push(answer.kind === 'ticket' ? Date.now() : sentMs)
      if (user === 0 && answer.kind === 'ticket') {
        if (answer.number < lastOfU0) outOfOrder.push(answer.number)
        lastOfU0 = answer.number
      }
      hold([...names, admission.accountId], 1)
      await sleep(place(12))
      hold([...names, admission.accountId], -1)
      await live.settle(admission, { ...END, used: { ...NO_CONSUMPTION, requests: 1 } })
    }
  }
  await Promise.all(Array.from({ length: 24 }, caller))
  t.same([...exceeded], [], 'slots')
  t.same(outOfOrder, [], 'who has one slot is served in order of arrival')
  starts.sort((a, b) => a - b)
  // Between what this test knows of a call's moment and Redis's own lie some ms: hence not the whole second.
  const most = Math.max(...starts.map((ms) => starts.filter((other) => other >= ms && other < ms + 900).length))
  t.ok(most <= perSecond.max + 2, `${most} calls in 900 ms`)
  t.ok(
    waited > 50 && refusals > 50 && starts.length > 100,
    `${waited} waited, ${refusals} were refused, ${starts.length} ran`,
  )
  t.same(await processes[0]?.admissions(), [])
  t.same(await processes[0]?.tickets(), [])
})

t.test('slots of a process that is killed come back within 35 s', async (t) => {
  const server = await startRedis(t)
  const live = await join(t, server.url, 'survivor')
  await using killed = await LiveProcess.start(server.url, 'killed')
  t.match(await killed.admit(request()), { kind: 'admission' })
  t.match(await killed.admit(request()), { kind: 'ticket' })
  const waiting = await inLine(live)
  const outcome = live.await(waiting, NEVER)
  await killed.kill()
  const killedMs = Date.now()
  t.match(await outcome, { kind: 'admission' })
  const tookMs = Date.now() - killedMs
  t.ok(tookMs > 24_000 && tookMs < 36_000, `after ${tookMs} ms`)
  t.match(await live.admissions(), [{ processId: 'survivor' }])
  t.same(await live.tickets(), [])
})

t.test('a slot goes to a process across, and to the next if that does not hear of it', async (t) => {
  const server = await startRedis(t)
  const live = await join(t, server.url, 'here')
  await using other = await LiveProcess.start(server.url, 'there')
  const first = await admitted(live)
  const across = request()
  t.match(await other.admit(across), { kind: 'ticket' })
  await live.settle(first, END)
  const granted = await other.outcome(across.callId)
  t.match(granted, { kind: 'admission', accountId: 'A' })

  const stopped = request()
  t.match(await other.admit(stopped), { kind: 'ticket' })
  const mine = await inLine(live)
  const outcome = live.await(mine, NEVER)
  await other.settle(granted as Admission, END)
  const served = (await other.outcome(stopped.callId)) as Admission
  const again = request()
  t.match(await other.admit(again), { kind: 'ticket' })
  const last = await inLine(live)
  other.stop()
  // Its own grant is confirmed; what comes free now is offered to the next in line, who is here.
  await live.settle(served, END)
  const mineNow = (await outcome) as Admission
  t.match(mineNow, { kind: 'admission', callId: mine.callId })
  await live.settle(mineNow, END) // offered to the one that is stopped
  t.match(await live.await(last, NEVER), { kind: 'admission', callId: last.callId })
  t.match(await live.tickets(), [{ callId: again.callId, processId: 'there' }], 'it keeps its place')
  other.goOn()
  await live.settle({ ...mineNow, callId: last.callId }, END)
  t.match(await other.outcome(again.callId), { kind: 'admission' })
})

t.test('a wake that is lost costs a heartbeat, and not the call', async (t) => {
  const server = await startRedis(t)
  const here = await join(t, server.url, 'here')
  const connection = await RedisConnection.open({ url: server.url })
  const there = await RedisLiveState.join(connection, {
    ...{ processId: 'there', clock: systemClock, setTimer: systemTimer },
    ownsConnection: true,
  })
  there.startBeating()
  t.teardown(() => there[Symbol.asyncDispose]())
  const first = await admitted(here)
  const waiting = await inLine(there)
  const outcome = there.await(waiting, NEVER)
  await connection.stopListening('', 'there')
  const settledMs = Date.now()
  await here.settle(first, END)
  t.match(await outcome, { kind: 'admission', callId: waiting.callId })
  t.ok(Date.now() - settledMs < 8000)
})

t.test('a Redis that begins anew learns what runs and who waits; what ended meanwhile is free', async (t) => {
  const server = await startRedis(t)
  const [here, there] = [await join(t, server.url, 'here'), await join(t, server.url, 'there')]
  const two = { userConcurrency: 2 }
  const [stays, ends] = [await admitted(here, two), await admitted(there, two)]
  const limits = [{ subject: 'key' as const, id: 'kv', limits: [limitOf('requests', 2)] }]
  const limited = { userId: 'v', userConcurrency: null, keyId: 'kv', limits }
  const counted = await admitted(here, limited)
  const money = { balanceNanoUsd: 1000, keySpentNanoUsd: 0, recordedCallIds: [] }
  await there.learn({ userId: 'u', keyId: 'k' }, async () => money)
  const waiting = await inLine(there, { ...two, needsBalance: true })
  const outcome = there.await(waiting, NEVER)
  await server.kill()
  await until(
    'it is noticed',
    () =>
      here.admissions().then(
        () => false,
        () => true,
      ),
    5000,
  )
  await t.rejects(here.admit(request()), { code: 'unavailable', message: /Redis/ })
  await there.settle(ends, END) // told when it is there again
  await server.start()
  t.match(await outcome, { kind: 'admission', callId: waiting.callId }, 'its money is unknown now, and does not matter')
  await until('all are told of', async () => (await here.admissions()).length === 3, 10_000)
  t.same(
    (await here.admissions()).map(({ callId }) => callId).sort(),
    [stays.callId, counted.callId, waiting.callId].sort(),
  )
  t.match(await here.admit(request(two)), { kind: 'ticket' }, 'the slots are taken')
  await admitted(here, limited)
  t.match(
    await here.admit(request(limited)),
    { kind: 'refused', refusal: { metric: 'requests', used: 2 } },
    'what runs counts',
  )
})

t.test('a Redis that does not answer is said so, and its late answers give nothing away', async (t) => {
  const server = await startRedis(t)
  const live = await join(t, server.url, 'here')
  server.stop()
  await t.rejects(live.admit(request()), { code: 'unavailable', message: /Redis/ })
  server.goOn()
  await until('what was asked for is given back', async () => (await live.admissions()).length === 0, 15_000)
  await admitted(live)
})

t.test('a master that becomes a replica is left, and taken again when it is one no more', async (t) => {
  const server = await startRedis(t)
  const live = await join(t, server.url, 'here')
  const { callId } = await admitted(live)
  await server.command('REPLICAOF', '127.0.0.1', '1')
  await t.rejects(live.admit(request()), { code: 'unavailable', message: /READONLY/ })
  await sleep(500)
  await t.rejects(live.admit(request()), { code: 'unavailable' })
  await server.command('REPLICAOF', 'NO', 'ONE')
  await until('it goes on', async () => (await live.admissions())[0]?.callId === callId, 15_000)
  t.match(await live.admit(request()), { kind: 'ticket' })
})

t.test('a Redis that will not do when it is there again is tried again', async (t) => {
  const server = await startRedis(t)
  const live = await join(t, server.url, 'here')
  await server.command('ACL', 'SETUSER', 'default', '-function')
  await server.command('CLIENT', 'KILL', 'TYPE', 'normal')
  await sleep(500)
  await t.rejects(live.admit(request()), { code: 'unavailable' })
  await server.command('ACL', 'SETUSER', 'default', '+function')
  await until('it goes on', async () => (await live.admissions()).length === 0, 15_000)
})

t.test('a Redis without memory refuses calls, and takes what they give back', async (t) => {
  const server = await startRedis(t)
  const live = await join(t, server.url, 'here')
  const running = await admitted(live)
  const waiting = await inLine(live)
  const outcome = live.await(waiting, NEVER)
  await server.command('CONFIG', 'SET', 'maxmemory', '1')
  await t.rejects(live.admit(request()), { code: 'unavailable', message: /OOM/ })
  await live.settle(running, END)
  t.match(await outcome, { kind: 'admission', callId: waiting.callId })
  await server.command('CONFIG', 'SET', 'maxmemory', '0')
  t.match(await live.admissions(), [{ callId: waiting.callId }])
})

t.test('functions that somebody flushed are loaded again', async (t) => {
  const server = await startRedis(t)
  const live = await join(t, server.url, 'here')
  await server.command('FUNCTION', 'FLUSH')
  await admitted(live)
})

t.test('a Redis that was emptied is told again at the next beat', async (t) => {
  const server = await startRedis(t)
  const live = await join(t, server.url, 'here')
  const { callId } = await admitted(live)
  await server.command('FLUSHALL')
  await until('it is told again', async () => (await live.admissions())[0]?.callId === callId, 10_000)
})

t.test('Redis Cluster is refused with a sentence', async (t) => {
  const server = await RedisServer.start('--cluster-enabled', 'yes')
  t.teardown(() => server[Symbol.asyncDispose]())
  await t.rejects(RedisConnection.open({ url: server.url.replace('/0', '') }), {
    code: 'unavailable',
    message: /Redis Cluster cannot be used/,
  })
})

t.test('a wrong password, and nobody there, are told apart', async (t) => {
  const server = await RedisServer.start('--requirepass', 'secret')
  t.teardown(() => server[Symbol.asyncDispose]())
  await t.rejects(RedisConnection.open({ url: server.url }), { message: /NOAUTH/ })
  await t.rejects(RedisConnection.open({ url: server.url.replace('//', '//:wrong@') }), { message: /WRONGPASS/ })
  const connection = await RedisConnection.open({ url: server.url.replace('//', '//:secret@') })
  await connection[Symbol.asyncDispose]()
  await t.rejects(RedisConnection.open({ url: 'redis://127.0.0.1:1' }), {
    code: 'unavailable',
    message: /ECONNREFUSED/,
  })
})

function limitOf(metric: Limit['metric'], max: number): Limit {
  return { metric, max, window: { kind: 'sliding', ms: 60_000 } }
}

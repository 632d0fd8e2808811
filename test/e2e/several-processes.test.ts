import t, { type Test } from 'tap'
import { FakeUpstream, type Script } from '../../src/demo/fake-upstream.ts'
import type { AdmissionView } from '../../src/live/live-state.ts'
import type { DaemonStatus } from '../../src/server/admin.ts'
import { ClientCall, messageRequest, until } from '../support/client.ts'
import { Load } from '../support/load.ts'
import { databaseEnv, freePort, PostgresServerProcess } from '../support/postgres.ts'
import { RedisServer } from '../support/redis.ts'
import { type Served, serve } from '../support/served.ts'

/** `serve --workers 3`: three gateway processes on one address, one PostgreSQL and one Redis. */

const PROCESSES = 3
/** A process that is killed gives up its slots within this time, in ms. */
const GIVEN_UP_MS = 35_000

await using postgres = await PostgresServerProcess.start()
await using redis = await RedisServer.start()

interface Wanted {
  script: Script
  user: string[]
  account?: string[]
}

async function start(t: Test, { script, user, account = [] }: Wanted) {
  const upstream = await FakeUpstream.start()
  t.teardown(() => upstream[Symbol.asyncDispose]())
  upstream.always(() => script)
  const database = postgres.server(await postgres.makeDatabase('empty'))
  const served = await serve(t, {
    upstreamUrl: upstream.url,
    runMode: 'saas',
    env: { ...databaseEnv(database), SUBGATE_REDIS_URL: redis.url, SUBGATE_GATEWAY_WAIT: '60s' },
    ...{ user, account },
    serve: ['--listen', `127.0.0.1:${await freePort()}`, '--workers', String(PROCESSES)],
  })
  return { upstream, served, processes: () => processesOf(served) }
}

async function processesOf({ operator }: Served): Promise<DaemonStatus[]> {
  return operator.ask<DaemonStatus[]>('status')
}

await t.test('limits hold across processes, and everybody is served', async (t) => {
  const { upstream, served, processes } = await start(t, {
    script: { eventDelayMs: 10, text: ['a', 'b', 'c'], usage: { input: 10, output: 10 } },
    user: ['--concurrency', '8', '--balance', '1000'],
    account: ['--concurrency', '5'],
  })
  const statuses = await processes()
  t.equal(new Set(statuses.map(({ processId }) => processId)).size, PROCESSES)
  t.match(await served.operator.run('status'), { stdout: /3 processes/ })
  // The user's line is as long as its concurrency and 20 more.
  const load = new Load({ url: served.url, key: served.key, clients: 24 })
  const holders = new Set<string>()
  for (const untilMs = Date.now() + 8000; Date.now() < untilMs; ) {
    for (const { processId } of await served.operator.ask<AdmissionView[]>('slot', 'list')) holders.add(processId)
  }
  await load.stop()
  t.equal(upstream.mostRunning, 5, 'as many at a time as the account may run, and no more')
  t.equal(holders.size, PROCESSES, 'each process has run some')
  t.same([load.broken, [...load.others]], [[], []])
  t.ok(load.complete.length > 100, `${load.complete.length} calls`)
  t.match(await served.operator.run('usage', 'verify'), { code: 0 })
  t.equal(await served.process.stop(), 0)
})

await t.test('calls at the same time overdraw a balance by one of them at most', async (t) => {
  const script = { headDelayMs: 300, usage: { input: 10, output: 1000 } }
  const { served } = await start(t, { script, user: ['--concurrency', '100', '--balance', '0.10'] })
  const body = messageRequest(false, { max_tokens: 1000 }) // $0.01 and a little
  const calls = Array.from({ length: 100 }, () => new ClientCall(served.url, { key: served.key, body }).over)
  const answers = await Promise.all(calls)
  const paid = answers.filter(({ status }) => status === 200).length
  t.ok(paid >= 2 && paid <= 11, `${paid} were served`)
  const balance = async () =>
    (await served.operator.ask<{ balanceNanoUsd: number }>('user', 'show', served.user)).balanceNanoUsd
  await until('all to be charged', async () => (await served.operator.ask<unknown[]>('slot', 'list')).length === 0)
  t.ok((await balance()) > -11_000_000, `${await balance()} nano-USD are left`)
  await served.operator.spawn(['user', 'credit', served.user, '5'])
  const startedMs = Date.now()
  await until('the credit to be seen', async () => {
    const { status } = await new ClientCall(served.url, { key: served.key, body }).over
    return status === 200
  })
  t.ok(Date.now() - startedMs < 2000, `after ${Date.now() - startedMs} ms`)
  t.match(await served.operator.run('usage', 'verify'), { code: 0 })
})

await t.test('a process that is killed is started again, and its slots go to others in time', async (t) => {
  const { upstream, served, processes } = await start(t, {
    script: { headDelayMs: 'forever' },
    user: ['--concurrency', 'none', '--balance', '1000'],
    account: ['--concurrency', '6'],
  })
  const stuck = Array.from(
    { length: 6 },
    () => new ClientCall(served.url, { key: served.key, body: messageRequest(true) }),
  )
  await until('six to run', () => upstream.running === 6)
  const slots = await served.operator.ask<AdmissionView[]>('slot', 'list')
  const processId = slots[0]?.processId
  const victim = (await processes()).find((one) => one.processId === processId)
  upstream.always(() => ({ usage: { input: 1, output: 1 } }))
  process.kill(victim?.pid as number, 'SIGKILL')
  const killedMs = Date.now()
  // Connections that the killed process had not taken yet are reset, as those are that it had.
  const next = await until('an answer', async () => {
    const answer = await new ClientCall(served.url, { key: served.key, body: messageRequest(false) }).over
    return answer.status === 0 ? null : answer
  })
  t.equal(next.status, 200)
  t.ok(Date.now() - killedMs <= GIVEN_UP_MS, `a slot came back after ${Date.now() - killedMs} ms`)
  await until('three to serve again', async () => (await processes()).length === PROCESSES)
  t.notOk((await processes()).some((one) => one.processId === processId))
  for (const call of stuck) call.leave()
})

await t.test('while Redis is gone calls are refused, what runs goes on, and all heals by itself', async (t) => {
  const { upstream, served } = await start(t, {
    script: { eventDelayMs: 300, text: ['a', 'b', 'c'], usage: { input: 10, output: 10 } },
    user: ['--concurrency', 'none', '--balance', '1000'],
  })
  const call = (stream = false) => new ClientCall(served.url, { key: served.key, body: messageRequest(stream) })
  t.equal((await call().over).status, 200)

  const running = call(true)
  await until('a stream to run', () => upstream.running === 1)
  await redis.kill()
  const refused = await call().over
  t.match(refused, { status: 503 })
  t.match(refused.headers['retry-after'], /^\d+$/, 'and told to come back')
  const ended = await running.over
  t.ok(ended.text.includes('event: message_stop'), 'what runs goes on to its end')
  await redis.start()
  const healed = await until('calls to be taken again', async () => {
    const answer = await call().over
    return answer.status === 200 ? answer : null
  })
  t.equal(healed.status, 200)
  await until('no slot to be held', async () => (await served.operator.ask<unknown[]>('slot', 'list')).length === 0)
  t.match(await served.operator.run('usage', 'verify'), { code: 0 })
  const shown = await served.operator.ask('usage', 'show', String(ended.headers['x-subgate-call-id']))
  t.match(shown, { outcome: 'complete', chargedNanoUsd: Number }, 'and is on record')
})

await t.test('while PostgreSQL is gone calls end well, and their charges are not lost', async (t) => {
  const { served } = await start(t, {
    script: { usage: { input: 10, output: 10 } },
    user: ['--concurrency', 'none', '--balance', '1000'],
  })
  const call = () => new ClientCall(served.url, { key: served.key, body: messageRequest(false) }).over
  // Each process knows the caller before the database goes.
  for (let number = 0; number < 12; number++) t.equal((await call()).status, 200)
  await postgres.down('fast')
  const answers = await Promise.all([call(), call(), call()])
  await postgres.up()
  const served200 = answers.filter(({ status }) => status === 200)
  t.ok(
    answers.every(({ status }) => status === 200 || status === 503),
    answers.map(({ status }) => status).join(' '),
  )
  await until('calls to be taken again', async () => ((await call()).status === 200 ? true : null))
  const isKnown = async (id: string) => (await served.operator.run('usage', 'show', id, '--json')).code === 0
  for (const { headers } of served200) {
    const id = String(headers['x-subgate-call-id'])
    await until(`the charge of ${id}`, () => isKnown(id))
  }
  t.match(await served.operator.run('usage', 'verify'), { code: 0 })
})

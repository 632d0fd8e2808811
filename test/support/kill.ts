import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { Test } from 'tap'
import type { DatabaseConfig } from '../../src/config/load.ts'
import { FakeUpstream } from '../../src/demo/fake-upstream.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { Load } from './load.ts'
import { databaseEnv } from './postgres.ts'
import { seededRandom } from './random.ts'
import { ServeProcess, serve } from './served.ts'

const CLIENTS = 16
/** How long the load runs before a kill, at most, in ms. */
const UP_MS_MAX = 350

/** A store connection of the test's own on a served gateway's data, as a command has one. */
export async function openServedStore(
  home: string,
  dataDir = `${home}/.local/share/subgate`,
  database: DatabaseConfig | null = null,
): Promise<Store> {
  const config = { dataDir, database, gateway: { chargeWaitMs: 5000 } }
  const process = { id: 'test', clock: Date.now, log: pino({ level: 'silent' }) }
  return openStore(config as Parameters<typeof openStore>[0], 'command', process)
}

/**
 * Kills a gateway at random moments under load, so many times, and after each restart looks whether money adds up and
 * every call whose end a client has seen is on record. `database`: on PostgreSQL.
 */
export async function killAgainAndAgain(
  t: Test,
  runMode: 'simple' | 'saas',
  kills: number,
  database: DatabaseConfig | null = null,
): Promise<void> {
  const seed = Number(process.env.SUBGATE_TEST_SEED ?? Date.now() % 1_000_000)
  t.comment(`seed ${seed}`)
  const random = seededRandom(seed)
  const upstream = await FakeUpstream.start()
  t.teardown(() => upstream[Symbol.asyncDispose]())
  upstream.always(() => ({ eventDelayMs: Math.floor(random() * 4), usage: { input: 100, output: 20 } }))
  const user = ['--concurrency', 'none', '--balance', '1000000']
  const served = await serve(t, {
    upstreamUrl: upstream.url,
    runMode,
    user,
    env: { SUBGATE_GATEWAY_MAX_ATTEMPTS: '1', ...(database && databaseEnv(database.server)) },
  })
  const store = await openServedStore(served.operator.home, undefined, database)
  t.teardown(() => store[Symbol.asyncDispose]())
  const load = new Load({ url: served.url, key: served.key, clients: CLIENTS })

  const problems: string[] = []
  let gateway = served.process
  let looked = 0
  for (let kill = 1; kill <= kills; kill++) {
    await sleep(random() * UP_MS_MAX)
    const dead = gateway.exited
    process.kill(gateway.pid, 'SIGKILL')
    await dead
    const seen = load.complete.length
    gateway = await ServeProcess.start(t, served.operator)
    load.moveTo(gateway.url)
    for (const callId of load.complete.slice(looked, seen)) {
      const row = await store.usage.show(callId).catch(() => null)
      if (!row) problems.push(`after kill ${kill}: ${callId} ended for its client and has no row`)
      else if (row.usage.outputTokens !== 20) problems.push(`after kill ${kill}: ${callId} was not counted whole`)
    }
    looked = seen
    const proof = await store.usage.verify()
    problems.push(...proof.problems.map((problem) => `after kill ${kill}: ${problem}`))
  }
  await load.stop()
  t.same(problems, [])
  t.ok(load.complete.length > kills * 5, `${load.complete.length} answers came to their end`)
  t.ok(load.broken.length > 0, `${load.broken.length} answers were cut by a kill`)
  t.same([...load.others], [], 'no other answer than 200')
  t.equal(await gateway.stop(), 0)
  const { calls } = await store.usage.verify()
  t.ok(calls >= load.complete.length, `${calls} rows`)
}

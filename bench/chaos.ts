import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import Database from 'better-sqlite3'
import { allRows } from '../src/operations/pages.ts'
import type { DaemonStatus } from '../src/server/admin.ts'
import type { StoredAccount } from '../src/store/store.ts'
import { until } from '../test/support/client.ts'
import { openServedStore } from '../test/support/kill.ts'
import { seededRandom } from '../test/support/random.ts'
import { secretKey } from '../test/support/secrets.ts'
import { Operator, type Owner, ServeProcess } from '../test/support/served.ts'
import { ChaosClients, type Life } from './lib/chaos-clients.ts'
import type { UpstreamReport } from './lib/chaos-upstream.ts'
import { type Evidence, violations } from './lib/chaos-verdict.ts'
import { startScript } from './lib/subjects.ts'

// Does anything get lost when everything goes wrong at once? Clients that leave and that do not read, an upstream that
// does all that upstreams do, an operator who pauses accounts and ends calls, a database that is locked for a while, and a
// gateway that is stopped, hurried and killed, again and again. Afterwards nothing may be held, and what clients, upstream and database say must agree.
// Exit code 1 if it does not.

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    clients: { type: 'string', default: '64' },
  },
})
const SEED = Number(values.seed)
const SECONDS = Number(values.seconds)
const ACCOUNTS = [4, 6, 8, 8, 10, 12]
/** Calls at a time of each user, who has two keys; the second may run two. */
const USERS = [2, 3, 4, 4, 5, 5, 6, 8]
/** Its balance runs out. */
const POOR_USER = 7
/** How long the gateway runs until it is stopped or killed, in ms. */
const LIFE_MS = [2500, 5000] as const
const OPERATOR_EVERY_MS = 400
/** More than an answer's end waits for its record. */
const LOCKED_MS = [300, 700] as const
/** So long after the last request everything must be over, in ms. */
const PATIENCE_MS = 30_000

/** So long after it must have ended a call may still be seen, in ms. */
const OVER_MS = 4000
const WAIT_MS = 1500
/** Bugs, lost records, and what Node complains about. */
const ALARMS = /a bug|is lost|could not be taken over|MaxListeners|Unhandled|Warning:|Error:/

/** Short enough that every deadline is met in such a run. */
const CONFIG = {
  SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_INSECURE_HTTP: 'true',
  SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_PRIVATE_HOSTS: 'true',
  SUBGATE_GATEWAY_WAIT: `${WAIT_MS}ms`,
  SUBGATE_GATEWAY_LINE_EXTRA: '2',
  SUBGATE_GATEWAY_STICKY_WAIT: '500ms',
  SUBGATE_GATEWAY_FIRST_EVENT_TIMEOUT: '2s',
  SUBGATE_GATEWAY_IDLE_TIMEOUT: '2s',
  SUBGATE_GATEWAY_ANSWER_TIMEOUT: '3s',
  SUBGATE_GATEWAY_CLIENT_STALL_TIMEOUT: '1s',
  SUBGATE_GATEWAY_PREAMBLE_HOLD: '200ms',
  SUBGATE_GATEWAY_KEEP_ALIVE_FIRST: '400ms',
  SUBGATE_GATEWAY_KEEP_ALIVE_INTERVAL: '300ms',
  SUBGATE_GATEWAY_READ_ON: '1s',
  SUBGATE_GATEWAY_CHARGE_WAIT: '200ms',
  SUBGATE_BILLING_CIRCUIT_BREAKER_FAILURE_THRESHOLD: '20',
  SUBGATE_BILLING_CIRCUIT_BREAKER_RESET_TIMEOUT_SECONDS: '1',
  SUBGATE_GATEWAY_SHUTDOWN_GRACE: '1s',
}

/** A line of `slot list`. */
type Slot = { state: 'running' | 'waiting'; callId: string; sinceMs: number }

await using parts = new AsyncDisposableStack()
const owner: Owner = { teardown: (end) => void parts.defer(async () => void (await end())) }
const random = seededRandom(SEED)
const between = (from: number, to: number) => from + random() * (to - from)
const startedMs = Date.now()
console.log(
  `seed ${SEED}, ${SECONDS} s, ${values.clients} clients; again with: node bench/chaos.ts --seed ${SEED} --seconds ${SECONDS}`,
)

const upstream = await startScript('upstream', 'chaos-upstream.ts', [String(SEED)])
parts.defer(() => upstream.stop())
const operator = new Operator(owner, { ...CONFIG, CHAOS_CREDENTIAL: secretKey() })
const keys = await setUp(`http://127.0.0.1:${upstream.port}`)
const lives: Life[] = []
const exitCodes: (number | null)[] = []
const forgotten = new Set<string>()
const processes: ServeProcess[] = []
let gateway = await start()
const clients = new ChaosClients(SEED, lives, keys, Number(values.clients))

const ends: Record<string, number> = { stopped: 0, hurried: 0, killed: 0 }
const untilMs = Date.now() + SECONDS * 1000
while (Date.now() < untilMs) {
  const lifeEndsMs = Math.min(Date.now() + between(...LIFE_MS), untilMs)
  while (Date.now() < lifeEndsMs) {
    await Promise.all([meddle(), sleep(OPERATOR_EVERY_MS)])
  }
  // What is found in the end, the last life has left behind: it is not the shortest.
  if (Date.now() < untilMs - LIFE_MS[0]) await endLife()
}
const hanging = await clients.stop(PATIENCE_MS)
const evidence = await gather()
const found = violations(evidence)
print(evidence, found)
process.exitCode = found.length > 0 ? 1 : 0

/** Accounts, groups that differ in what happens when a client leaves, users and their keys. */
async function setUp(upstreamUrl: string): Promise<[string, string][]> {
  await operator.spawn(['init', '--yes', '--mode', 'saas'])
  const accounts: string[] = []
  for (const [index, concurrency] of ACCOUNTS.entries()) {
    const name = `account-${index}`
    accounts.push('--account', name)
    const limits = ['--concurrency', String(concurrency), '--priority', String(index % 2)]
    const where = ['--base-url', upstreamUrl, '--allow-host', '--from-env', 'CHAOS_CREDENTIAL']
    await operator.ask('account', 'add', 'anthropic', '--name', name, ...where, ...limits)
  }
  const groups = ['abort', 'read_on', 'delivered']
  for (const leaving of groups)
    await operator.ask('group', 'add', leaving, '--when-client-leaves', leaving, ...accounts)
  const keys: [string, string][] = []
  for (const [index, concurrency] of USERS.entries()) {
    const email = `user${index}@chaos.example`
    const balance = index === POOR_USER ? '0.05' : '1000000'
    await operator.ask('user', 'add', email, '--concurrency', String(concurrency), '--balance', balance)
    const group = groups[index % groups.length] as string
    const issue = async (...flags: string[]) =>
      (await operator.ask<{ key: string }>('key', 'issue', email, '--group', group, ...flags)).key
    keys.push([await issue(), await issue('--concurrency', '2')])
  }
  return keys
}

async function start(): Promise<ServeProcess> {
  const started = await ServeProcess.start(owner, operator)
  processes.push(started)
  lives.push({ url: started.url, stoppedMs: null, killedMs: null })
  return started
}

/** Ends the gateway in one of three ways, each in its turn, and starts it again. */
async function endLife(): Promise<void> {
  const life = lives.at(-1) as Life
  const how = Object.keys(ends)[(lives.length + SEED) % 3] as string
  ends[how] = (ends[how] ?? 0) + 1
  if (how === 'killed') {
    const kill = async () => {
      life.killedMs = Date.now()
      process.kill(gateway.pid, 'SIGKILL')
      await gateway.exited
    }
    if (random() < 0.5) await kill()
    else await lockDatabase(kill) // while records wait on disk
  } else {
    life.stoppedMs = Date.now()
    const over = gateway.stop()
    if (how === 'hurried') {
      await until('the first signal to be heard', () => gateway.said.includes('Stopping'))
      process.kill(gateway.pid, 'SIGTERM')
    }
    exitCodes.push(await over)
  }
  gateway = await start()
}

/** Locks the database for long enough that records are spilled, and does something before it is free again. */
async function lockDatabase(then: () => Promise<void> = async () => {}): Promise<void> {
  const database = new Database(`${operator.home}/.local/share/subgate/subgate.db`)
  try {
    database.exec('begin immediate')
    await sleep(between(...LOCKED_MS))
    await then()
    database.exec('rollback')
  } finally {
    database.close()
  }
}

/**
 * What an operator does meanwhile: looks who holds what, puts accounts back into service that the upstream has spoilt,
 * pauses one, ends a call, clears conversations. And the database is locked now and then.
 */
async function meddle(): Promise<void> {
  await look()
  const accounts = await operator.ask<StoredAccount[]>('account', 'list')
  for (const { name, status, rest, modelRests } of accounts) {
    if (status !== 'active' || rest || modelRests.length > 0) await operator.ask('account', 'resume', name)
  }
  if (random() < 0.3) await operator.ask('account', 'pause', `account-${Math.floor(random() * ACCOUNTS.length)}`)
  if (random() < 0.2) await operator.ask('session', 'clear', '--all')
  if (random() < 0.5) await releaseOne()
  if (random() < 0.2) await lockDatabase()
  if (random() < 0.2) await operator.ask('user', 'credit', `user${POOR_USER}@chaos.example`, '0.05')
}

/** Any that runs or waits; it may have ended by itself by now. */
async function releaseOne(): Promise<void> {
  const slots = await operator.ask<Slot[]>('slot', 'list')
  const one = slots[Math.floor(random() * slots.length)]
  if (!one) return
  const { code, stderr } = await operator.run('slot', 'release', one.callId)
  if (code !== 0 && code !== 1) throw new Error(`slot release ended with ${code}: ${stderr}`)
}

/** Whoever holds a slot, or waits in line, must have a reason to. */
async function look(): Promise<void> {
  const longAgoMs = Date.now() - OVER_MS
  for (const { state, callId, sinceMs } of await operator.ask<Slot[]>('slot', 'list')) {
    if (state === 'waiting' && sinceMs < longAgoMs - WAIT_MS) forgotten.add(`${callId} waits beyond its time`)
    const { endedMs = Number.POSITIVE_INFINITY } = clients.ended.get(callId) ?? {}
    if (endedMs < longAgoMs) forgotten.add(`${callId} holds a place after its end`)
  }
}

/** Waits until nothing is held any more, for as long as patience lasts, and collects what everybody says. */
async function gather(): Promise<Evidence> {
  const looksUntilMs = Date.now() + PATIENCE_MS
  let left = await held()
  while (Object.values(left).some((count) => count > 0) && Date.now() < looksUntilMs) {
    await sleep(100)
    left = await held()
  }
  const { seen } = await askUpstream()
  const { problems } = JSON.parse((await operator.run('usage', 'verify', '--json')).stdout) as { problems: string[] }
  exitCodes.push(await gateway.stop())
  await using store = await openServedStore(operator.home)
  return {
    ...{ answered: clients.answered, lives, seen, exitCodes, proof: problems, forgotten: [...forgotten] },
    rows: await allRows((page) => store.usage.list(page)),
    left: { ...left, 'calls without an answer': hanging },
    alarms: processes.flatMap(({ said }) => said.split('\n').filter((line) => ALARMS.test(line))),
  }
}

async function held(): Promise<Record<string, number>> {
  const slots = await operator.ask<Slot[]>('slot', 'list')
  const status = await operator.ask<DaemonStatus>('status')
  return {
    'slots are held': slots.filter(({ state }) => state === 'running').length,
    'tickets are in line': slots.filter(({ state }) => state === 'waiting').length,
    'calls run': status.callsRunning,
    'bytes of request bodies are held': status.bufferedBytes,
    'records are spilled': status.spilled.records,
    'upstream calls run': (await askUpstream()).running,
  }
}

async function askUpstream(): Promise<UpstreamReport> {
  const answer = once(upstream.child, 'message') as Promise<[UpstreamReport]>
  upstream.child.send('report')
  return (await answer)[0]
}

function print({ answered, seen, rows }: Evidence, found: readonly string[]): void {
  const count = <T>(all: readonly T[], word: (one: T) => string) =>
    Object.entries(Object.groupBy(all, word))
      .map(([name, those]) => [name, those?.length ?? 0] as const)
      .sort(([, a], [, b]) => b - a)
      .map(([name, times]) => `${name} ${times}`)
      .join(', ')
  const named = new Set(rows.map(({ userAgent }) => userAgent))
  const asked = new Set(seen.map(({ name }) => name))
  console.log(`answers:  ${answered.length} (${count(answered, wordFor)})`)
  console.log(
    `upstream: ${seen.length} calls, ${count(
      seen.flatMap(({ kinds }) => kinds),
      (kind) => kind,
    )}`,
  )
  console.log(`rows:     ${rows.length} (${count(rows, ({ outcome }) => outcome)})`)
  console.log(
    `admitted: ${seen.length} by an upstream's book + ${rows.filter(({ userAgent }) => !asked.has(userAgent ?? '')).length} that reached none - ${
      seen.filter(({ name }) => !named.has(name)).length
    } killed in their first second = ${rows.length} rows`,
  )
  const spills = processes.reduce(
    (sum, { said }) => sum + (said.match(/the store did not take a record/g)?.length ?? 0),
    0,
  )
  console.log(
    `gateway:  ${Object.entries(ends)
      .map(([how, times]) => `${times} times ${how}`)
      .join(', ')}; ${spills} records were spilled; the run took ${Math.round((Date.now() - startedMs) / 1000)} s`,
  )
  for (const problem of found.slice(0, 50)) console.log(`VIOLATION ${problem}`)
  console.log(found.length === 0 ? 'nothing is lost, nothing is left' : `${found.length} violations, with seed ${SEED}`)
}

function wordFor({ end, left, stoppedReading, status, cut }: Evidence['answered'][number]): string {
  if (left) return 'left'
  if (end === 'complete') return 'complete'
  if (end === 'error') return status === 200 ? 'error event' : `status ${status}`
  if (status === 0) return 'nobody there'
  return stoppedReading ? 'stopped reading' : cut ? 'cut' : 'unclear'
}

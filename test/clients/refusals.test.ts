import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { secretOf } from '../../src/domain/account.ts'
import { until } from '../support/client.ts'
import { Wire } from '../support/clients-wire.ts'
import { type Scene, startGateway, type TestGateway } from '../support/gateway.ts'
import { anthropicSdk } from './install.ts'
import { ANSWERED, type Refusal, refusals, type SdkTakes, sites, WAITS } from './refusals.ts'
import { newClaudeHome, QUIET, runClaude } from './run-claude.ts'

/**
 * Claude Code and the SDK, with the retries that they have by default, meet every refusal and failure: what they show, and
 * how often they ask. Whoever would ask for minutes is watched for a moment and then ended.
 */

// The first run fetches the clients.
t.setTimeout(600_000)

/** How long a client that asks again and again is watched, from the first of the answers on that stay the same. Storms are seen sooner. */
const WATCH_MS = 1500
/** Claude Code waits for about 1, 1, 2 and 5 seconds before its first retries; half of the first if nothing tells it to. */
const CALLS_WATCHED_MAX = 3
/** `gateway.max_attempts`. */
const ATTEMPTS_MAX = 4
/** Nothing here takes longer, but for what is watched. */
const RUN_TIMEOUT_MS = 60_000
/** Programs that run at a time. */
const LANES = 2

const { default: Anthropic } = await import(await anthropicSdk())

const CLIENTS = ['claude', 'last words', 'create', 'stream'] as const
/** last words: Claude Code when it has no retry left, where it would take minutes until then. */
type Client = (typeof CLIENTS)[number]

/** What a client did. */
interface Took {
  statuses: number[]
  upstreamCalls: number
  /** Claude Code's exit code (null: it was ended), or the class of what the SDK raised; ANSWERED or WAITS if it did not. */
  end: number | string | null
  /** What its user gets to read. */
  said: string
  /** Claude Code's notes of its retries, as `--output-format stream-json` prints them. */
  retries: { max_retries: number; retry_delay_ms: number }[]
}

interface Place {
  gw: TestGateway
  scene: Scene
}

/** Each client has gateways of its own, so that none meets what another has left. */
async function placesFor(client: Client): Promise<Map<Refusal, Place>> {
  const places = new Map<Refusal, Place>()
  const wanted = refusals.filter(({ claude }) => client !== 'last words' || claude.again)
  for (const [on, here] of Map.groupBy(wanted, ({ on = 'plain' }) => on)) {
    const { config, upset } = sites[on]
    const gw = await startGateway(t, {
      config,
      async setUp(site) {
        const scenes: Scene[] = []
        for (const { scene } of here) scenes.push(await site.scene(scene?.()))
        return scenes
      },
    })
    upset?.(gw)
    for (const [index, refusal] of here.entries()) places.set(refusal, { gw, scene: gw.scenes[index] as Scene })
  }
  return places
}

/** Lets the client meet the refusal, and notes what it does. */
async function meet(client: Client, refusal: Refusal, { gw, scene }: Place): Promise<Took> {
  const undo = await refusal.before?.(gw, scene)
  await gw.seen()
  const credentials = scene.accounts[0] && gw.gateway.directory.account(scene.accounts[0].id)?.credentials()
  const credential = credentials && secretOf(credentials)
  const asked = () => gw.upstream.seen.filter(({ headers }) => headers['x-api-key'] === credential).length
  const before = asked()
  await using wire = await Wire.start(gw.url)
  const happening = refusal.meanwhile?.(gw, scene, wire)
  const { end, said, retries = [] } = await run(client, refusal, { wire, key: refusal.key ?? scene.key })
  await happening
  if (typeof undo === 'function') undo()
  return { statuses: wire.requests.map(({ status }) => status), upstreamCalls: asked() - before, end, said, retries }
}

type Ran = Pick<Took, 'end' | 'said'> & Partial<Pick<Took, 'retries'>>

async function run(client: Client, { claude, sdk }: Refusal, to: { wire: Wire; key: string }): Promise<Ran> {
  if (client === 'claude') return claude.again ? watchClaude(to, claude.again) : askClaude(to)
  if (client === 'last words') return askClaude(to, { ...QUIET, CLAUDE_CODE_MAX_RETRIES: '0' })
  const signal = sdk.ends === WAITS ? watch(to.wire, claude.again ?? []) : AbortSignal.timeout(RUN_TIMEOUT_MS)
  return askSdk(client, to, signal)
}

/** Aborts when the client has been watched for long enough, from the last of these answers on (0: nobody answers). */
function watch({ requests }: Wire, answers: number[]): AbortSignal {
  const controller = new AbortController()
  const isThere = (status: number, index: number) => requests[index] && (status === 0 || requests[index].status > 0)
  void until('the first answers', () => answers.every(isThere)).finally(() => {
    setTimeout(() => controller.abort(), WATCH_MS)
  })
  return controller.signal
}

async function askClaude({ wire, key }: { wire: Wire; key: string }, env = QUIET): Promise<Ran> {
  const { code, stdout } = await runClaude(['say hi'], { url: wire.url, key, home: newClaudeHome(homes), env })
  return { end: code, said: stdout }
}

async function watchClaude({ wire, key }: { wire: Wire; key: string }, again: number[]): Promise<Ran> {
  const args = ['say hi', '--output-format', 'stream-json', '--verbose']
  const run = { url: wire.url, key, home: newClaudeHome(homes), signal: watch(wire, again) }
  const { code, stdout } = await runClaude(args, run)
  const lines = stdout.split('\n').slice(0, -1) // the last one may be half of one
  const events = lines.map((line) => JSON.parse(line))
  return { end: code, said: '', retries: events.filter(({ subtype }) => subtype === 'api_retry') }
}

async function askSdk(
  how: 'create' | 'stream',
  { wire, key }: { wire: Wire; key: string },
  signal: AbortSignal,
): Promise<Ran> {
  const client = new Anthropic({ baseURL: wire.url, apiKey: key, authToken: null })
  // More than the smallest of body limits here.
  const messages = [{ role: 'user', content: `say hi${' and hello'.repeat(300)}` }]
  const asked = { model: 'claude-sonnet-5-5', max_tokens: 1024, messages }
  try {
    if (how === 'create') await client.messages.create(asked, { signal })
    else await client.messages.stream(asked, { signal }).finalMessage()
    return { end: ANSWERED, said: '' }
  } catch (error) {
    if (signal.aborted) return { end: WAITS, said: '' }
    const failure = error as Error
    return { end: failure.constructor.name, said: failure.message }
  }
}

const homes = mkdtempSync(join(tmpdir(), 'subgate-refusals-'))
t.teardown(() => rmSync(homes, { recursive: true, force: true }))

/** All meet all: programs a few at a time, the SDK, which mostly waits, all at once. */
const places = new Map<Client, Map<Refusal, Place>>()
for (const client of CLIENTS) places.set(client, await placesFor(client))
const took = new Map<Refusal, Map<Client, Promise<Took>>>(refusals.map((refusal) => [refusal, new Map()]))
const programs: (() => Promise<unknown>)[] = []
for (const [client, ofClient] of places) {
  for (const [refusal, place] of ofClient) {
    const { promise, resolve, reject } = Promise.withResolvers<Took>()
    promise.catch(() => {}) // it is looked at later
    took.get(refusal)?.set(client, promise)
    const start = () => meet(client, refusal, place).then(resolve, reject)
    if (client === 'create' || client === 'stream') void start()
    else programs.push(start)
  }
}
for (let lane = 0; lane < LANES; lane++) {
  void (async () => {
    for (let start = programs.shift(); start; start = programs.shift()) await start()
  })()
}

for (const refusal of refusals) {
  t.test(refusal.name, async (t) => {
    const { claude, sdk, stream = sdk, sentence } = refusal
    const of = took.get(refusal) as Map<Client, Promise<Took>>
    const results = new Map<Client, Took>()
    for (const [client, promise] of of) results.set(client, await promise)
    for (const [client, { statuses, upstreamCalls }] of results) {
      t.ok(upstreamCalls <= ATTEMPTS_MAX * statuses.length, `${client}: ${upstreamCalls} calls upstream`)
    }
    if (claude.again) isPatient(t, results.get('claude') as Took, claude.again)
    else t.same(results.get('claude')?.statuses, claude.statuses, 'calls of Claude Code')
    const { end, said } = results.get(claude.again ? 'last words' : 'claude') as Took
    t.equal(end, claude.answered ? 0 : 1)
    t.match(said, claude.shows ?? unanchored(sentence), 'what it shows')
    t.notMatch(said, /^\s+at |\bundefined\b/m, 'no stack')
    const isOfCaller = results.get('claude')?.statuses.every((status) => status === 401 || status === 403)
    if (!isOfCaller) t.notMatch(said, /log ?in\b|authenticat/i, 'nobody is sent to log in')
    takesAs(t, results.get('create') as Took, sdk, sentence)
    takesAs(t, results.get('stream') as Took, stream, sentence)
  })
}

/** Few calls with pauses between them, and a last one. The one that it was ended in has no answer. */
function isPatient(t: Test, { statuses, retries }: Took, again: number[]): void {
  const answered = statuses.filter((status, index) => status !== 0 || index < statuses.length - 1 || again.includes(0))
  const expected = answered.map((_, index) => again[index] ?? again.at(-1))
  t.same(answered, expected, 'answers to Claude Code')
  const watched = statuses.length - again.length + 1
  t.ok(watched >= 1 && watched <= CALLS_WATCHED_MAX, `${watched} calls while it was watched`)
  t.ok(retries.length > 0, 'it says that it will ask again')
  for (const { max_retries: most, retry_delay_ms: pauseMs } of retries) {
    t.ok(most <= 10 && pauseMs >= 400, `in ${pauseMs} ms, ${most} times at most`)
  }
}

function takesAs(t: Test, took: Took, expected: SdkTakes, sentence: RegExp): void {
  t.match({ end: took.end, calls: took.statuses.length }, { end: expected.ends, calls: expected.calls }, 'the SDK')
  if (expected.ends === ANSWERED || expected.ends === WAITS) return
  t.match(took.said, expected.message ?? unanchored(sentence))
}

/** Clients put words of their own behind ours. */
function unanchored({ source }: RegExp): RegExp {
  return new RegExp(source.replace(/\$$/, ''))
}

t.test('afterwards nothing is held, and the money adds up', async (t) => {
  const gateways = new Set([...places.values()].flatMap((ofClient) => [...ofClient.values()].map(({ gw }) => gw)))
  for (const { settled, gateway, log } of gateways) {
    await settled()
    t.same((await gateway.store.usage.verify()).problems, [])
    t.same(
      log.filter(({ msg, error }) => msg === 'a bug' && !/a mistake/.test(String(error))),
      [],
    )
  }
})

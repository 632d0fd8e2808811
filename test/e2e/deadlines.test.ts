import { once } from 'node:events'
import { connect } from 'node:net'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import type { Outcome } from '../../src/domain/call.ts'
import type { Deadlines } from '../../src/domain/deadline.ts'
import { messageRequest, until } from '../support/client.ts'
import { type Site, startGateway } from '../support/gateway.ts'

/** Each deadline, from the configuration and from the account, whose word counts more. */

const SHORT = { firstEventMs: 400, idleMs: 300, answerMs: 400, totalMs: 800 }
const LONG = { firstEventMs: 60_000, idleMs: 60_000, answerMs: 60_000, totalMs: 60_000 }
const ALL_SHORT = {
  'gateway.first_event_timeout': '400ms',
  'gateway.idle_timeout': '300ms',
  'gateway.answer_timeout': '400ms',
  'gateway.total_timeout': '800ms',
}

interface Case {
  of: Exclude<keyof Deadlines, 'connectMs'>
  stream: boolean
  /** Takes longer than it may if the deadline is short. */
  script: Script
  /** What comes of it then: the client's status, the row's outcome, and the first attempt's fault. */
  status: number
  outcome: Outcome
  fault: string | null
}

const TIMED_OUT = { status: 504, outcome: 'timed_out', fault: 'timed_out' } as const
/** The head is out already. */
const CUT = { status: 200, outcome: 'timed_out', fault: null } as const
const WORDS = Array.from({ length: 15 }, () => 'word ')

const CASES: Record<string, Case> = {
  // The upstream may have had an accident: it is asked again, and answers.
  'no head of a stream': {
    ...{ of: 'firstEventMs', stream: true, script: { headDelayMs: 900 } },
    ...{ status: 200, outcome: 'complete', fault: 'timed_out' },
  },
  'no first event': {
    ...{ of: 'firstEventMs', stream: true, script: { eventDelayMs: 900, text: [] } },
    ...{ status: 200, outcome: 'complete', fault: 'timed_out' },
  },
  'silence inside a stream': { of: 'idleMs', stream: true, script: { eventDelayMs: 500, text: ['x'] }, ...CUT },
  'no answer': { of: 'answerMs', stream: false, script: { headDelayMs: 900 }, ...TIMED_OUT },
  'no whole answer': {
    ...{ of: 'answerMs', stream: false, ...TIMED_OUT },
    script: { cuts: [20], eventDelayMs: 900 },
  },
  'a stream that goes on': { of: 'totalMs', stream: true, script: { eventDelayMs: 100, text: WORDS }, ...CUT },
  'an answer, in all': { of: 'totalMs', stream: false, script: { headDelayMs: 1300 }, ...TIMED_OUT },
  'a stream that does not begin, in all': {
    ...{ of: 'totalMs', stream: true, script: { headDelayMs: 1300 } },
    // There is no time left to ask again.
    ...{ status: 529, outcome: 'failed', fault: 'timed_out' },
  },
}

/** One scene for each case, its account with the deadlines that `own` gives it. */
async function scenesWith(site: Site, own: (of: Case['of']) => Partial<Deadlines>) {
  const scenes = []
  for (const [name, one] of Object.entries(CASES)) {
    const accounts = [{ scripts: [one.script], deadlines: own(one.of) }]
    scenes.push({ name, one, scene: await site.scene({ accounts }) })
  }
  return scenes
}

async function expectEnds(
  t: Test,
  gw: Awaited<ReturnType<typeof startGateway<Awaited<ReturnType<typeof scenesWith>>>>>,
  scenes: Awaited<ReturnType<typeof scenesWith>>,
  ends: (one: Case) => Pick<Case, 'status' | 'outcome' | 'fault'>,
): Promise<void> {
  const answers = await Promise.all(
    scenes.map(({ one, scene }) => gw.call({ key: scene.key, body: messageRequest(one.stream) })),
  )
  const rows = await gw.settled()
  for (const [index, { name, one, scene }] of scenes.entries()) {
    const row = rows.find(({ userId }) => userId === scene.user.id)
    const fault = row?.attempts[0]?.fault
    t.same({ status: answers[index]?.status, outcome: row?.outcome, fault }, ends(one), name)
  }
}

const asShort = ({ status, outcome, fault }: Case) => ({ status, outcome, fault })
const asLong = () => ({ status: 200, outcome: 'complete', fault: null }) as const

t.test("the configuration's deadlines hold", async (t) => {
  const setUp = (site: Site) =>
    scenesWith(site, (of) => Object.fromEntries(Object.entries(LONG).filter(([name]) => name !== of)))
  const gw = await startGateway(t, { config: ALL_SHORT, setUp })
  await expectEnds(t, gw, gw.scenes, asShort)
})

t.test("the account's own come before them, be they longer", async (t) => {
  const gw = await startGateway(t, { config: ALL_SHORT, setUp: (site) => scenesWith(site, () => LONG) })
  await expectEnds(t, gw, gw.scenes, asLong)
})

t.test('or shorter', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => scenesWith(site, (of) => ({ [of]: SHORT[of] })) })
  await expectEnds(t, gw, gw.scenes, asShort)
})

t.test('an answer that goes on too long after its beginning was relayed ends with a reset', async (t) => {
  const large = JSON.stringify({ type: 'message', pad: 'x'.repeat(3_000_000) })
  const script: Script = { body: large, breaks: { after: 2_000_000, how: 'silence' } }
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ scripts: [script], deadlines: { answerMs: 700 } }] }),
  })
  t.match(await gw.call({ key: gw.scenes.key, body: messageRequest(false) }), { status: 200, ended: 'cut' })
  t.match(await gw.settled(), [{ outcome: 'timed_out' }])
})

t.test('token counts have the first-event deadline of the account that is asked', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({
        accounts: [{ elsewhere: { headDelayMs: 'forever' }, deadlines: { firstEventMs: 300 } }, { elsewhere: {} }],
      }),
  })
  const path = '/v1/messages/count_tokens'
  t.match(await gw.call({ key: gw.scenes.key, path, body: messageRequest(false) }), { status: 200 })
})

/** An address that takes no connection and refuses none: its queue is full, and nobody empties it. */
async function fullAddress(t: Test): Promise<string> {
  const code = `
    const { parentPort } = require('node:worker_threads')
    const server = require('node:net').createServer().listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
      parentPort.postMessage(server.address().port)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })`
  const worker = new Worker(code, { eval: true })
  const [port] = (await once(worker, 'message')) as [number]
  let connected = 0
  const sockets = Array.from({ length: 4 }, () => connect(port, '127.0.0.1', () => void connected++))
  for (const socket of sockets) socket.on('error', () => {})
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await worker.terminate()
  })
  await until('the queue to be full', () => connected === 2)
  return `http://127.0.0.1:${port}`
}

t.test('connecting has its deadline, by the configuration and by the account', async (t) => {
  const baseUrl = await fullAddress(t)
  const gw = await startGateway(t, {
    config: { 'gateway.connect_timeout': '300ms' },
    setUp: async (site) => ({
      configured: await site.scene({ accounts: [{ baseUrl }, {}] }),
      patient: await site.scene({ accounts: [{ baseUrl, deadlines: { connectMs: 60_000, firstEventMs: 2500 } }, {}] }),
      hasty: await site.scene({ accounts: [{ baseUrl, deadlines: { connectMs: 100 } }, {}] }),
    }),
  })
  let calls = 0
  const call = async (name: keyof typeof gw.scenes) => {
    // Conversations of their own, or the second would stay with the account that answered the first.
    const body = messageRequest(true, { messages: [{ role: 'user', content: `number ${++calls}` }] })
    t.match(await gw.call({ key: gw.scenes[name].key, body }), { status: 200 })
    const rows = await gw.settled()
    return rows.findLast(({ userId }) => userId === gw.scenes[name].user.id)?.attempts[0]
  }
  t.match(await call('configured'), { fault: 'connect_failed', message: /timeout/i })
  t.match(await call('patient'), { fault: 'timed_out' })
  t.match(await call('hasty'), { fault: 'connect_failed', message: /timeout/i })
  const { gateway } = gw.gateway.config
  gw.daemon.reload({
    ...gw.gateway.config,
    gateway: { ...gateway, connectTimeoutMs: 60_000, firstEventTimeoutMs: 2500 },
  })
  t.match(await call('configured'), { fault: 'timed_out' }, 'a new configuration holds for new connections')
})

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import t from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import type { Rest } from '../../src/domain/account.ts'
import type { Outcome } from '../../src/domain/call.ts'
import { type Answer, messageRequest, until } from '../support/client.ts'
import { type Scene, type Site, startGateway, type WantedAccount } from '../support/gateway.ts'

/**
 * Every way in which an upstream can fail, with one account and with a second, healthy one: what the client gets, that
 * no slot stays held, the one usage row, and the account's rest.
 */

const SECOND = 1000
const MINUTE = 60 * SECOND
const HTML = { body: '<html><h1>Bad gateway</h1></html>', headers: { 'content-type': 'text/html' } }
/** So that what was sent before the break has been relayed when it comes. */
const SLOWLY = { eventDelayMs: 20 }
const TEXT = { text: ['one ', 'two ', 'three '] }

type RestKind = { hardness: Rest['hardness']; ms: number } | null

interface Fault {
  script: Script
  /** Only calls of this form fail so. */
  only?: 'stream' | 'json'
  account?: WantedAccount
  /** In the first attempt's story. */
  reason: string
  /**
   * request: the client gets it as it came · account, upstream: another account is asked, and alone the client gets
   * `alone`, for upstream once the account has failed thrice · late: it is too late for another account, the client gets
   * an error event of this type, or a reset.
   */
  blame: 'request' | 'account' | 'upstream' | { late: string; outcome: Outcome }
  /** Status, error type and what clients obey, if nobody else can be asked. Default: overloaded. */
  alone?: { status: number; type: string; retryAfter?: string; shouldRetry?: string; outcome?: Outcome }
  /** A fault after which nobody else is asked, although it is not the request's. */
  final?: true
  /** The upstream's, after which the account alone is not asked again, or is and answers. */
  repeat?: 'none' | 'answered'
  /** Default: of an upstream that has failed thrice soft, else none. */
  rest?: RestKind
}

const SOFTLY: RestKind = { hardness: 'soft', ms: 10 * SECOND }
const OVERLOADED: NonNullable<Fault['alone']> = { status: 529, type: 'overloaded_error', retryAfter: '1' }
const REFUSED_BY_VENDOR = { status: 529, type: 'overloaded_error', shouldRetry: 'false' }

const ERROR_EVENT =
  'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'

const FAULTS: Record<string, Fault> = {
  '400': { script: { status: 400 }, blame: 'request', reason: 'invalid_request_error' },
  '400 with words': {
    script: {
      status: 400,
      body: '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"},"request_id":"req_1"}  ',
    },
    blame: 'request',
    reason: 'invalid_request_error',
  },
  '404': { script: { status: 404 }, blame: 'request', reason: 'not_found_error' },
  '413': { script: { status: 413 }, blame: 'request', reason: 'request_too_large' },
  '422': {
    script: { status: 422, headers: { 'x-should-retry': 'false' } },
    blame: 'request',
    reason: 'invalid_request_error',
  },
  '401': {
    script: { status: 401 },
    blame: 'account',
    reason: 'authentication_error',
    alone: REFUSED_BY_VENDOR,
    rest: { hardness: 'hard', ms: 10 * MINUTE },
  },
  '402': {
    script: { status: 402 },
    blame: 'account',
    reason: 'billing_error',
    alone: REFUSED_BY_VENDOR,
    rest: { hardness: 'hard', ms: 60 * MINUTE },
  },
  '403': { script: { status: 403 }, blame: 'account', reason: 'permission_error', alone: REFUSED_BY_VENDOR },
  '403 about the credential': {
    script: {
      status: 403,
      body: '{"type":"error","error":{"type":"permission_error","message":"OAuth token has been revoked. Please obtain a new token."}}',
    },
    blame: 'account',
    reason: 'permission_error',
    alone: REFUSED_BY_VENDOR,
    rest: { hardness: 'hard', ms: 10 * MINUTE },
  },
  '400 for want of credit': {
    script: {
      status: 400,
      body: '{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}',
    },
    blame: 'account',
    reason: 'invalid_request_error',
    alone: REFUSED_BY_VENDOR,
    rest: { hardness: 'hard', ms: 60 * MINUTE },
  },
  '429': {
    script: { status: 429 },
    blame: 'account',
    reason: 'rate_limit_error',
    alone: { status: 429, type: 'rate_limit_error', retryAfter: '5' },
    rest: { hardness: 'hard', ms: 5 * SECOND },
  },
  '429 with retry-after': {
    script: { status: 429, headers: { 'retry-after': '90' } },
    blame: 'account',
    reason: 'rate_limit_error',
    alone: { status: 429, type: 'rate_limit_error', retryAfter: '90', shouldRetry: 'false' },
    rest: { hardness: 'hard', ms: 90 * SECOND },
  },
  '408': { script: { status: 408 }, blame: 'upstream', reason: 'timeout_error' },
  '500': { script: { status: 500 }, blame: 'upstream', reason: 'api_error' },
  '502 with an HTML page': { script: { status: 502, ...HTML }, blame: 'upstream', reason: 'http_502' },
  '503': { script: { status: 503 }, blame: 'upstream', reason: 'api_error' },
  '504': { script: { status: 504 }, blame: 'upstream', reason: 'timeout_error' },
  '529': { script: { status: 529 }, blame: 'upstream', reason: 'overloaded_error' },
  '529 with retry-after': {
    script: { status: 529, headers: { 'retry-after': '7' } },
    blame: 'upstream',
    reason: 'overloaded_error',
    alone: { ...OVERLOADED, retryAfter: '7' },
    repeat: 'none',
  },
  '529 with a short retry-after': {
    script: { status: 529, headers: { 'retry-after': '1' } },
    blame: 'upstream',
    reason: 'overloaded_error',
  },
  '500 by accident': { script: { status: 500 }, blame: 'upstream', reason: 'api_error', repeat: 'answered' },
  '302': {
    script: { status: 302, body: '', headers: { location: 'http://169.254.169.254/' } },
    blame: 'upstream',
    reason: 'invalid_answer',
  },
  'an HTML page with 200': { script: HTML, blame: 'upstream', reason: 'invalid_answer' },
  'an empty 200': { script: { body: '' }, blame: 'upstream', reason: 'invalid_answer' },
  'an error body with 200': {
    script: { body: '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}' },
    blame: 'upstream',
    reason: 'overloaded_error',
  },
  'an empty stream': {
    script: { breaks: { after: 0, how: 'clean_end' } },
    only: 'stream',
    blame: 'upstream',
    reason: 'invalid_answer',
  },
  'a stream that ends after its preamble': {
    script: { breaks: { after: 1, how: 'clean_end' } },
    only: 'stream',
    blame: 'upstream',
    reason: 'invalid_answer',
  },
  'an error event at first': {
    script: { breaks: { after: 0, how: 'error_event' } },
    only: 'stream',
    blame: 'upstream',
    reason: 'overloaded_error',
  },
  'an error event, and then silence': {
    script: {
      body: `${ERROR_EVENT}: nothing more\n\n`,
      headers: { 'content-type': 'text/event-stream' },
      cuts: [ERROR_EVENT.length],
      eventDelayMs: 60_000,
    },
    only: 'stream',
    blame: 'upstream',
    reason: 'overloaded_error',
  },
  'an error event after the preamble': {
    script: {
      breaks: { after: 1, how: 'error_event' },
      error: { type: 'rate_limit_error', message: 'slow down' },
      ...SLOWLY,
    },
    only: 'stream',
    blame: 'account',
    reason: 'rate_limit_error',
    alone: { status: 429, type: 'rate_limit_error', retryAfter: '5' },
    rest: { hardness: 'hard', ms: 5 * SECOND },
  },
  'a reset before the head': {
    script: { resetBeforeHead: true },
    blame: 'upstream',
    reason: 'connection_reset',
    rest: null,
    repeat: 'answered',
  },
  'a body that is cut': {
    script: { breaks: { after: 20, how: 'reset' } },
    only: 'json',
    blame: 'upstream',
    reason: 'connection_reset',
  },
  'silence before the head': {
    script: { headDelayMs: 'forever' },
    only: 'stream',
    blame: 'upstream',
    reason: 'timed_out',
    repeat: 'answered',
  },
  'silence before the first event': {
    script: { breaks: { after: 0, how: 'silence' } },
    only: 'stream',
    blame: 'upstream',
    reason: 'timed_out',
    repeat: 'answered',
  },
  'silence instead of a body': {
    script: { headDelayMs: 'forever' },
    only: 'json',
    blame: 'upstream',
    reason: 'timed_out',
    final: true,
    alone: { status: 504, type: 'timeout_error', shouldRetry: 'false', outcome: 'timed_out' },
  },
  'silence inside a body': {
    script: { breaks: { after: 20, how: 'silence' } },
    only: 'json',
    blame: 'upstream',
    reason: 'timed_out',
    final: true,
    alone: { status: 504, type: 'timeout_error', shouldRetry: 'false', outcome: 'timed_out' },
  },
  'a stream cut inside an event': {
    script: { breaks: { after: 5, how: 'mid_event' }, ...SLOWLY, ...TEXT },
    only: 'stream',
    blame: { late: 'api_error', outcome: 'upstream_cut' },
    reason: '',
  },
  'a stream that ends without its end': {
    script: { breaks: { after: 5, how: 'clean_end' }, ...SLOWLY, ...TEXT },
    only: 'stream',
    blame: { late: 'api_error', outcome: 'upstream_cut' },
    reason: '',
  },
  'a stream that is reset': {
    script: { breaks: { after: 5, how: 'reset' }, ...SLOWLY, ...TEXT },
    only: 'stream',
    blame: { late: 'api_error', outcome: 'upstream_cut' },
    reason: '',
  },
  'an error event in the middle': {
    script: { breaks: { after: 5, how: 'error_event' }, ...SLOWLY, ...TEXT },
    only: 'stream',
    blame: { late: 'overloaded_error', outcome: 'upstream_error' },
    reason: '',
  },
  "an error event in the middle that is the account's": {
    script: {
      breaks: { after: 5, how: 'error_event' },
      error: { type: 'rate_limit_error', message: 'slow down' },
      ...SLOWLY,
      ...TEXT,
    },
    only: 'stream',
    blame: { late: 'rate_limit_error', outcome: 'upstream_error' },
    reason: '',
    rest: { hardness: 'hard', ms: 5 * SECOND },
  },
  'silence in the middle': {
    script: { breaks: { after: 5, how: 'silence' }, ...SLOWLY, ...TEXT },
    only: 'stream',
    blame: { late: 'timeout_error', outcome: 'timed_out' },
    reason: '',
  },
}

/** One call to be made: what may be expected of it can be told from these. */
interface Case {
  name: string
  fault: Fault
  stream: boolean
  /** A second account that is healthy. */
  hasSecond: boolean
  scene: Scene
}

/** How often the account fails where there is no other. */
function failures({ blame, repeat, final }: Fault): number {
  return blame === 'upstream' && !repeat && !final ? 3 : 1
}

async function refusedUrl(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return `http://127.0.0.1:${port}`
}

async function setUp(site: Site): Promise<Case[]> {
  const nobody: Fault = { script: {}, blame: 'upstream', reason: 'connect_failed', rest: null }
  const faults = Object.entries({
    ...FAULTS,
    // Each form by an address of its own, or the failures of both would be those of one host that is down.
    'nobody who listens': { ...nobody, only: 'json', account: { baseUrl: await refusedUrl() } } as Fault,
    'nobody who listens, for streams': { ...nobody, only: 'stream', account: { baseUrl: await refusedUrl() } } as Fault,
  })
  const cases: Case[] = []
  for (const [index, [what, fault]] of faults.entries()) {
    for (const stream of [false, true]) {
      if (fault.only && fault.only !== (stream ? 'stream' : 'json')) continue
      for (const hasSecond of [false, true]) {
        // A base URL of its own means connections of its own, so that none has been used before.
        const baseUrl = `${site.upstream.url}/${index}-${stream}-${hasSecond}`
        const scripts = Array.from({ length: hasSecond ? 1 : failures(fault) }, () => fault.script)
        const failing = { baseUrl, ...fault.account, scripts }
        cases.push({
          name: `${what}, ${stream ? 'stream' : 'JSON'}, ${hasSecond ? 'second account' : 'alone'}`,
          fault,
          stream,
          hasSecond,
          scene: await site.scene({ accounts: hasSecond ? [failing, {}] : [failing] }),
        })
      }
    }
  }
  return cases
}

/** What the client got, the row and the rest, as they should be; to be compared with what they are. */
function expected({ fault, stream, hasSecond, scene }: Case) {
  const { blame, reason, final, repeat } = fault
  const [first, second] = scene.accounts.map(({ id }) => id)
  const failed = Array(hasSecond ? 1 : failures(fault)).fill(`${first} ${reason}`)
  const { rest = failed.length === 3 ? SOFTLY : null } = fault
  const restText = rest && `${rest.hardness} ${rest.ms}`
  if (typeof blame === 'object') {
    return {
      status: 200,
      ended: 'whole',
      says: blame.late,
      outcome: blame.outcome,
      attempts: [`${first} `],
      rest: restText,
    }
  }
  if (blame === 'request') {
    const { status = 0, headers } = fault.script as Script
    return {
      ...{ status, ended: 'whole', says: 'verbatim', retryAfter: headers?.['retry-after'] },
      ...{ shouldRetry: headers?.['x-should-retry'], outcome: 'rejected', attempts: failed, rest: null },
    }
  }
  if ((hasSecond && !final) || repeat === 'answered') {
    const says = stream ? 'message_stop' : 'a message'
    const attempts = [...failed, `${hasSecond ? second : first} `]
    return { status: 200, ended: 'whole', says, outcome: 'complete', attempts, rest: restText }
  }
  const { alone = { ...OVERLOADED, ...(rest?.hardness === 'soft' && { retryAfter: '5' }) } } = fault
  const { status, type, retryAfter, shouldRetry, outcome = 'failed' } = alone
  return { status, ended: 'whole', says: type, retryAfter, shouldRetry, outcome, attempts: failed, rest: restText }
}

/** The end of an answer in a word: its last event, the type of its error, or what it is. */
function lastWord({ text }: Answer, verbatim: string): string {
  if (text === verbatim) return 'verbatim'
  const lastEvent = /event: (\w+)\ndata: (.*)\n\n$/.exec(text)
  if (lastEvent && lastEvent[1] !== 'error') return lastEvent[1] as string
  try {
    const said = JSON.parse(lastEvent?.[2] ?? text) as { type: string; error?: { type: string } }
    return said.error?.type ?? `a ${said.type}`
  } catch {
    return text.slice(-100)
  }
}

t.test('what becomes of a call whose upstream fails', async (t) => {
  const gw = await startGateway(t, {
    config: {
      'gateway.first_event_timeout': '1s',
      'gateway.answer_timeout': '1500ms',
      'gateway.idle_timeout': '1s',
      'gateway.preamble_hold': '900ms',
    },
    setUp,
  })
  const startedMs = Date.now()
  const answers = await Promise.all(
    gw.scenes.map(({ scene, stream }) => gw.call({ key: scene.key, body: messageRequest(stream) })),
  )
  const rows = Map.groupBy(await gw.settled(), ({ userId }) => userId)
  t.same(await gw.gateway.live.admissions(), [])
  for (const [index, one] of gw.scenes.entries()) {
    const answer = answers[index] as Answer
    const ofUser = rows.get(one.scene.user.id) ?? []
    const row = ofUser[0]
    const rest = gw.gateway.directory.account(one.scene.accounts[0]?.id ?? '')?.account.rest
    const verbatim =
      (one.fault.script as Script).body ??
      `{"type":"error","error":{"type":"${one.fault.reason}","message":"scripted ${answer.status}"},"request_id":"req_fake"}`
    const found = {
      /** One row, with the status that the client got. */
      rows: ofUser.map(({ status }) => status),
      ...{ status: answer.status, ended: answer.ended, says: lastWord(answer, verbatim) },
      ...{ retryAfter: answer.headers['retry-after'], shouldRetry: answer.headers['x-should-retry'] },
      outcome: row?.outcome,
      attempts: row?.attempts.map(({ accountId, fault }) => `${accountId} ${fault ?? ''}`),
      rest: rest && `${rest.hardness} ${Math.round((rest.untilMs - startedMs) / SECOND / 5) * 5 * SECOND}`,
    }
    t.match(found, { ...expected(one), rows: [answer.status] }, one.name)
  }
  await until('the upstream to have nothing to do', () => gw.upstream.seen.every(({ over }) => over !== null))
  const secrets = gw.log.filter((line) => JSON.stringify(line).includes('sk-ant-api03-'))
  t.same(secrets, [])
})

t.test("a connection that the upstream closed just as we wrote to it is nobody's fault", async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({ accounts: [{ scripts: [{}, { resetBeforeHead: true }, {}, {}, { resetBeforeHead: true }] }, {}] }),
  })
  const { key, accounts } = gw.scenes
  const texts: string[] = []
  for (let i = 0; i < 4; i++) texts.push((await gw.call({ key, body: messageRequest(true) })).text)
  t.same(
    texts.map((text) => text.includes('message_stop')),
    [true, true, true, true],
  )
  const rows = await gw.settled()
  t.same(
    rows.map(({ attempts }) => attempts.map(({ accountId, fault }) => [accountId, fault])),
    Array(4).fill([[accounts[0]?.id, null]]),
  )
  t.same(
    gw.gateway.directory.accounts().map(({ overloads }) => overloads.length),
    [0, 0],
  )
})

import type { Script, SeenCall } from '../../src/demo/fake-upstream.ts'
import { secretOf } from '../../src/domain/account.ts'
import { GatewayError } from '../../src/domain/errors.ts'
import { type Limit, parseLimitChange } from '../../src/domain/limit.ts'
import { messageRequest, until } from '../support/client.ts'
import { brokenStream } from '../support/clients.ts'
import type { Wire } from '../support/clients-wire.ts'
import type { Scene, TestGateway, WantedScene } from '../support/gateway.ts'

/** Every way in which a call is refused or fails, and how Claude Code and the Anthropic SDK take it. docs/clients.md tells it to people. */

/** A gateway as some refusals need it. */
interface Site {
  config: Record<string, unknown>
  /** What is done to it once it runs. */
  upset?: (gw: TestGateway) => void
}

const SITES = {
  plain: { config: { 'gateway.line_extra': 0 } },
  /** It asks an upstream once for each call, so that what happens once comes to clients. */
  unrepeating: { config: { 'gateway.max_attempts': 1 } },
  /** Its deadlines are over soon. */
  hurried: {
    config: {
      'gateway.first_event_timeout': '2s',
      'gateway.idle_timeout': '2s',
      'gateway.answer_timeout': '2s',
    },
  },
  /** It lets nobody wait in line for long. */
  impatient: { config: { 'gateway.wait': '1s' } },
  small: { config: { 'server.max_request_body_size': '2KiB' } },
  bills: { config: { run_mode: 'saas' } },
  /** It could not store charges a moment ago. */
  guarded: { config: { run_mode: 'saas' } },
  /** Its store takes no records. */
  bookless: {
    config: {},
    upset({ gateway }) {
      gateway.store.usage.record = async () => {
        throw new GatewayError('unavailable', 'the disk is full', { hint: 'make room' })
      }
    },
  },
  draining: {
    config: {},
    upset({ gateway }) {
      gateway.running.draining = true
    },
  },
  /** It ends at once when it is told to. */
  stopping: { config: { 'gateway.shutdown_grace': '100ms' } },
  buggy: {
    config: {},
    upset({ gateway }) {
      gateway.live.admit = async () => {
        throw new TypeError('a mistake')
      }
    },
  },
} satisfies Record<string, Site>

export type SiteName = keyof typeof SITES
export const sites: Record<SiteName, Site> = SITES

export interface Refusal {
  name: string
  /** Default: plain. */
  on?: SiteName
  /** Who calls, and how the upstream answers. */
  scene?: () => WantedScene
  /** What the client sends, if it is not the scene's key. */
  key?: string
  /** Brings it about before the client asks. Returns what undoes it. */
  before?: (gw: TestGateway, scene: Scene) => unknown
  /** Brings it about while the client's call runs. */
  meanwhile?: (gw: TestGateway, scene: Scene, wire: Wire) => Promise<unknown>
  /** What the gateway tells. */
  sentence: RegExp
  claude: ClaudeTakes
  sdk: SdkTakes
  /** Of the SDK, if it takes a stream otherwise. */
  stream?: SdkTakes
}

/** What Claude Code does. */
export type ClaudeTakes =
  /** It ends by itself after answers of these statuses, and shows our sentence, or what it `shows` instead. */
  | { statuses: number[]; shows?: RegExp; answered?: true; again?: never }
  /** It asks again and again, up to ten times within three minutes. The first answers have these statuses, all others the last. */
  | { again: number[]; shows?: RegExp; answered?: never }

/** What the SDK does: so many calls, and then the class of its error, an answer, or a wait that is longer than a test's. */
export interface SdkTakes {
  calls: number
  ends: string
  /** What it says, if it is not our sentence. */
  message?: RegExp
}
export const ANSWERED = 'answered'
export const WAITS = 'waits'

/** So often an upstream fails in the same way, at most: more than any client here asks. */
const LASTING = 60

function lasting(script: Script): () => WantedScene {
  return () => ({ accounts: [{ scripts: Array(LASTING).fill(script) }] })
}

function once(script: Script): () => WantedScene {
  return () => ({ accounts: [{ scripts: [script] }] })
}

function upstreamError(status: number, type: string, message: string): Script {
  return { status, body: JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_upstream' }) }
}

const limits = (...texts: string[]): Limit[] =>
  texts.map((text) => {
    const change = parseLimitChange(text, 'UTC')
    if (change.kind !== 'set') throw new Error(`${text} is no limit`)
    return change.limit
  })

/** One call, which is answered. */
function use({ call }: TestGateway, { key }: Scene) {
  return call({ key, body: messageRequest(true) })
}

/** Takes the user's only slot, and with `line` the only place in line as well. */
async function fill(gw: TestGateway, { key, user }: Scene, line: boolean) {
  const ask = () => gw.open({ key, body: messageRequest(true) })
  const calls = [await ask().head()]
  if (line) {
    calls.push(ask())
    const { live } = gw.gateway
    await until('a call in line', async () => (await live.tickets()).some(({ userId }) => userId === user.id))
  }
  return () => {
    for (const call of calls) call.leave()
  }
}

const NARROW = { user: { concurrency: 1 } }
const SILENT: Script = { text: ['This ', 'is ', 'not ', 'all'], breaks: { after: 5, how: 'silence' } }

function runningCall({ gateway }: TestGateway, { user }: Scene): Promise<string> {
  return until('the call to run', async () => {
    const admissions = await gateway.live.admissions()
    return admissions.find(({ userId }) => userId === user.id)?.callId
  })
}

/** Resolves when the upstream has begun to answer, and a client of a stream has got some of it. */
async function answerBegins({ gateway, upstream }: TestGateway, { accounts }: Scene, { requests }: Wire) {
  const credentials = gateway.directory.account(accounts[0]?.id ?? '')?.credentials()
  const credential = credentials && secretOf(credentials)
  const isOurs = ({ headers }: SeenCall) => headers['x-api-key'] === credential
  const { body } = await until('an answer', () => upstream.seen.find((call) => isOurs(call) && call.bytesSent > 0))
  if (JSON.parse(body).stream) await until('its head', () => requests[0]?.status)
}

const stops = (...statuses: number[]): ClaudeTakes => ({ statuses })
const asksAgain = (...again: number[]): ClaudeTakes => ({ again })
const raises = (ends: string, calls = 1): SdkTakes => ({ ends, calls })

const MODEL_WORDS = /There's an issue with the selected model .*you may not have access to it/
const HELLO = /^You said: say hi/
const OPENS = /\. It opens again in .*, at 20\d\d-.* UTC$/
const BACK = /\. The first is back in .*, at 20\d\d-.* UTC$/

const CALLER: Refusal[] = [
  {
    name: 'a key that nobody knows',
    key: 'sk-nobody',
    sentence: /this API key is not known to the gateway/,
    claude: stops(401),
    sdk: raises('AuthenticationError'),
  },
  {
    name: 'a key that has been revoked',
    before: ({ site }, { apiKey }) =>
      site.store.keys.set({ id: apiKey.id, changes: { status: 'revoked' }, by: 'test' }),
    sentence: /this API key has been revoked/,
    claude: stops(401),
    sdk: raises('AuthenticationError'),
  },
  {
    name: 'a key that has expired',
    scene: () => ({ key: { expiresAtMs: Date.now() - 1000 } }),
    sentence: /this API key expired on 20/,
    claude: stops(401),
    sdk: raises('AuthenticationError'),
  },
  {
    name: 'a user who is disabled',
    before: ({ site }, { user }) => site.store.users.set({ id: user.id, changes: { status: 'disabled' }, by: 'test' }),
    sentence: /the user of this API key is disabled/,
    claude: stops(403),
    sdk: raises('PermissionDeniedError'),
  },
  {
    name: 'an address that is not allowed',
    scene: () => ({ key: { denyIps: ['127.0.0.0/8'] } }),
    sentence: /this API key may not be used from 127\.0\.0\.1/,
    claude: stops(403),
    sdk: raises('PermissionDeniedError'),
  },
  {
    name: 'a group that is closed to the user',
    before: ({ site }, { group }) => site.store.groups.set({ id: group.id, changes: { exclusive: true }, by: 'test' }),
    sentence: /this API key's group '.*' is not open to its user/,
    claude: stops(403),
    sdk: raises('PermissionDeniedError'),
  },
]

const MODELS: Refusal[] = [
  {
    name: 'a model that the key may not use',
    scene: () => ({ key: { models: ['claude-nothing-*'] } }),
    sentence: /this API key may not use the model 'claude-/,
    claude: { statuses: [404, 404], shows: MODEL_WORDS },
    sdk: raises('NotFoundError'),
  },
  {
    name: 'a model that no account serves',
    scene: () => ({ accounts: [{ models: ['other-*'] }] }),
    sentence: /no account of group '.*' serves the model 'claude-/,
    claude: { statuses: [404, 404], shows: MODEL_WORDS },
    sdk: raises('NotFoundError'),
  },
  {
    name: 'a group without accounts',
    scene: () => ({ accounts: [] }),
    sentence: /group '.*' has no accounts: the operator has to attach one/,
    claude: stops(503),
    sdk: raises('ServiceUnavailableError'),
  },
  {
    name: 'accounts that are all paused',
    before: ({ site }, { accounts }) =>
      site.store.accounts.set({ id: accounts[0]?.id ?? '', changes: { status: 'paused' }, by: 'test' }),
    sentence: /every account that serves 'claude-.*' is paused, disabled or expired: the operator has to look/,
    claude: stops(503),
    sdk: raises('ServiceUnavailableError'),
  },
  {
    name: 'accounts that are all meant for another program',
    scene: () => ({ accounts: [{ onlyClient: 'codex' }] }),
    sentence: /every account that serves 'claude-.*' takes only calls that come from codex, and this one does not/,
    claude: stops(503),
    sdk: raises('ServiceUnavailableError'),
  },
]

const ALLOWANCE: Refusal[] = [
  {
    name: 'a balance that is used up',
    on: 'bills',
    sentence: /the balance of .* is used up \(\$0\.00\): ask the operator of this gateway for credit/,
    claude: stops(402),
    sdk: raises('PaymentRequiredError'),
  },
  {
    name: 'a quota that is spent',
    scene: () => ({ key: { quotaNanoUsd: 1000 } }),
    before: use,
    sentence: /this API key has spent its quota of \$0\.000001: ask the operator of this gateway to raise it/,
    claude: stops(402),
    sdk: raises('PaymentRequiredError'),
  },
  {
    name: 'a limit per minute',
    scene: () => ({ key: { limits: limits('requests=1/1m') } }),
    before: use,
    sentence: new RegExp(`this API key has used 1 of the 1 requests that its limit allows in 1m${OPENS.source}`),
    claude: asksAgain(429),
    sdk: { calls: 1, ends: WAITS },
  },
  {
    name: 'a limit per 5 hours',
    scene: () => ({ user: { limits: limits('requests=1/5h') } }),
    before: use,
    sentence: new RegExp(`this user has used 1 of the 1 requests that its limit allows in 5h${OPENS.source}`),
    claude: stops(429),
    sdk: raises('RateLimitError'),
  },
  {
    name: 'a limit of money per month',
    scene: () => ({ group: { name: 'thrifty', limits: limits('usd=0.000001/month') } }),
    before: use,
    sentence: new RegExp(`group '.*' has used \\$.* that its limit allows this month \\(UTC\\).*${OPENS.source}`),
    claude: stops(429),
    sdk: raises('RateLimitError'),
  },
  {
    name: 'a limit of 0',
    scene: () => ({ user: { limits: limits('requests=0/1m') } }),
    sentence: /this user may use no requests at all \(limit 0, used 0\)/,
    claude: stops(429),
    sdk: raises('RateLimitError'),
  },
  {
    name: 'a concurrency of 0',
    scene: () => ({ user: { concurrency: 0 } }),
    sentence: /this user may run no calls at all/,
    claude: stops(429),
    sdk: raises('RateLimitError'),
  },
  {
    name: 'accounts over limits of their own',
    scene: () => ({ accounts: [{ limits: limits('requests=1/5h') }] }),
    before: use,
    sentence: new RegExp(`every upstream account .* has reached a limit of its own.*${OPENS.source}`),
    claude: stops(429),
    sdk: raises('RateLimitError'),
  },
  {
    name: 'a line that is full',
    scene: () => ({ ...NARROW, accounts: [{ scripts: [SILENT] }] }),
    before: (gw, scene) => fill(gw, scene, true),
    sentence: /this user may run 1 call at a time, and its waiting line is full/,
    claude: asksAgain(429),
    sdk: raises('RateLimitError', 3),
  },
  {
    name: 'a wait in vain',
    on: 'impatient',
    scene: () => ({ ...NARROW, accounts: [{ scripts: [SILENT] }] }),
    before: (gw, scene) => fill(gw, scene, false),
    sentence: /this user may run 1 call at a time, and none of them ended while this one waited/,
    claude: asksAgain(429),
    sdk: raises('RateLimitError', 3),
  },
  {
    name: 'more request bodies than one user may have in memory',
    before({ gateway: { running, config } }, { user }) {
      const bytes = config.gateway.bufferedBytesMax / 2
      running.bodies.count(user.id, bytes)
      return () => running.bodies.count(user.id, -bytes)
    },
    sentence: /the gateway holds as many request bodies as it may of one user/,
    claude: asksAgain(429),
    sdk: raises('RateLimitError', 3),
  },
  {
    name: 'a body that is too large',
    on: 'small',
    sentence: /the request body is larger than 2 KiB, the most that this gateway takes/,
    claude: { statuses: [413], shows: /^Request too large/ },
    sdk: raises('ContentTooLargeError'),
  },
]

const UPSTREAM_REFUSES: Refusal[] = [
  {
    name: 'an upstream 400 in words that nobody knows',
    scene: lasting(upstreamError(400, 'invalid_request_error', 'the moon is in the wrong phase')),
    sentence: /the moon is in the wrong phase/,
    // It tries without its own extras.
    claude: stops(400, 400, 400, 400, 400, 400),
    sdk: raises('BadRequestError'),
  },
  {
    name: 'a prompt that is too long',
    scene: lasting(upstreamError(400, 'invalid_request_error', 'prompt is too long: 250000 tokens > 200000 maximum')),
    sentence: /prompt is too long: 250000 tokens > 200000 maximum/,
    claude: { statuses: [400], shows: /^Prompt is too long/ },
    sdk: raises('BadRequestError'),
  },
  {
    name: 'an upstream 404',
    scene: lasting(upstreamError(404, 'not_found_error', 'model: claude-sonnet-5-5')),
    sentence: /model: claude-sonnet-5-5/,
    claude: { statuses: [404, 404], shows: MODEL_WORDS },
    sdk: raises('NotFoundError'),
  },
  {
    name: 'an upstream 413',
    scene: lasting(upstreamError(413, 'request_too_large', 'Request exceeds the maximum size')),
    sentence: /Request exceeds the maximum size/,
    claude: { statuses: [413], shows: /^Request too large/ },
    sdk: raises('ContentTooLargeError'),
  },
  {
    name: 'a credential that the vendor refuses',
    scene: lasting({ status: 401 }),
    sentence: /every account that serves 'claude-.*' is refused by its vendor: the operator has to look/,
    claude: stops(529),
    sdk: raises('OverloadedError'),
  },
  {
    name: 'an account without money',
    scene: lasting({ status: 402 }),
    sentence: /every account that serves 'claude-.*' is refused by its vendor: the operator has to look/,
    claude: stops(529),
    sdk: raises('OverloadedError'),
  },
  {
    name: 'something that no account is allowed to do',
    scene: () => ({
      accounts: Array(2).fill({
        scripts: Array(LASTING).fill(upstreamError(403, 'permission_error', 'Your account may not do this.')),
      }),
    }),
    sentence: /no upstream account may do this \(permission_error\): the operator has to look/,
    claude: stops(529),
    sdk: raises('OverloadedError'),
  },
  {
    name: 'a burst at the vendor',
    scene: lasting({ status: 429 }),
    sentence: new RegExp(`every upstream account that serves 'claude-.*' is at its vendor's rate limit${BACK.source}`),
    claude: asksAgain(429),
    sdk: { calls: 1, ends: WAITS },
  },
  {
    name: 'a vendor’s window that is full for hours',
    scene: lasting({
      status: 429,
      headers: {
        'anthropic-ratelimit-unified-status': 'rejected',
        'anthropic-ratelimit-unified-5h-status': 'rejected',
        'anthropic-ratelimit-unified-5h-utilization': '1',
        'anthropic-ratelimit-unified-5h-reset': String(Math.ceil(Date.now() / 1000) + 7200),
      },
    }),
    sentence: new RegExp(`every upstream account that serves 'claude-.*' is at its vendor's rate limit${BACK.source}`),
    claude: stops(429),
    sdk: raises('RateLimitError'),
  },
]

const UPSTREAM_FAILS: Refusal[] = [
  {
    name: 'an upstream that is overloaded once',
    on: 'unrepeating',
    scene: once({ status: 529 }),
    sentence: HELLO,
    claude: { statuses: [529, 200], answered: true },
    sdk: { calls: 2, ends: ANSWERED },
  },
  {
    name: 'an upstream that stays overloaded',
    scene: lasting({ status: 529 }),
    sentence: /no upstream account could answer \(overloaded_error\): it answered 529/,
    claude: asksAgain(529),
    sdk: raises('OverloadedError', 3),
  },
  {
    name: 'an upstream that stays broken',
    scene: lasting({ status: 500 }),
    sentence: /no upstream account could answer \(api_error\): it answered 500/,
    claude: asksAgain(529),
    sdk: raises('OverloadedError', 3),
  },
  {
    name: 'a page instead of an answer',
    scene: lasting({
      status: 502,
      headers: { 'content-type': 'text/html' },
      body: '<html><h1>Bad Gateway</h1></html>',
    }),
    sentence: /no upstream account could answer \(http_502\): it answered 502/,
    claude: asksAgain(529),
    sdk: raises('OverloadedError', 3),
  },
  {
    name: 'an empty stream',
    scene: lasting({ status: 200, headers: { 'content-type': 'text/event-stream' }, body: '' }),
    sentence: /no upstream account could answer \(invalid_answer\): it sent no answer that can be used/,
    claude: asksAgain(529),
    sdk: raises('OverloadedError', 3),
  },
  {
    name: 'an upstream that cannot be reached',
    // Nothing listens on this port.
    scene: () => ({ accounts: [{ baseUrl: 'http://127.0.0.1:9' }] }),
    sentence: /no upstream account could answer \(connect_failed\): it could not be reached/,
    claude: asksAgain(529),
    sdk: raises('OverloadedError', 3),
  },
  {
    name: 'an upstream that does not begin to answer',
    on: 'hurried',
    scene: lasting({ headDelayMs: 'forever' }),
    sentence: /no upstream account could answer \(timed_out\): it did not answer in time/,
    claude: asksAgain(529),
    // It may be in the making, and is not asked for again.
    sdk: { calls: 1, ends: 'GatewayTimeoutError', message: /the upstream did not answer in time/ },
    stream: raises('OverloadedError', 3),
  },
  {
    name: 'a stream that is cut once',
    on: 'unrepeating',
    scene: once(brokenStream('mid_event')),
    sentence: /the upstream's answer was cut off/,
    claude: { statuses: [200, 200], shows: HELLO, answered: true },
    sdk: { calls: 2, ends: ANSWERED },
    stream: raises('APIError'),
  },
  {
    name: 'streams that are cut again and again',
    scene: lasting(brokenStream('mid_event')),
    sentence: /no upstream account could answer \(connection_reset\): it closed the connection/,
    claude: asksAgain(200, 529),
    sdk: raises('OverloadedError', 3),
    stream: { calls: 1, ends: 'APIError', message: /the upstream's answer was cut off/ },
  },
  {
    name: 'a stream that falls silent',
    on: 'hurried',
    scene: once(SILENT),
    sentence: /the upstream fell silent/,
    claude: { statuses: [200, 200], shows: HELLO, answered: true },
    sdk: { calls: 1, ends: 'GatewayTimeoutError', message: /the upstream did not answer in time/ },
    stream: raises('APIError'),
  },
  {
    name: 'an error event inside a stream',
    on: 'unrepeating',
    scene: once(brokenStream('error_event')),
    sentence: /Overloaded/,
    claude: { statuses: [200, 200], shows: HELLO, answered: true },
    sdk: { calls: 2, ends: ANSWERED },
    stream: raises('APIError'),
  },
]

const GATEWAY: Refusal[] = [
  {
    name: 'a gateway that takes no new calls any more',
    on: 'draining',
    sentence: /the gateway is shutting down/,
    claude: asksAgain(503),
    sdk: raises('ServiceUnavailableError', 3),
  },
  {
    name: 'a gateway that stops under a call',
    on: 'stopping',
    scene: once(SILENT),
    meanwhile: async (gw, scene, wire) => {
      await answerBegins(gw, scene, wire)
      await gw.daemon.drain()
    },
    sentence: /the gateway is shutting down/,
    // Nobody listens any more.
    claude: { again: [200, 0], shows: /Unable to connect|Connection|ECONNREFUSED/ },
    sdk: { calls: 3, ends: 'APIConnectionError', message: /Connection error/ },
    stream: raises('APIError'),
  },
  {
    name: 'a call that the operator ends before it is answered',
    scene: once({ headDelayMs: 'forever' }),
    meanwhile: async (gw, scene) => gw.gateway.running.release(await runningCall(gw, scene)),
    sentence: /the operator of this gateway has ended this call/,
    claude: stops(503),
    sdk: raises('ServiceUnavailableError'),
  },
  {
    name: 'a call that the operator ends in the middle of its answer',
    scene: once(SILENT),
    meanwhile: async (gw, scene, wire) => {
      await answerBegins(gw, scene, wire)
      gw.gateway.running.release(await runningCall(gw, scene))
    },
    sentence: /the operator of this gateway has ended this call/,
    claude: { statuses: [200, 200], shows: HELLO, answered: true },
    sdk: raises('ServiceUnavailableError'),
    stream: raises('APIError'),
  },
  {
    name: 'charges that cannot be stored',
    on: 'guarded',
    scene: () => ({ user: { balanceNanoUsd: 5_000_000_000 } }),
    before({ gateway: { guard, config } }) {
      for (let i = 0; i < config.guard.failureThreshold; i++) guard.failed()
    },
    sentence: /the gateway cannot store charges at the moment and takes no calls until it can/,
    claude: asksAgain(503),
    sdk: { calls: 1, ends: WAITS },
  },
  {
    name: 'a record that cannot be stored',
    on: 'bookless',
    sentence: /the gateway cannot keep its books at the moment; try again shortly/,
    // It takes an answer for whole that has a stop reason.
    claude: { statuses: [200], shows: HELLO, answered: true },
    sdk: raises('ServiceUnavailableError', 3),
    stream: raises('APIError'),
  },
  {
    name: 'a mistake of the gateway',
    on: 'buggy',
    sentence: /the gateway made a mistake; its log tells more under this call id/,
    claude: asksAgain(500),
    sdk: raises('InternalServerError', 3),
  },
]

export const refusals: Refusal[] = [
  ...CALLER,
  ...MODELS,
  ...ALLOWANCE,
  ...UPSTREAM_REFUSES,
  ...UPSTREAM_FAILS,
  ...GATEWAY,
]

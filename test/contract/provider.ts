import fc from 'fast-check'
import type { Test } from 'tap'
import { type Account, type Credentials, secretOf, type VendorWindow } from '../../src/domain/account.ts'
import type { UpstreamFault } from '../../src/domain/fault.ts'
import type { Headers } from '../../src/protocols/protocol.ts'
import type { Forwarded, Operation, Provider } from '../../src/providers/provider.ts'
import { keepSecret, secretKey } from '../support/secrets.ts'

type Expected = Partial<Omit<UpstreamFault, 'upstreamBody' | 'upstreamHeaders'>>

/** An answer that is a fault, and whose. */
export interface FaultSample {
  name: string
  status: number
  headers?: Headers
  /** An object is sent as JSON. */
  body: string | object
  expected: Expected
}

/** When samples of headers that name a time were taken: Wed, 25 Nov 2026 10:00:00 GMT. */
export const NOW_MS = Date.UTC(2026, 10, 25, 10)

/** A head that tells of windows. */
export interface WindowSample {
  name: string
  headers: Headers
  expected: Omit<VendorWindow, 'source' | 'sampledAtMs'>[]
}

/** What is particular to a provider in the tests that every provider passes. */
export interface ProviderSamples {
  operations: Partial<Record<Operation, { method: 'GET' | 'POST'; path: string }>>
  /** What else the gateway tells of a request, where its path says what is asked for. */
  asked?(operation: Operation): Partial<Forwarded>
  /** By what accounts sign; absent = an API key. */
  credentials?: Credentials
  /** Requests go in an envelope, and so not as they came. */
  enveloped?: true
  /** Operations that ask for a list in another way than a client's query does. */
  withoutQuery?: Operation[]
  /** Client headers that go on as they are. */
  forwarded: Record<string, string>
  /** The header that signs a call, made from the API key. */
  signature(apiKey: string): [name: string, value: string]
  faults: FaultSample[]
  streamFaults: { name: string; data: string | object; expected: Expected }[]
  windows: WindowSample[]
  models: { body: string; ids: string[] }
}

/** What a client may send and nobody else may see: its own credentials, its address, how it talks to us. */
const NEVER_FORWARDED = [
  'authorization',
  'x-api-key',
  'x-goog-api-key',
  'cookie',
  'proxy-authorization',
  'api-key',
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'host',
  'content-length',
  'content-encoding',
  'accept-encoding',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
  'cf-connecting-ip',
  'via',
  'true-client-ip',
  'origin',
  'referer',
  'x-subgate-timing',
  'x-request-id',
  'traceparent',
  'x-session-affinity',
  'idempotency-key',
  'constructor',
  'tostring',
]

/** What a fault is unless it says more. */
const PLAIN = { retryAfterMs: null, restUntilMs: null, scope: 'account', disables: false, mayBeRunning: false } as const

export function providerContract(t: Test, provider: Provider, samples: ProviderSamples): void {
  const credentials: Credentials = samples.credentials ?? { kind: 'api_key', apiKey: secretKey() }
  const account = (changes: Partial<Account> = {}): Account => ({
    id: 'acc_1',
    provider: provider.name,
    name: 'a',
    baseUrl: 'https://upstream.example/prefix',
    status: 'active',
    statusReason: null,
    priority: 50,
    weight: 100,
    limits: [],
    concurrency: null,
    models: [],
    modelMap: {},
    onlyClient: null,
    hybrid: false,
    pauseAt: [],
    headers: {},
    expiresAtMs: null,
    rest: null,
    modelRests: [],
    restRules: [],
    deadlines: {},
    windows: [],
    wokenAtMs: null,
    last4: '',
    createdAtMs: 0,
    ...changes,
  })
  const BODY = Buffer.from('{"model":"m"}')
  const operations = Object.keys(samples.operations) as Operation[]

  /** The request that a call becomes, its headers as pairs. */
  function built(operation: Operation, headers: Headers, query = '', of = account()) {
    const request = provider.request(
      operation,
      { headers, query, ...samples.asked?.(operation) },
      of,
      credentials,
      BODY,
    )
    const pairs = Array.from({ length: request.headers.length / 2 }, (_, i) => request.headers.slice(2 * i, 2 * i + 2))
    return { ...request, pairs, get: (name: string) => pairs.filter(([key]) => key === name).map(([, value]) => value) }
  }

  t.test(
    'each operation goes to its place under the account’s base URL, with the client’s query and bytes',
    async (t) => {
      for (const operation of operations) {
        const request = built(operation, {}, '?beta=true&x=%20')
        const { method, path } = samples.operations[operation] as { method: 'GET' | 'POST'; path: string }
        const query = samples.withoutQuery?.includes(operation) ? '' : '?beta=true&x=%20'
        t.match(request, { method, path: path + query, baseUrl: 'https://upstream.example/prefix' })
        const signed = built(operation as Operation, {}, '?key=sk-own&x=1&access_token=sk-own')
        t.notMatch(signed.path, /sk-own/, 'but for what the client signs with')
        if (!samples.enveloped) t.equal(request.body, BODY, 'the same buffer, not a copy')
        t.equal(built(operation, {}).path, path)
      }
    },
  )

  t.test('nothing that is between the client and us goes on', async (t) => {
    const secrets = NEVER_FORWARDED.map((name) => [name, keepSecret(`secret-of-${name}-${Math.random()}`)])
    for (const operation of operations) {
      const request = built(operation, Object.fromEntries(secrets))
      const sent = JSON.stringify(request.pairs)
      t.same(
        secrets.filter(([, secret]) => sent.includes(secret as string)),
        [],
      )
      const [name, value] = samples.signature(secretOf(credentials))
      t.same(request.get(name), [value], 'signed once, with the account’s key')
      t.same(request.get('accept-encoding'), ['identity'])
    }
  })

  t.test('what the vendor’s clients say of themselves goes on unchanged, known or not', async (t) => {
    for (const operation of operations) {
      const request = built(operation, { ...samples.forwarded, 'accept-language': 'x', 'x-unknown': 'y' })
      const missing = Object.entries(samples.forwarded).filter(([name, value]) => request.get(name).join() !== value)
      t.same(missing, [])
      t.same([...request.get('accept-language'), ...request.get('x-unknown')], [])
    }
    const [first] = Object.keys(samples.forwarded) as [string]
    t.same(built('messages', { [first]: ['a', 'b'] }).get(first), ['a', 'b'], 'a repeated header stays repeated')
    t.same(built('messages', { [first]: undefined }).get(first), [])
  })

  t.test('the account’s own headers win over the client’s and ours, and no header is sent twice', async (t) => {
    const names = [...Object.keys(samples.forwarded), 'accept-encoding', 'x-of-the-operator']
    const headers = Object.fromEntries(names.map((name) => [name, `account's ${name}`]))
    for (const operation of operations) {
      const request = built(operation, samples.forwarded, '', account({ headers }))
      t.same(
        names.filter((name) => request.get(name).join() !== headers[name]),
        [],
      )
      const sent = request.pairs.map(([name]) => name?.toLowerCase())
      t.equal(new Set(sent).size, sent.length)
    }
  })

  t.test('headers are fit to be sent', async (t) => {
    const { pairs } = built('messages', samples.forwarded)
    t.same(
      pairs.filter(
        ([name, value]) => !/^[a-z0-9-]+$/.test(name as string) || typeof value !== 'string' || /[\r\n\0]/.test(value),
      ),
      [],
    )
  })

  t.test('whose fault an answer is', async (t) => {
    for (const { name, status, headers = {}, body, expected } of samples.faults) {
      const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
      const fault = provider.readFault({ status, headers }, bytes, NOW_MS)
      t.match(fault, { ...PLAIN, ...expected }, name)
      t.equal(fault.upstreamStatus, status)
      t.equal(fault.upstreamHeaders, headers)
      t.ok(bytes.equals(fault.upstreamBody as Uint8Array), `${name}: the body is kept as it came`)
    }
  })

  t.test('whose fault an error event is', async (t) => {
    for (const { name, data, expected } of samples.streamFaults) {
      const fault = provider.readStreamFault({
        name: 'error',
        data: typeof data === 'string' ? data : JSON.stringify(data),
      })
      t.match(fault, { ...PLAIN, upstreamStatus: 200, ...expected }, name)
    }
  })

  t.test('whatever an upstream says, it is somebody’s fault, in a few words without a credential', async (t) => {
    const key = secretKey()
    const types = ['constructor', '__proto__', 'toString', '', 'x'.repeat(1000), 'a\nb', key, null, 7, {}, []]
    const messages = ['', key, 'm'.repeat(1_000_000), null, 7, {}]
    const bodies = [
      '',
      'null',
      '[]',
      '7',
      '"x"',
      '{',
      '\u0000\u00ff',
      '{"error":null}',
      '{"error":[]}',
      '{"error":"text"}',
      '{"type":"error"}',
      '{"error":{"type":"invalid_request_error","message":"x","details":null}}',
      '{"error":{"type":"invalid_request_error","message":"x","details":7}}',
      ...types.flatMap((type) =>
        messages.map((message) => JSON.stringify({ type: 'error', error: { type, message } })),
      ),
    ]
    const wrong: string[] = []
    const check = (of: string, fault: UpstreamFault) => {
      const { blame, rest, reason, message } = fault
      const isKnown = ['request', 'account', 'upstream', 'client'].includes(blame)
      const restIsKnown = [null, 'credential', 'funds', 'rate_limit', 'overload'].includes(rest)
      const isShort = /^[\w.-]{1,64}$/.test(reason) && message.length > 0 && message.length <= 1000
      if (!isKnown || !restIsKnown || !isShort || (message + reason).includes(key)) wrong.push(of.slice(0, 100))
    }
    for (const body of bodies) {
      for (const status of [200, 302, 400, 401, 403, 404, 418, 429, 500, 529, 599]) {
        check(`${status} ${body}`, provider.readFault({ status, headers: {} }, Buffer.from(body), NOW_MS))
      }
      check(`event ${body}`, provider.readStreamFault({ name: 'error', data: body }))
    }
    t.same(wrong.slice(0, 5), [])
  })

  t.test('when to come back is a number of seconds or a date, and nothing else', async (t) => {
    const date = 'Wed, 25 Nov 2026 10:00:00 GMT'
    const cases: [Headers, number | null][] = [
      [{ 'retry-after': '30' }, 30_000],
      [{ 'retry-after': ' 0 ' }, 0],
      [{ 'retry-after': '1.5' }, 1500],
      [{ 'retry-after': 'Wed, 25 Nov 2026 10:01:30 GMT', date }, 90_000],
      [{ 'retry-after': 'Wed, 25 Nov 2026 09:00:00 GMT', date }, 0],
      [{ 'retry-after': 'Wednesday, 25-Nov-26 10:00:10 GMT', date }, 10_000],
      [{ 'retry-after': 'Wed, 25 Nov 2026 10:01:30 GMT' }, null],
      [{ 'retry-after': 'Wed, 25 Nov 2026 10:01:30 GMT', date: 'never' }, null],
      ...['', '-1', '-5', 'Infinity', 'NaN', '1e3', '0x10', '9'.repeat(400), 'soon', '1 2'].map(
        (value): [Headers, null] => [{ 'retry-after': value, date }, null],
      ),
      [{ 'retry-after': ['1', '2'] }, null],
      [{}, null],
    ]
    t.same(
      cases.map(([headers]) => provider.readFault({ status: 429, headers }, Buffer.from(''), NOW_MS).retryAfterMs),
      cases.map(([, ms]) => ms),
    )
  })

  t.test('what a head tells of windows', async (t) => {
    for (const { name, headers, expected } of samples.windows) {
      const windows = provider.readWindows({ status: 200, headers }, NOW_MS)
      const whole = expected.map((window) => ({ ...window, source: 'headers', sampledAtMs: NOW_MS }))
      const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name)
      t.same([...windows].sort(byName), [...whole].sort(byName), name)
    }
  })

  t.test('whatever stands in such headers, windows are windows, and a rest ends within the longest', async () => {
    const names = [...new Set(samples.windows.flatMap(({ headers }) => Object.keys(headers)))]
    const values = samples.windows.flatMap(({ headers }) => Object.values(headers))
    const value = fc.oneof(
      fc.constantFrom(...values),
      fc.string(),
      fc.double().map(String),
      fc.integer().map(String),
      fc.date().map((date) => (Number.isNaN(date.getTime()) ? 'never' : date.toISOString())),
      fc.constantFrom(undefined, ['1', '2'], '', '-1', 'NaN', 'Infinity', '1e9', '0x1', '9'.repeat(400), 'rejected'),
    )
    const header = fc.oneof(fc.constantFrom(...names), fc.string())
    const property = fc.property(fc.array(fc.tuple(header, value), { maxLength: 30 }), (pairs) => {
      const head = { status: 429, headers: Object.fromEntries(pairs) as Headers }
      const ends = provider.readWindows(head, NOW_MS).map(({ name, used, resetAtMs, lengthMs }) => {
        if (!/^[a-z0-9_]{1,64}$/.test(name) || !(used >= 0 && used <= 1)) throw new Error(`${name} ${used}`)
        if (lengthMs !== null && !(lengthMs > 0)) throw new Error(`${name} lasts ${lengthMs}`)
        return resetAtMs
      })
      const { restUntilMs } = provider.readFault(head, Buffer.from(''), NOW_MS)
      for (const ms of restUntilMs === null ? ends : [...ends, restUntilMs]) {
        if (!Number.isFinite(ms) || Math.abs(ms - NOW_MS) > 32 * 86_400_000) throw new Error(`${ms}`)
      }
      if (restUntilMs !== null && restUntilMs <= NOW_MS) throw new Error('a rest that is over')
    })
    fc.assert(property, { numRuns: 3000 })
  })

  t.test('a model list is read for what it lists, and refused if it is none', async (t) => {
    t.same(
      provider.readModels(Buffer.from(samples.models.body)).map(({ id }) => id),
      samples.models.ids,
    )
    for (const body of ['', '{}', '[]', 'null', '<html>', '{"data":7}'])
      t.throws(() => provider.readModels(Buffer.from(body)), body)
  })
}

import t from 'tap'
import { ERROR_STATUS, type ErrorCode, GatewayError } from '../../../src/domain/errors.ts'
import type { LimitWindow } from '../../../src/domain/limit.ts'
import { renderMessagesError, renderMessagesStreamError } from '../../../src/protocols/anthropic-messages/errors.ts'
import { renderLimitHeaders } from '../../../src/protocols/anthropic-messages/limits.ts'

t.test('each code has the status and the type by which Anthropic’s clients behave', async (t) => {
  const expected: Record<ErrorCode, [number, string]> = {
    invalid_request: [400, 'invalid_request_error'],
    unauthenticated: [401, 'authentication_error'],
    insufficient_funds: [402, 'billing_error'],
    forbidden: [403, 'permission_error'],
    not_found: [404, 'not_found_error'],
    conflict: [409, 'conflict_error'],
    too_large: [413, 'request_too_large'],
    limited: [429, 'rate_limit_error'],
    internal: [500, 'api_error'],
    not_supported: [501, 'not_supported'],
    overloaded: [529, 'overloaded_error'],
    unavailable: [503, 'api_error'],
    timed_out: [504, 'timeout_error'],
  }
  const rendered = Object.keys(ERROR_STATUS).map((code) => {
    const { status, headers, body } = renderMessagesError(new GatewayError(code as ErrorCode, 'why'), 'call_1')
    const { type, error, request_id } = JSON.parse(body.toString())
    t.same([type, error.message, request_id, headers['request-id']], ['error', 'why', 'call_1', 'call_1'], code)
    return [code, [status, error.type]]
  })
  t.same(Object.fromEntries(rendered), expected)
})

t.test('waiting times are told in whole seconds, rounded up', async (t) => {
  const told = (retryAfterMs: number) =>
    renderMessagesError(new GatewayError('limited', 'x', { retryAfterMs }), 'c').headers['retry-after']
  t.same([0, 1, 999, 1000, 1001, 3_600_000].map(told), ['0', '1', '1', '1', '2', '3600'])
})

t.test('a wait of more than a minute is no wait: clients are told to stop', async (t) => {
  const told = (code: ErrorCode, retryAfterMs: number) => {
    const { headers } = renderMessagesError(new GatewayError(code, 'x', { retryAfterMs }), 'c')
    return [headers['retry-after'], headers['x-should-retry']]
  }
  for (const code of ['limited', 'overloaded', 'unavailable'] as const) {
    t.same(
      [59_000, 60_000, 61_000].map((ms) => told(code, ms)),
      Array(3).fill(['59', undefined]),
      code,
    )
    t.same(told(code, 61_001), ['62', 'false'], code)
  }
})

t.test('inside a stream an error is an event with its name on a line of its own', async (t) => {
  const event = renderMessagesStreamError(new GatewayError('overloaded', 'why'), 'call_1').toString()
  const [name, data, ...rest] = event.split('\n')
  t.equal(name, 'event: error')
  t.same(JSON.parse((data as string).slice('data: '.length)), {
    type: 'error',
    error: { type: 'overloaded_error', message: 'why' },
    request_id: 'call_1',
  })
  t.same(rest, ['', ''])
})

t.test(
  'a limit of the caller’s own that opens in a moment is waited for; a longer one is a cap that clients show',
  async (t) => {
    const sliding = (ms: number): LimitWindow => ({ kind: 'sliding', ms })
    const render = (retryAfterMs: number, usedUp: LimitWindow) => {
      const error = new GatewayError('limited', 'this API key has used 5 of 5', { retryAfterMs, usedUp })
      const { status, headers, body } = renderMessagesError(error, 'call_1')
      return { status, headers, error: JSON.parse(body.toString()).error }
    }
    t.same(render(59_000, sliding(86_400_000)), {
      status: 429,
      headers: { 'request-id': 'call_1', 'retry-after': '59' },
      error: { type: 'rate_limit_error', message: 'this API key has used 5 of 5' },
    })
    t.match(
      render(61_000, sliding(60_000)),
      { headers: { 'retry-after': '59', 'x-should-retry': undefined }, error: { type: 'rate_limit_error' } },
      'a whole minute is told as what SDKs obey',
    )
    t.same(render(61_001, sliding(120_000)), {
      status: 429,
      headers: {
        'request-id': 'call_1',
        'retry-after': '62',
        'x-should-retry': 'false',
        'anthropic-ratelimit-unified-status': 'rejected',
        'anthropic-ratelimit-unified-overage-period': 'daily',
        'anthropic-ratelimit-unified-overage-disabled-reason': 'org_spend_cap_reached',
      },
      error: { type: 'billing_error', message: 'this API key has used 5 of 5' },
    })
    const day = 86_400_000
    const calendar = (unit: 'day' | 'week' | 'month'): LimitWindow => ({ kind: 'calendar', unit, timeZone: 'UTC' })
    const windows = [sliding(1000), sliding(day), sliding(day + 1000), sliding(7 * day), sliding(30 * day)]
    t.same(
      [...windows, calendar('day'), calendar('week'), calendar('month')].map(
        (window) => render(day, window).headers['anthropic-ratelimit-unified-overage-period'],
      ),
      ['daily', 'daily', 'weekly', 'weekly', 'monthly', 'daily', 'weekly', 'monthly'],
    )
  },
)

t.test('an answer’s head tells how much of a limit of money is used', async (t) => {
  const window: LimitWindow = { kind: 'sliding', ms: 86_400_000 }
  const told = (used: number, max = 1000, resetAtMs: number | null = 1_700_000_000_001) => {
    const limit = { metric: 'usd' as const, max, window }
    return renderLimitHeaders({ subject: 'key', subjectId: 'key_1', limit, used, resetAtMs })
  }
  const name = (last: string) => `anthropic-ratelimit-unified-${last}`
  t.same(told(829), {
    [name('status')]: 'allowed_warning',
    [name('representative-claim')]: 'overage',
    [name('overage-status')]: 'allowed_warning',
    [name('overage-utilization')]: '0.82',
    [name('overage-surpassed-threshold')]: '0.75',
    [name('reset')]: '1700000001',
    [name('overage-reset')]: '1700000001',
  })
  t.same(told(749, 1000, null), {
    [name('status')]: 'allowed',
    [name('representative-claim')]: 'overage',
    [name('overage-status')]: 'allowed',
    [name('overage-utilization')]: '0.74',
  })
  t.match(told(5000), { [name('overage-utilization')]: '1', [name('overage-surpassed-threshold')]: '0.95' })
  t.match(told(0, 0), { [name('overage-utilization')]: '1' })
})

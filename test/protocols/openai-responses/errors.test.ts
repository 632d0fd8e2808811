import t from 'tap'
import { ERROR_STATUS, type ErrorCode, GatewayError } from '../../../src/domain/errors.ts'
import type { LimitWindow } from '../../../src/domain/limit.ts'
import { renderOpenaiError } from '../../../src/protocols/openai/errors.ts'
import { renderResponsesStreamError } from '../../../src/protocols/openai-responses/errors.ts'

t.test('each code has the status, type and code by which OpenAI’s clients behave', async (t) => {
  const expected: Record<ErrorCode, [number, string, string | null]> = {
    invalid_request: [400, 'invalid_request_error', null],
    unauthenticated: [401, 'invalid_request_error', 'invalid_api_key'],
    insufficient_funds: [429, 'insufficient_quota', 'insufficient_quota'],
    forbidden: [403, 'permission_error', 'forbidden'],
    not_found: [404, 'invalid_request_error', 'model_not_found'],
    conflict: [409, 'invalid_request_error', 'conflict'],
    too_large: [413, 'invalid_request_error', 'request_too_large'],
    limited: [429, 'rate_limit_error', 'rate_limit_exceeded'],
    internal: [500, 'server_error', 'server_error'],
    not_supported: [404, 'invalid_request_error', 'not_supported'],
    overloaded: [503, 'server_error', 'server_is_overloaded'],
    unavailable: [503, 'server_error', 'unavailable'],
    timed_out: [504, 'server_error', 'timeout'],
  }
  const rendered = Object.keys(ERROR_STATUS).map((code) => {
    const { status, headers, body } = renderOpenaiError(new GatewayError(code as ErrorCode, 'why'), 'call_1')
    const { error } = JSON.parse(body.toString())
    t.same([error.message, error.param, headers['x-request-id']], ['why', null, 'call_1'], code)
    return [code, [status, error.type, error.code]]
  })
  t.same(Object.fromEntries(rendered), expected)
})

t.test('a limit that opens in a moment is waited for; a longer one is a used-up plan', async (t) => {
  const window: LimitWindow = { kind: 'sliding', ms: 86_400_000 }
  const render = (retryAfterMs: number) => {
    const error = new GatewayError('limited', 'this key has used 5 of 5', { retryAfterMs, usedUp: window })
    const { status, headers, body } = renderOpenaiError(error, 'call_1')
    return { status, headers, error: JSON.parse(body.toString()).error }
  }
  t.same(render(61_000), {
    status: 429,
    headers: { 'x-request-id': 'call_1', 'retry-after': '59' },
    error: {
      message: 'this key has used 5 of 5',
      type: 'rate_limit_error',
      param: null,
      code: 'rate_limit_exceeded',
    },
  })
  t.same(render(7_200_000), {
    status: 429,
    headers: { 'x-request-id': 'call_1', 'retry-after': '7200', 'x-should-retry': 'false' },
    error: {
      message: 'this key has used 5 of 5',
      type: 'usage_limit_reached',
      param: null,
      code: 'insufficient_quota',
      resets_in_seconds: 7200,
    },
  })
})

t.test('who has to wait for longer than SDKs obey is told to stop', async (t) => {
  const told = (retryAfterMs: number) =>
    renderOpenaiError(new GatewayError('overloaded', 'x', { retryAfterMs }), 'c').headers
  t.same(told(60_500), { 'x-request-id': 'c', 'retry-after': '59' })
  t.same(told(61_001), { 'x-request-id': 'c', 'retry-after': '62', 'x-should-retry': 'false' })
})

t.test('a status that the operator wants is the status', async (t) => {
  t.equal(renderOpenaiError(new GatewayError('overloaded', 'x', { status: 418 }), 'c').status, 418)
})

t.test('inside a stream an error is an event that both SDKs and Codex take for one', async (t) => {
  const told = (error: GatewayError) => {
    const [name, data, ...rest] = renderResponsesStreamError(error, 'call_1').toString().split('\n')
    t.same([name, rest], ['event: error', ['', '']])
    return JSON.parse((data as string).slice('data: '.length))
  }
  t.same(told(new GatewayError('overloaded', 'why')), {
    type: 'response.failed',
    response: {
      id: 'call_1',
      object: 'response',
      status: 'failed',
      error: { code: 'server_error', message: 'why' },
      output: [],
      usage: null,
    },
    error: { message: 'why', type: 'server_error', param: null, code: 'server_is_overloaded' },
  })
  const code = (error: ErrorCode) => told(new GatewayError(error, 'x')).response.error.code
  t.same(
    (['timed_out', 'limited', 'insufficient_funds', 'forbidden', 'invalid_request'] as const).map(code),
    ['server_error', 'rate_limit_exceeded', 'insufficient_quota', 'invalid_prompt', 'invalid_prompt'],
    'by which Codex asks again, waits, or stops',
  )
})

import t from 'tap'
import { ERROR_STATUS, type ErrorCode, GatewayError } from '../../../src/domain/errors.ts'
import { renderMessagesError, renderMessagesStreamError } from '../../../src/protocols/anthropic-messages/errors.ts'

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

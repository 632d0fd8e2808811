import t from 'tap'
import { ERROR_STATUS, type ErrorCode, GatewayError } from '../../../src/domain/errors.ts'
import { renderGeminiError, renderGeminiStreamError } from '../../../src/protocols/gemini/errors.ts'

t.test('each code has the status and the word by which Google’s clients behave', async (t) => {
  const expected: Record<ErrorCode, [number, string]> = {
    invalid_request: [400, 'INVALID_ARGUMENT'],
    unauthenticated: [401, 'UNAUTHENTICATED'],
    insufficient_funds: [403, 'PERMISSION_DENIED'],
    forbidden: [403, 'PERMISSION_DENIED'],
    not_found: [404, 'NOT_FOUND'],
    conflict: [409, 'ABORTED'],
    too_large: [413, 'INVALID_ARGUMENT'],
    limited: [429, 'RESOURCE_EXHAUSTED'],
    internal: [500, 'INTERNAL'],
    not_supported: [501, 'UNIMPLEMENTED'],
    overloaded: [503, 'UNAVAILABLE'],
    unavailable: [503, 'UNAVAILABLE'],
    timed_out: [504, 'DEADLINE_EXCEEDED'],
  }
  const rendered = Object.keys(ERROR_STATUS).map((code) => {
    const { status, body } = renderGeminiError(new GatewayError(code as ErrorCode, 'why'), 'call_1')
    const { error } = JSON.parse(body.toString())
    t.same([error.code, error.message, 'details' in error], [status, 'why', false], code)
    return [code, [status, error.status]]
  })
  t.same(Object.fromEntries(rendered), expected)
})

t.test('how long to wait is told in the way that Gemini CLI reads', async (t) => {
  const { headers, body } = renderGeminiError(new GatewayError('limited', 'x', { retryAfterMs: 3_600_001 }), 'call_1')
  t.equal(headers['retry-after'], '3601')
  t.same(JSON.parse(body.toString()).error.details, [
    { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '3601s' },
  ])
})

t.test('the operator’s status is the one that the body names', async (t) => {
  const { status, body } = renderGeminiError(new GatewayError('forbidden', 'x', { status: 418 }), 'call_1')
  t.same([status, JSON.parse(body.toString()).error.code], [418, 418])
})

t.test('inside a stream an error is data like any other', async (t) => {
  const event = renderGeminiStreamError(new GatewayError('overloaded', 'why'), 'call_1').toString()
  t.equal(event, 'data: {"error":{"code":503,"message":"why","status":"UNAVAILABLE"}}\n\n')
})

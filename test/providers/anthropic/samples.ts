import { type FaultSample, NOW_MS, type ProviderSamples, type WindowSample } from '../../contract/provider.ts'

/** Answers of Anthropic's API and of what stands in front of it, with whose fault they are. */

const error = (type: string, message: string, details?: object) => ({
  type: 'error',
  error: { type, message, ...(details && { details }) },
  request_id: 'req_011CbrFTcXhtiMzr3s6EocF7',
})

const PAGE = '<!DOCTYPE html>\n<html><head><title>Bad Gateway</title></head><body>cloudflare</body></html>'

const REQUEST = { blame: 'request', rest: null } as const
const CREDENTIAL = { blame: 'account', rest: 'credential' } as const
const NOT_THIS = { blame: 'account', rest: null } as const
const FUNDS = { blame: 'account', rest: 'funds' } as const
const RATE_LIMIT = { blame: 'account', rest: 'rate_limit' } as const
const OVERLOAD = { blame: 'upstream', rest: 'overload' } as const

const LOW_BALANCE =
  'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.'
const SPENT = 'You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.'

/** An answer with one of Anthropic's own errors. */
const typed = (status: number, type: string, message: string, expected: FaultSample['expected']): FaultSample => ({
  name: `${status} ${type}: ${message}`,
  status,
  body: error(type, message),
  expected: { reason: type, message, ...expected },
})

/** An answer that is not Anthropic's, or not as it is known to be. */
const other = (status: number, body: string | object, expected: FaultSample['expected']): FaultSample => ({
  name: `${status} ${JSON.stringify(body)}`,
  status,
  body,
  expected,
})

const faults: FaultSample[] = [
  typed(400, 'invalid_request_error', 'prompt is too long: 210000 tokens > 200000 maximum', REQUEST),
  typed(400, 'invalid_request_error', "messages.1.role: Input should be 'user' or 'assistant'", REQUEST),
  typed(400, 'invalid_request_error', 'context_management: Extra inputs are not permitted', REQUEST),
  typed(404, 'not_found_error', 'model: claude-nothing', REQUEST),
  typed(409, 'conflict_error', 'The request conflicts with another.', REQUEST),
  typed(413, 'request_too_large', 'Request exceeds the maximum size', REQUEST),
  typed(422, 'invalid_request_error', 'Unprocessable', REQUEST),
  typed(501, 'not_supported', 'count_tokens is not available here', REQUEST),
  other(422, { detail: 'a field is missing' }, { ...REQUEST, reason: 'http_422' }),
  other(404, { detail: 'Not Found' }, { ...REQUEST, reason: 'http_404' }),
  other(413, '<html><center>413 Request Entity Too Large</center></html>', REQUEST),

  typed(401, 'authentication_error', 'invalid x-api-key', CREDENTIAL),
  typed(401, 'permission_error', 'Not with this key', CREDENTIAL),
  typed(403, 'authentication_error', 'invalid x-api-key', CREDENTIAL),
  typed(403, 'permission_error', 'OAuth token has been revoked. Please obtain a new token.', CREDENTIAL),
  typed(403, 'permission_error', 'OAuth token does not meet scope requirement user:inference', CREDENTIAL),
  typed(403, 'permission_error', 'OAuth authentication is currently not allowed for this organization.', CREDENTIAL),
  typed(403, 'permission_error', 'Account is no longer a member of the organization of this token.', CREDENTIAL),
  typed(403, 'permission_error', 'This API key has been deactivated.', CREDENTIAL),
  typed(401, 'invalid_request_error', 'Incorrect API key provided.', CREDENTIAL),
  typed(401, 'api_error', 'Unauthorized', CREDENTIAL),
  other(401, 'Unauthorized', { ...CREDENTIAL, reason: 'http_401' }),
  typed(400, 'invalid_request_error', 'This organization has been disabled.', { ...CREDENTIAL, disables: true }),
  typed(403, 'permission_error', 'This organization has been disabled.', { ...CREDENTIAL, disables: true }),
  typed(401, 'authentication_error', 'This API key has been revoked.', { ...CREDENTIAL, disables: true }),
  typed(403, 'permission_error', 'Your account has been disabled after an automatic review.', {
    ...CREDENTIAL,
    disables: true,
  }),

  // A 403 about what was asked: another account may do it, and this one may do other things.
  typed(403, 'permission_error', 'Your API key does not have permission to use the specified resource.', NOT_THIS),
  typed(403, 'permission_error', 'Your organization does not have access to claude-opus-5-5.', NOT_THIS),
  typed(403, 'permission_error', 'Access to Anthropic models is not allowed from unsupported countries.', NOT_THIS),
  typed(403, 'permission_error', 'The beta `your api key is invalid` is not enabled for this organization.', NOT_THIS),
  typed(403, 'permission_error', 'model: this organization is suspended', NOT_THIS),
  typed(403, 'permission_error', 'Your organization has no access to this organization has been disabled', NOT_THIS),
  typed(403, 'permission_error', 'Your account has no access to your account is suspended', NOT_THIS),
  typed(429, 'permission_error', 'Slow down', RATE_LIMIT),

  typed(402, 'billing_error', 'Payment is required', FUNDS),
  typed(402, 'invalid_request_error', 'Payment is required', FUNDS),
  other(402, '', FUNDS),
  typed(400, 'invalid_request_error', LOW_BALANCE, FUNDS),
  typed(400, 'invalid_request_error', 'Credit balance is too low', FUNDS),
  typed(400, 'invalid_request_error', SPENT, FUNDS),
  typed(429, 'billing_error', 'The spend cap is reached.', FUNDS),
  {
    name: '429 that is a monthly cap',
    status: 429,
    body: error('rate_limit_error', 'Limit reached.', { error_code: 'enforced_spend_limit_reached' }),
    expected: FUNDS,
  },

  {
    ...typed(429, 'rate_limit_error', 'This request would exceed your account’s rate limit.', {
      ...RATE_LIMIT,
      retryAfterMs: 12_000,
    }),
    headers: { 'retry-after': '12' },
  },
  typed(429, 'rate_limit_error', 'Rate limited', RATE_LIMIT),
  typed(429, 'invalid_request_error', 'Slow down', RATE_LIMIT),
  other(429, PAGE, { ...RATE_LIMIT, reason: 'http_429' }),
  other(429, '', RATE_LIMIT),

  typed(529, 'overloaded_error', 'Overloaded', OVERLOAD),
  typed(503, 'overloaded_error', 'Overloaded', OVERLOAD),
  typed(500, 'api_error', 'Internal server error', OVERLOAD),
  typed(504, 'timeout_error', 'The request timed out', OVERLOAD),
  typed(500, 'invalid_request_error', 'a server that calls its own fault the request’s', OVERLOAD),
  other(408, '', OVERLOAD),
  other(502, PAGE, { ...OVERLOAD, reason: 'http_502' }),
  other(503, 'upstream connect error or disconnect/reset before headers', OVERLOAD),
  other(520, '', OVERLOAD),
  other(403, PAGE, OVERLOAD),
  other(403, '{"message":"Forbidden"}', OVERLOAD),
  other(404, PAGE, OVERLOAD),
  other(400, PAGE, OVERLOAD),
  other(302, '', { ...OVERLOAD, reason: 'invalid_answer' }),
  other(200, PAGE, { ...OVERLOAD, reason: 'invalid_answer' }),
  other(200, '', { ...OVERLOAD, reason: 'invalid_answer' }),
  typed(200, 'overloaded_error', 'Overloaded', OVERLOAD),
  typed(200, 'rate_limit_error', 'Rate limited', RATE_LIMIT),

  // What a client wrote comes back in errors: none of it may take an account out of service.
  typed(404, 'not_found_error', 'model: claude-your credit balance is too low', REQUEST),
  typed(404, 'not_found_error', 'model: claude-this organization has been disabled', REQUEST),
  typed(400, 'invalid_request_error', 'Your credit balance is too low: Extra inputs are not permitted', REQUEST),
  typed(400, 'invalid_request_error', 'This organization has been disabled.: Extra inputs are not permitted', REQUEST),
  typed(
    400,
    'invalid_request_error',
    'Unexpected value(s) `this api key has been revoked` for the `anthropic-beta` header.',
    REQUEST,
  ),
  typed(400, 'invalid_request_error', 'Your tool "credit balance is too low" is not known', REQUEST),
]

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const RFC_3339 = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z')

/** An API key's headers: of each window limit, remaining and reset, in that order. */
function counted(windows: Record<string, readonly [string, string, string]>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(windows).flatMap(([name, values]) =>
      ['limit', 'remaining', 'reset'].map((part, index) => [
        `anthropic-ratelimit-${name}-${part}`,
        values[index] ?? '',
      ]),
    ),
  )
}

/** A subscription's headers. */
function unified(headers: Record<string, string | number>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [`anthropic-ratelimit-unified-${name}`, String(value)]),
  )
}

const SECONDS = (ms: number) => Math.floor(ms / 1000)

/** As an API-key account's answers have them. */
const KEY_HEADERS = counted({
  requests: ['4000', '3999', RFC_3339(NOW_MS)],
  tokens: ['4800000', '4320000', RFC_3339(NOW_MS + 6000)],
  'input-tokens': ['4000000', '3000000', RFC_3339(NOW_MS + 15_000)],
  'output-tokens': ['800000', '0', '2026-11-25T11:00:30+01:00'],
})
/** As a subscription's have them. */
const PLAN_HEADERS = unified({
  status: 'allowed_warning',
  reset: SECONDS(NOW_MS + 2 * HOUR),
  'representative-claim': 'five_hour',
  '5h-status': 'allowed_warning',
  '5h-reset': SECONDS(NOW_MS + 2 * HOUR),
  '5h-utilization': '0.82',
  '5h-surpassed-threshold': '0.75',
  '7d-status': 'allowed',
  '7d-reset': SECONDS(NOW_MS + 3 * DAY),
  '7d-utilization': '0.12',
  '7d_oi-status': 'allowed',
  '7d_oi-reset': SECONDS(NOW_MS + 5 * DAY),
  '7d_oi-utilization': '0.5',
  fallback: 'available',
  'fallback-percentage': '0.5',
  'overage-status': 'rejected',
  'overage-reset': SECONDS(NOW_MS + 20 * DAY),
  'overage-utilization': '1',
  'overage-disabled-reason': 'org_level_disabled',
})

const REFILLING = { lengthMs: null, models: null }
const FIVE_HOURS = { name: '5h', lengthMs: 5 * HOUR, models: null }
const SEVEN_DAYS = { name: '7d', lengthMs: 7 * DAY, models: null }

const windows: WindowSample[] = [
  { name: 'no windows', headers: { 'content-type': 'application/json', 'request-id': 'req_1' }, expected: [] },
  {
    name: 'an API key',
    headers: KEY_HEADERS,
    expected: [
      { ...REFILLING, name: 'requests', used: 1 / 4000, resetAtMs: NOW_MS },
      { ...REFILLING, name: 'tokens', used: 0.1, resetAtMs: NOW_MS + 6000 },
      { ...REFILLING, name: 'input_tokens', used: 0.25, resetAtMs: NOW_MS + 15_000 },
      { ...REFILLING, name: 'output_tokens', used: 1, resetAtMs: NOW_MS + 30_000 },
    ],
  },
  {
    name: 'a subscription; what is allowed beyond its windows is none',
    headers: PLAN_HEADERS,
    expected: [
      { ...FIVE_HOURS, used: 0.82, resetAtMs: NOW_MS + 2 * HOUR },
      { ...SEVEN_DAYS, used: 0.12, resetAtMs: NOW_MS + 3 * DAY },
      { ...SEVEN_DAYS, name: '7d_oi', models: [], used: 0.5, resetAtMs: NOW_MS + 5 * DAY },
    ],
  },
  {
    name: 'a window of a family of models',
    headers: unified({ '7d_opus-reset': SECONDS(NOW_MS + DAY), '7d_opus-utilization': '0.25' }),
    expected: [{ ...SEVEN_DAYS, name: '7d_opus', models: ['*opus*'], used: 0.25, resetAtMs: NOW_MS + DAY }],
  },
  {
    name: 'a window that refuses is used up, whatever share it tells',
    headers: unified({ '5h-status': 'rejected', '5h-reset': SECONDS(NOW_MS + HOUR), '5h-utilization': '0.98' }),
    expected: [{ ...FIVE_HOURS, used: 1, resetAtMs: NOW_MS + HOUR }],
  },
  {
    name: 'overshot',
    headers: unified({ '5h-reset': SECONDS(NOW_MS + HOUR), '5h-utilization': '1.03' }),
    expected: [{ ...FIVE_HOURS, used: 1, resetAtMs: NOW_MS + HOUR }],
  },
  {
    name: 'garbage',
    headers: {
      ...counted({
        requests: ['0', '0', RFC_3339(NOW_MS)],
        tokens: ['100', '200', RFC_3339(NOW_MS)],
        'input-tokens': ['1e3', '5', RFC_3339(NOW_MS)],
        'output-tokens': ['100', '50', 'tomorrow'],
        'priority-tokens': ['100', '50', RFC_3339(NOW_MS)],
      }),
      ...unified({
        '5h-reset': SECONDS(NOW_MS + HOUR),
        '5h-utilization': '45',
        '7d-reset': '99999999999',
        '7d-utilization': '0.5',
        '7d_oi-reset': '2026-11-30T00:00:00Z',
        '7d_oi-utilization': '0.5',
        '1d-reset': SECONDS(NOW_MS + HOUR),
        '1d-utilization': '-0.5',
        '3h-utilization': '0.5',
        '7d___proto__-reset': SECONDS(NOW_MS + HOUR),
      }),
    },
    expected: [],
  },
]

/** 429 with these headers, and what comes of it. */
const limited = (name: string, headers: Record<string, string>, expected: FaultSample['expected']): FaultSample => ({
  name,
  status: 429,
  headers,
  body: error('rate_limit_error', 'This request would exceed your account’s rate limit. Please try again later.'),
  expected: { ...RATE_LIMIT, ...expected },
})

const REJECTED = { status: 'rejected', reset: SECONDS(NOW_MS + 2 * HOUR), 'representative-claim': 'five_hour' }
const FULL_5H = { '5h-status': 'rejected', '5h-reset': SECONDS(NOW_MS + 2 * HOUR), '5h-utilization': '1.0' }
const FULL_7D = { '7d-status': 'rejected', '7d-reset': SECONDS(NOW_MS + 3 * DAY), '7d-utilization': '1.0' }
const FULL_OF_MODELS = {
  '7d_oi-status': 'rejected',
  '7d_oi-reset': SECONDS(NOW_MS + 5 * DAY),
  '7d_oi-utilization': '1',
}

const limits: FaultSample[] = [
  limited(
    '429: windows with room left are not to blame',
    { ...KEY_HEADERS, ...PLAN_HEADERS, ...counted({ 'output-tokens': ['8', '1', RFC_3339(NOW_MS + 30_000)] }) },
    {},
  ),
  limited(
    "429: an API key's full window",
    { ...KEY_HEADERS, 'retry-after': '12' },
    { restUntilMs: NOW_MS + 30_000, retryAfterMs: 12_000 },
  ),
  limited(
    '429: of full windows the one that opens last',
    counted({ requests: ['5', '0', RFC_3339(NOW_MS + 90_000)], tokens: ['9', '0', RFC_3339(NOW_MS + 20_000)] }),
    { restUntilMs: NOW_MS + 90_000 },
  ),
  limited('429: a full window that is open again', counted({ requests: ['5', '0', RFC_3339(NOW_MS)] }), {}),
  limited(
    '429: five hours',
    unified({ ...REJECTED, ...FULL_5H, '7d-utilization': '0.4', '7d-reset': SECONDS(NOW_MS + 3 * DAY) }),
    { restUntilMs: NOW_MS + 2 * HOUR },
  ),
  limited('429: a week and five hours', unified({ ...REJECTED, ...FULL_5H, ...FULL_7D }), {
    restUntilMs: NOW_MS + 3 * DAY,
  }),
  limited(
    '429: a class of models',
    unified({ status: 'rejected', ...FULL_OF_MODELS, '5h-utilization': '0.3', '5h-reset': SECONDS(NOW_MS + HOUR) }),
    {
      ...{ scope: 'model', restUntilMs: NOW_MS + 5 * DAY },
    },
  ),
  limited('429: a class of models, and all', unified({ ...REJECTED, ...FULL_OF_MODELS, ...FULL_5H }), {
    scope: 'account',
    restUntilMs: NOW_MS + 2 * HOUR,
  }),
  limited('429: only the representative window is named', unified({ ...REJECTED }), { restUntilMs: NOW_MS + 2 * HOUR }),
  limited('429: and it is of a class of models', unified({ ...REJECTED, 'representative-claim': 'seven_day_opus' }), {
    scope: 'model',
    restUntilMs: NOW_MS + 2 * HOUR,
  }),
  limited(
    '429: a burst, while more than the windows is allowed',
    {
      ...unified({
        status: 'allowed',
        reset: SECONDS(NOW_MS + 2 * HOUR),
        '5h-reset': SECONDS(NOW_MS + 2 * HOUR),
        '5h-utilization': '1.0',
        'overage-in-use': 'true',
      }),
      'retry-after': '3',
    },
    { retryAfterMs: 3000 },
  ),
  limited('429: a reset without a refusal', unified({ reset: SECONDS(NOW_MS + 2 * HOUR) }), {}),
  limited(
    '429: garbage',
    {
      ...unified({ status: 'rejected', reset: 'soon', '5h-status': 'rejected', '5h-reset': '1' }),
      'retry-after': 'later',
    },
    {},
  ),
  {
    ...typed(529, 'overloaded_error', 'Overloaded', OVERLOAD),
    headers: unified({ ...REJECTED, ...FULL_5H }),
    name: '529: windows are not to blame',
  },
  {
    ...typed(429, 'billing_error', 'The spend cap is reached.', FUNDS),
    headers: unified({ ...REJECTED, ...FULL_5H }),
    name: '429 of a cap: windows are not to blame',
  },
]

export const anthropicSamples: ProviderSamples = {
  // As a client of the format asks, whose version of it counts.
  asked: (operation) => (operation === 'models' ? {} : { path: '/v1/messages' }),
  operations: {
    messages: { method: 'POST', path: '/v1/messages' },
    count_tokens: { method: 'POST', path: '/v1/messages/count_tokens' },
    models: { method: 'GET', path: '/v1/models' },
  },
  forwarded: {
    'anthropic-version': '2026-10-21',
    'anthropic-beta': 'claude-code-20250219,interleaved-thinking-2025-05-14,never-heard-of-2099-01-01',
    'anthropic-dangerous-direct-browser-access': 'true',
    'anthropic-never-heard-of': 'x',
    'x-claude-code-session-id': '11111111-2222-4333-8444-555555555555',
    'x-claude-code-agent-id': 'a',
    'x-stainless-timeout': '600',
    'x-app': 'cli',
    'user-agent': 'claude-cli/2.1.330 (external, sdk-cli)',
    'content-type': 'application/json',
    accept: 'application/json',
  },
  signature: (apiKey) => ['x-api-key', apiKey],
  faults: [...faults, ...limits],
  windows,
  streamFaults: [
    {
      name: 'overloaded',
      data: error('overloaded_error', 'Overloaded'),
      expected: { ...OVERLOAD, reason: 'overloaded_error' },
    },
    { name: 'server error', data: error('api_error', 'Internal server error'), expected: OVERLOAD },
    { name: 'rate limit', data: error('rate_limit_error', 'Rate limited'), expected: RATE_LIMIT },
    { name: 'the request', data: error('invalid_request_error', 'prompt is too long: 1 > 0'), expected: REQUEST },
    { name: 'credential', data: error('authentication_error', 'expired'), expected: CREDENTIAL },
    { name: 'funds', data: error('invalid_request_error', LOW_BALANCE), expected: FUNDS },
    {
      name: 'a type never heard of',
      data: error('weather_error', 'rain'),
      expected: { ...OVERLOAD, reason: 'weather_error' },
    },
    { name: 'no JSON', data: 'upstream connect error', expected: { ...OVERLOAD, reason: 'error_event' } },
    { name: 'an error body inside a 200', data: '{"type":"error","error":null}', expected: OVERLOAD },
  ],
  models: {
    body: JSON.stringify({
      data: [
        { type: 'model', id: 'claude-opus-5-5', display_name: 'Claude Opus 5.5', created_at: '2026-09-22T00:00:00Z' },
        { id: 'claude-haiku-5-5' },
      ],
      has_more: false,
    }),
    ids: ['claude-opus-5-5', 'claude-haiku-5-5'],
  },
}

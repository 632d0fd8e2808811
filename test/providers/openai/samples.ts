import { type FaultSample, NOW_MS, type ProviderSamples, type WindowSample } from '../../contract/provider.ts'

/** Answers of OpenAI's API, of ChatGPT's backend, and of what stands in front of them, with whose fault they are. */

const error = (message: string, type: string, code: string | null = null, more: object = {}) => ({
  error: { message, type, param: null, code, ...more },
})

const PAGE = '<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head><body>cloudflare</body></html>'

const REQUEST = { blame: 'request', rest: null } as const
const CREDENTIAL = { blame: 'account', rest: 'credential' } as const
const NOT_THIS = { blame: 'account', rest: null } as const
const FUNDS = { blame: 'account', rest: 'funds' } as const
const RATE_LIMIT = { blame: 'account', rest: 'rate_limit' } as const
const OVERLOAD = { blame: 'upstream', rest: 'overload' } as const

/** An answer with one of OpenAI's own errors: its reason is the code, or where there is none the type. */
const typed = (
  status: number,
  type: string,
  code: string | null,
  message: string,
  expected: FaultSample['expected'],
): FaultSample => ({
  name: `${status} ${type} ${code}: ${message}`,
  status,
  body: error(message, type, code),
  expected: { reason: code ?? type, message, ...expected },
})

/** An answer that is not OpenAI's, or not as it is known to be. */
const other = (status: number, body: string | object, expected: FaultSample['expected']): FaultSample => ({
  name: `${status} ${JSON.stringify(body)}`,
  status,
  body,
  expected,
})

const INVALID = 'invalid_request_error'
const QUOTA = 'You exceeded your current quota, please check your plan and billing details.'

/** Seconds from NOW_MS on, as the backend tells times. */
const inSeconds = (seconds: number) => NOW_MS / 1000 + seconds
const HOUR = 3600

const codexHeaders = (primary: number, secondary: number) => ({
  'x-codex-primary-used-percent': String(primary),
  'x-codex-primary-window-minutes': '300',
  'x-codex-primary-reset-at': String(inSeconds(HOUR)),
  'x-codex-secondary-used-percent': String(secondary),
  'x-codex-secondary-window-minutes': '10080',
  'x-codex-secondary-reset-at': String(inSeconds(48 * HOUR)),
})
const bengalfox = (percent: number) => ({
  'x-codex-bengalfox-primary-used-percent': String(percent),
  'x-codex-bengalfox-primary-window-minutes': '300',
  'x-codex-bengalfox-primary-reset-at': String(inSeconds(2 * HOUR)),
  'x-codex-bengalfox-limit-name': 'GPT-5.3-Codex-Spark',
})
const counted = (remainingTokens: number, reset = '6m0s') => ({
  'x-ratelimit-limit-requests': '10000',
  'x-ratelimit-remaining-requests': '9999',
  'x-ratelimit-reset-requests': '12ms',
  'x-ratelimit-limit-tokens': '200000',
  'x-ratelimit-remaining-tokens': String(remainingTokens),
  'x-ratelimit-reset-tokens': reset,
})
const USED_UP = {
  type: 'usage_limit_reached',
  message: 'The usage limit has been reached',
  plan_type: 'plus',
  resets_at: inSeconds(5 * HOUR),
  resets_in_seconds: 5 * HOUR,
}

const faults: FaultSample[] = [
  typed(400, INVALID, 'context_length_exceeded', 'Your input exceeds the context window of this model.', REQUEST),
  typed(400, INVALID, 'previous_response_not_found', "Previous response with id 'resp_1' not found.", REQUEST),
  typed(400, INVALID, 'unsupported_parameter', "Unsupported parameter: 'temperature'", REQUEST),
  typed(400, INVALID, null, "Invalid value: 'x'.", REQUEST),
  typed(400, INVALID, 'invalid_image_url', 'The image cannot be downloaded.', REQUEST),
  typed(400, 'image_generation_user_error', 'moderation_blocked', 'Your request was rejected.', REQUEST),
  typed(404, INVALID, 'model_not_found', 'The model `gpt-nothing` does not exist.', REQUEST),
  typed(409, INVALID, 'conflict', 'The request conflicts with another.', REQUEST),
  typed(413, INVALID, null, 'Too large', REQUEST),
  typed(422, INVALID, null, 'Unprocessable', REQUEST),
  other(
    400,
    { detail: 'Unsupported parameter: max_output_tokens' },
    {
      ...REQUEST,
      reason: 'error',
      message: 'Unsupported parameter: max_output_tokens',
    },
  ),
  other(404, { detail: 'Not Found' }, REQUEST),
  other(404, '404 page not found', { ...REQUEST, reason: 'http_404' }),
  other(501, 'Not Implemented', REQUEST),

  typed(401, INVALID, 'invalid_api_key', 'Incorrect API key provided.', CREDENTIAL),
  typed(401, INVALID, null, 'You didn’t provide an API key.', CREDENTIAL),
  typed(401, INVALID, 'token_expired', 'Provided authentication token is expired.', CREDENTIAL),
  typed(403, INVALID, 'invalid_api_key', 'Incorrect API key provided.', CREDENTIAL),
  other(401, { detail: 'Unauthorized' }, { ...CREDENTIAL, message: 'Unauthorized' }),
  other(401, 'Unauthorized', { ...CREDENTIAL, reason: 'http_401' }),
  typed(401, INVALID, 'account_deactivated', 'The OpenAI account has been deactivated.', {
    ...CREDENTIAL,
    disables: true,
  }),
  other(
    402,
    { detail: { code: 'deactivated_workspace' } },
    {
      ...CREDENTIAL,
      disables: true,
      reason: 'deactivated_workspace',
    },
  ),

  typed(403, INVALID, 'model_not_found', 'Project `proj_1` does not have access to model `gpt-6`.', NOT_THIS),
  typed(403, 'request_forbidden', 'unsupported_country_region_territory', 'Country not supported', NOT_THIS),
  typed(403, 'insufficient_permissions', null, 'You have insufficient permissions.', NOT_THIS),
  other(403, { detail: 'This feature is not on your plan.' }, NOT_THIS),

  typed(429, 'insufficient_quota', 'insufficient_quota', QUOTA, FUNDS),
  typed(429, INVALID, 'credit_balance_exhausted', 'No credits are left.', FUNDS),
  typed(429, 'billing_not_active', 'billing_not_active', 'Your account is not active.', FUNDS),
  typed(403, INVALID, 'usage_not_included', 'Codex is not on your plan.', FUNDS),
  typed(400, INVALID, 'billing_hard_limit_reached', 'Billing hard limit has been reached', FUNDS),
  other(402, '', FUNDS),

  { ...typed(429, 'tokens', 'rate_limit_exceeded', 'Rate limit reached.', RATE_LIMIT), headers: {} },
  {
    ...typed(429, 'tokens', 'rate_limit_exceeded', 'Rate limit reached for gpt-5.5.', {
      ...RATE_LIMIT,
      scope: 'model',
      restUntilMs: NOW_MS + 360_000,
    }),
    headers: counted(0),
    name: '429 for the tokens of one model',
  },
  {
    ...typed(429, 'tokens', 'rate_limit_exceeded', 'Request too large for the rest of this minute.', {
      ...RATE_LIMIT,
      retryAfterMs: 1500,
    }),
    headers: { ...counted(1000), 'retry-after': '2', 'retry-after-ms': '1500' },
    name: '429 with windows that are not full, and a time to wait in milliseconds',
  },
  typed(429, 'rate_limit_error', 'slow_down', 'Ramp up slowly.', RATE_LIMIT),
  other(429, PAGE, { ...RATE_LIMIT, reason: 'http_429' }),
  {
    name: '429 of a plan that is used up: its own word on when it opens',
    status: 429,
    headers: codexHeaders(100, 40),
    body: { error: USED_UP },
    expected: { ...RATE_LIMIT, reason: 'usage_limit_reached', restUntilMs: NOW_MS + 5 * HOUR * 1000 },
  },
  {
    name: '429 of a plan that says so in its headers alone',
    status: 429,
    headers: codexHeaders(100, 100),
    body: { error: { type: 'usage_limit_reached', message: 'x' } },
    expected: { ...RATE_LIMIT, restUntilMs: NOW_MS + 48 * HOUR * 1000 },
  },
  {
    name: '429 of one class of models',
    status: 429,
    headers: { ...codexHeaders(10, 20), ...bengalfox(100), 'x-codex-active-limit': 'bengalfox' },
    body: { error: { ...USED_UP, resets_at: undefined } },
    expected: { ...RATE_LIMIT, scope: 'model', restUntilMs: NOW_MS + 5 * HOUR * 1000 },
  },
  {
    name: '429 of one class of models, by headers',
    status: 429,
    headers: { ...codexHeaders(10, 20), ...bengalfox(100) },
    body: '',
    expected: { ...RATE_LIMIT, scope: 'model', restUntilMs: NOW_MS + 2 * HOUR * 1000 },
  },
  {
    name: '429 that names a reset which is over',
    status: 429,
    body: { error: { ...USED_UP, resets_at: inSeconds(-10), resets_in_seconds: undefined } },
    expected: RATE_LIMIT,
  },
  {
    name: '503 while a window is full: windows are not to blame',
    status: 503,
    headers: codexHeaders(100, 100),
    body: '',
    expected: OVERLOAD,
  },

  typed(500, 'server_error', null, 'The server had an error while processing your request.', OVERLOAD),
  typed(503, 'server_error', 'server_is_overloaded', 'Our servers are currently overloaded.', OVERLOAD),
  typed(503, 'service_unavailable', 'slow_down', 'Slow down', OVERLOAD),
  typed(500, INVALID, null, 'a server that calls its own fault the request’s', OVERLOAD),
  other(408, '', OVERLOAD),
  other(502, PAGE, { ...OVERLOAD, reason: 'http_502' }),
  other(520, '', OVERLOAD),
  other(403, PAGE, OVERLOAD),
  other(403, '{"message":"Forbidden"}', OVERLOAD),
  other(404, PAGE, OVERLOAD),
  other(400, PAGE, OVERLOAD),
  other(200, PAGE, { ...OVERLOAD, reason: 'invalid_answer' }),
  other(200, '', { ...OVERLOAD, reason: 'invalid_answer' }),
  other(200, error('Slow down', 'tokens', 'rate_limit_exceeded'), RATE_LIMIT),
]

const failed = (code: string, message: string) => ({
  type: 'response.failed',
  response: { id: 'resp_1', status: 'failed', error: { code, message } },
})

const streamFaults: ProviderSamples['streamFaults'] = [
  {
    name: 'a failed response',
    data: failed('server_error', 'Oh'),
    expected: { ...OVERLOAD, reason: 'server_error', message: 'Oh' },
  },
  { name: 'rate limit', data: failed('rate_limit_exceeded', 'try again in 1s'), expected: RATE_LIMIT },
  { name: 'overload', data: failed('slow_down', 'Slow down'), expected: OVERLOAD },
  { name: 'quota', data: failed('insufficient_quota', QUOTA), expected: FUNDS },
  { name: 'a prompt that is refused', data: failed('invalid_prompt', 'No'), expected: REQUEST },
  { name: 'a prompt that is too long', data: failed('context_length_exceeded', 'No'), expected: REQUEST },
  { name: 'an image that is refused', data: failed('image_content_policy_violation', 'No'), expected: REQUEST },
  {
    name: 'an error event',
    data: { type: 'error', code: 'server_is_overloaded', message: 'Busy', param: null, sequence_number: 3 },
    expected: { ...OVERLOAD, reason: 'server_is_overloaded', message: 'Busy' },
  },
  { name: 'an error event with a body', data: error(QUOTA, 'insufficient_quota'), expected: FUNDS },
  { name: 'a code that is new', data: failed('novelty', 'x'), expected: { ...OVERLOAD, reason: 'novelty' } },
  { name: 'an error event without a word', data: { type: 'error' }, expected: { ...OVERLOAD, reason: 'error_event' } },
  { name: 'no JSON', data: 'upstream connect error', expected: { ...OVERLOAD, reason: 'error_event' } },
]

const HOUR_MS = HOUR * 1000
const MINUTES: Record<string, number> = { '5h': 300, '7d': 10_080, '5h_bengalfox': 300, '90m': 90 }
const window = (name: string, used: number, afterMs: number) => ({
  name,
  used,
  resetAtMs: NOW_MS + afterMs,
  lengthMs: MINUTES[name] === undefined ? null : MINUTES[name] * 60_000,
  models: ['requests', 'tokens', '5h_bengalfox'].includes(name) ? [] : null,
})

const windows: WindowSample[] = [
  { name: 'nothing', headers: { 'content-type': 'application/json' }, expected: [] },
  {
    name: 'an API key’s, of the model that was asked',
    headers: counted(50_000, '1h2m3.5s'),
    expected: [window('requests', 0.0001, 12), window('tokens', 0.75, 3_723_500)],
  },
  {
    name: 'a plan’s',
    headers: codexHeaders(12.5, 100),
    expected: [window('5h', 0.125, HOUR_MS), window('7d', 1, 48 * HOUR_MS)],
  },
  {
    name: 'a plan’s of a class of models',
    headers: bengalfox(30),
    expected: [window('5h_bengalfox', 0.3, 2 * HOUR_MS)],
  },
  {
    name: 'of a length that nobody says',
    headers: { 'x-codex-primary-used-percent': '101', 'x-codex-primary-reset-at': String(inSeconds(1)) },
    expected: [window('primary', 1, 1000)],
  },
  {
    name: 'of another length',
    headers: { ...codexHeaders(1, 2), 'x-codex-primary-window-minutes': '90' },
    expected: [window('90m', 0.01, HOUR_MS), window('7d', 0.02, 48 * HOUR_MS)],
  },
  {
    name: 'what cannot be read',
    headers: {
      ...counted(300_000),
      'x-ratelimit-reset-requests': 'soon',
      'x-codex-primary-used-percent': '1e2',
      'x-codex-primary-reset-at': String(inSeconds(1)),
      'x-codex-secondary-used-percent': '50',
      'x-codex-secondary-reset-at': '9999999999',
    },
    expected: [],
  },
]

export const openaiSamples: ProviderSamples = {
  operations: {
    messages: { method: 'POST', path: '/responses' },
    count_tokens: { method: 'POST', path: '/responses/input_tokens' },
    compact: { method: 'POST', path: '/responses/compact' },
    models: { method: 'GET', path: '/models' },
  },
  forwarded: {
    'user-agent': 'codex_exec/0.169.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.169.0)',
    originator: 'codex_exec',
    'session-id': '01a20526-a5ff-71f2-9a66-f78b32f9bc90',
    'thread-id': '01a20526-a5ff-71f2-9a66-f78b32f9bc90',
    'x-client-request-id': '01a20526-a5ff-71f2-9a66-f78b32f9bc90',
    'x-codex-window-id': '01a20526-a5ff-71f2-9a66-f78b32f9bc90:0',
    'x-codex-turn-metadata': '{"request_kind":"turn"}',
    'x-codex-beta-features': 'remote_compaction_v2',
    'x-openai-internal-codex-responses-lite': 'true',
    'x-openai-subagent': 'review',
    'openai-beta': 'responses=v1',
    'x-stainless-retry-count': '0',
    'content-type': 'application/json',
    accept: 'text/event-stream',
  },
  signature: (apiKey) => ['authorization', `Bearer ${apiKey}`],
  faults,
  streamFaults,
  windows,
  models: {
    body: JSON.stringify({
      object: 'list',
      data: [
        { id: 'gpt-5.5', object: 'model', created: 1_776_000_000, owned_by: 'system' },
        { id: 'gpt-6.1-sol', object: 'model', created: null, owned_by: 'system' },
      ],
    }),
    ids: ['gpt-5.5', 'gpt-6.1-sol'],
  },
}
